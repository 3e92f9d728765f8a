/* SPDX-License-Identifier: MIT */
/* One side of heavy attention, queries or context: tokens of x, all or routed, and what is
 * projected of them. */
#ifndef COLT5_LAYERS_SIDE_H
#define COLT5_LAYERS_SIDE_H

#include "layers/router.h"

struct side {
    const struct routed *routed;
    size_t B, R, M;        /* [B][R][M] tokens */
    size_t first_position; /* of token 0, where all are there */
    colt5_tensor index;    /* i32 [B][R·M]; no content where all are there */
};

struct side side_of(const struct routed *routed, const colt5_tensor *x);

/* out [B][R][M][..] = norm(tokens) · weightᵀ; each route has its part of the weight's rows. */
colt5_status side_forward(struct pass *pass, const struct heavy_attention *heavy,
                          const struct side *side, const struct parameter *weight,
                          const colt5_tensor *x, const colt5_tensor *out);

/* dx [B][N][D] += the gradient of side_forward, and those of its parameters; dout as out. */
colt5_status side_backward(struct pass *pass, const struct heavy_attention *heavy,
                           const struct side *side, const struct parameter *weight,
                           const colt5_tensor *x, const colt5_tensor *dout, const colt5_tensor *dx);

/* Rotates x [..][M][heads][E], every step-th head, at the tokens' positions below N, or back. */
colt5_status side_rotate(struct pass *pass, const struct side *side, const colt5_tensor *x,
                         size_t step, size_t N, bool inverse);

#endif
