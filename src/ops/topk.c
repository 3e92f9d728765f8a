/* SPDX-License-Identifier: MIT */
#include "ops/topk.h"

#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

#define RUN 2048 /* keys sorted in local memory: 16 KB */

struct topk {
    const colt5_tensor *x, *mask, *values, *index, *scores, *gates, *state;
    const colt5_topk_gradient *gradient; /* backward */
    const colt5_tensor *dx;
    size_t B, R, N, K;
    colt5_topk_options options;
};

colt5_topk_options colt5_topk_options_default(void)
{
    return (colt5_topk_options){
        .fetch_k_ratio = 9.0f / 8, .n_iters = 20, .eps = 0.1f, .eps_init = 0, .eps_decay = 1};
}

static colt5_coor_descent_options solver_options(const struct topk *call)
{
    const colt5_topk_options *o = &call->options;
    const double wanted = (double)call->K * (double)o->fetch_k_ratio, N = (double)call->N;
    return (colt5_coor_descent_options){.k = (float)(wanted < N ? wanted : N),
                                        .n_iters = o->n_iters,
                                        .eps = o->eps,
                                        .eps_init = o->eps_init > 0 ? o->eps_init : o->eps,
                                        .eps_decay = o->eps_decay};
}

static colt5_status check_options(colt5_context *ctx, const char *op,
                                  const colt5_topk_options *options, const colt5_tensor *state)
{
    const colt5_topk_options *o = options;
    if (o->non_differentiable) {
        REQUIRE(ctx, !state, COLT5_ERROR_ARGUMENT, "%s: a plain top-k has no state", op);
        return COLT5_OK;
    }
    REQUIRE(ctx, o->fetch_k_ratio >= 1, COLT5_ERROR_ARGUMENT, "%s: fetch_k_ratio is %g, below 1",
            op, (double)o->fetch_k_ratio);
    REQUIRE(ctx, o->n_iters >= 1 && o->n_iters <= 10000, COLT5_ERROR_ARGUMENT,
            "%s: n_iters is %d, not in 1 to 10000", op, o->n_iters);
    REQUIRE(ctx, o->eps > 0 && o->eps_init >= 0, COLT5_ERROR_ARGUMENT,
            "%s: eps is %g and eps_init %g; they must be above 0", op, (double)o->eps,
            (double)o->eps_init);
    return COLT5_OK;
}

/* Fills call and checks what both directions have: x, mask, index, state. */
static colt5_status check_common(colt5_context *ctx, const char *op, struct topk *call)
{
    const colt5_tensor *x = call->x, *mask = call->mask, *index = call->index;
    REQUIRE_TENSOR(ctx, op, x, 3);
    REQUIRE_TENSOR(ctx, op, index, 3);
    call->B = x->dims[0];
    call->R = x->dims[1];
    call->N = x->dims[2];
    call->K = index->dims[2];
    REQUIRE_TYPE(ctx, op, x, COLT5_F32);
    REQUIRE_TYPE(ctx, op, index, COLT5_I32);
    REQUIRE_SHAPE(ctx, op, index, call->B, call->R, call->K);
    if (mask) {
        REQUIRE_TYPE(ctx, op, mask, COLT5_U8);
        REQUIRE_SHAPE(ctx, op, mask, call->B, call->N);
    }
    REQUIRE(ctx, call->N <= INT32_MAX, COLT5_ERROR_SHAPE, "%s: N is %zu, the largest index %d", op,
            call->N, INT32_MAX);
    REQUIRE(ctx, call->K >= 1 && call->K <= call->N, COLT5_ERROR_SHAPE,
            "%s: K is %zu, not in 1 to N = %zu", op, call->K, call->N);
    CHECK(check_options(ctx, op, &call->options, call->state));
    if (!call->state) return COLT5_OK;
    CHECK(check_type(ctx, op, "state", call->state, COLT5_F32));
    return check_shape(ctx, op, "state", call->state, 4,
                       (const size_t[]){call->B, call->R, (size_t)call->options.n_iters,
                                        COLT5_COOR_DESCENT_STATE});
}

