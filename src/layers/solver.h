/* SPDX-License-Identifier: MIT */
/* The differentiable scores of each type of router, forward and back. */
#ifndef COLT5_LAYERS_SOLVER_H
#define COLT5_LAYERS_SOLVER_H

#include "layers/pass.h"

/* Rows to choose from: samples of the sequence, or blocks of it as samples of their own. */
struct rows {
    colt5_tensor s;           /* f32 [B'][R'][N'] */
    const colt5_tensor *mask; /* u8 [B'][N'] or NULL */
    colt5_tensor mask_blocks;
    size_t K; /* of each row */
};

/* The rows of raw scores s [B][R][N] that routed->K and routed->width make. */
colt5_status rows_cut(struct pass *pass, const struct routed *routed, const colt5_tensor *s,
                      struct rows *rows);

/* What a solver of these rows keeps for its backward, in kept memory; state is not touched where it
 * keeps nothing. */
colt5_status solver_state(struct pass *pass, const struct rows *rows, colt5_tensor *state);

/* scores [B'][R'][K'] of the chosen tokens; state NULL: not kept. Not of Sinkhorn. */
colt5_status solver_forward(struct pass *pass, const struct rows *rows, const colt5_tensor *index,
                            const colt5_tensor *scores, const colt5_tensor *state);

/* Sinkhorn chooses, and scores, in one. */
colt5_status sinkhorn_choose(struct pass *pass, uint64_t seed, const struct rows *rows,
                             const colt5_tensor *index, const colt5_tensor *scores,
                             const colt5_tensor *state);

/* ds [B][R][N] of raw scores from dscores [B][R][K] of the chosen ones. */
colt5_status solver_backward(struct pass *pass, const struct routed *routed,
                             const colt5_tensor *dscores, const colt5_tensor *ds);

#endif
