/* SPDX-License-Identifier: MIT */
/* The door to a layer's forward: checks, the plan, and the kinds. */
#include "layers/pass.h"
#include "layers/routes.h"
#include "runtime/check.h"

/* The layer's input. In training masked rows become zeros: what NaN stood there would else come
 * back in products with the zeros of its gradient. */
static colt5_status input_of(struct pass *pass, colt5_tensor *in)
{
    const colt5_tensor *x = pass->forward->x;
    *in = *x;
    if (!pass->saved || !pass->mask) return COLT5_OK;
    const colt5_status status = keep(pass->ctx, x->type, x->rank, x->dims, in);
    return status == COLT5_OK ? unmasked_rows(pass, x, in) : status;
}

/* Kinds that take [B][N][D]. */
static colt5_status run_values(struct pass *pass)
{
    const colt5_layer *layer = pass->layer;
    const colt5_tensor *y = pass->forward->y;
    struct saved_block unsaved, *saved = pass->saved ? &pass->saved->blocks[0] : &unsaved;
    colt5_tensor x;
    const colt5_status status = input_of(pass, &x);
    if (status != COLT5_OK) return status;
    if (layer->config.kind == COLT5_TRANSFORMER_BLOCK || layer->config.kind == COLT5_ENCODER)
        return blocks_forward(pass, &x, y);
    saved->x = x;
    pass->saving = pass->saved != NULL;
    return layer->config.kind == COLT5_FEED_FORWARD
               ? feed_forward_forward(pass, &layer->blocks[0].feed_forward, &x, NULL, y,
                                      &saved->feed_forward)
               : attention_layer_forward(pass, &layer->blocks[0].attention, &x, NULL, y,
                                         &saved->attention);
}

static colt5_status run(colt5_context *ctx, void *call)
{
    struct pass pass = *(const struct pass *)call;
    const colt5_tensor *x = pass.forward->x, *y = pass.forward->y;
    if (x->dims[0] == 0 || x->dims[1] == 0) return COLT5_OK;
    pass.ctx = ctx;
    pass.mask = pass.forward->mask;
    pass.next_seed = pass.forward->seed;
    if (pass.forward->chosen) routes_clear(pass.forward->chosen);
    switch (pass.layer->config.kind) {
    case COLT5_FEED_FORWARD:
    case COLT5_ATTENTION:
    case COLT5_TRANSFORMER_BLOCK:
    case COLT5_ENCODER:
        return run_values(&pass);
    case COLT5_TEXT_ENCODER:
        return text_forward(&pass, x, y);
    case COLT5_MASKED_LANGUAGE_MODEL:
        return masked_language_model_forward(&pass, x, y);
    }
    return COLT5_ERROR_INTERNAL;
}

/* The checks too, for tensors that need no buffer while planning. */
static colt5_status checked_run(colt5_context *ctx, void *call)
{
    const struct pass *pass = call;
    CHECK(check_forward(ctx, pass->layer, pass->forward));
    return run(ctx, call);
}

/* Plans both ways first: a forward whose backward would not fit is refused. */
static colt5_status run_saving(colt5_context *ctx, const char *op, struct pass *pass)
{
    colt5_saved *saved = pass->saved;
    const size_t chunk = pass->chunk;
    struct planned planned;
    size_t reserve;
    CHECK(saved_start(saved, pass->layer, pass->forward));
    CHECK(
        workspace_plan(ctx, op, run, pass, &pass->chunk, CHUNK_SMALLEST, &saved->stack, &planned));
    pass->chunk = chunk;
    CHECK(backward_scratch(ctx, pass, &reserve));
    CHECK(workspace_call_saving(ctx, op, run, pass, &pass->chunk, CHUNK_SMALLEST, &saved->stack,
                                reserve));
    saved->layer = pass->layer;
    return COLT5_OK;
}

colt5_status colt5_layer_forward(colt5_context *ctx, const colt5_layer *layer,
                                 const colt5_forward *forward)
{
    REQUIRE(ctx, ctx && layer && forward, COLT5_ERROR_ARGUMENT, "layer: an argument is NULL");
    CHECK(check_forward(ctx, layer, forward));
    const char *op = colt5_layer_kind_name(layer->config.kind);
    struct pass pass = pass_start(ctx, layer, forward);
    if (pass.saved) return run_saving(ctx, op, &pass);
    return workspace_call(ctx, op, run, &pass, &pass.chunk, CHUNK_SMALLEST);
}

colt5_status colt5_layer_plan(colt5_context *ctx, const colt5_layer *layer,
                              const colt5_forward *forward, colt5_plan *plan)
{
    REQUIRE(ctx, ctx && layer && forward && plan, COLT5_ERROR_ARGUMENT,
            "layer: an argument is NULL");
    colt5_saved *saved = forward->saved;
    struct pass pass = pass_start(ctx, layer, forward);
    struct planned planned;
    *plan = (colt5_plan){.scratch = 0};
    if (saved) CHECK(saved_start(saved, layer, forward));
    CHECK(workspace_plan(ctx, colt5_layer_kind_name(layer->config.kind), checked_run, &pass,
                         &pass.chunk, CHUNK_SMALLEST, saved ? &saved->stack : NULL, &planned));
    if (saved) saved->layer = layer;
    *plan = (colt5_plan){.scratch = planned.scratch,
                         .saved = planned.saved,
                         .launches = planned.launches,
                         .flop = planned.flop};
    return COLT5_OK;
}
