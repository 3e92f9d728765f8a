/* SPDX-License-Identifier: MIT */
#include <colt5/ops/sinkhorn.h>

#include <math.h>

#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

/* What both directions are called with. */
struct sinkhorn_call {
    const colt5_tensor *s, *mask, *index, *scores, *state, *dscores, *ds;
    colt5_sinkhorn_options options;
    size_t rows, N, R, K;
};

/* Potentials of all rows after a step: each row `stride` floats from the one before. */
struct potentials {
    colt5_tensor at;
    size_t stride;
};

/* How the kernels run here. */
struct geometry {
    size_t tokens; /* -D TOKENS */
    size_t group;
};

#define TOKENS(g) DEFINES(DEFINE("TOKENS", (g)->tokens))

/* What every kernel that draws noise ends with. */
#define NOISE(o) SIZE((o)->seed), SIZE((o)->first_row), SIZE((o)->row_step), FLOAT((o)->temperature)

static colt5_status choose_geometry(colt5_context *ctx, struct geometry *geometry)
{
    static const enum kernel reducing[] = {KERNEL_SINKHORN_SLOTS, KERNEL_SINKHORN_TOKENS,
                                           KERNEL_SINKHORN_CHOOSE};
    const bool cpu = device_is_cpu(ctx);
    geometry->tokens = cpu ? 16 : 1;
    geometry->group = cpu ? 1 : 256;
    for (size_t i = 0; i < sizeof(reducing) / sizeof(reducing[0]); i++) {
        const colt5_status status =
            group_size(ctx, reducing[i], TOKENS(geometry), geometry->group, &geometry->group);
        if (status != COLT5_OK) return status;
    }
    return COLT5_OK;
}

/* Work-groups over the tokens of each row. */
static struct grid token_grid(const struct sinkhorn_call *call, const struct geometry *geometry)
{
    const size_t columns = geometry->group < 32 ? geometry->group : 32;
    const size_t step = columns * geometry->tokens;
    return GROUPS(call->rows, (call->N + step - 1) / step, 1, geometry->group);
}

/* The potentials of step t (from 0) in a state [B][R][T][K+N]: of slots, or of tokens. */
static struct potentials of_state(const struct sinkhorn_call *call, int t, bool of_tokens)
{
    const size_t step = call->K + call->N, T = (size_t)call->options.n_iters;
    struct potentials potentials = {*call->state, T * step};
    potentials.at.offset += (size_t)t * step + (of_tokens ? call->K : 0);
    return potentials;
}

static colt5_status start(colt5_context *ctx, const struct sinkhorn_call *call,
                          const struct geometry *geometry, struct potentials *first)
{
    const size_t group = geometry->group;
    first->stride = call->N;
    const colt5_status status =
        scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, call->N}, &first->at);
    if (status != COLT5_OK) return status;
    return launch(ctx, KERNEL_SINKHORN_START, TOKENS(geometry), GROUPS(call->rows, 1, 1, group),
                  ARGS(TENSOR(call->s), TENSOR(call->mask), TENSOR(&first->at), SIZE(call->N),
                       SIZE(call->R), FLOAT(call->options.temperature),
                       INT(call->options.log_scores != 0), LOCAL(group * sizeof(float))));
}

/* ---- forward ---- */

/* The potentials of the slots from those of the tokens, then the reverse. */
static colt5_status step(colt5_context *ctx, const struct sinkhorn_call *call,
                         const struct geometry *geometry, const struct potentials *before,
                         const struct potentials *a, const struct potentials *b)
{
    const size_t group = geometry->group, lanes = group * geometry->tokens * sizeof(float);
    const colt5_status status = launch(
        ctx, KERNEL_SINKHORN_SLOTS, TOKENS(geometry), GROUPS(call->rows, call->K, 1, group),
        ARGS(TENSOR(&before->at), SIZE(before->stride), TENSOR(&a->at), SIZE(a->stride),
             SIZE(call->N), SIZE(call->R), NOISE(&call->options), LOCAL(group * sizeof(float))));
    if (status != COLT5_OK) return status;
    return launch(ctx, KERNEL_SINKHORN_TOKENS, TOKENS(geometry), token_grid(call, geometry),
                  ARGS(TENSOR(call->mask), TENSOR(&a->at), SIZE(a->stride), TENSOR(&b->at),
                       SIZE(b->stride), SIZE(call->N), SIZE(call->R), SIZE(call->K),
                       NOISE(&call->options), LOCAL(lanes), LOCAL(lanes)));
}

