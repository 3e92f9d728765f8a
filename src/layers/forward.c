/* SPDX-License-Identifier: MIT */
/* The door to a layer's forward: checks, the plan, and the kinds. */
#include <stdlib.h>

#include "layers/pass.h"
#include "layers/routes.h"
#include "runtime/check.h"
#include "runtime/launch.h"

/* Tokens of a chunk: what keeps the device busy and the scratch small. */
#define CHUNK_GPU 16384
#define CHUNK_CPU 2048

static colt5_status check_ids(colt5_context *ctx, const char *op, const colt5_tensor *x)
{
    REQUIRE_TENSOR(ctx, op, x, 2);
    REQUIRE(ctx, x->type == COLT5_I32 || x->type == COLT5_I64, COLT5_ERROR_TYPE,
            "%s: x is %s, not i32 or i64", op, colt5_type_name(x->type));
    return COLT5_OK;
}

static colt5_status check_values(colt5_context *ctx, const char *op, const colt5_layer *layer,
                                 const colt5_tensor *x, const colt5_tensor *y)
{
    REQUIRE_TENSOR(ctx, op, x, 3);
    REQUIRE_TYPE(ctx, op, x, layer->type);
    REQUIRE(ctx, x->dims[2] == layer->config.dim, COLT5_ERROR_SHAPE, "%s: x is %zu wide, not %zu",
            op, x->dims[2], layer->config.dim);
    REQUIRE_APART(ctx, op, x, y);
    return COLT5_OK;
}

static bool gives_logits(const colt5_layer *layer)
{
    return layer->config.kind == COLT5_MASKED_LANGUAGE_MODEL;
}

static colt5_status check_rows(colt5_context *ctx, const char *op, const colt5_layer *layer,
                               const colt5_forward *forward)
{
    const colt5_tensor *x = forward->x, *y = forward->y;
    REQUIRE_TYPE(ctx, op, y, layer->type);
    REQUIRE_SHAPE(ctx, op, y, x->dims[0], x->dims[1], layer->config.dim);
    REQUIRE(ctx, !forward->positions, COLT5_ERROR_ARGUMENT, "%s: positions are for language models",
            op);
    return COLT5_OK;
}

static colt5_status check_logits(colt5_context *ctx, const char *op, const colt5_layer *layer,
                                 const colt5_forward *forward)
{
    const colt5_tensor *x = forward->x, *y = forward->y, *positions = forward->positions;
    const size_t V = layer->config.vocab_size, rows = x->dims[0] * x->dims[1];
    if (!positions) {
        REQUIRE_SHAPE(ctx, op, y, x->dims[0], x->dims[1], V);
    } else {
        REQUIRE_TENSOR(ctx, op, positions, 1);
        REQUIRE_TYPE(ctx, op, positions, COLT5_I32);
        REQUIRE_SHAPE(ctx, op, y, positions->dims[0], V);
        REQUIRE(ctx, rows > 0 || positions->dims[0] == 0, COLT5_ERROR_SHAPE,
                "%s: %zu positions of no tokens", op, positions->dims[0]);
    }
    REQUIRE(ctx, y->type == layer->type || y->type == COLT5_F32, COLT5_ERROR_TYPE,
            "%s: y is %s, not %s or f32", op, colt5_type_name(y->type),
            colt5_type_name(layer->type));
    return COLT5_OK;
}

colt5_status check_forward(colt5_context *ctx, const colt5_layer *layer,
                           const colt5_forward *forward)
{
    const char *op = colt5_layer_kind_name(layer->config.kind);
    REQUIRE(ctx, forward->struct_size == sizeof(*forward), COLT5_ERROR_ARGUMENT,
            "%s: struct_size is %zu, not %zu", op, forward->struct_size, sizeof(*forward));
    const colt5_tensor *x = forward->x, *y = forward->y, *mask = forward->mask;
    REQUIRE_TENSOR(ctx, op, y, 0);
    CHECK(takes_ids(layer) ? check_ids(ctx, op, x) : check_values(ctx, op, layer, x, y));
    CHECK(gives_logits(layer) ? check_logits(ctx, op, layer, forward)
                              : check_rows(ctx, op, layer, forward));
    const size_t B = x->dims[0], N = x->dims[1];
    REQUIRE(ctx, N <= INT32_MAX, COLT5_ERROR_SHAPE, "%s: %zu tokens are more than 2^31 - 1", op, N);
    if (mask) {
        REQUIRE_TYPE(ctx, op, mask, COLT5_U8);
        REQUIRE_SHAPE(ctx, op, mask, B, N);
    }
    return COLT5_OK;
}

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

/* COLT5_CHUNK sets the tokens of a chunk, to see what cutting does on an input that fits. */
static size_t chunk_tokens(const colt5_context *ctx)
{
    const char *wanted = getenv("COLT5_CHUNK");
    const unsigned long tokens = wanted ? strtoul(wanted, NULL, 10) : 0;
    if (tokens > 0) return tokens;
    return device_is_cpu(ctx) ? CHUNK_CPU : CHUNK_GPU;
}

struct pass pass_start(colt5_context *ctx, const colt5_layer *layer, const colt5_forward *forward)
{
    return (struct pass){.ctx = ctx,
                         .layer = layer,
                         .forward = forward,
                         .chunk = chunk_tokens(ctx),
                         .saved = forward->saved};
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
