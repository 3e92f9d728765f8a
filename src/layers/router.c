/* SPDX-License-Identifier: MIT */
#include "layers/router.h"

#include <colt5/ops/coor_descent.h>
#include <colt5/ops/cum_softmax.h>
#include <colt5/ops/random.h>
#include <colt5/ops/route.h>
#include <colt5/ops/score.h>
#include <colt5/ops/sinkhorn.h>
#include <colt5/ops/topk.h>

#include "layers/routes.h"
#include "runtime/launch.h"

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

bool router_needs_scores(const struct pass *pass, const struct router *router, size_t N, size_t K)
{
    return N > K && !options_of(pass)->random_route && !injected(pass, router);
}

colt5_status router_scores(struct pass *pass, const colt5_tensor *x, size_t count,
                           const struct router *const *routers, const bool *needed, colt5_tensor *s)
{
    const colt5_router_config *options = options_of(pass);
    colt5_score_target targets[2];
    size_t wanted = 0;
    for (size_t i = 0; i < count; i++) {
        if (!needed[i]) continue;
        const colt5_tensor *tokens = &routers[i]->tokens->tensor;
        const colt5_status status =
            SCRATCH(pass, COLT5_F32, &s[i], x->dims[0], tokens->dims[0], x->dims[1]);
        if (status != COLT5_OK) return status;
        targets[wanted++] = (colt5_score_target){.token = tokens, .s = &s[i]};
    }
    if (wanted == 0) return COLT5_OK;
    return colt5_score_forward(
        pass->ctx, x, wanted, targets,
        &(colt5_score_options){.cosine = options->cosine_sim_routing,
                               .cosine_scale = (float)options->cosine_sim_scale});
}

/* Rows to choose from: samples of the sequence, or blocks of it as samples of their own. */
struct rows {
    colt5_tensor s;           /* f32 [B'][R'][N'] */
    const colt5_tensor *mask; /* u8 [B'][N'] or NULL */
    colt5_tensor mask_blocks;
    size_t K; /* of each row */
};

/* Uniform random numbers in place of scores. */
static colt5_status randomise(struct pass *pass, uint64_t seed, const struct rows *rows)
{
    return colt5_random_uniform(pass->ctx, seed, COLT5_STREAM_ROUTES, 0, 0, &rows->s);
}

/* Straight-through: 1, or 0 for a masked token. */
static colt5_status unit_scores(struct pass *pass, const struct rows *rows,
                                const colt5_tensor *index, const colt5_tensor *scores)
{
    return colt5_route_mask(pass->ctx, rows->mask, index, scores);
}

