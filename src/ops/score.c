/* SPDX-License-Identifier: MIT */
#include "ops/score.h"

#include "ops/rows.h"
#include "ops/warps.h"
#include "runtime/check.h"
#include "runtime/workspace.h"

#define TOKENS  4    /* routing tokens in one pass over x */
#define ROWS    4    /* rows of x a work-item has in flight, as in score.cl */
#define COLUMNS 16   /* of a work-group that reduces, as in score.cl */
#define SPAN    32   /* rows a work-item of the backward pass sums up, or more: */
#define PARTS   1024 /* at most so many spans a sample */

/* What one pass is over: views of a routing token and of its scores, for sample 0. */
struct pass {
    size_t count, first;                            /* tokens; the first one's number in the call */
    colt5_tensor token[TOKENS], s[TOKENS];          /* s is ds in the backward pass */
    size_t step[TOKENS], s_step[TOKENS];            /* to the next sample */
    const colt5_tensor *of[TOKENS], *whole[TOKENS]; /* dtoken (or NULL) and token, not views */
    size_t route[TOKENS];                           /* row of those */
};

struct score {
    const colt5_tensor *x;
    size_t count;
    const colt5_score_target *targets;     /* of the forward call, or */
    const colt5_score_gradient *gradients; /* of the backward call */
    const colt5_score_options *options;    /* NULL: plain */
    const colt5_tensor *dx;                /* backward: NULL: not wanted */
    const colt5_tensor *inverses;          /* forward: likewise */
    bool accumulate;
    size_t all, width; /* routing tokens of all targets; elements read at once */
};

typedef colt5_status (*run_pass)(colt5_context *ctx, const struct score *call,
                                 const struct pass *pass, const colt5_tensor *factor);

static bool per_sample(const colt5_tensor *token)
{
    return token->rank == 3;
}

static size_t routes(const colt5_tensor *token)
{
    return token->dims[token->rank - 2];
}

static const colt5_tensor *token_of(const struct score *call, size_t i)
{
    return call->targets ? call->targets[i].token : call->gradients[i].token;
}

static bool is_cosine(const struct score *call)
{
    return call->options && call->options->cosine;
}

static bool needs_norms(const struct score *call)
{
    return is_cosine(call) || call->inverses;
}

static colt5_status check_target(colt5_context *ctx, const char *op, const colt5_tensor *x,
                                 const colt5_tensor *token, const char *name, const colt5_tensor *s)
{
    const size_t B = x->dims[0], N = x->dims[1], D = x->dims[2];
    REQUIRE_TENSOR(ctx, op, token, 0);
    REQUIRE_TYPE(ctx, op, token, x->type);
    REQUIRE(ctx, token->rank == 2 || token->rank == 3, COLT5_ERROR_SHAPE,
            "%s: token has rank %d, not 2 or 3", op, token->rank);
    const size_t R = routes(token);
    if (per_sample(token))
        REQUIRE_SHAPE(ctx, op, token, B, R, D);
    else
        REQUIRE_SHAPE(ctx, op, token, R, D);
    CHECK(check_type(ctx, op, name, s, COLT5_F32));
    return check_shape(ctx, op, name, s, 3, (const size_t[]){B, R, N});
}

/* Counts the routing tokens, and sees whether every row can be read by vectors. */
static void survey(const colt5_context *ctx, struct score *call)
{
    const colt5_tensor *x = call->x;
    call->width = vector_width(ctx, x->type, x->dims[2], x, call->dx);
    for (size_t i = 0; i < call->count; i++) {
        const colt5_tensor *token = token_of(call, i);
        call->all += routes(token);
        if (call->width > vector_width(ctx, x->type, x->dims[2], token)) call->width = 1;
    }
}

#define SCORE_DEFINES(call, type, tokens)                                                          \
    DEFINES(STORAGE(type), DEFINE("TOKENS", tokens), DEFINE("COSINE", is_cosine(call)),            \
            DEFINE("NORMS", needs_norms(call)), DEFINE("WIDTH", (call)->width),                    \
            DEFINE("WARPS", warps(ctx, type)), DEFINE("AT_ONCE", device_is_cpu(ctx) ? 1 : 4))
#define S_ARGS(pass, t) TENSOR((t) < (pass)->count ? &(pass)->s[t] : NULL), SIZE((pass)->s_step[t])
#define TOKEN_ARGS(pass, t)                                                                        \
    TENSOR((t) < (pass)->count ? &(pass)->token[t] : NULL), SIZE((pass)->step[t]), S_ARGS(pass, t)