static colt5_status run_forward(colt5_context *ctx, void *arguments)
{
    const struct sinkhorn_call *call = arguments;
    const struct stack_mark mark = workspace_mark(ctx);
    struct geometry geometry;
    struct potentials before, a = {.stride = call->K}, b = {.stride = call->N};
    colt5_status status;
    TRY(choose_geometry(ctx, &geometry));
    TRY(start(ctx, call, &geometry, &before));
    if (!call->state) {
        TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, call->K}, &a.at));
        TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, call->N}, &b.at));
    }
    for (int t = 0; t < call->options.n_iters; t++) {
        if (call->state) {
            a = of_state(call, t, false);
            b = of_state(call, t, true);
        }
        TRY(step(ctx, call, &geometry, &before, &a, &b));
        before = b;
    }
    status =
        launch(ctx, KERNEL_SINKHORN_CHOOSE, TOKENS(&geometry),
               GROUPS(call->rows, call->K, 1, geometry.group),
               ARGS(TENSOR(&a.at), SIZE(a.stride), TENSOR(&b.at), SIZE(b.stride),
                    TENSOR(call->index), TENSOR(call->scores), SIZE(call->N), SIZE(call->R),
                    SIZE(call->K), NOISE(&call->options), LOCAL(geometry.group * sizeof(float)),
                    LOCAL(geometry.group * sizeof(float))));
out:
    workspace_rewind(ctx, mark);
    return status;
}

static colt5_status check_options(colt5_context *ctx, const char *op,
                                  const colt5_sinkhorn_options *options)
{
    REQUIRE(ctx, options, COLT5_ERROR_ARGUMENT, "%s: options is NULL", op);
    REQUIRE(ctx, options->temperature > 0 && isfinite(options->temperature), COLT5_ERROR_ARGUMENT,
            "%s: temperature is %g, not a finite number above 0", op, (double)options->temperature);
    REQUIRE(ctx, options->n_iters >= 1 && options->n_iters <= 10000, COLT5_ERROR_ARGUMENT,
            "%s: n_iters is %d, not 1 to 10000", op, options->n_iters);
    return COLT5_OK;
}

/* Checks what forward and backward share, and starts the call. */
static colt5_status check_call(colt5_context *ctx, const char *op, const colt5_tensor *s,
                               const colt5_tensor *mask, const colt5_sinkhorn_options *options,
                               const colt5_tensor *index, struct sinkhorn_call *call)
{
    REQUIRE_TENSOR(ctx, op, s, 3);
    REQUIRE_TYPE(ctx, op, s, COLT5_F32);
    if (mask) {
        REQUIRE_TYPE(ctx, op, mask, COLT5_U8);
        REQUIRE_SHAPE(ctx, op, mask, s->dims[0], s->dims[2]);
    }
    CHECK(check_options(ctx, op, options));
    REQUIRE_TENSOR(ctx, op, index, 3);
    REQUIRE_TYPE(ctx, op, index, COLT5_I32);
    REQUIRE_SHAPE(ctx, op, index, s->dims[0], s->dims[1], index->dims[2]);
    REQUIRE(ctx, s->dims[2] < (size_t)1 << 31, COLT5_ERROR_SHAPE, "%s: s has rows of %zu tokens",
            op, s->dims[2]);
    *call = (struct sinkhorn_call){
        .s = s,
        .mask = mask,
        .index = index,
        .options = *options,
        .rows = s->dims[0] * s->dims[1],
        .N = s->dims[2],
        .R = s->dims[1],
        .K = index->dims[2],
    };
    if (call->options.row_step == 0) call->options.row_step = (uint32_t)call->R;
    return COLT5_OK;
}

static colt5_status check_state(colt5_context *ctx, const char *op,
                                const struct sinkhorn_call *call, const colt5_tensor *state)
{
    REQUIRE_TYPE(ctx, op, state, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, state, call->s->dims[0], call->R, (size_t)call->options.n_iters,
                  call->K + call->N);
    return COLT5_OK;
}

colt5_status colt5_sinkhorn_forward(colt5_context *ctx, const colt5_tensor *s,
                                    const colt5_tensor *mask, const colt5_sinkhorn_options *options,
                                    const colt5_tensor *index, const colt5_tensor *scores,
                                    const colt5_tensor *state)
{
    const char *op = "sinkhorn_forward";
    struct sinkhorn_call call;
    CHECK(check_call(ctx, op, s, mask, options, index, &call));
    REQUIRE_TYPE(ctx, op, scores, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, scores, s->dims[0], s->dims[1], call.K);
    if (state) CHECK(check_state(ctx, op, &call, state));
    call.scores = scores;
    call.state = state;
    count_work(ctx, 0, 4 * call.rows * (call.N + 2 * call.K));
    return workspace_call(ctx, op, run_forward, &call, NULL, 0);
}

/* ---- backward ---- */

