/* SPDX-License-Identifier: MIT */
#include <colt5/ops/sinkhorn.h>

#include <math.h>

#include <colt5/device.h>

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

#define MOST_SLOTS  8    /* of a work-item in a pass over all slots, on GPUs */
#define MOST_ALONE  4096 /* the same on CPUs, where it has them all */
#define PASS_TOKENS 4    /* that it takes at a time on GPUs */
#define PASS_GROUP  256

/* How the kernels run here. */
struct geometry {
    size_t tokens; /* -D TOKENS */
    size_t group;
};

/* How the kernels that pass over all slots at once run: each work-group `width` tokens. */
struct pass_geometry {
    bool fits; /* else the kernels above */
    size_t tokens, group, width, parts;
    struct define defines[4];
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

static size_t power_of_two_from(size_t least)
{
    size_t power = 1;
    while (power < least) power *= 2;
    return power;
}

/* A few work-groups for each compute unit. The width does not depend on the kernels, parts neither.
 */
static colt5_status choose_passes(colt5_context *ctx, const struct sinkhorn_call *call,
                                  struct pass_geometry *pass)
{
    static const enum kernel reducing[] = {KERNEL_SINKHORN_PASS, KERNEL_SINKHORN_PASS_BACKWARD};
    const bool cpu = device_is_cpu(ctx);
    const size_t wanted =
        (size_t)tuned(ctx, TUNED_SINKHORN_PARTS) * colt5_context_device_info(ctx)->compute_units;
    const size_t each = call->rows * call->N / wanted + 1, share = power_of_two_from(call->K) / 4;
    pass->tokens = cpu ? 16 : PASS_TOKENS;
    pass->width = (each + pass->tokens - 1) / pass->tokens * pass->tokens;
    pass->parts = (call->N + pass->width - 1) / pass->width;
    pass->group = cpu ? 1 : share < 32 ? 32 : share < PASS_GROUP ? share : PASS_GROUP;
    size_t slots = power_of_two_from((call->K + pass->group - 1) / pass->group);
    if (cpu && slots < 16) slots = 16; /* few builds */
    const struct define defines[] = {
        DEFINE("TOKENS", pass->tokens), DEFINE("SLOTS", slots), DEFINE("ALONE", cpu), {NULL, 0}};
    for (size_t i = 0; i < 4; i++) pass->defines[i] = defines[i];
    pass->fits = slots <= (cpu ? MOST_ALONE : MOST_SLOTS);
    for (size_t i = 0; i < 2 && pass->fits; i++) {
        size_t group;
        const colt5_status status =
            group_size(ctx, reducing[i], pass->defines, pass->group, &group);
        if (status != COLT5_OK) return status;
        if (group < pass->group) pass->fits = false;
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

/* The potentials of the slots from those of the tokens. */
static colt5_status step_slots(colt5_context *ctx, const struct sinkhorn_call *call,
                               const struct geometry *geometry, const struct potentials *before,
                               const struct potentials *a)
{
    const size_t group = geometry->group;
    return launch(
        ctx, KERNEL_SINKHORN_SLOTS, TOKENS(geometry), GROUPS(call->rows, call->K, 1, group),
        ARGS(TENSOR(&before->at), SIZE(before->stride), TENSOR(&a->at), SIZE(a->stride),
             SIZE(call->N), SIZE(call->R), NOISE(&call->options), LOCAL(group * sizeof(float))));
}

/* The potentials of the slots from those of the tokens, then the reverse. */
static colt5_status step(colt5_context *ctx, const struct sinkhorn_call *call,
                         const struct geometry *geometry, const struct potentials *before,
                         const struct potentials *a, const struct potentials *b)
{
    const size_t lanes = geometry->group * geometry->tokens * sizeof(float);
    const colt5_status status = step_slots(ctx, call, geometry, before, a);
    if (status != COLT5_OK) return status;
    return launch(ctx, KERNEL_SINKHORN_TOKENS, TOKENS(geometry), token_grid(call, geometry),
                  ARGS(TENSOR(call->mask), TENSOR(&a->at), SIZE(a->stride), TENSOR(&b->at),
                       SIZE(b->stride), SIZE(call->N), SIZE(call->R), SIZE(call->K),
                       NOISE(&call->options), LOCAL(lanes), LOCAL(lanes)));
}

/* Memory of a run forward. */
struct between {
    struct potentials before, a, b; /* a and b: where there is no state */
    colt5_tensor partials, found;
};

static colt5_status choose_after(colt5_context *ctx, const struct sinkhorn_call *call,
                                 const struct geometry *geometry, const struct potentials *a,
                                 const struct potentials *b)
{
    const size_t group = geometry->group;
    return launch(
        ctx, KERNEL_SINKHORN_CHOOSE, TOKENS(geometry), GROUPS(call->rows, call->K, 1, group),
        ARGS(TENSOR(&a->at), SIZE(a->stride), TENSOR(&b->at), SIZE(b->stride), TENSOR(call->index),
             TENSOR(call->scores), SIZE(call->N), SIZE(call->R), SIZE(call->K),
             NOISE(&call->options), LOCAL(group * sizeof(float)), LOCAL(group * sizeof(float))));
}

/* Two passes over the noise a step, and one to choose: for any number of slots. */
static colt5_status run_steps(colt5_context *ctx, const struct sinkhorn_call *call,
                              const struct geometry *geometry, struct between *m)
{
    colt5_status status = COLT5_OK;
    for (int t = 0; t < call->options.n_iters; t++) {
        if (call->state) {
            m->a = of_state(call, t, false);
            m->b = of_state(call, t, true);
        }
        TRY(step(ctx, call, geometry, &m->before, &m->a, &m->b));
        m->before = m->b;
    }
    status = choose_after(ctx, call, geometry, &m->a, &m->b);
out:
    return status;
}

/* One pass a step, after one for the first potentials; the last one chooses. */
static colt5_status run_passes(colt5_context *ctx, const struct sinkhorn_call *call,
                               const struct geometry *geometry, const struct pass_geometry *pass,
                               struct between *m)
{
    const int T = call->options.n_iters;
    const size_t slots = call->rows * call->K;
    struct potentials a = call->state ? of_state(call, 0, false) : m->a, b = m->b;
    colt5_status status;
    TRY(step_slots(ctx, call, geometry, &m->before, &a));
    for (int t = 0; t < T; t++) {
        if (call->state) b = of_state(call, t, true);
        TRY(launch(ctx, KERNEL_SINKHORN_PASS, pass->defines,
                   GROUPS(call->rows, pass->parts, 1, pass->group),
                   ARGS(TENSOR(call->mask), TENSOR(&a.at), SIZE(a.stride), TENSOR(&b.at),
                        SIZE(b.stride), TENSOR(&m->partials), TENSOR(t + 1 == T ? &m->found : NULL),
                        SIZE(call->N), SIZE(call->R), SIZE(call->K), SIZE(pass->width),
                        NOISE(&call->options),
                        LOCAL((pass->group + 16) * pass->tokens * sizeof(float)))));
        if (t + 1 == T) break;
        const struct potentials next = call->state ? of_state(call, t + 1, false) : a;
        TRY(launch(ctx, KERNEL_SINKHORN_JOIN, pass->defines, GRID(slots, 1, 1),
                   ARGS(TENSOR(&a.at), SIZE(a.stride), TENSOR(&m->partials), TENSOR(&next.at),
                        SIZE(next.stride), SIZE(call->K), SIZE(pass->parts), SIZE(slots))));
        a = next;
    }
    status = launch(ctx, KERNEL_SINKHORN_JOIN_CHOICE, pass->defines, GRID(slots, 1, 1),
                    ARGS(TENSOR(&a.at), SIZE(a.stride), TENSOR(&m->partials), TENSOR(&m->found),
                         TENSOR(call->index), TENSOR(call->scores), SIZE(call->K),
                         SIZE(pass->parts), SIZE(slots)));
out:
    return status;
}

/* Scratch is taken for either: which one fits is known only when the kernels are built. */
static colt5_status run_forward(colt5_context *ctx, void *arguments)
{
    const struct sinkhorn_call *call = arguments;
    const struct stack_mark mark = workspace_mark(ctx);
    struct geometry geometry;
    struct pass_geometry pass;
    struct between m = {.a = {.stride = call->K}, .b = {.stride = call->N}};
    colt5_status status;
    TRY(choose_geometry(ctx, &geometry));
    TRY(choose_passes(ctx, call, &pass));
    TRY(start(ctx, call, &geometry, &m.before));
    if (!call->state) {
        TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, call->K}, &m.a.at));
        TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, call->N}, &m.b.at));
    }
    const size_t dims[] = {call->rows, pass.parts, call->K};
    TRY(scratch(ctx, COLT5_F32, 3, dims, &m.partials));
    TRY(scratch(ctx, COLT5_I32, 3, dims, &m.found));
    status = pass.fits ? run_passes(ctx, call, &geometry, &pass, &m)
                       : run_steps(ctx, call, &geometry, &m);
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