#define EVERY_TOKEN_ARGS(pass)                                                                     \
    TOKEN_ARGS(pass, 0), TOKEN_ARGS(pass, 1), TOKEN_ARGS(pass, 2), TOKEN_ARGS(pass, 3)

/* ---- passes ---- */

static void add_to_pass(struct pass *pass, const struct score *call, size_t i, size_t r)
{
    const size_t N = call->x->dims[1], D = call->x->dims[2], t = pass->count++;
    const colt5_tensor *token = token_of(call, i);
    const size_t R = routes(token);
    pass->token[t] = *token;
    pass->token[t].offset += r * D;
    pass->step[t] = per_sample(token) ? R * D : 0;
    pass->s[t] = call->targets ? *call->targets[i].s : *call->gradients[i].ds;
    pass->s[t].offset += r * N;
    pass->s_step[t] = R * N;
    pass->of[t] = call->targets ? NULL : call->gradients[i].dtoken;
    pass->whole[t] = token;
    pass->route[t] = r;
}

/* factor [B][all], NULL without cosine. */
static colt5_status run_passes(colt5_context *ctx, const struct score *call, run_pass run,
                               const colt5_tensor *factor)
{
    struct pass pass = {.count = 0};
    for (size_t i = 0; i < call->count; i++)
        for (size_t r = 0; r < routes(token_of(call, i)); r++) {
            add_to_pass(&pass, call, i, r);
            if (pass.count < TOKENS) continue;
            CHECK(run(ctx, call, &pass, factor));
            pass.first += pass.count;
            pass.count = 0;
        }
    return pass.count ? run(ctx, call, &pass, factor) : COLT5_OK;
}

/* The factors of a pass: a view of all of them. */
static colt5_tensor factors_of(const struct pass *pass, const colt5_tensor *factor)
{
    colt5_tensor view = *factor;
    view.offset += pass->first;
    return view;
}

/* factor [B][all]: scale / ‖token‖ of every routing token. */
static colt5_status make_factors(colt5_context *ctx, const struct score *call, float scale,
                                 colt5_tensor *factor)
{
    const size_t B = call->x->dims[0], D = call->x->dims[2];
    const struct define *defines =
        SCORE_DEFINES(call, call->x->type, call->all < TOKENS ? call->all : TOKENS);
    CHECK(scratch(ctx, COLT5_F32, 2, (const size_t[]){B, call->all}, factor));
    size_t group;
    CHECK(group_size(ctx, KERNEL_SCORE_FACTOR, defines, device_is_cpu(ctx) ? 1 : 128, &group));
    colt5_tensor view = *factor;
    for (size_t i = 0; i < call->count; i++) {
        const colt5_tensor *token = token_of(call, i);
        const size_t R = routes(token);
        CHECK(launch(ctx, KERNEL_SCORE_FACTOR, defines, GROUPS(R, 1, B, group),
                     ARGS(TENSOR(token), SIZE(per_sample(token) ? R * D : 0), TENSOR(&view),
                          SIZE(call->all), FLOAT(scale), SIZE(D), LOCAL(group * sizeof(float)))));
        view.offset += R;
    }
    return COLT5_OK;
}

/* ---- forward ---- */

#define MOST_VECTORS 1024 /* of a row that fits the registers, by the limits below */

/* By score_rows: a plan without steps where it is not for this row, or this device. */
static colt5_status plan_pass(colt5_context *ctx, const struct score *call, const struct pass *pass,
                              struct row_plan *plan)
{
    const colt5_tensor *x = call->x;
    const size_t D = x->dims[2];
    const struct row_limits limits = {.steps = 4,
                                      .values = 16,
                                      .more = {DEFINE("TOKENS", pass->count),
                                               DEFINE("COSINE", is_cosine(call)),
                                               DEFINE("NORMS", needs_norms(call))}};
    plan->steps = 0;
    if (device_is_cpu(ctx) || D / call->width > MOST_VECTORS) return COLT5_OK;
    return plan_rows(ctx, KERNEL_SCORE_ROWS, x->type, D, call->width, limits, plan);
}

