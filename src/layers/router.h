/* SPDX-License-Identifier: MIT */
/* Routing: which tokens go to a heavy branch, and the score each comes back with. */
#ifndef COLT5_LAYERS_ROUTER_H
#define COLT5_LAYERS_ROUTER_H

#include <colt5/ops/scatter.h>

#include "layers/pass.h"

/* True when a router for K of the N tokens needs raw scores. Its seed is pass->next_seed. */
bool router_needs_scores(const struct pass *pass, const struct router *router, size_t N, size_t K);

/* Raw scores s f32 [B][R][N] of up to two routers in one pass over x; those not needed are skipped.
 * inverses f32 [B][N], 1 / ‖x‖ of each token, comes with them, whether or not any is needed: to the
 * last bit the same, as are those of a forward made again. NULL: not wanted. */
colt5_status router_scores(struct pass *pass, const colt5_tensor *x, size_t count,
                           const struct router *const *routers, const bool *needed, colt5_tensor *s,
                           const colt5_tensor *inverses);

/*
 * Routes K of the N tokens for each route, from raw scores s (looked at only when needed), and
 * counts one seed. The results live in scratch; in training they are kept.
 */
colt5_status router_forward(struct pass *pass, const struct router *router, size_t B, size_t N,
                            size_t K, const colt5_tensor *s, struct routed *routed);

/* Two routers over the same tokens, for K[i] of them each; as router_forward, in one call where the
 * two are alike. */
colt5_status router_pair_forward(struct pass *pass, const struct router *const *routers, size_t B,
                                 size_t N, const size_t *K, const colt5_tensor *s,
                                 struct routed *const *routed);

/* A router that learns, with the gradient of its scores [B][R][K]. */
struct learning {
    const struct router *router;
    const struct routed *routed;
    const colt5_tensor *dscores;
};

/* Gradients of the routing tokens of up to two routers, and dx += those of x. */
colt5_status routers_backward(struct pass *pass, const colt5_tensor *x, size_t count,
                              const struct learning *learnings, const colt5_tensor *dx);

/* The scores as an operand: NULL where every one is 1. */
const colt5_tensor *routed_scores(const struct routed *routed);

/* Whether a token may stand in several slots. */
colt5_index_kind index_kind(const struct routed *routed);

/*
 * Gradients of what was put back at the tokens a router chose (R = 1): dout [B][K][D] of the heavy
 * branch's out, dscores [B][1][K] or NULL. dy [B][N][D].
 */
colt5_status scattered_backward(struct pass *pass, const colt5_tensor *dy,
                                const struct routed *routed, const colt5_tensor *out,
                                const colt5_tensor *dout, const colt5_tensor *dscores);

#endif