/* A tensor f32 [B][R][K] that may be absent. */
static colt5_status check_picked(colt5_context *ctx, const char *op, const struct topk *call,
                                 const char *name, const colt5_tensor *picked)
{
    if (!picked) return COLT5_OK;
    CHECK(check_type(ctx, op, name, picked, COLT5_F32));
    CHECK(check_shape(ctx, op, name, picked, 3, call->index->dims));
    return check_apart(ctx, op, name, picked, call->dx ? "dx" : "x", call->dx ? call->dx : call->x);
}

/* ---- forward ---- */

colt5_status sort_routing_keys(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *mask,
                               const colt5_tensor *picked, colt5_tensor *keys)
{
    const size_t N = x->dims[2], K = picked ? picked->dims[2] : N, R = x->dims[1];
    const size_t rows = x->dims[0] * R, dims[] = {x->dims[0], R, K}, runs = (K + RUN - 1) / RUN;
    size_t size = 1, group;
    while (size < K && size < RUN) size *= 2;
    colt5_tensor merged;
    CHECK(scratch(ctx, COLT5_I64, 3, dims, keys));
    CHECK(group_size(ctx, KERNEL_TOPK_SORT, NO_DEFINES,
                     device_is_cpu(ctx) ? 1 : (size < 64 ? 64 : size / 2), &group));
    CHECK(launch(ctx, KERNEL_TOPK_SORT, NO_DEFINES, GROUPS(rows * runs, 1, 1, group),
                 ARGS(TENSOR(x), TENSOR(mask), TENSOR(picked), TENSOR(keys), SIZE(R), SIZE(N),
                      SIZE(K), SIZE(RUN), INT((int)size), LOCAL(size * sizeof(cl_ulong)))));
    if (runs > 1) CHECK(scratch(ctx, COLT5_I64, 3, dims, &merged));
    for (size_t run = RUN; run < K; run *= 2) {
        CHECK(launch(ctx, KERNEL_TOPK_MERGE, NO_DEFINES, GRID(rows * K, 1, 1),
                     ARGS(TENSOR(keys), TENSOR(&merged), SIZE(K), SIZE(run), SIZE(rows * K))));
        const colt5_tensor swap = *keys;
        *keys = merged;
        merged = swap;
    }
    return COLT5_OK;
}

static colt5_status run_forward(colt5_context *ctx, void *argument)
{
    const struct topk *call = argument;
    const size_t count = call->B * call->R * call->K;
    const bool solve = !call->options.non_differentiable && (call->scores || call->state);
    colt5_tensor g, picked, keys;
    if (solve) {
        const colt5_coor_descent_options options = solver_options(call);
        CHECK(scratch(ctx, COLT5_F32, 3, call->x->dims, &g));
        CHECK(colt5_coor_descent_forward(ctx, call->x, call->mask, &options, &g, call->state));
    }
    CHECK(scratch(ctx, COLT5_I32, 3, call->index->dims, &picked));
    CHECK(colt5_select(ctx, call->x, call->mask, &picked));
    CHECK(sort_routing_keys(ctx, call->x, call->mask, &picked, &keys));
    return launch(ctx, KERNEL_TOPK_WRITE, NO_DEFINES, GRID(count, 1, 1),
                  ARGS(TENSOR(call->x), TENSOR(&keys), TENSOR(solve ? &g : NULL),
                       TENSOR(call->values), TENSOR(call->index), TENSOR(call->scores),
                       TENSOR(call->gates), SIZE(call->N), SIZE(call->K), SIZE(count)));
}

