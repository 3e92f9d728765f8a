/* SPDX-License-Identifier: MIT */
/* What other routers take from the top-k: sorted rows. */
#ifndef COLT5_SRC_OPS_TOPK_H
#define COLT5_SRC_OPS_TOPK_H

#include <colt5/ops/topk.h>

/*
 * Routing keys (common.cl) of the tokens of x [B][R][N] at the positions picked [B][R][K], all N
 * where it is NULL; sorted, the first of SPEC's order first. *keys, i64 [B][R][K], is taken from
 * the scratch.
 */
colt5_status sort_routing_keys(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *mask,
                               const colt5_tensor *picked, colt5_tensor *keys);

#endif