static colt5_status score_rows(colt5_context *ctx, const struct score *call,
                               const struct pass *pass, const colt5_tensor *factors,
                               const colt5_tensor *inverses, const struct row_plan *plan)
{
    const colt5_tensor *x = call->x;
    const size_t B = x->dims[0], N = x->dims[1], D = x->dims[2];
    struct grid grid = row_groups_in_turn(ctx, plan, B * N);
    grid.items[0] = (grid.items[0] + B - 1) / B;
    grid.items[2] = B;
    return launch(ctx, KERNEL_SCORE_ROWS, plan->defines, grid,
                  ARGS(TENSOR(x), EVERY_TOKEN_ARGS(pass), TENSOR(factors), SIZE(call->all),
                       TENSOR(inverses), SIZE(N), SIZE(D), LOCAL(plan->group * sizeof(float))));
}

/* Work-items that share a row: as many as read something, at most 32. */
static size_t choose_lanes(const colt5_context *ctx, size_t D, size_t width, size_t group)
{
    size_t lanes = 1;
    if (device_is_cpu(ctx)) return lanes;
    while (lanes < 32 && lanes < group && lanes * width < D) lanes *= 2;
    return lanes;
}

/* By score_forward: on a CPU, and of long rows. */
static colt5_status score_long(colt5_context *ctx, const struct score *call,
                               const struct pass *pass, const colt5_tensor *factors,
                               const colt5_tensor *inverses)
{
    const colt5_tensor *x = call->x;
    const size_t B = x->dims[0], N = x->dims[1], D = x->dims[2];
    const size_t sums = pass->count + needs_norms(call);
    const bool cpu = device_is_cpu(ctx);
    const struct define *defines = SCORE_DEFINES(call, x->type, pass->count);
    size_t group;
    CHECK(group_size(ctx, KERNEL_SCORE_FORWARD, defines, cpu ? 1 : 256, &group));
    const size_t lanes = choose_lanes(ctx, D, call->width, group), rows = group / lanes * ROWS;
    const size_t span = cpu ? 64 : rows;

    return launch(ctx, KERNEL_SCORE_FORWARD, defines, GROUPS((N + span - 1) / span, 1, B, group),
                  ARGS(TENSOR(x), EVERY_TOKEN_ARGS(pass), TENSOR(factors), SIZE(call->all),
                       TENSOR(inverses), SIZE(N), SIZE(D), SIZE(lanes), SIZE(span),
                       LOCAL(ROWS * sums * (group + group / lanes) * sizeof(float))));
}

/* The scores of a pass; with inverses (or NULL) [B][N], 1/‖x‖, too. */
static colt5_status score_pass(colt5_context *ctx, const struct score *call,
                               const struct pass *pass, const colt5_tensor *factor,
                               const colt5_tensor *inverses)
{
    const colt5_tensor factors = factor ? factors_of(pass, factor) : *call->x;
    struct row_plan plan;
    CHECK(plan_pass(ctx, call, pass, &plan));
    if (plan.steps) return score_rows(ctx, call, pass, factor ? &factors : NULL, inverses, &plan);
    return score_long(ctx, call, pass, factor ? &factors : NULL, inverses);
}

static colt5_status forward_pass(colt5_context *ctx, const struct score *call,
                                 const struct pass *pass, const colt5_tensor *factor)
{
    return score_pass(ctx, call, pass, factor, call->inverses);
}

static colt5_status forward_cosine(colt5_context *ctx, void *argument)
{
    const struct score *call = argument;
    colt5_tensor factor;
    CHECK(make_factors(ctx, call, call->options->cosine_scale, &factor));
    return run_passes(ctx, call, forward_pass, &factor);
}

colt5_status colt5_score_forward(colt5_context *ctx, const colt5_tensor *x, size_t count,
                                 const colt5_score_target *targets,
                                 const colt5_score_options *options)
{
    return score_and_norms(ctx, x, count, targets, options, NULL);
}

colt5_status score_and_norms(colt5_context *ctx, const colt5_tensor *x, size_t count,
                             const colt5_score_target *targets, const colt5_score_options *options,
                             const colt5_tensor *inverses)
{
    REQUIRE_TENSOR(ctx, "score_forward", x, 3);
    REQUIRE_STORAGE(ctx, "score_forward", x);
    REQUIRE(ctx, targets && count, COLT5_ERROR_ARGUMENT, "score_forward: no targets");
    for (size_t i = 0; i < count; i++) {
        CHECK(check_target(ctx, "score_forward", x, targets[i].token, "s", targets[i].s));
        CHECK(check_apart(ctx, "score_forward", "x", x, "s", targets[i].s));
    }
    struct score call = {
        .x = x, .count = count, .targets = targets, .options = options, .inverses = inverses};
    survey(ctx, &call);

    const size_t elements = colt5_tensor_count(x), rows = x->dims[0] * x->dims[1];
    count_work(ctx, 2 * elements * call.all,
               elements * colt5_type_size(x->type) + 4 * rows * call.all);
    return is_cosine(&call) ? workspace_call(ctx, "score_forward", forward_cosine, &call, NULL, 0)
                            : run_passes(ctx, &call, forward_pass, NULL);
}

