/* SPDX-License-Identifier: MIT */
/* Routing: which tokens go to a heavy branch, and the score each comes back with. */
#ifndef COLT5_LAYERS_ROUTER_H
#define COLT5_LAYERS_ROUTER_H

#include "layers/pass.h"

struct routed {
    bool all;      /* N <= K: every token, in place; the rest of the struct is then unused */
    bool repeated; /* a token may stand in several slots; results are averaged */
    bool unit;     /* every score is 1: scores has no content */
    size_t R, K;
    colt5_tensor index;  /* i32 [B][R][K] */
    colt5_tensor scores; /* f32 [B][R][K] */
    bool masked;         /* mask has content */
    colt5_tensor mask;   /* u8 [B][R][K] */
};

/* True when a router for K of the N tokens needs raw scores. Its seed is pass->next_seed. */
bool router_needs_scores(const struct pass *pass, const struct router *router, size_t N, size_t K);

/* Raw scores s f32 [B][R][N] of up to two routers in one pass over x; those not needed are skipped.
 */
colt5_status router_scores(struct pass *pass, const colt5_tensor *x, size_t count,
                           const struct router *const *routers, const bool *needed,
                           colt5_tensor *s);

/*
 * Routes K of the N tokens for each route, from raw scores s (looked at only when needed), and
 * counts one seed. The results live in scratch.
 */
colt5_status router_forward(struct pass *pass, const struct router *router, size_t B, size_t N,
                            size_t K, const colt5_tensor *s, struct routed *routed);

/* The scores as an operand: NULL where every one is 1. */
const colt5_tensor *routed_scores(const struct routed *routed);

#endif