/* da of step t from db after it. */
static colt5_status slots_backward(colt5_context *ctx, const struct sinkhorn_call *call,
                                   const struct geometry *geometry, int t,
                                   const colt5_tensor *direct, const colt5_tensor *da,
                                   const colt5_tensor *db)
{
    const struct potentials a = of_state(call, t, false), b = of_state(call, t, true);
    const size_t group = geometry->group;
    return launch(ctx, KERNEL_SINKHORN_SLOTS_BACKWARD, TOKENS(geometry),
                  GROUPS(call->rows, call->K, 1, group),
                  ARGS(TENSOR(&a.at), SIZE(a.stride), TENSOR(&b.at), SIZE(b.stride), TENSOR(direct),
                       TENSOR(db), TENSOR(da), SIZE(call->N), SIZE(call->R), SIZE(call->K),
                       NOISE(&call->options), LOCAL(group * sizeof(float))));
}

/* db before step t from da of it; before holds the token potentials there. */
static colt5_status tokens_backward(colt5_context *ctx, const struct sinkhorn_call *call,
                                    const struct geometry *geometry, int t,
                                    const struct potentials *before, const colt5_tensor *da,
                                    const colt5_tensor *db)
{
    const struct potentials a = of_state(call, t, false);
    const size_t group = geometry->group;
    return launch(
        ctx, KERNEL_SINKHORN_TOKENS_BACKWARD, TOKENS(geometry), token_grid(call, geometry),
        ARGS(TENSOR(call->mask), TENSOR(&a.at), SIZE(a.stride), TENSOR(&before->at),
             SIZE(before->stride), TENSOR(da), TENSOR(db), SIZE(call->N), SIZE(call->R),
             SIZE(call->K), NOISE(&call->options), LOCAL(group * geometry->tokens * sizeof(float)),
             LOCAL(group * sizeof(float))));
}