/* ---- backward ---- */

/* The first token from t on whose gradient is wanted; the number of tokens where there is none. */
static size_t next_wanted(const struct pass *pass, size_t t)
{
    while (t < pass->count && !pass->of[t]) t++;
    return t;
}

/* Whether one launch can add up the sums of both. */
static bool go_together(const struct pass *pass, size_t t, size_t u)
{
    return pass->of[u] && pass->of[t]->type == pass->of[u]->type &&
           per_sample(pass->whole[t]) == per_sample(pass->whole[u]);
}

#define DTOKEN_ARGS(t) TENSOR((t) < count ? &dtokens[t] : NULL), SIZE((t) < count ? steps[t] : 0)

/* dtoken += the sums [B][parts][D] of `count` tokens from the t-th on, which go together. */
static colt5_status reduce(colt5_context *ctx, const struct score *call, const struct pass *pass,
                           size_t t, size_t count, const colt5_tensor *sums, size_t parts)
{
    const size_t B = call->x->dims[0], D = call->x->dims[2];
    const size_t samples = per_sample(pass->whole[t]) ? B : 1, *steps = pass->step + t;
    colt5_tensor dtokens[TOKENS], some = *sums;
    some.offset += t * B * parts * D;
    for (size_t i = 0; i < count; i++) {
        dtokens[i] = *pass->of[t + i];
        dtokens[i].offset += pass->route[t + i] * D;
    }
    const struct define *defines = SCORE_DEFINES(call, dtokens[0].type, pass->count);
    size_t group;
    CHECK(
        group_size(ctx, KERNEL_SCORE_REDUCE, defines, device_is_cpu(ctx) ? COLUMNS : 256, &group));
    return launch(ctx, KERNEL_SCORE_REDUCE, defines,
                  GROUPS((D + COLUMNS - 1) / COLUMNS, count, samples, group),
                  ARGS(TENSOR(&some), SIZE(B * parts * D), DTOKEN_ARGS(0), DTOKEN_ARGS(1),
                       DTOKEN_ARGS(2), DTOKEN_ARGS(3), SIZE(B / samples * parts), SIZE(D),
                       LOCAL(group * sizeof(float))));
}

static colt5_status reduce_all(colt5_context *ctx, const struct score *call,
                               const struct pass *pass, const colt5_tensor *sums, size_t parts)
{
    size_t count;
    for (size_t t = next_wanted(pass, 0); t < pass->count; t = next_wanted(pass, t + count)) {
        for (count = 1; t + count < pass->count && go_together(pass, t, t + count);) count++;
        CHECK(reduce(ctx, call, pass, t, count, sums, parts));
    }
    return COLT5_OK;
}

/* dx and the sums of a pass, whose s are now a; q and e are NULL without cosine. */
static colt5_status spread_pass(colt5_context *ctx, const struct score *call,
                                const struct pass *pass, const colt5_tensor *q,
                                const colt5_tensor *e)
{
    const colt5_tensor *x = call->x;
    const size_t B = x->dims[0], N = x->dims[1], D = x->dims[2];
    const size_t least = (N + PARTS - 1) / PARTS, span = least > SPAN ? least : SPAN;
    const size_t parts = (N + span - 1) / span;
    const bool sums_wanted = next_wanted(pass, 0) < pass->count;
    colt5_tensor sums;
    CHECK(scratch(ctx, COLT5_F32, 4, (const size_t[]){sums_wanted ? pass->count : 0, B, parts, D},
                  &sums));
    CHECK(launch(ctx, KERNEL_SCORE_BACKWARD, SCORE_DEFINES(call, x->type, pass->count),
                 GRID(D / call->width, parts, B),
                 ARGS(TENSOR(x), EVERY_TOKEN_ARGS(pass), TENSOR(q), TENSOR(e), TENSOR(call->dx),
                      INT(call->accumulate || pass->first > 0), TENSOR(sums_wanted ? &sums : NULL),
                      SIZE(N), SIZE(D), SIZE(span))));
    return reduce_all(ctx, call, pass, &sums, parts);
}

