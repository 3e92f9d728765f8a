/* SPDX-License-Identifier: MIT */
#include "layers/router.h"

#include <colt5/ops/random.h>
#include <colt5/ops/route.h>
#include <colt5/ops/topk.h>

#include "layers/routes.h"
#include "layers/solver.h"
#include "ops/score.h"
#include "ops/select.h"
#include "runtime/launch.h"

/* Memory of what a router chose. */
#define ROUTED(pass, type, tensor, ...)                                                            \
    ((pass)->saved ? keep : scratch)((pass)->ctx, type,                                            \
                                     (int)(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)),      \
                                     (size_t[]){__VA_ARGS__}, tensor)

static const colt5_router_config *options_of(const struct pass *pass)
{
    return &pass->layer->config.router;
}

static const struct route_entry *injected(const struct pass *pass, const struct router *router)
{
    const colt5_routes *routes = pass->forward->routes;
    return routes ? routes_find(routes, router->path) : NULL;
}

const colt5_tensor *routed_scores(const struct routed *routed)
{
    return routed->all || routed->unit ? NULL : &routed->scores;
}

colt5_index_kind index_kind(const struct routed *routed)
{
    return routed->repeated ? COLT5_INDEX_REPEATED : COLT5_INDEX_UNIQUE;
}

bool router_needs_scores(const struct pass *pass, const struct router *router, size_t N, size_t K)
{
    return N > K && !options_of(pass)->random_route && !injected(pass, router) && !pass->again;
}

static colt5_score_options score_options(const struct pass *pass)
{
    const colt5_router_config *options = options_of(pass);
    return (colt5_score_options){.cosine = options->cosine_sim_routing,
                                 .cosine_scale = (float)options->cosine_sim_scale};
}

/* Memory for their scores: side by side where they have as many routes, so that one call can take
 * both. */
static colt5_status make_scores(struct pass *pass, const colt5_tensor *x, size_t count,
                                const struct router *const *routers, const bool *needed,
                                colt5_tensor *s)
{
    const size_t B = x->dims[0], N = x->dims[1], R = routers[0]->tokens->tensor.dims[0];
    colt5_status status = COLT5_OK;
    if (count == 2 && needed[0] && needed[1] && routers[1]->tokens->tensor.dims[0] == R) {
        colt5_tensor both;
        TRY(ROUTED(pass, COLT5_F32, &both, 2 * B, R, N));
        s[0] = slice(&both, 0, B);
        s[1] = slice(&both, B, B);
        goto out;
    }
    for (size_t i = 0; i < count; i++)
        if (needed[i])
            TRY(ROUTED(pass, COLT5_F32, &s[i], B, routers[i]->tokens->tensor.dims[0], N));
out:
    return status;
}

