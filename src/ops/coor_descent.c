/* SPDX-License-Identifier: MIT */
#include "ops/coor_descent.h"

#include <math.h>

#include <colt5/device.h>
#include <colt5/ops/route.h>

#include "ops/registers.h"
#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

#define SMALLEST_K    1e-20f
#define MOST_BEYOND   2   /* times what the registers hold a row may have, to be one work-group's */
#define MOST_STEPS    256 /* iterations that a backward keeps in local memory */
#define MOST_REPEATED 131072 /* tokens of a row that every work-group of a backward sums */
#define SPREAD        2048   /* tokens of each, on GPUs */
#define CHUNK         2048   /* tokens of a work-group where rows are cut, on GPUs: 8 an item */
#define MOST_CHUNKS   256    /* of a row: each work-group sums the partials of all */

/* What both directions are called with. */
struct solver_call {
    enum solver_geometry geometry;
    const colt5_tensor *s, *mask, *scores, *state, *dscores, *ds, *dk;
    const colt5_tensor *index; /* or NULL: scores, dscores are of all tokens */
    size_t rows, N, R, K;
    size_t samples; /* of the mask */
    int T;
    float k, eps, eps_init, eps_decay;
    bool k_is_cut; /* to 1e-20: no gradient */
};

/* Rows cut to `count` chunks of `width` tokens, the last one shorter. */
struct chunks {
    size_t width, count;
};

static size_t divide_up(size_t a, size_t b)
{
    return (a + b - 1) / b;
}

static struct chunks cut(colt5_context *ctx, const struct solver_call *call)
{
    size_t width = divide_up(call->N, MOST_CHUNKS);
    if (call->geometry == SOLVER_CHUNKS) {
        if (width < 16) width = 16;
    } else if (!device_is_cpu(ctx)) {
        if (width < CHUNK) width = CHUNK;
    } else { /* a few chunks for each core */
        const size_t wanted = 4 * colt5_context_device_info(ctx)->compute_units;
        const size_t fair = divide_up(call->N * call->rows, wanted);
        if (width < fair) width = fair;
        if (width < CHUNK / 2) width = CHUNK / 2;
    }
    width = divide_up(width, 8) * 8;
    return (struct chunks){width, divide_up(call->N, width)};
}

/* One work-item on a CPU: its vectors are wide enough, and barriers cost. */
static size_t wanted_group(colt5_context *ctx, const struct solver_call *call)
{
    if (call->geometry == SOLVER_CHUNKS) return 32;
    return device_is_cpu(ctx) ? 1 : 256;
}

/* ---- forward ---- */

static colt5_status forward_rows(colt5_context *ctx, const struct solver_call *call,
                                 const struct register_plan *plan)
{
    const colt5_tensor *all = call->index ? NULL : call->scores;
    return launch(ctx, KERNEL_COOR_DESCENT_ROW, plan->defines,
                  GROUPS(call->rows, 1, 1, plan->group),
                  ARGS(TENSOR(call->s), TENSOR(call->mask), TENSOR(all), TENSOR(call->index),
                       TENSOR(call->index ? call->scores : NULL), TENSOR(call->state),
                       SIZE(call->N), SIZE(call->R), SIZE(call->samples), SIZE(call->K),
                       FLOAT(call->k), INT(call->T), FLOAT(call->eps), FLOAT(call->eps_init),
                       FLOAT(call->eps_decay), LOCAL((plan->group + 33) * 2 * sizeof(float))));
}

/* What an iteration sums up, as SPEC has it. */
static double sum_of_terms(const struct row_trial *row, double a, double e, double *ceiling)
{
    double sum = 0;
    *ceiling = 0;
    for (size_t n = 0; n < row->N; n++) {
        const double x = row->values[n] + a;
        sum += fmin(1, exp(x / e));
        *ceiling += x > 0;
    }
    return sum;
}

static bool near(double got, double want)
{
    return fabs(got - want) < 1e-3;
}