/* From the last da to db before step 0, one pass over the noise a step. */
static colt5_status passes_backward(colt5_context *ctx, const struct sinkhorn_call *call,
                                    const struct pass_geometry *pass,
                                    const struct potentials *first, const colt5_tensor *partials,
                                    const colt5_tensor *da, const colt5_tensor *db)
{
    const size_t slots = call->rows * call->K;
    colt5_status status = COLT5_OK;
    for (int t = call->options.n_iters - 1; t >= 0; t--) {
        const struct potentials a = of_state(call, t, false);
        const struct potentials before = t > 0 ? of_state(call, t - 1, false) : a;
        const struct potentials b = t > 0 ? of_state(call, t - 1, true) : *first;
        TRY(launch(ctx, KERNEL_SINKHORN_PASS_BACKWARD, pass->defines,
                   GROUPS(call->rows, pass->parts, 1, pass->group),
                   ARGS(TENSOR(call->mask), TENSOR(&a.at), TENSOR(t > 0 ? &before.at : NULL),
                        SIZE(a.stride), TENSOR(&b.at), SIZE(b.stride), TENSOR(da),
                        TENSOR(t > 0 ? partials : NULL), TENSOR(t > 0 ? NULL : db), SIZE(call->N),
                        SIZE(call->R), SIZE(call->K), SIZE(pass->width), NOISE(&call->options),
                        LOCAL((pass->group + 16) * pass->tokens * sizeof(float)),
                        LOCAL(pass->group * sizeof(float)))));
        if (t == 0) break;
        TRY(launch(
            ctx, KERNEL_SINKHORN_JOIN_BACKWARD, pass->defines, GRID(slots, 1, 1),
            ARGS(TENSOR(partials), TENSOR(da), SIZE(call->K), SIZE(pass->parts), SIZE(slots))));
    }
out:
    return status;
}

/* Memory of a run back. */
struct between_backward {
    struct potentials first;
    colt5_tensor direct, da, db, partials;
};

static colt5_status steps_backward(colt5_context *ctx, const struct sinkhorn_call *call,
                                   const struct geometry *geometry,
                                   const struct pass_geometry *pass,
                                   const struct between_backward *m)
{
    const int last = call->options.n_iters - 1;
    colt5_status status = slots_backward(ctx, call, geometry, last, &m->direct, &m->da, &m->db);
    if (status != COLT5_OK) return status;
    if (pass->fits)
        return passes_backward(ctx, call, pass, &m->first, &m->partials, &m->da, &m->db);
    for (int t = last; t >= 0; t--) {
        const struct potentials before = t > 0 ? of_state(call, t - 1, true) : m->first;
        if (t < last) TRY(slots_backward(ctx, call, geometry, t, NULL, &m->da, &m->db));
        TRY(tokens_backward(ctx, call, geometry, t, &before, &m->da, &m->db));
    }
out:
    return status;
}

static colt5_status run_backward(colt5_context *ctx, void *arguments)
{
    const struct sinkhorn_call *call = arguments;
    const struct stack_mark mark = workspace_mark(ctx);
    const size_t of_slots[] = {call->rows, call->K}, tokens = call->rows * call->N;
    struct geometry geometry;
    struct pass_geometry pass;
    struct between_backward m;
    colt5_status status;
    TRY(choose_geometry(ctx, &geometry));
    TRY(choose_passes(ctx, call, &pass));
    TRY(start(ctx, call, &geometry, &m.first));
    TRY(scratch(ctx, COLT5_F32, 2, of_slots, &m.direct));
    TRY(scratch(ctx, COLT5_F32, 2, of_slots, &m.da));
    TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){call->rows, call->N}, &m.db));
    TRY(scratch(ctx, COLT5_F32, 3, (size_t[]){call->rows, pass.parts, call->K}, &m.partials));
    TRY(start_backward(ctx, call, &m.direct, &m.db));
    TRY(steps_backward(ctx, call, &geometry, &pass, &m));
    status =
        launch(ctx, KERNEL_SINKHORN_END_BACKWARD, DEFINES(DEFINE("TOKENS", 1)), GRID(tokens, 1, 1),
               ARGS(TENSOR(call->s), TENSOR(call->mask), TENSOR(&m.db), TENSOR(call->ds),
                    SIZE(call->N), SIZE(call->R), SIZE(tokens), FLOAT(call->options.temperature),
                    INT(call->options.log_scores != 0)));
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
