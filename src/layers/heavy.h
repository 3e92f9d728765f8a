/* SPDX-License-Identifier: MIT */
/* Attention among routed tokens: SPEC sections 3.2 and 4. */
#ifndef COLT5_LAYERS_HEAVY_H
#define COLT5_LAYERS_HEAVY_H

#include "layers/router.h"

/* The parts of an attention layer's heavy branch. null_q may be NULL: nothing. */
struct heavy_branch {
    const struct heavy_attention *heavy;
    const struct parameter *null_q;
    const struct routed *q, *kv;
};

/*
 * With context and queries among the tokens of x, y [B][N][D] = residual + score · heavy; rows of
 * other tokens are residual + null_q. residual may be NULL: zeros.
 */
colt5_status heavy_forward(struct pass *pass, const struct heavy_branch *branch,
                           const colt5_tensor *x, const colt5_tensor *residual,
                           const colt5_tensor *y, struct saved_heavy *saved);

/* dx += the branch's gradient; dq_scores and dkv_scores [B][R][K] of routers that learn are
 * written. */
colt5_status heavy_backward(struct pass *pass, const struct heavy_branch *branch,
                            const colt5_tensor *x, const struct saved_heavy *saved,
                            const colt5_tensor *dy, const colt5_tensor *dx,
                            const colt5_tensor *dq_scores, const colt5_tensor *dkv_scores);

#endif
