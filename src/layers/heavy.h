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
    bool beside_light; /* of a forward: y holds residual + light + null_q */
};

/*
 * With context and queries among the tokens of x, y [B][N][D] = residual + score · heavy; rows of
 * other tokens are residual + null_q. residual may be NULL: zeros. Beside a light branch y has all
 * but score · heavy, and only rows of queries are read and written.
 */
colt5_status heavy_forward(struct pass *pass, const struct heavy_branch *branch,
                           const colt5_tensor *x, const colt5_tensor *residual,
                           const colt5_tensor *y, struct saved_heavy *saved);

/* Gradients of queries and of keys and values, before they were rotated; scratch. */
struct heavy_projected {
    colt5_tensor dq, dkv;
};

/*
 * The backward in two steps, so that dx may take dy's place between them. The first reads dy, and
 * writes dq_scores and dkv_scores [B][R][K] of routers that learn; the second adds to dx.
 */
colt5_status heavy_attend_backward(struct pass *pass, const struct heavy_branch *branch,
                                   const colt5_tensor *x, const struct saved_heavy *saved,
                                   const colt5_tensor *dy, const colt5_tensor *dq_scores,
                                   const colt5_tensor *dkv_scores,
                                   struct heavy_projected *gradients);
colt5_status heavy_project_backward(struct pass *pass, const struct heavy_branch *branch,
                                    const colt5_tensor *x, const struct heavy_projected *gradients,
                                    const colt5_tensor *dx);

#endif