/* Whether the row's result holds the scores, and state what the backward needs. */
static bool is_right(const struct solver_call *call, const struct row_trial *row,
                     const float *state)
{
    const float *scores = row->result;
    double e = call->eps_init, a = e * log(call->k / (double)row->valid), ceiling = 0, sum = 1;
    bool good = true;
    for (int t = 0; t < call->T; t++, state += COLT5_COOR_DESCENT_STATE) {
        if (t > 0) {
            e = fmax(e * call->eps_decay, call->eps);
            sum = sum_of_terms(row, a, e, &ceiling);
            a += e * log(call->k / sum);
        }
        good = good && near((double)state[0] + state[1], a) && near(state[2], ceiling / sum) &&
               near(state[3], e);
    }
    e = fmax(e * call->eps_decay, call->eps);
    for (size_t n = 0; n < row->N; n++)
        good = good && near(scores[n], fmin(1, exp((row->values[n] + a) / e)));
    return good;
}

#define TRIAL_STEPS 5

static colt5_status try_registers(colt5_context *ctx, const struct register_plan *plan, size_t N,
                                  bool *works)
{
    float steps[TRIAL_STEPS * COLT5_COOR_DESCENT_STATE];
    struct row_trial trial;
    colt5_tensor scores, state;
    const struct solver_call call = {.s = &trial.s,
                                     .mask = &trial.mask,
                                     .scores = &scores,
                                     .state = &state,
                                     .rows = 1,
                                     .N = N,
                                     .R = 1,
                                     .samples = 1,
                                     .T = TRIAL_STEPS,
                                     .k = (float)N / 5,
                                     .eps = 0.5F,
                                     .eps_init = 4,
                                     .eps_decay = 0.6F};
    colt5_status status;
    TRY(row_trial_make(ctx, N, &trial));
    TRY(scratch(ctx, COLT5_F32, 3, (size_t[]){1, 1, N}, &scores));
    TRY(scratch(ctx, COLT5_F32, 1, (size_t[]){sizeof(steps) / sizeof(*steps)}, &state));
    TRY(forward_rows(ctx, &call, plan));
    TRY(colt5_tensor_read(ctx, &scores, trial.result));
    TRY(colt5_tensor_read(ctx, &state, steps));
    *works = is_right(&call, &trial, steps);
out:
    row_trial_release(ctx, &trial);
    return status;
}

static const struct register_kernel in_registers = {REGISTERS_OF_SOLVER, "coor_descent",
                                                    try_registers, true};

static colt5_status forward_chunks(colt5_context *ctx, const struct solver_call *call,
                                   const struct chunks *chunks, const colt5_tensor *scores,
                                   colt5_tensor *between)
{
    const size_t rows = call->rows, N = call->N;
    double e = call->eps_init;
    size_t group;
    colt5_status status =
        group_size(ctx, KERNEL_COOR_DESCENT_STEP, NO_DEFINES, wanted_group(ctx, call), &group);
    if (status != COLT5_OK) return status;
    const struct grid grid = GROUPS(rows, chunks->count, 1, group);
    const size_t local = (group + 33) * 2 * sizeof(float);

    status = launch(ctx, KERNEL_COOR_DESCENT_BEGIN, NO_DEFINES, grid,
                    ARGS(TENSOR(call->s), TENSOR(call->mask), TENSOR(scores), TENSOR(&between[0]),
                         SIZE(N), SIZE(call->R), SIZE(call->samples), SIZE(chunks->width),
                         LOCAL(local)));
    for (int t = 0; t < call->T && status == COLT5_OK; t++) {
        const colt5_tensor *before = &between[t % 2], *after = &between[(t + 1) % 2];
        const double next = fmax(e * call->eps_decay, call->eps);
        if (t + 1 < call->T)
            status = launch(ctx, KERNEL_COOR_DESCENT_STEP, NO_DEFINES, grid,
                            ARGS(TENSOR(scores), TENSOR(before), TENSOR(after), TENSOR(call->state),
                                 SIZE(N), SIZE(chunks->width), FLOAT(call->k), FLOAT((float)e),
                                 FLOAT((float)next), INT(call->T), INT(t), LOCAL(local)));
        else
            status = launch(ctx, KERNEL_COOR_DESCENT_END, NO_DEFINES, grid,
                            ARGS(TENSOR(scores), TENSOR(before), TENSOR(call->state), SIZE(N),
                                 SIZE(chunks->width), FLOAT(call->k), FLOAT((float)e),
                                 FLOAT((float)next), INT(call->T), LOCAL(local)));
        e = next;
    }
    return status;
}

