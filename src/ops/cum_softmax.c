/* SPDX-License-Identifier: MIT */
#include <colt5/ops/cum_softmax.h>

#include <math.h>

#include "ops/topk.h"
#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

#define GROUP     256  /* work-items of a chunk on GPUs, one on CPUs */
#define CHUNK     2048 /* tokens of a work-group there */
#define CPU_CHUNK 1024 /* and on CPUs */

struct cum_softmax {
    const colt5_tensor *s, *mask, *scores, *dscores, *ds;
    size_t rows, N;
    float temperature;
};

/* Rows cut to chunks of width. */
struct geometry {
    size_t width, group, local; /* local: bytes of a float per work-item */
    struct grid grid;
};

static colt5_status choose_geometry(colt5_context *ctx, const struct cum_softmax *call,
                                    struct geometry *geometry)
{
    static const enum kernel reducing[] = {KERNEL_CUM_SOFTMAX_PARTIALS, KERNEL_CUM_SOFTMAX_SCORES,
                                           KERNEL_CUM_SOFTMAX_PARTIALS_BACKWARD,
                                           KERNEL_CUM_SOFTMAX_BACKWARD};
    geometry->width = device_is_cpu(ctx) ? CPU_CHUNK : CHUNK;
    geometry->group = device_is_cpu(ctx) ? 1 : GROUP;
    for (size_t i = 0; i < sizeof(reducing) / sizeof(reducing[0]); i++) {
        const colt5_status status =
            group_size(ctx, reducing[i], NO_DEFINES, geometry->group, &geometry->group);
        if (status != COLT5_OK) return status;
    }
    geometry->local = geometry->group * sizeof(float);
    geometry->grid =
        GROUPS(call->rows, (call->N + geometry->width - 1) / geometry->width, 1, geometry->group);
    return COLT5_OK;
}

/* From sorted keys to the scores by token, or to sums by position; the other is NULL. */
static colt5_status launch_sums(colt5_context *ctx, const struct cum_softmax *call,
                                const struct geometry *g, const colt5_tensor *keys,
                                const colt5_tensor *partials, const colt5_tensor *scores,
                                const colt5_tensor *sums)
{
    const colt5_status status =
        launch(ctx, KERNEL_CUM_SOFTMAX_PARTIALS, NO_DEFINES, g->grid,
               ARGS(TENSOR(call->s), TENSOR(keys), TENSOR(partials), SIZE(call->N), SIZE(g->width),
                    FLOAT(call->temperature), LOCAL(g->local)));
    if (status != COLT5_OK) return status;
    return launch(ctx, KERNEL_CUM_SOFTMAX_SCORES, NO_DEFINES, g->grid,
                  ARGS(TENSOR(call->s), TENSOR(keys), TENSOR(partials), TENSOR(scores),
                       TENSOR(sums), SIZE(call->N), SIZE(g->width), FLOAT(call->temperature),
                       LOCAL(g->local)));
}

static colt5_status launch_backward(colt5_context *ctx, const struct cum_softmax *call,
                                    const struct geometry *g, const colt5_tensor *keys,
                                    const colt5_tensor *partials, const colt5_tensor *sums)
{
    const colt5_status status = launch(
        ctx, KERNEL_CUM_SOFTMAX_PARTIALS_BACKWARD, NO_DEFINES, g->grid,
        ARGS(TENSOR(call->s), TENSOR(keys), TENSOR(sums), TENSOR(call->dscores), TENSOR(partials),
             SIZE(call->N), SIZE(g->width), FLOAT(call->temperature), LOCAL(g->local)));
    if (status != COLT5_OK) return status;
    return launch(ctx, KERNEL_CUM_SOFTMAX_BACKWARD, NO_DEFINES, g->grid,
                  ARGS(TENSOR(call->s), TENSOR(keys), TENSOR(sums), TENSOR(call->dscores),
                       TENSOR(partials), TENSOR(call->ds), SIZE(call->N), SIZE(g->width),
                       FLOAT(call->temperature), LOCAL(g->local)));
}