static colt5_status start_backward(colt5_context *ctx, const struct sinkhorn_call *call,
                                   const colt5_tensor *direct, const colt5_tensor *db)
{
    const int last = call->options.n_iters - 1;
    const struct potentials a = of_state(call, last, false), b = of_state(call, last, true);
    const size_t slots = call->rows * call->K, tokens = call->rows * call->N;
    const colt5_status status =
        launch(ctx, KERNEL_SINKHORN_DIRECT, DEFINES(DEFINE("TOKENS", 1)), GRID(slots, 1, 1),
               ARGS(TENSOR(&a.at), SIZE(a.stride), TENSOR(&b.at), SIZE(b.stride),
                    TENSOR(call->index), TENSOR(call->dscores), TENSOR(direct), SIZE(call->N),
                    SIZE(call->R), SIZE(call->K), SIZE(slots), NOISE(&call->options)));
    if (status != COLT5_OK) return status;
    return launch(ctx, KERNEL_SINKHORN_COLLECT, DEFINES(DEFINE("TOKENS", 1)), GRID(tokens, 1, 1),
                  ARGS(TENSOR(call->index), TENSOR(direct), TENSOR(db), SIZE(call->N),
                       SIZE(call->K), SIZE(tokens)));
}

/* From db after step t to db before it; before holds the token potentials there. */
static colt5_status step_backward(colt5_context *ctx, const struct sinkhorn_call *call,
                                  const struct geometry *geometry, int t,
                                  const struct potentials *before, const colt5_tensor *direct,
                                  const colt5_tensor *da, const colt5_tensor *db)
{
    const struct potentials a = of_state(call, t, false), b = of_state(call, t, true);
    const size_t group = geometry->group;
    const colt5_status status =
        launch(ctx, KERNEL_SINKHORN_SLOTS_BACKWARD, TOKENS(geometry),
               GROUPS(call->rows, call->K, 1, group),
               ARGS(TENSOR(&a.at), SIZE(a.stride), TENSOR(&b.at), SIZE(b.stride), TENSOR(direct),
                    TENSOR(db), TENSOR(da), SIZE(call->N), SIZE(call->R), SIZE(call->K),
                    NOISE(&call->options), LOCAL(group * sizeof(float))));
    if (status != COLT5_OK) return status;
    return launch(
        ctx, KERNEL_SINKHORN_TOKENS_BACKWARD, TOKENS(geometry), token_grid(call, geometry),
        ARGS(TENSOR(call->mask), TENSOR(&a.at), SIZE(a.stride), TENSOR(&before->at),
             SIZE(before->stride), TENSOR(da), TENSOR(db), SIZE(call->N), SIZE(call->R),
             SIZE(call->K), NOISE(&call->options), LOCAL(group * geometry->tokens * sizeof(float)),
             LOCAL(group * sizeof(float))));
}

static colt5_status run_backward(colt5_context *ctx, void *arguments)
{
    const struct sinkhorn_call *call = arguments;
    const struct stack_mark mark = workspace_mark(ctx);
    const int last = call->options.n_iters - 1;
    struct geometry geometry;
    struct potentials first;
    colt5_tensor direct, da, db;
    colt5_status status;
    TRY(choose_geometry(ctx, &geometry));
    TRY(start(ctx, call, &geometry, &first));
    TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, call->K}, &direct));
    TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, call->K}, &da));
    TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, call->N}, &db));
    TRY(start_backward(ctx, call, &direct, &db));
    for (int t = last; t >= 0; t--) {
        const struct potentials before = t > 0 ? of_state(call, t - 1, true) : first;
        TRY(step_backward(ctx, call, &geometry, t, &before, t == last ? &direct : NULL, &da, &db));
    }
    status = launch(ctx, KERNEL_SINKHORN_END_BACKWARD, DEFINES(DEFINE("TOKENS", 1)),
                    GRID(call->rows * call->N, 1, 1),
                    ARGS(TENSOR(call->s), TENSOR(call->mask), TENSOR(&db), TENSOR(call->ds),
                         SIZE(call->N), SIZE(call->R), SIZE(call->rows * call->N),
                         FLOAT(call->options.temperature), INT(call->options.log_scores != 0)));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status colt5_sinkhorn_backward(colt5_context *ctx, const colt5_tensor *s,
                                     const colt5_tensor *mask,
                                     const colt5_sinkhorn_options *options,
                                     const colt5_tensor *index, const colt5_tensor *state,
                                     const colt5_tensor *dscores, const colt5_tensor *ds)
{
    const char *op = "sinkhorn_backward";
    struct sinkhorn_call call;
    CHECK(check_call(ctx, op, s, mask, options, index, &call));
    CHECK(check_state(ctx, op, &call, state));
    REQUIRE_TYPE(ctx, op, dscores, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, dscores, s->dims[0], s->dims[1], call.K);
    REQUIRE_TYPE(ctx, op, ds, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, ds, s->dims[0], s->dims[1], s->dims[2]);
    REQUIRE_APART(ctx, op, s, ds);
    REQUIRE_APART(ctx, op, state, ds);
    REQUIRE_APART(ctx, op, dscores, ds);
    call.state = state;
    call.dscores = dscores;
    call.ds = ds;
    count_work(ctx, 0, 8 * call.rows * (call.N + call.K));
    return workspace_call(ctx, op, run_backward, &call, NULL, 0);
}