/* Whether a work-group holds a row, and which. */
static colt5_status find_row_group(colt5_context *ctx, const struct solver_call *call,
                                   struct register_plan *plan)
{
    const bool wanted =
        call->geometry == SOLVER_ROWS || (call->geometry == SOLVER_BEST && !device_is_cpu(ctx));
    plan->group = 0;
    if (!wanted) return COLT5_OK;
    const colt5_status status = plan_registers(ctx, &in_registers, call->N, plan);
    if (status != COLT5_OK || plan->group) return status;
    return plan_registers(ctx, &in_registers, divide_up(call->N, MOST_BEYOND), plan);
}

/* The scores of all tokens, then of those wanted. */
static colt5_status forward_all(colt5_context *ctx, const struct solver_call *call,
                                const struct chunks *chunks, const colt5_tensor *all,
                                colt5_tensor *between)
{
    const colt5_tensor *scores = call->index ? all : call->scores;
    const colt5_status status = forward_chunks(ctx, call, chunks, scores, between);
    if (status != COLT5_OK || !call->index) return status;
    return colt5_gather_scores(ctx, all, call->index, call->scores);
}

/* Scratch is taken in either geometry: which one fits is known only when the kernel is built. */
static colt5_status run_forward(colt5_context *ctx, void *arguments)
{
    const struct solver_call *call = arguments;
    const struct chunks chunks = cut(ctx, call);
    const struct stack_mark mark = workspace_mark(ctx);
    struct register_plan plan;
    colt5_tensor between[2], all;
    colt5_status status;
    for (int i = 0; i < 2; i++)
        TRY(scratch(ctx, COLT5_F32, 3, (size_t[]){call->rows, chunks.count + 2, 2}, &between[i]));
    if (call->index) TRY(scratch(ctx, COLT5_F32, 3, call->s->dims, &all));
    TRY(find_row_group(ctx, call, &plan));
    status = plan.group ? forward_rows(ctx, call, &plan)
                        : forward_all(ctx, call, &chunks, &all, between);
out:
    workspace_rewind(ctx, mark);
    return status;
}

static colt5_status check_options(colt5_context *ctx, const char *op,
                                  const colt5_coor_descent_options *options)
{
    REQUIRE(ctx, options, COLT5_ERROR_ARGUMENT, "%s: options is NULL", op);
    REQUIRE(ctx, options->k >= 0 && isfinite(options->k), COLT5_ERROR_ARGUMENT,
            "%s: k is %g, not a finite number of at least 0", op, (double)options->k);
    REQUIRE(ctx, options->n_iters >= 1 && options->n_iters <= 10000, COLT5_ERROR_ARGUMENT,
            "%s: n_iters is %d, not 1 to 10000", op, options->n_iters);
    REQUIRE(ctx, options->eps >= 1e-30f && isfinite(options->eps), COLT5_ERROR_ARGUMENT,
            "%s: eps is %g, not a finite number of at least 1e-30", op, (double)options->eps);
    REQUIRE(ctx, isfinite(options->eps_init), COLT5_ERROR_ARGUMENT, "%s: eps_init is %g", op,
            (double)options->eps_init);
    REQUIRE(ctx, options->eps_decay >= 0 && options->eps_decay <= 1, COLT5_ERROR_ARGUMENT,
            "%s: eps_decay is %g, not 0 to 1", op, (double)options->eps_decay);
    return COLT5_OK;
}

