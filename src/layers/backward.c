/* SPDX-License-Identifier: MIT */
/* The door to a layer's backward: checks, the plan, and the kinds. */
#include <stdio.h>

#include "layers/pass.h"
#include "runtime/check.h"
#include "runtime/launch.h"

struct backward {
    struct pass pass;
    const colt5_tensor *dy, *dx; /* dx may be NULL */
    const colt5_backward *asked; /* for checks */
};

/* The gradient of the input is written to dx, or to scratch where nobody wants it. */
static colt5_status gradient_of_input(struct backward *call, colt5_tensor *d)
{
    const colt5_tensor *x = call->pass.forward->x;
    if (call->dx) {
        *d = *call->dx;
        return COLT5_OK;
    }
    return scratch(call->pass.ctx, x->type, x->rank, x->dims, d);
}

/* dy with zeros in masked rows. */
static colt5_status unmasked_dy(struct pass *pass, const colt5_tensor *dy, colt5_tensor *d)
{
    *d = *dy;
    if (!pass->mask) return COLT5_OK;
    const colt5_status status = scratch(pass->ctx, dy->type, dy->rank, dy->dims, d);
    return status == COLT5_OK ? unmasked_rows(pass, dy, d) : status;
}

/* A branch alone: no residual. */
static colt5_status branch_backward(struct backward *call)
{
    struct pass *pass = &call->pass;
    const struct transformer_block *block = &pass->layer->blocks[0];
    const struct saved_block *saved = &pass->saved->blocks[0];
    colt5_tensor d, dy;
    colt5_status status;
    TRY(gradient_of_input(call, &d));
    TRY(unmasked_dy(pass, call->dy, &dy));
    TRY(pass->layer->config.kind == COLT5_FEED_FORWARD
            ? feed_forward_backward(pass, &block->feed_forward, &saved->x, &saved->feed_forward,
                                    &dy, NULL, &d)
            : attention_layer_backward(pass, &block->attention, &saved->x, &saved->attention, &dy,
                                       NULL, &d));
out:
    return status;
}

static colt5_status stack_backward(struct backward *call)
{
    colt5_tensor d;
    colt5_status status;
    TRY(gradient_of_input(call, &d));
    if (call->pass.mask) TRY(unmasked_rows(&call->pass, call->dy, &d));
    TRY(blocks_backward(&call->pass, call->pass.mask ? &d : call->dy, &d));
out:
    return status;
}

static colt5_status encoder_backward(struct backward *call)
{
    colt5_tensor d;
    colt5_status status;
    TRY(scratch(call->pass.ctx, call->pass.layer->type, 3, call->dy->dims, &d));
    TRY(unmasked_rows(&call->pass, call->dy, &d));
    TRY(text_backward(&call->pass, call->pass.forward->x, &d));
out:
    return status;
}

static colt5_status model_backward(struct backward *call)
{
    colt5_tensor dy = *call->dy;
    colt5_status status = COLT5_OK;
    if (!call->pass.forward->positions) TRY(unmasked_dy(&call->pass, call->dy, &dy));
    TRY(masked_language_model_backward(&call->pass, call->pass.forward->x, &dy));
out:
    return status;
}

static colt5_status run(colt5_context *ctx, void *data)
{
    struct backward call = *(const struct backward *)data;
    struct pass *pass = &call.pass;
    const colt5_tensor *x = pass->forward->x;
    if (x->dims[0] == 0 || x->dims[1] == 0) return COLT5_OK;
    pass->ctx = ctx;
    pass->mask = pass->forward->mask;
    switch (pass->layer->config.kind) {
    case COLT5_FEED_FORWARD:
    case COLT5_ATTENTION:
        return branch_backward(&call);
    case COLT5_TRANSFORMER_BLOCK:
    case COLT5_ENCODER:
        return stack_backward(&call);
    case COLT5_TEXT_ENCODER:
    case COLT5_MASKED_LANGUAGE_MODEL:
        pass->mask = &pass->saved->text.mask;
        return pass->layer->config.kind == COLT5_TEXT_ENCODER ? encoder_backward(&call)
                                                              : model_backward(&call);
    }
    return COLT5_ERROR_INTERNAL;
}