colt5_status router_scores(struct pass *pass, const colt5_tensor *x, size_t count,
                           const struct router *const *routers, const bool *needed, colt5_tensor *s,
                           const colt5_tensor *inverses)
{
    const colt5_score_options options = score_options(pass);
    colt5_score_target targets[2];
    const colt5_tensor *tokens = &routers[0]->tokens->tensor;
    size_t wanted = 0;
    colt5_tensor unused;
    colt5_status status = make_scores(pass, x, count, routers, needed, s);
    if (status != COLT5_OK) return status;
    for (size_t i = 0; i < count; i++)
        if (needed[i])
            targets[wanted++] =
                (colt5_score_target){.token = &routers[i]->tokens->tensor, .s = &s[i]};
    if (wanted == 0 && !inverses) return COLT5_OK;
    const struct stack_mark mark = workspace_mark(pass->ctx);
    if (wanted == 0) {
        TRY(SCRATCH(pass, COLT5_F32, &unused, x->dims[0], tokens->dims[0], x->dims[1]));
        targets[wanted++] = (colt5_score_target){.token = tokens, .s = &unused};
    }
    TRY(score_and_norms(pass->ctx, x, wanted, targets, &options, inverses));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

static bool is_unit(const colt5_router_config *options)
{
    return options->straight_through || options->random_route;
}

/* Sinkhorn: index, and what the others have from the selection. */
static colt5_status choose_repeated(struct pass *pass, const struct rows *rows,
                                    const colt5_tensor *index, const colt5_tensor *scores,
                                    const colt5_tensor *solved, const colt5_tensor *mask,
                                    const struct routed *routed)
{
    const colt5_tensor *state = routed->learns ? &routed->state : NULL;
    colt5_status status;
    TRY(sinkhorn_choose(pass, routed->seed, rows, index, solved, state));
    if (is_unit(options_of(pass))) TRY(colt5_route_mask(pass->ctx, rows->mask, index, scores));
    if (mask) TRY(colt5_route_mask(pass->ctx, rows->mask, index, mask));
out:
    return status;
}

/* index and scores [B'][R'][K'] of the rows; what a learning router keeps goes to routed. With
 * straight-through a score is 1, or 0 for a masked token, as the selection tells. */
static colt5_status choose(struct pass *pass, const struct rows *rows, const colt5_tensor *index,
                           const colt5_tensor *scores, struct routed *routed)
{
    const bool unit = is_unit(options_of(pass));
    const size_t *dims = scores->dims;
    const colt5_tensor solved =
        routed->learns ? RESHAPED(&routed->solved, dims[0], dims[1], dims[2]) : *scores;
    const colt5_tensor routed_mask =
        routed->masked ? RESHAPED(&routed->mask, dims[0], dims[1], dims[2]) : *index;
    const colt5_tensor *mask = routed->masked ? &routed_mask : NULL;
    colt5_status status;

    if (routed->learns) TRY(solver_state(pass, rows, &routed->state));
    if (routed->repeated) return choose_repeated(pass, rows, index, scores, &solved, mask, routed);
    TRY(select_tokens(pass->ctx, &rows->s, rows->mask, index, unit ? scores : NULL, mask));
    if (routed->learns || !unit)
        TRY(solver_forward(pass, rows, index, &solved, routed->learns ? &routed->state : NULL));
out:
    return status;
}

/* Uniform random numbers in place of scores. */
static colt5_status random_rows(struct pass *pass, const struct routed *routed, size_t B, size_t N,
                                struct rows *rows)
{
    colt5_tensor s;
    colt5_status status;
    TRY(SCRATCH(pass, COLT5_F32, &s, B, routed->R, N));
    if (routed->width != N) TRY(clear_tensor(pass->ctx, &s));
    TRY(rows_cut(pass, routed, &s, rows));
    TRY(colt5_random_uniform(pass->ctx, routed->seed, COLT5_STREAM_ROUTES, 0, 0, &rows->s));
out:
    return status;
}

/* routed->index and scores, from raw scores s or from random numbers. */
static colt5_status choose_tokens(struct pass *pass, size_t B, size_t N, const colt5_tensor *s,
                                  struct routed *routed)
{
    const size_t samples = routed->width == N ? B : B * routed->R * (N / routed->width);
    const size_t R = routed->width == N ? routed->R : 1, K = B * routed->R * routed->K;
    const struct stack_mark mark = workspace_mark(pass->ctx);
    struct rows rows;
    colt5_status status;
    if (s)
        TRY(rows_cut(pass, routed, s, &rows));
    else
        TRY(random_rows(pass, routed, B, N, &rows));
    routed->rows = routed->index;
    if (routed->width != N) TRY(ROUTED(pass, COLT5_I32, &routed->rows, samples, 1, rows.K));
    const colt5_tensor scores = RESHAPED(&routed->scores, samples, R, K / samples / R);
    TRY(choose(pass, &rows, &routed->rows, &scores, routed));
    if (routed->width != N)
        TRY(colt5_block_index(pass->ctx, &routed->rows, routed->width, &routed->index));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

static colt5_status use_injected(struct pass *pass, const struct router *router,
                                 const struct route_entry *entry, size_t B, size_t N,
                                 struct routed *routed)
{
    const size_t *dims = entry->index.dims;
    REQUIRE(pass->ctx, entry->index.buffer, COLT5_ERROR_ARGUMENT,
            "routes: %s was only planned: it has no indices", router->path);
    REQUIRE(pass->ctx, dims[0] == B && dims[1] == routed->R, COLT5_ERROR_SHAPE,
            "routes: %s has %zu samples and %zu routes, not %zu and %zu", router->path, dims[0],
            dims[1], B, routed->R);
    REQUIRE(pass->ctx, entry->largest < N && (!entry->tokens || entry->tokens <= N),
            COLT5_ERROR_SHAPE, "routes: %s was chosen from more than the %zu tokens there are",
            router->path, N);
    REQUIRE(pass->ctx, !entry->repeated || routed->repeated, COLT5_ERROR_ARGUMENT,
            "routes: %s has a token twice in one row", router->path);
    routed->K = dims[2];
    routed->index = entry->index;
    routed->scores = entry->scores;
    return COLT5_OK;
}

/* Tokens of each block: K shared out, rounded up, at most all of it. */
static size_t block_tokens(size_t K, size_t blocks, size_t width)
{
    const size_t each = (K + blocks - 1) / blocks;
    return each < width ? each : width;
}

static bool is_cut(const colt5_router_config *options, size_t N)
{
    return options->type == COLT5_ROUTER_COOR_DESCENT && options->route_block_size &&
           options->route_block_size < N;
}

/* Memory for K tokens of the N, of each block where there are blocks. */
static colt5_status make_room(struct pass *pass, size_t B, size_t N, size_t K,
                              struct routed *routed)
{
    const colt5_router_config *options = options_of(pass);
    const bool cut = is_cut(options, N);
    const bool unit = is_unit(options);
    routed->width = cut ? options->route_block_size : N;
    const size_t blocks = N / routed->width;
    routed->K = block_tokens(K, blocks, routed->width) * blocks;
    routed->learns = pass->saved && !options->random_route;
    routed->unit = unit && !pass->mask && !routed->learns;
    colt5_status status;
    TRY(ROUTED(pass, COLT5_I32, &routed->index, B, routed->R, routed->K));
    TRY(ROUTED(pass, COLT5_F32, &routed->scores, B, routed->R, routed->K));
    routed->solved = routed->scores;
    if (routed->learns && unit)
        TRY(ROUTED(pass, COLT5_F32, &routed->solved, B, routed->R, routed->K));
    routed->masked = pass->mask != NULL;
    if (routed->masked) TRY(ROUTED(pass, COLT5_U8, &routed->mask, B, routed->R, routed->K));
out:
    return status;
}

static struct routed routed_by(struct pass *pass, const struct router *router, size_t N, size_t K)
{
    const colt5_router_config *options = options_of(pass);
    return (struct routed){.all = N <= K,
                           .R = router->tokens->tensor.dims[0],
                           .repeated =
                               options->type == COLT5_ROUTER_SINKHORN && !options->random_route,
                           .path = router->path,
                           .seed = pass->next_seed++};
}

static colt5_status record(struct pass *pass, const struct routed *routed, size_t N)
{
    if (!pass->forward->chosen) return COLT5_OK;
    return routes_record(pass->forward->chosen, routed->path, &routed->index, &routed->scores, N);
}

colt5_status router_forward(struct pass *pass, const struct router *router, size_t B, size_t N,
                            size_t K, const colt5_tensor *s, struct routed *routed)
{
    const colt5_router_config *options = options_of(pass);
    const struct route_entry *entry = injected(pass, router);
    if (pass->again) return COLT5_OK;
    *routed = routed_by(pass, router, N, K);
    if (routed->all) return COLT5_OK;
    colt5_status status;
    if (entry) {
        TRY(use_injected(pass, router, entry, B, N, routed));
        routed->masked = pass->mask != NULL;
        if (pass->mask) {
            TRY(ROUTED(pass, COLT5_U8, &routed->mask, B, routed->R, routed->K));
            TRY(colt5_route_mask(pass->ctx, pass->mask, &routed->index, &routed->mask));
        }
    } else {
        TRY(make_room(pass, B, N, K, routed));
        if (routed->learns) routed->s = *s;
        TRY(choose_tokens(pass, B, N, options->random_route ? NULL : s, routed));
    }
    status = record(pass, routed, N);
out:
    return status;
}

/* Whether the two choose in the same way, so that one call can do it for both. */
static bool are_alike(const struct pass *pass, const struct router *const *routers, size_t N,
                      const size_t *K)
{
    const colt5_router_config *options = options_of(pass);
    const bool solved = !options->random_route && (pass->saved || !options->straight_through);
    return !pass->again && K[0] == K[1] && N > K[0] && !injected(pass, routers[0]) &&
           !injected(pass, routers[1]) && !is_cut(options, N) &&
           routers[0]->tokens->tensor.dims[0] == routers[1]->tokens->tensor.dims[0] &&
           (options->random_route || options->type == COLT5_ROUTER_COOR_DESCENT ||
            (options->type == COLT5_ROUTER_CUM_SOFTMAX && !solved));
}

/* Random numbers for both, each from its seed. */
static colt5_status random_pair(struct pass *pass, const struct routed *routed, size_t B, size_t N,
                                colt5_tensor *s)
{
    colt5_status status;
    TRY(SCRATCH(pass, COLT5_F32, s, 2 * B, routed->R, N));
    for (size_t i = 0; i < 2; i++) {
        const colt5_tensor half = slice(s, i * B, B);
        TRY(colt5_random_uniform(pass->ctx, routed->seed + i, COLT5_STREAM_ROUTES, 0, 0, &half));
    }
out:
    return status;
}

/* Both at once: samples of the first, then of the second. */
static colt5_status pair_forward(struct pass *pass, const struct router *const *routers, size_t B,
                                 size_t N, size_t K, const colt5_tensor *s,
                                 struct routed *const *routed)
{
    struct routed both = routed_by(pass, routers[0], N, K);
    colt5_tensor scores = s[0];
    colt5_status status;
    pass->next_seed++;
    TRY(make_room(pass, 2 * B, N, K, &both));
    if (options_of(pass)->random_route)
        TRY(random_pair(pass, &both, B, N, &scores));
    else
        scores.dims[0] = 2 * B;
    TRY(choose_tokens(pass, 2 * B, N, &scores, &both));
    for (size_t i = 0; i < 2; i++) {
        *routed[i] = both;
        routed[i]->path = routers[i]->path;
        routed[i]->seed = both.seed + i;
        routed[i]->s = s[i];
        colt5_tensor *const parts[] = {&routed[i]->index, &routed[i]->scores, &routed[i]->mask,
                                       &routed[i]->rows,  &routed[i]->solved, &routed[i]->state};
        for (size_t j = 0; j < sizeof(parts) / sizeof(parts[0]); j++)
            if (parts[j]->rank) *parts[j] = slice(parts[j], i * B, B);
        TRY(record(pass, routed[i], N));
    }
out:
    return status;
}

colt5_status router_pair_forward(struct pass *pass, const struct router *const *routers, size_t B,
                                 size_t N, const size_t *K, const colt5_tensor *s,
                                 struct routed *const *routed)
{
    if (are_alike(pass, routers, N, K)) return pair_forward(pass, routers, B, N, K[0], s, routed);
    const colt5_status status = router_forward(pass, routers[0], B, N, K[0], &s[0], routed[0]);
    if (status != COLT5_OK) return status;
    return router_forward(pass, routers[1], B, N, K[1], &s[1], routed[1]);
}

colt5_status routers_backward(struct pass *pass, const colt5_tensor *x, size_t count,
                              const struct learning *learnings, const colt5_tensor *dx)
{
    const colt5_score_options options = score_options(pass);
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_score_gradient gradients[2];
    colt5_tensor ds[2];
    colt5_status status = COLT5_OK;
    profile_part(pass->ctx, "router");
    for (size_t i = 0; i < count; i++) {
        const struct routed *routed = learnings[i].routed;
        const struct parameter *tokens = learnings[i].router->tokens;
        TRY(SCRATCH(pass, COLT5_F32, &ds[i], x->dims[0], routed->R, x->dims[1]));
        TRY(solver_backward(pass, routed, learnings[i].dscores, &ds[i]));
        gradients[i] = (colt5_score_gradient){
            .token = &tokens->tensor, .ds = &ds[i], .dtoken = GRADIENT(pass, tokens)};
    }
    if (count) TRY(colt5_score_backward(pass->ctx, x, count, gradients, &options, dx, 1));
out:
    profile_part(pass->ctx, NULL);
    workspace_rewind(pass->ctx, mark);
    return status;
}

colt5_status scattered_backward(struct pass *pass, const colt5_tensor *dy,
                                const struct routed *routed, const colt5_tensor *out,
                                const colt5_tensor *dout, const colt5_tensor *dscores)
{
    const size_t B = dy->dims[0], K = routed->K;
    const colt5_tensor index = RESHAPED(&routed->index, B, K), *scores = routed_scores(routed);
    const colt5_tensor rows = scores ? RESHAPED(scores, B, K) : index;
    const colt5_tensor drows = dscores ? RESHAPED(dscores, B, K) : index;
    return (routed->repeated ? colt5_scatter_mean_backward : colt5_scatter_backward)(
        pass->ctx, dy, &index, scores ? &rows : NULL, dscores ? out : NULL, dout,
        dscores ? &drows : NULL);
}