static struct solver_call call_of(const colt5_tensor *s, const colt5_tensor *mask,
                                  const colt5_coor_descent_options *options)
{
    return (struct solver_call){
        .s = s,
        .mask = mask,
        .rows = s->dims[0] * s->dims[1],
        .N = s->dims[2],
        .R = s->dims[1],
        .samples = mask ? mask->dims[0] : 1,
        .T = options->n_iters,
        .k = fmaxf(options->k, SMALLEST_K),
        .k_is_cut = options->k < SMALLEST_K,
        .eps = options->eps,
        .eps_init = fmaxf(options->eps_init, options->eps),
        .eps_decay = options->eps_decay,
    };
}

/* Checks what forward and backward share, and starts the call. */
static colt5_status check_call(colt5_context *ctx, const char *op, const colt5_tensor *s,
                               const colt5_tensor *mask, const colt5_coor_descent_options *options,
                               struct solver_call *call)
{
    REQUIRE_TENSOR(ctx, op, s, 3);
    REQUIRE_TYPE(ctx, op, s, COLT5_F32);
    if (mask) {
        REQUIRE_TYPE(ctx, op, mask, COLT5_U8);
        REQUIRE_SHAPE(ctx, op, mask, s->dims[0], s->dims[2]);
    }
    CHECK(check_options(ctx, op, options));
    *call = call_of(s, mask, options);
    return COLT5_OK;
}

static colt5_status check_state(colt5_context *ctx, const char *op, const struct solver_call *call,
                                const colt5_tensor *state)
{
    REQUIRE_TYPE(ctx, op, state, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, state, call->s->dims[0], call->R, (size_t)call->T,
                  COLT5_COOR_DESCENT_STATE);
    return COLT5_OK;
}

colt5_status coor_descent_forward_as(colt5_context *ctx, enum solver_geometry geometry,
                                     const colt5_tensor *s, const colt5_tensor *mask,
                                     const colt5_coor_descent_options *options,
                                     const colt5_tensor *scores, const colt5_tensor *state)
{
    const char *op = "coor_descent_forward";
    struct solver_call call;
    CHECK(check_call(ctx, op, s, mask, options, &call));
    REQUIRE_TYPE(ctx, op, scores, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, scores, s->dims[0], s->dims[1], s->dims[2]);
    REQUIRE_APART(ctx, op, s, scores);
    if (state) {
        CHECK(check_state(ctx, op, &call, state));
        REQUIRE_APART(ctx, op, scores, state);
        REQUIRE_APART(ctx, op, s, state);
    }
    call.geometry = geometry;
    call.scores = scores;
    call.state = state;
    count_work(ctx, 0, 8 * call.rows * call.N);
    return workspace_call(ctx, op, run_forward, &call, NULL, 0);
}

colt5_status colt5_coor_descent_forward(colt5_context *ctx, const colt5_tensor *s,
                                        const colt5_tensor *mask,
                                        const colt5_coor_descent_options *options,
                                        const colt5_tensor *scores, const colt5_tensor *state)
{
    return coor_descent_forward_as(ctx, SOLVER_BEST, s, mask, options, scores, state);
}

/* ---- backward ---- */

static float last_e_of(const struct solver_call *call)
{
    double e = call->eps_init;
    for (int t = 0; t < call->T; t++) e = fmax(e * call->eps_decay, call->eps);
    return (float)e;
}

/* One launch: each work-group sums the whole row, so that rows of all tokens must not be long. */
static bool repeats(colt5_context *ctx, const struct solver_call *call)
{
    const bool short_row = call->index || (!device_is_cpu(ctx) && call->N <= MOST_REPEATED);
    return short_row && call->T <= MOST_STEPS && call->geometry != SOLVER_CHUNKS;
}

