/* SPDX-License-Identifier: MIT */
#include "ops/attention_mma.h"

#include <colt5/device.h>

#include <stdlib.h>
#include <string.h>

#include "ops/attention_trial.h"
#include "runtime/context.h"
#include "runtime/probe.h"

#define WIDEST        128
#define WIDEST_FLOATS 64
#define WIDEST_BACK   64    /* four kinds of rows share the registers */
#define LOCAL_BYTES   34816 /* at most */

struct attention_mma_shape attention_mma_shape(const colt5_context *ctx,
                                               const struct attention_problem *a, bool backward)
{
    const size_t head = a->E <= 32 ? 32 : a->E <= 64 ? 64 : 128;
    const bool floats = a->q->type == COLT5_F32;
    return (struct attention_mma_shape){head, backward || floats || head > 64 ? 32 : 64,
                                        floats && ctx->math == COLT5_MATH_STRICT};
}

colt5_status attention_mma(colt5_context *ctx, const struct attention_problem *a,
                           const colt5_tensor *y, const colt5_tensor *lse)
{
    struct attention_mma_shape shape = attention_mma_shape(ctx, a, false);
    const int keys = tuned(ctx, TUNED_ATTENTION_KEYS);
    if (keys && shape.head <= 64 && a->q->type != COLT5_F32) shape.keys = (size_t)keys;
    return launch(
        ctx, KERNEL_ATTENTION_MMA, ATTENTION_MMA_DEFINES(a, shape),
        GROUPS(attention_query_tiles(a, ATTENTION_MMA_ROWS), a->H, a->B, ATTENTION_MMA_ITEMS),
        ARGS(TENSOR(a->q), TENSOR(a->kv), TENSOR(a->null_kv), TENSOR(a->mask), TENSOR(a->q_scores),
             TENSOR(a->kv_scores), INT(a->multiply_keys), TENSOR(y), TENSOR(lse),
             ATTENTION_SIZES(a)));
}

/* Of each kernel that is built: f16, bf16, tf32 or float32, local or not, three widths. */
static size_t variant(const colt5_context *ctx, const struct attention_problem *a)
{
    const struct attention_mma_shape shape = attention_mma_shape(ctx, a, false);
    const size_t type = a->q->type == COLT5_F32 ? 2 + shape.exact : a->q->type == COLT5_BF16;
    return (type * 2 + a->local) * 3 + shape.head / 64;
}

bool attention_multiple_of_8(const colt5_tensor *tensor)
{
    return !tensor || tensor->offset % 8 == 0;
}

bool attention_mma_has(const colt5_context *ctx, const struct attention_problem *a, size_t widest)
{
    const colt5_device_info *device = colt5_context_device_info(ctx);
    const char *wanted = getenv("COLT5_ATTENTION"), *units = device->matrix_units;
    const bool has = !strcmp(units, "mma") || !strcmp(units, "wgmma");
    return has && !(wanted && !strcmp(wanted, "tiles")) &&
           device->largest_group >= ATTENTION_MMA_ITEMS && device->local_memory >= LOCAL_BYTES &&
           a->E <= widest && a->E % 8 == 0 && attention_multiple_of_8(a->q) &&
           attention_multiple_of_8(a->kv) && attention_multiple_of_8(a->null_kv);
}

bool attention_mma_can(colt5_context *ctx, const struct attention_problem *a, const colt5_tensor *y,
                       attention_way plain)
{
    struct attention_try call = {.like = a, .plain = plain, .tried = attention_mma};
    const size_t widest = a->q->type == COLT5_F32 ? WIDEST_FLOATS : WIDEST;
    call.E = attention_mma_shape(ctx, a, false).head - 8; /* a ragged one */
    return attention_mma_has(ctx, a, widest) && y->offset % 2 == 0 &&
           probe(ctx, PROBE_ATTENTION_MMA + variant(ctx, a), "attention: matrix units are",
                 attention_try_out, &call);
}

bool attention_mma_can_go_back(colt5_context *ctx, const struct attention_backward *call,
                               attention_way forward, attention_way_back plain,
                               attention_way_back mma)
{
    const struct attention_problem *a = call->problem;
    struct attention_try trial = {
        .like = a, .plain = forward, .plain_back = plain, .tried_back = mma};
    trial.E = attention_mma_shape(ctx, a, true).head - 8;
    const bool written_in_pairs =
        (!call->dq || call->dq->offset % 2 == 0) && (!call->dkv || call->dkv->offset % 2 == 0);
    return attention_mma_has(ctx, a, WIDEST_BACK) && attention_multiple_of_8(call->dy) &&
           written_in_pairs &&
           probe(ctx, PROBE_ATTENTION_MMA_BACKWARD + variant(ctx, a),
                 "attention: matrix units are, in the backward,", attention_try_out, &trial);
}