/* "block backward", for messages. */
static const char *name_of(const colt5_layer *layer, char text[64])
{
    snprintf(text, 64, "%s backward", colt5_layer_kind_name(layer->config.kind));
    return text;
}

/* As though every gradient were wanted: a plan looks at shapes alone. */
colt5_status backward_scratch(colt5_context *ctx, const struct pass *pass, size_t *bytes)
{
    struct backward call = {*pass, pass->forward->y, NULL, NULL};
    struct planned planned;
    char op[64];
    CHECK(gradients_plan(ctx, pass->layer, &call.pass.gradients));
    const colt5_status status = workspace_plan(ctx, name_of(pass->layer, op), run, &call,
                                               &call.pass.chunk, CHUNK_SMALLEST, NULL, &planned);
    colt5_gradients_destroy(call.pass.gradients);
    *bytes = planned.scratch;
    return status;
}

static colt5_status check(colt5_context *ctx, const colt5_layer *layer,
                          const colt5_forward *forward, const colt5_backward *backward)
{
    char op[64];
    name_of(layer, op);
    REQUIRE(ctx, backward->struct_size == sizeof(*backward), COLT5_ERROR_ARGUMENT,
            "%s: struct_size is %zu, not %zu", op, backward->struct_size, sizeof(*backward));
    CHECK(check_forward(ctx, layer, forward));
    const colt5_tensor *dy = backward->dy, *dx = backward->dx, *y = forward->y, *x = forward->x;
    REQUIRE_LIKE(ctx, op, dy, y);
    REQUIRE(ctx, !dx || x->rank == 3, COLT5_ERROR_ARGUMENT, "%s: ids have no gradient", op);
    if (dx) {
        REQUIRE_LIKE(ctx, op, dx, x);
        REQUIRE_APART(ctx, op, dx, dy);
        REQUIRE_APART(ctx, op, dx, x);
    }
    REQUIRE(ctx, !backward->gradients || gradients_layer(backward->gradients) == layer,
            COLT5_ERROR_ARGUMENT, "%s: the gradients are another layer's", op);
    REQUIRE(ctx, forward->saved && saved_fits(forward->saved, layer, forward), COLT5_ERROR_ARGUMENT,
            "%s: saved does not hold this forward", op);
    return COLT5_OK;
}

static struct backward start(colt5_context *ctx, const colt5_layer *layer,
                             const colt5_forward *forward, const colt5_backward *backward)
{
    struct backward call = {pass_start(ctx, layer, forward), backward->dy, backward->dx, backward};
    call.pass.gradients = backward->gradients;
    return call;
}

colt5_status colt5_layer_backward(colt5_context *ctx, const colt5_layer *layer,
                                  const colt5_forward *forward, const colt5_backward *backward)
{
    REQUIRE(ctx, ctx && layer && forward && backward, COLT5_ERROR_ARGUMENT,
            "layer: an argument is NULL");
    CHECK(check(ctx, layer, forward, backward));
    struct backward call = start(ctx, layer, forward, backward);
    char op[64];
    return workspace_call(ctx, name_of(layer, op), run, &call, &call.pass.chunk, CHUNK_SMALLEST);
}

/* The checks too, for tensors that need no buffer while planning. */
static colt5_status checked_run(colt5_context *ctx, void *data)
{
    const struct backward *call = data;
    CHECK(check(ctx, call->pass.layer, call->pass.forward, call->asked));
    return run(ctx, data);
}

colt5_status colt5_layer_plan_backward(colt5_context *ctx, const colt5_layer *layer,
                                       const colt5_forward *forward, const colt5_backward *backward,
                                       colt5_plan *plan)
{
    REQUIRE(ctx, ctx && layer && forward && backward && plan, COLT5_ERROR_ARGUMENT,
            "layer: an argument is NULL");
    struct backward call = start(ctx, layer, forward, backward);
    struct planned planned;
    char op[64];
    *plan = (colt5_plan){.scratch = 0};
    CHECK(workspace_plan(ctx, name_of(layer, op), checked_run, &call, &call.pass.chunk,
                         CHUNK_SMALLEST, NULL, &planned));
    *plan = (colt5_plan){.scratch = planned.scratch,
                         .saved = forward->saved ? colt5_saved_bytes(forward->saved) : 0,
                         .launches = planned.launches,
                         .flop = planned.flop};
    return COLT5_OK;
}