colt5_status colt5_topk_forward(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *mask,
                                const colt5_topk_options *options, const colt5_tensor *values,
                                const colt5_tensor *index, const colt5_tensor *scores,
                                const colt5_tensor *gates, const colt5_tensor *state)
{
    const char *op = "topk_forward";
    struct topk call = {.x = x,
                        .mask = mask,
                        .values = values,
                        .index = index,
                        .scores = scores,
                        .gates = gates,
                        .state = state,
                        .options = options ? *options : colt5_topk_options_default()};
    CHECK(check_common(ctx, op, &call));
    REQUIRE(ctx, !call.options.non_differentiable || !scores, COLT5_ERROR_ARGUMENT,
            "%s: a plain top-k has no scores", op);
    REQUIRE_TENSOR(ctx, op, values, 3);
    CHECK(check_picked(ctx, op, &call, "values", values));
    CHECK(check_picked(ctx, op, &call, "scores", scores));
    CHECK(check_picked(ctx, op, &call, "gates", gates));

    count_work(ctx, 0, 4 * call.B * call.R * (call.N + 4 * call.K));
    return workspace_call(ctx, op, run_forward, &call, NULL, 0);
}

/* ---- backward ---- */

/* The solver's gradient of what reaches the scores and gates, and through the gates the values. */
static colt5_status gate_gradient(colt5_context *ctx, const struct topk *call)
{
    const colt5_topk_gradient *gradient = call->gradient;
    const colt5_coor_descent_options options = solver_options(call);
    const size_t count = call->B * call->R * call->K;
    colt5_tensor dg;
    CHECK(scratch(ctx, COLT5_F32, 3, call->x->dims, &dg));
    CHECK(clear_tensor(ctx, &dg));
    CHECK(
        launch(ctx, KERNEL_TOPK_GATE_GRADIENT, NO_DEFINES, GRID(count, 1, 1),
               ARGS(TENSOR(call->x), TENSOR(call->mask), TENSOR(call->index),
                    TENSOR(gradient->dvalues), TENSOR(gradient->dscores), TENSOR(gradient->dgates),
                    TENSOR(&dg), SIZE(call->R), SIZE(call->N), SIZE(call->K), SIZE(count))));
    return colt5_coor_descent_backward(ctx, call->x, call->mask, &options, call->state, &dg,
                                       call->dx, NULL);
}

static colt5_status run_backward(colt5_context *ctx, void *argument)
{
    const struct topk *call = argument;
    const size_t count = call->B * call->R * call->K;
    CHECK(call->options.non_differentiable ? clear_tensor(ctx, call->dx)
                                           : gate_gradient(ctx, call));
    if (!call->gradient->dvalues) return COLT5_OK;
    return launch(ctx, KERNEL_TOPK_VALUE_GRADIENT, NO_DEFINES, GRID(count, 1, 1),
                  ARGS(TENSOR(call->gradient->dvalues), TENSOR(call->index), TENSOR(call->dx),
                       SIZE(call->N), SIZE(call->K), SIZE(count)));
}

colt5_status colt5_topk_backward(colt5_context *ctx, const colt5_tensor *x,
                                 const colt5_tensor *mask, const colt5_topk_options *options,
                                 const colt5_tensor *index, const colt5_tensor *state,
                                 const colt5_topk_gradient *gradient, const colt5_tensor *dx)
{
    const char *op = "topk_backward";
    struct topk call = {.x = x,
                        .mask = mask,
                        .index = index,
                        .state = state,
                        .gradient = gradient,
                        .dx = dx,
                        .options = options ? *options : colt5_topk_options_default()};
    CHECK(check_common(ctx, op, &call));
    REQUIRE(ctx, state || call.options.non_differentiable, COLT5_ERROR_ARGUMENT,
            "%s: state is NULL", op);
    REQUIRE(ctx, gradient && (gradient->dvalues || gradient->dscores || gradient->dgates),
            COLT5_ERROR_ARGUMENT, "%s: no gradient is given", op);
    REQUIRE_LIKE(ctx, op, dx, x);
    REQUIRE_APART(ctx, op, dx, x);
    CHECK(check_picked(ctx, op, &call, "dvalues", gradient->dvalues));
    CHECK(check_picked(ctx, op, &call, "dscores", gradient->dscores));
    CHECK(check_picked(ctx, op, &call, "dgates", gradient->dgates));

    count_work(ctx, 0, 4 * call.B * call.R * (2 * call.N + 4 * call.K));
    return workspace_call(ctx, op, run_backward, &call, NULL, 0);
}