static colt5_status launch_repeating(colt5_context *ctx, const struct solver_call *call)
{
    const size_t T = (size_t)call->T;
    const size_t chunk = device_is_cpu(ctx) ? cut(ctx, call).width : SPREAD;
    size_t group;
    const colt5_status status =
        group_size(ctx, KERNEL_COOR_DESCENT_BACKWARD, NO_DEFINES, wanted_group(ctx, call), &group);
    if (status != COLT5_OK) return status;
    return launch(ctx, KERNEL_COOR_DESCENT_BACKWARD, NO_DEFINES,
                  GROUPS(call->rows, divide_up(call->N, chunk), 1, group),
                  ARGS(TENSOR(call->s), TENSOR(call->mask), TENSOR(call->state),
                       TENSOR(call->dscores), TENSOR(call->index), TENSOR(call->ds),
                       TENSOR(call->dk), SIZE(call->N), SIZE(call->R), SIZE(call->samples),
                       SIZE(call->K), SIZE(chunk), FLOAT(call->k), FLOAT(last_e_of(call)),
                       INT(call->T), LOCAL(group * sizeof(float)), LOCAL(T * 4 * sizeof(float)),
                       LOCAL(T * 2 * sizeof(float))));
}

static colt5_status launch_backward(colt5_context *ctx, const struct solver_call *call,
                                    const struct chunks *chunks, const colt5_tensor *dscores,
                                    const colt5_tensor *partials, const colt5_tensor *steps)
{
    const size_t rows = call->rows, N = call->N, eights = divide_up(N, 8);
    size_t group, tile;
    colt5_status status;
    TRY(group_size(ctx, KERNEL_COOR_DESCENT_GRADIENT, NO_DEFINES, wanted_group(ctx, call), &group));
    TRY(group_size(ctx, KERNEL_COOR_DESCENT_RECURSION, NO_DEFINES, device_is_cpu(ctx) ? 1 : 32,
                   &tile));
    TRY(launch(ctx, KERNEL_COOR_DESCENT_GRADIENT, NO_DEFINES, GROUPS(rows, chunks->count, 1, group),
               ARGS(TENSOR(call->s), TENSOR(call->mask), TENSOR(call->state), TENSOR(dscores),
                    TENSOR(call->ds), TENSOR(partials), SIZE(N), SIZE(call->R), SIZE(call->samples),
                    SIZE(chunks->width), FLOAT(last_e_of(call)), INT(call->T),
                    LOCAL(group * sizeof(float)))));
    TRY(launch(ctx, KERNEL_COOR_DESCENT_RECURSION, NO_DEFINES, GROUPS(rows, 1, 1, tile),
               ARGS(TENSOR(call->state), TENSOR(partials), TENSOR(steps), TENSOR(call->dk),
                    SIZE(chunks->count), FLOAT(call->k), INT(call->T), LOCAL(tile * sizeof(float)),
                    LOCAL(tile * sizeof(float)))));
    status =
        launch(ctx, KERNEL_COOR_DESCENT_SPREAD, NO_DEFINES, GRID(rows * eights, 1, 1),
               ARGS(TENSOR(call->s), TENSOR(call->mask), TENSOR(steps), TENSOR(call->ds), SIZE(N),
                    SIZE(call->R), SIZE(call->samples), SIZE(rows * eights), INT(call->T)));
out:
    return status;
}

