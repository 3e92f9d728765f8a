/* SPDX-License-Identifier: MIT */
#include "layers/solver.h"

#include <colt5/ops/cum_softmax.h>
#include <colt5/ops/route.h>
#include <colt5/ops/sinkhorn.h>

#include "ops/coor_descent.h"

static const colt5_router_config *options_of(const struct pass *pass)
{
    return &pass->layer->config.router;
}

colt5_status rows_cut(struct pass *pass, const struct routed *routed, const colt5_tensor *s,
                      struct rows *rows)
{
    const size_t B = s->dims[0], R = s->dims[1], N = s->dims[2], width = routed->width;
    if (width == N) {
        *rows = (struct rows){.s = *s, .mask = pass->mask, .K = routed->K};
        return COLT5_OK;
    }
    const size_t blocks = N / width, samples = B * R * blocks;
    *rows = (struct rows){.K = routed->K / blocks};
    colt5_status status;
    TRY(SCRATCH(pass, COLT5_F32, &rows->s, samples, 1, width));
    if (pass->mask) {
        TRY(SCRATCH(pass, COLT5_U8, &rows->mask_blocks, samples, width));
        rows->mask = &rows->mask_blocks;
    }
    TRY(colt5_block_rows(pass->ctx, s, pass->mask, width, &rows->s, rows->mask));
out:
    return status;
}

static colt5_coor_descent_options coor_descent_of(const struct pass *pass, const struct rows *rows)
{
    const colt5_router_config *options = options_of(pass);
    const double N = (double)rows->s.dims[2], k = (double)rows->K * options->fetch_k_ratio;
    return (colt5_coor_descent_options){.k = (float)(k < N ? k : N),
                                        .n_iters = options->n_iters,
                                        .eps = (float)options->eps,
                                        .eps_init = (float)options->eps_init,
                                        .eps_decay = (float)options->eps_decay};
}

static colt5_sinkhorn_options sinkhorn_of(const struct pass *pass, uint64_t seed)
{
    const colt5_router_config *options = options_of(pass);
    return (colt5_sinkhorn_options){.temperature = (float)options->temperature,
                                    .n_iters = options->n_iters,
                                    .log_scores = options->log_scores,
                                    .seed = seed};
}

colt5_status solver_state(struct pass *pass, const struct rows *rows, colt5_tensor *state)
{
    const colt5_router_config *options = options_of(pass);
    const size_t B = rows->s.dims[0], R = rows->s.dims[1], T = (size_t)options->n_iters;
    switch (options->type) {
    case COLT5_ROUTER_COOR_DESCENT:
        return keep(pass->ctx, COLT5_F32, 4, (size_t[]){B, R, T, COLT5_COOR_DESCENT_STATE}, state);
    case COLT5_ROUTER_SINKHORN:
        return keep(pass->ctx, COLT5_F32, 4, (size_t[]){B, R, T, rows->K + rows->s.dims[2]}, state);
    case COLT5_ROUTER_CUM_SOFTMAX:
        return COLT5_OK;
    }
    return COLT5_ERROR_INTERNAL;
}

colt5_status solver_forward(struct pass *pass, const struct rows *rows, const colt5_tensor *index,
                            const colt5_tensor *scores, const colt5_tensor *state)
{
    const colt5_router_config *options = options_of(pass);
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const colt5_coor_descent_options descent = coor_descent_of(pass, rows);
    colt5_tensor all;
    colt5_status status;
    if (options->type == COLT5_ROUTER_COOR_DESCENT)
        return coor_descent_forward_picked(pass->ctx, &rows->s, rows->mask, &descent, index, scores,
                                           state);
    TRY(SCRATCH(pass, COLT5_F32, &all, rows->s.dims[0], rows->s.dims[1], rows->s.dims[2]));
    TRY(colt5_cum_softmax_forward(pass->ctx, &rows->s, rows->mask, (float)options->temperature,
                                  &all));
    TRY(colt5_gather_scores(pass->ctx, &all, index, scores));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

colt5_status sinkhorn_choose(struct pass *pass, uint64_t seed, const struct rows *rows,
                             const colt5_tensor *index, const colt5_tensor *scores,
                             const colt5_tensor *state)
{
    const colt5_sinkhorn_options options = sinkhorn_of(pass, seed);
    return colt5_sinkhorn_forward(pass->ctx, &rows->s, rows->mask, &options, index, scores, state);
}

/* ds [B'][R'][N'] from dscores [B'][R'][K']. */
static colt5_status rows_backward(struct pass *pass, const struct routed *routed,
                                  const struct rows *rows, const colt5_tensor *dscores,
                                  const colt5_tensor *ds)
{
    colt5_context *ctx = pass->ctx;
    const colt5_router_config *options = options_of(pass);
    const colt5_sinkhorn_options sinkhorn = sinkhorn_of(pass, routed->seed);
    const colt5_coor_descent_options descent = coor_descent_of(pass, rows);
    colt5_tensor dall;
    colt5_status status;
    if (options->type == COLT5_ROUTER_SINKHORN)
        return colt5_sinkhorn_backward(ctx, &rows->s, rows->mask, &sinkhorn, &routed->rows,
                                       &routed->state, dscores, ds);
    if (options->type == COLT5_ROUTER_COOR_DESCENT)
        return coor_descent_backward_picked(ctx, &rows->s, rows->mask, &descent, &routed->rows,
                                            &routed->state, dscores, ds);
    TRY(SCRATCH(pass, COLT5_F32, &dall, ds->dims[0], ds->dims[1], ds->dims[2]));
    TRY(colt5_gather_scores_backward(ctx, dscores, &routed->rows, &dall));
    TRY(colt5_cum_softmax_backward(ctx, &rows->s, rows->mask, (float)options->temperature, &dall,
                                   ds));
out:
    return status;
}

colt5_status solver_backward(struct pass *pass, const struct routed *routed,
                             const colt5_tensor *dscores, const colt5_tensor *ds)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const colt5_tensor *index = &routed->rows;
    const colt5_tensor row_dscores =
        RESHAPED(dscores, index->dims[0], index->dims[1], index->dims[2]);
    struct rows rows;
    colt5_tensor row_ds = *ds;
    colt5_status status;
    TRY(rows_cut(pass, routed, &routed->s, &rows));
    const bool blocks = routed->width != ds->dims[2];
    if (blocks) TRY(SCRATCH(pass, COLT5_F32, &row_ds, index->dims[0], 1, routed->width));
    TRY(rows_backward(pass, routed, &rows, &row_dscores, &row_ds));
    if (blocks) TRY(colt5_block_rows_backward(pass->ctx, &row_ds, routed->width, ds));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}
