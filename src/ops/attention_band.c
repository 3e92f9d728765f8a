/* SPDX-License-Identifier: MIT */
#include "ops/attention_band.h"

#include <colt5/device.h>

#include <stdlib.h>
#include <string.h>

#include "ops/attention_mma.h"
#include "ops/attention_trial.h"
#include "runtime/probe.h"

#define WIDEST      64    /* HEAD of the kernels */
#define NARROWEST   33    /* for less the tiles of attention_mma.cl are half as wide */
#define REACH       64    /* of the kernels */
#define LOCAL_BYTES 49152 /* the rows of two kinds that a tile of 64 may see */

colt5_status attention_band(colt5_context *ctx, const struct attention_problem *a,
                            const colt5_tensor *y, const colt5_tensor *lse)
{
    return launch(
        ctx, KERNEL_ATTENTION_BAND, ATTENTION_BAND_DEFINES(a),
        GROUPS(attention_query_tiles(a, ATTENTION_BAND_ROWS) * a->H, 1, a->B, ATTENTION_BAND_ITEMS),
        ARGS(TENSOR(a->q), TENSOR(a->mask), TENSOR(y), TENSOR(lse), ATTENTION_SIZES(a)));
}

static bool fits(const colt5_context *ctx, const struct attention_problem *a)
{
    const char *wanted = getenv("COLT5_ATTENTION");
    return a->local && a->q->type != COLT5_F32 && a->E >= NARROWEST && a->window <= REACH &&
           !(wanted && !strcmp(wanted, "mma")) && attention_mma_has(ctx, a, WIDEST) &&
           colt5_context_device_info(ctx)->local_memory >= LOCAL_BYTES;
}

bool attention_band_can(colt5_context *ctx, const struct attention_problem *a,
                        const colt5_tensor *y, attention_way plain)
{
    struct attention_try call = {
        .like = a, .E = WIDEST - 8, .plain = plain, .tried = attention_band};
    return fits(ctx, a) && attention_multiple_of_8(y) &&
           probe(ctx, PROBE_ATTENTION_BAND + (a->q->type == COLT5_BF16),
                 "local attention: kernels for short windows are", attention_try_out, &call);
}

bool attention_band_can_go_back(colt5_context *ctx, const struct attention_backward *call,
                                attention_way forward, attention_way_back plain,
                                attention_way_back band)
{
    const struct attention_problem *a = call->problem;
    struct attention_try trial = {
        .like = a, .E = WIDEST - 8, .plain = forward, .plain_back = plain, .tried_back = band};
    return fits(ctx, a) && attention_multiple_of_8(call->dy) && attention_multiple_of_8(call->dq) &&
           probe(ctx, PROBE_ATTENTION_BAND_BACKWARD + (a->q->type == COLT5_BF16),
                 "local attention: kernels for short windows are, in the backward,",
                 attention_try_out, &trial);
}