/* Replaces the gradients of a pass by the coefficients of score_cosine. */
static colt5_status spread_cosine(colt5_context *ctx, const struct score *call,
                                  const struct pass *pass, const colt5_tensor *factor)
{
    const size_t B = call->x->dims[0], N = call->x->dims[1];
    const colt5_tensor factors = factors_of(pass, factor);
    colt5_tensor p, q, inverses;
    CHECK(scratch(ctx, COLT5_F32, 3, (const size_t[]){pass->count, B, N}, &p));
    CHECK(scratch(ctx, COLT5_F32, 3, (const size_t[]){pass->count, B, N}, &q));
    CHECK(scratch(ctx, COLT5_F32, 2, (const size_t[]){B, N}, &inverses));
    struct pass inner = *pass;
    for (size_t t = 0; t < pass->count; t++) {
        inner.s[t] = p;
        inner.s[t].offset += t * B * N;
        inner.s_step[t] = N;
    }
    CHECK(score_pass(ctx, call, &inner, factor, &inverses));
    CHECK(launch(ctx, KERNEL_SCORE_COSINE, SCORE_DEFINES(call, call->x->type, pass->count),
                 GRID(B * N, 1, 1),
                 ARGS(TENSOR(&p), TENSOR(&q), TENSOR(&inverses), S_ARGS(pass, 0), S_ARGS(pass, 1),
                      S_ARGS(pass, 2), S_ARGS(pass, 3), TENSOR(&factors), SIZE(call->all),
                      FLOAT(call->options->cosine_scale), SIZE(N), SIZE(B * N))));
    return spread_pass(ctx, call, &inner, &q, &inverses);
}

static colt5_status backward_pass(colt5_context *ctx, const struct score *call,
                                  const struct pass *pass, const colt5_tensor *factor)
{
    const struct stack_mark mark = workspace_mark(ctx);
    const colt5_status status =
        factor ? spread_cosine(ctx, call, pass, factor) : spread_pass(ctx, call, pass, NULL, NULL);
    workspace_rewind(ctx, mark);
    return status;
}

static colt5_status run_backward(colt5_context *ctx, void *argument)
{
    const struct score *call = argument;
    if (!is_cosine(call)) return run_passes(ctx, call, backward_pass, NULL);
    colt5_tensor factor;
    CHECK(make_factors(ctx, call, 1, &factor));
    return run_passes(ctx, call, backward_pass, &factor);
}

static colt5_status check_gradient(colt5_context *ctx, const colt5_tensor *x,
                                   const colt5_score_gradient *gradient)
{
    const char *op = "score_backward";
    const colt5_tensor *token = gradient->token, *dtoken = gradient->dtoken;
    CHECK(check_target(ctx, op, x, token, "ds", gradient->ds));
    if (!dtoken) return COLT5_OK;
    REQUIRE_STORAGE(ctx, op, dtoken);
    CHECK(check_shape(ctx, op, "dtoken", dtoken, token->rank, token->dims));
    REQUIRE_APART(ctx, op, dtoken, token);
    REQUIRE_APART(ctx, op, dtoken, x);
    return COLT5_OK;
}

colt5_status colt5_score_backward(colt5_context *ctx, const colt5_tensor *x, size_t count,
                                  const colt5_score_gradient *gradients,
                                  const colt5_score_options *options, const colt5_tensor *dx,
                                  int accumulate)
{
    const char *op = "score_backward";
    REQUIRE_TENSOR(ctx, op, x, 3);
    REQUIRE_STORAGE(ctx, op, x);
    REQUIRE(ctx, gradients && count, COLT5_ERROR_ARGUMENT, "%s: no gradients", op);
    for (size_t i = 0; i < count; i++) CHECK(check_gradient(ctx, x, &gradients[i]));
    if (dx) {
        REQUIRE_LIKE(ctx, op, dx, x);
        REQUIRE_APART(ctx, op, dx, x);
    }
    struct score call = {.x = x,
                         .count = count,
                         .gradients = gradients,
                         .options = options,
                         .dx = dx,
                         .accumulate = accumulate != 0};
    survey(ctx, &call);

    const size_t elements = colt5_tensor_count(x), rows = x->dims[0] * x->dims[1];
    const size_t passes = 1 + (dx ? 1 + call.accumulate : 0); /* over x, and over dx */
    count_work(ctx, 4 * elements * call.all,
               passes * elements * colt5_type_size(x->type) + 4 * rows * call.all);
    return workspace_call(ctx, op, run_backward, &call, NULL, 0);
}
