/* SPDX-License-Identifier: MIT */
#include <colt5/ops/score.h>

#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

#define TOKENS 4 /* routing tokens in one pass over x */
#define ROWS   4 /* rows of x a work-item has in flight, as in score.cl */

/* What one pass is over: views of a routing token and of its scores, for sample 0. */
struct pass {
    size_t count;
    colt5_tensor token[TOKENS], s[TOKENS];
    size_t step[TOKENS], s_step[TOKENS]; /* to the next sample */
};

struct score {
    const colt5_tensor *x;
    size_t count;
    const colt5_score_target *targets;
    const colt5_score_options *options; /* NULL: plain */
    size_t all, width;                  /* routing tokens of all targets; elements read at once */
};

static bool per_sample(const colt5_tensor *token)
{
    return token->rank == 3;
}

static size_t routes(const colt5_tensor *token)
{
    return token->dims[token->rank - 2];
}

static bool is_cosine(const struct score *call)
{
    return call->options && call->options->cosine;
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

/* Work-items that share a row: as many as read something, at most 32. */
static size_t choose_lanes(const colt5_context *ctx, size_t D, size_t width, size_t group)
{
    size_t lanes = 1;
    if (device_is_cpu(ctx)) return lanes;
    while (lanes < 32 && lanes < group && lanes * width < D) lanes *= 2;
    return lanes;
}

#define SCORE_DEFINES(call, tokens)                                                                \
    DEFINES(STORAGE((call)->x->type), DEFINE("TOKENS", tokens), DEFINE("COSINE", is_cosine(call)), \
            DEFINE("WIDTH", (call)->width))
#define TARGET_ARGS(pass, t)                                                                       \
    TENSOR((t) < (pass)->count ? &(pass)->token[t] : NULL), SIZE((pass)->step[t]),                 \
        TENSOR((t) < (pass)->count ? &(pass)->s[t] : NULL), SIZE((pass)->s_step[t])

/* factor [B][all] of this pass's tokens; NULL: plain. */
static colt5_status run_pass(colt5_context *ctx, const struct score *call, const struct pass *pass,
                             const colt5_tensor *factor)
{
    const colt5_tensor *x = call->x;
    const size_t B = x->dims[0], N = x->dims[1], D = x->dims[2];
    const size_t sums = pass->count + (factor ? 1 : 0);
    const bool cpu = device_is_cpu(ctx);
    const struct define *defines = SCORE_DEFINES(call, pass->count);
    size_t group;
    CHECK(group_size(ctx, KERNEL_SCORE_FORWARD, defines, cpu ? 1 : 256, &group));
    const size_t lanes = choose_lanes(ctx, D, call->width, group), rows = group / lanes * ROWS;
    const size_t span = cpu ? 64 : rows;

    return launch(ctx, KERNEL_SCORE_FORWARD, defines, GROUPS((N + span - 1) / span, 1, B, group),
                  ARGS(TENSOR(x), TARGET_ARGS(pass, 0), TARGET_ARGS(pass, 1), TARGET_ARGS(pass, 2),
                       TARGET_ARGS(pass, 3), TENSOR(factor), SIZE(factor ? factor->dims[1] : 0),
                       SIZE(N), SIZE(D), SIZE(lanes), SIZE(span),
                       LOCAL(ROWS * sums * (group + group / lanes) * sizeof(float))));
}

/* factor[b, first + r] = scale / ‖token[r]‖ of one target. */
static colt5_status make_factor(colt5_context *ctx, const struct score *call,
                                const colt5_tensor *token, size_t first, const colt5_tensor *factor)
{
    const size_t R = routes(token), D = call->x->dims[2];
    colt5_tensor view = *factor;
    view.offset += first;
    size_t group;
    const struct define *defines = SCORE_DEFINES(call, call->all < TOKENS ? call->all : TOKENS);
    CHECK(group_size(ctx, KERNEL_SCORE_FACTOR, defines, device_is_cpu(ctx) ? 1 : 128, &group));
    return launch(ctx, KERNEL_SCORE_FACTOR, defines, GROUPS(R, 1, factor->dims[0], group),
                  ARGS(TENSOR(token), SIZE(per_sample(token) ? R * D : 0), TENSOR(&view),
                       SIZE(factor->dims[1]), FLOAT(call->options->cosine_scale), SIZE(D),
                       LOCAL(group * sizeof(float))));
}

static void add_to_pass(struct pass *pass, const colt5_score_target *target, size_t r, size_t N,
                        size_t D)
{
    const size_t t = pass->count++, R = routes(target->token);
    pass->token[t] = *target->token;
    pass->token[t].offset += r * D;
    pass->step[t] = per_sample(target->token) ? R * D : 0;
    pass->s[t] = *target->s;
    pass->s[t].offset += r * N;
    pass->s_step[t] = R * N;
}

static colt5_status run_passes(colt5_context *ctx, const struct score *call,
                               const colt5_tensor *factor)
{
    struct pass pass = {.count = 0};
    colt5_tensor view = factor ? *factor : (colt5_tensor){.rank = 0};
    for (size_t i = 0; i < call->count; i++)
        for (size_t r = 0; r < routes(call->targets[i].token); r++) {
            add_to_pass(&pass, &call->targets[i], r, call->x->dims[1], call->x->dims[2]);
            if (pass.count < TOKENS) continue;
            CHECK(run_pass(ctx, call, &pass, factor ? &view : NULL));
            view.offset += pass.count;
            pass.count = 0;
        }
    return pass.count ? run_pass(ctx, call, &pass, factor ? &view : NULL) : COLT5_OK;
}

static colt5_status run_cosine(colt5_context *ctx, void *argument)
{
    const struct score *call = argument;
    size_t first = 0;
    colt5_tensor factor;
    CHECK(scratch(ctx, COLT5_F32, 2, (const size_t[]){call->x->dims[0], call->all}, &factor));
    for (size_t i = 0; i < call->count; i++) {
        CHECK(make_factor(ctx, call, call->targets[i].token, first, &factor));
        first += routes(call->targets[i].token);
    }
    return run_passes(ctx, call, &factor);
}

/* Counts the routing tokens, and sees whether every row can be read by vectors. */
static void survey(const colt5_context *ctx, struct score *call)
{
    const colt5_tensor *x = call->x;
    call->width = vector_width(ctx, x->type, x->dims[2], x);
    for (size_t i = 0; i < call->count; i++) {
        const colt5_tensor *token = call->targets[i].token;
        call->all += routes(token);
        if (call->width > vector_width(ctx, x->type, x->dims[2], token)) call->width = 1;
    }
}

colt5_status colt5_score_forward(colt5_context *ctx, const colt5_tensor *x, size_t count,
                                 const colt5_score_target *targets,
                                 const colt5_score_options *options)
{
    REQUIRE_TENSOR(ctx, "score_forward", x, 3);
    REQUIRE_STORAGE(ctx, "score_forward", x);
    REQUIRE(ctx, targets && count, COLT5_ERROR_ARGUMENT, "score_forward: no targets");
    for (size_t i = 0; i < count; i++) {
        CHECK(check_target(ctx, "score_forward", x, targets[i].token, "s", targets[i].s));
        CHECK(check_apart(ctx, "score_forward", "x", x, "s", targets[i].s));
    }
    struct score call = {.x = x, .count = count, .targets = targets, .options = options};
    survey(ctx, &call);

    const size_t elements = colt5_tensor_count(x), rows = x->dims[0] * x->dims[1];
    count_work(ctx, 2 * elements * call.all,
               elements * colt5_type_size(x->type) + 4 * rows * call.all);
    return is_cosine(&call) ? workspace_call(ctx, "score_forward", run_cosine, &call, NULL, 0)
                            : run_passes(ctx, &call, NULL);
}