static colt5_status run(colt5_context *ctx, void *arguments)
{
    const struct cum_softmax *call = arguments;
    const struct stack_mark mark = workspace_mark(ctx);
    struct geometry geometry;
    colt5_tensor keys, partials, sums;
    colt5_status status;
    TRY(choose_geometry(ctx, call, &geometry));
    TRY(sort_routing_keys(ctx, call->s, call->mask, NULL, &keys));
    TRY(scratch(ctx, COLT5_F32, 2, geometry.grid.items, &partials));
    if (call->scores) {
        status = launch_sums(ctx, call, &geometry, &keys, &partials, call->scores, NULL);
        goto out;
    }
    TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, call->N}, &sums));
    TRY(launch_sums(ctx, call, &geometry, &keys, &partials, NULL, &sums));
    status = launch_backward(ctx, call, &geometry, &keys, &partials, &sums);
out:
    workspace_rewind(ctx, mark);
    return status;
}

/* Checks what forward and backward share, and starts the call. */
static colt5_status check_call(colt5_context *ctx, const char *op, const colt5_tensor *s,
                               const colt5_tensor *mask, float temperature,
                               struct cum_softmax *call)
{
    REQUIRE_TENSOR(ctx, op, s, 3);
    REQUIRE_TYPE(ctx, op, s, COLT5_F32);
    if (mask) {
        REQUIRE_TYPE(ctx, op, mask, COLT5_U8);
        REQUIRE_SHAPE(ctx, op, mask, s->dims[0], s->dims[2]);
    }
    REQUIRE(ctx, temperature > 0 && isfinite(temperature), COLT5_ERROR_ARGUMENT,
            "%s: temperature is %g, not a finite number above 0", op, (double)temperature);
    REQUIRE(ctx, s->dims[2] < (size_t)1 << 31, COLT5_ERROR_SHAPE, "%s: s has rows of %zu tokens",
            op, s->dims[2]);
    *call = (struct cum_softmax){
        .s = s,
        .mask = mask,
        .rows = s->dims[0] * s->dims[1],
        .N = s->dims[2],
        .temperature = temperature,
    };
    return COLT5_OK;
}

colt5_status colt5_cum_softmax_forward(colt5_context *ctx, const colt5_tensor *s,
                                       const colt5_tensor *mask, float temperature,
                                       const colt5_tensor *scores)
{
    const char *op = "cum_softmax_forward";
    struct cum_softmax call;
    CHECK(check_call(ctx, op, s, mask, temperature, &call));
    REQUIRE_TYPE(ctx, op, scores, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, scores, s->dims[0], s->dims[1], s->dims[2]);
    REQUIRE_APART(ctx, op, s, scores);
    call.scores = scores;
    count_work(ctx, 0, 8 * call.rows * call.N);
    return workspace_call(ctx, op, run, &call, NULL, 0);
}

colt5_status colt5_cum_softmax_backward(colt5_context *ctx, const colt5_tensor *s,
                                        const colt5_tensor *mask, float temperature,
                                        const colt5_tensor *dscores, const colt5_tensor *ds)
{
    const char *op = "cum_softmax_backward";
    struct cum_softmax call;
    CHECK(check_call(ctx, op, s, mask, temperature, &call));
    REQUIRE_TYPE(ctx, op, dscores, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, dscores, s->dims[0], s->dims[1], s->dims[2]);
    REQUIRE_TYPE(ctx, op, ds, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, ds, s->dims[0], s->dims[1], s->dims[2]);
    REQUIRE_APART(ctx, op, s, ds);
    REQUIRE_APART(ctx, op, dscores, ds);
    call.dscores = dscores;
    call.ds = ds;
    count_work(ctx, 0, 12 * call.rows * call.N);
    return workspace_call(ctx, op, run, &call, NULL, 0);
}