static colt5_status solved_scores(struct pass *pass, const struct rows *rows,
                                  const colt5_tensor *index, const colt5_tensor *scores)
{
    const colt5_router_config *options = options_of(pass);
    const size_t N = rows->s.dims[2];
    const struct workspace_mark mark = workspace_mark(pass->ctx);
    const double k = (double)rows->K * options->fetch_k_ratio;
    colt5_tensor all;
    colt5_status status;
    TRY(SCRATCH(pass, COLT5_F32, &all, rows->s.dims[0], rows->s.dims[1], N));
    if (options->type == COLT5_ROUTER_COOR_DESCENT)
        TRY(colt5_coor_descent_forward(
            pass->ctx, &rows->s, rows->mask,
            &(colt5_coor_descent_options){.k = (float)(k < (double)N ? k : (double)N),
                                          .n_iters = options->n_iters,
                                          .eps = (float)options->eps,
                                          .eps_init = (float)options->eps_init,
                                          .eps_decay = (float)options->eps_decay},
            &all, NULL));
    else
        TRY(colt5_cum_softmax_forward(pass->ctx, &rows->s, rows->mask, (float)options->temperature,
                                      &all));
    TRY(colt5_gather_scores(pass->ctx, &all, index, scores));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* index and scores [B'][R'][K'] of the rows. */
static colt5_status choose(struct pass *pass, uint64_t seed, const struct rows *rows,
                           const colt5_tensor *index, const colt5_tensor *scores)
{
    const colt5_router_config *options = options_of(pass);
    if (options->type == COLT5_ROUTER_SINKHORN && !options->random_route) {
        const colt5_sinkhorn_options sinkhorn = {.temperature = (float)options->temperature,
                                                 .n_iters = options->n_iters,
                                                 .log_scores = options->log_scores,
                                                 .seed = seed};
        const colt5_status status =
            colt5_sinkhorn_forward(pass->ctx, &rows->s, rows->mask, &sinkhorn, index, scores, NULL);
        if (status != COLT5_OK || !options->straight_through) return status;
        return unit_scores(pass, rows, index, scores);
    }
    const colt5_status status = colt5_select(pass->ctx, &rows->s, rows->mask, index);
    if (status != COLT5_OK) return status;
    return options->straight_through || options->random_route
               ? unit_scores(pass, rows, index, scores)
               : solved_scores(pass, rows, index, scores);
}

static colt5_status choose_whole(struct pass *pass, uint64_t seed, size_t B, size_t N,
                                 const colt5_tensor *s, struct routed *routed)
{
    struct rows rows = {.mask = pass->mask, .K = routed->K};
    colt5_status status;
    if (s)
        rows.s = *s;
    else {
        TRY(SCRATCH(pass, COLT5_F32, &rows.s, B, routed->R, N));
        TRY(randomise(pass, seed, &rows));
    }
    TRY(choose(pass, seed, &rows, &routed->index, &routed->scores));
out:
    return status;
}

static colt5_status choose_blocks(struct pass *pass, uint64_t seed, size_t B, size_t N,
                                  size_t width, const colt5_tensor *s, struct routed *routed)
{
    const size_t blocks = N / width, samples = B * routed->R * blocks, K = routed->K / blocks;
    struct rows rows = {.mask = NULL, .K = K};
    colt5_tensor whole, index, scores;
    colt5_status status;
    TRY(SCRATCH(pass, COLT5_F32, &rows.s, samples, 1, width));
    if (pass->mask) {
        TRY(SCRATCH(pass, COLT5_U8, &rows.mask_blocks, samples, width));
        rows.mask = &rows.mask_blocks;
    }
    if (!s) TRY(SCRATCH(pass, COLT5_F32, &whole, B, routed->R, N));
    if (!s) TRY(clear_tensor(pass->ctx, &whole));
    TRY(colt5_block_rows(pass->ctx, s ? s : &whole, pass->mask, width, &rows.s, rows.mask));
    if (!s) TRY(randomise(pass, seed, &rows));
    TRY(SCRATCH(pass, COLT5_I32, &index, samples, 1, K));
    scores = RESHAPED(&routed->scores, samples, 1, K);
    TRY(choose(pass, seed, &rows, &index, &scores));
    TRY(colt5_block_index(pass->ctx, &index, width, &routed->index));
out:
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

static colt5_status choose_tokens(struct pass *pass, uint64_t seed, size_t B, size_t N, size_t K,
                                  const colt5_tensor *s, struct routed *routed)
{
    const colt5_router_config *options = options_of(pass);
    size_t width = options->type == COLT5_ROUTER_COOR_DESCENT ? options->route_block_size : 0;
    if (width == 0 || width > N) width = N;
    const size_t blocks = N / width;
    routed->K = block_tokens(K, blocks, width) * blocks;
    colt5_status status;
    TRY(SCRATCH(pass, COLT5_I32, &routed->index, B, routed->R, routed->K));
    TRY(SCRATCH(pass, COLT5_F32, &routed->scores, B, routed->R, routed->K));
    const struct workspace_mark mark = workspace_mark(pass->ctx);
    status = blocks == 1 && width == N ? choose_whole(pass, seed, B, N, s, routed)
                                       : choose_blocks(pass, seed, B, N, width, s, routed);
    workspace_rewind(pass->ctx, mark);
out:
    return status;
}

colt5_status router_forward(struct pass *pass, const struct router *router, size_t B, size_t N,
                            size_t K, const colt5_tensor *s, struct routed *routed)
{
    const colt5_router_config *options = options_of(pass);
    const struct route_entry *entry = injected(pass, router);
    const uint64_t seed = pass->next_seed++;
    *routed = (struct routed){.all = N <= K,
                              .R = router->tokens->tensor.dims[0],
                              .repeated =
                                  options->type == COLT5_ROUTER_SINKHORN && !options->random_route};
    if (routed->all) return COLT5_OK;
    colt5_status status;
    if (entry)
        TRY(use_injected(pass, router, entry, B, N, routed));
    else {
        TRY(choose_tokens(pass, seed, B, N, K, router_needs_scores(pass, router, N, K) ? s : NULL,
                          routed));
        routed->unit = (options->straight_through || options->random_route) && !pass->mask;
    }
    if (pass->mask) {
        routed->masked = true;
        TRY(SCRATCH(pass, COLT5_U8, &routed->mask, B, routed->R, routed->K));
        TRY(colt5_route_mask(pass->ctx, pass->mask, &routed->index, &routed->mask));
    }
    if (pass->forward->chosen)
        TRY(routes_record(pass->forward->chosen, router->path, &routed->index, &routed->scores, N));
out:
    return status;
}
