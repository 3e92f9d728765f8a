/* SPDX-License-Identifier: MIT */
#ifndef COLT5_LAYERS_HEAVY_H
#define COLT5_LAYERS_HEAVY_H

#include "layers/router.h"

/*
 * Attention of the tokens q routed of x over the tokens kv routed of it (SPEC 3.2), put where those
 * queries stand: y [B][N][D] = residual + score · heavy; rows of other tokens are residual +
 * null_q. null_q and residual may be NULL, which adds nothing.
 */
colt5_status heavy_forward(struct pass *pass, const struct heavy_attention *heavy,
                           const struct parameter *null_q, const colt5_tensor *x,
                           const struct routed *q, const struct routed *kv,
                           const colt5_tensor *residual, const colt5_tensor *y);

#endif
