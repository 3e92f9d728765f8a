/* SPDX-License-Identifier: MIT */
/* What a forward and its backward begin with: the checks of the forward's tensors, and the pass. */
#include <stdlib.h>

#include "layers/pass.h"
#include "runtime/check.h"
#include "runtime/launch.h"

/* Tokens of a chunk: what keeps the device busy and the scratch small. */
#define CHUNK_GPU 32768
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