static colt5_status run_backward(colt5_context *ctx, void *arguments)
{
    const struct solver_call *call = arguments;
    const struct chunks chunks = cut(ctx, call);
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor partials, steps, all = call->index ? *call->s : *call->dscores;
    colt5_status status;
    if (repeats(ctx, call)) {
        TRY(launch_repeating(ctx, call));
    } else {
        TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, chunks.count}, &partials));
        TRY(scratch(ctx, COLT5_F32, 3, (size_t[]){call->rows, (size_t)call->T, 4}, &steps));
        if (call->index) {
            TRY(scratch(ctx, COLT5_F32, 3, call->s->dims, &all));
            TRY(colt5_gather_scores_backward(ctx, call->dscores, call->index, &all));
        }
        TRY(launch_backward(ctx, call, &chunks, &all, &partials, &steps));
    }
    if (call->dk && call->k_is_cut) status = clear_tensor(ctx, call->dk);
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status coor_descent_backward_as(colt5_context *ctx, enum solver_geometry geometry,
                                      const colt5_tensor *s, const colt5_tensor *mask,
                                      const colt5_coor_descent_options *options,
                                      const colt5_tensor *state, const colt5_tensor *dscores,
                                      const colt5_tensor *ds, const colt5_tensor *dk)
{
    const char *op = "coor_descent_backward";
    struct solver_call call;
    CHECK(check_call(ctx, op, s, mask, options, &call));
    CHECK(check_state(ctx, op, &call, state));
    REQUIRE_TYPE(ctx, op, dscores, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, dscores, s->dims[0], s->dims[1], s->dims[2]);
    REQUIRE_TYPE(ctx, op, ds, COLT5_F32);
    REQUIRE_SHAPE(ctx, op, ds, s->dims[0], s->dims[1], s->dims[2]);
    REQUIRE_APART(ctx, op, s, ds);
    REQUIRE_APART(ctx, op, state, ds);
    REQUIRE_APART(ctx, op, dscores, ds);
    if (dk) {
        REQUIRE_TYPE(ctx, op, dk, COLT5_F32);
        REQUIRE_SHAPE(ctx, op, dk, s->dims[0], s->dims[1]);
        REQUIRE_APART(ctx, op, ds, dk);
    }
    call.geometry = geometry;
    call.state = state;
    call.dscores = dscores;
    call.ds = ds;
    call.dk = dk;
    count_work(ctx, 0, 12 * call.rows * call.N);
    return workspace_call(ctx, op, run_backward, &call, NULL, 0);
}

colt5_status colt5_coor_descent_backward(colt5_context *ctx, const colt5_tensor *s,
                                         const colt5_tensor *mask,
                                         const colt5_coor_descent_options *options,
                                         const colt5_tensor *state, const colt5_tensor *dscores,
                                         const colt5_tensor *ds, const colt5_tensor *dk)
{
    return coor_descent_backward_as(ctx, SOLVER_BEST, s, mask, options, state, dscores, ds, dk);
}

/* ---- picked tokens alone ---- */

colt5_status coor_descent_forward_picked(colt5_context *ctx, const colt5_tensor *s,
                                         const colt5_tensor *mask,
                                         const colt5_coor_descent_options *options,
                                         const colt5_tensor *index, const colt5_tensor *picked,
                                         const colt5_tensor *state)
{
    struct solver_call call = call_of(s, mask, options);
    call.index = index;
    call.K = index->dims[2];
    call.scores = picked;
    call.state = state;
    count_work(ctx, 0, call.rows * (4 * call.N + 8 * call.K));
    return workspace_call(ctx, "coor_descent_forward", run_forward, &call, NULL, 0);
}

colt5_status coor_descent_backward_picked(colt5_context *ctx, const colt5_tensor *s,
                                          const colt5_tensor *mask,
                                          const colt5_coor_descent_options *options,
                                          const colt5_tensor *index, const colt5_tensor *state,
                                          const colt5_tensor *dpicked, const colt5_tensor *ds)
{
    struct solver_call call = call_of(s, mask, options);
    call.index = index;
    call.K = index->dims[2];
    call.state = state;
    call.dscores = dpicked;
    call.ds = ds;
    count_work(ctx, 0, call.rows * (8 * call.N + 8 * call.K));
    return workspace_call(ctx, "coor_descent_backward", run_backward, &call, NULL, 0);
}
