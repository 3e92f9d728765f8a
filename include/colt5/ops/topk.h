/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_TOPK_H
#define COLT5_OPS_TOPK_H

#include <colt5/ops/coor_descent.h>
#include <colt5/ops/select.h>
#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How the differentiable top-k finds its gradient. */
typedef struct colt5_topk_options {
    float fetch_k_ratio;    /* the solver looks for K times this, at least 1; default 9/8 */
    int n_iters;            /* steps T of the solver, 1 to 10000; default 20 */
    float eps;              /* its smallest temperature, above 0; default 0.1 */
    float eps_init;         /* its first temperature; 0 (default): eps */
    float eps_decay;        /* temperature of a step from that before it; default 1 */
    int non_differentiable; /* 1: the plain top-k, no solver; default 0 */
} colt5_topk_options;

/** The defaults above. */
COLT5_API
colt5_topk_options colt5_topk_options_default(void);

/**
 * The differentiable top-k: the K first of every row in the order of colt5_select, sorted by it
 * (largest first, masked last), with the solver's score of each.
 *
 *     g = coordinate descent of x, k = min(K · fetch_k_ratio, N)
 *     index = top K of x, sorted;  values = x[index];  scores = g[index];  gates = 1, masked 0
 *
 * x        [in]   f32  [B][R][N]
 * mask     [in]   u8   [B][N]         NULL: every element is valid
 * options  [in]   NULL: the defaults
 * values   [out]  f32  [B][R][K]      1 <= K <= N
 * index    [out]  i32  [B][R][K]
 * scores   [out]  f32  [B][R][K]      NULL: not wanted, as always with non_differentiable
 * gates    [out]  f32  [B][R][K]      NULL: not wanted
 * state    [out]  f32  [B][R][T][4]   the solver's, for the backward call
 * (COLT5_COOR_DESCENT_STATE); or NULL
 *
 * Errors: as colt5_select, for every output.
 * Source: SPEC section 2.4.
 */
COLT5_API
colt5_status colt5_topk_forward(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *mask,
                                const colt5_topk_options *options, const colt5_tensor *values,
                                const colt5_tensor *index, const colt5_tensor *scores,
                                const colt5_tensor *gates, const colt5_tensor *state);

/** Gradients of what colt5_topk_forward gave; each may be NULL (zero), but not all. */
typedef struct colt5_topk_gradient {
    const colt5_tensor *dvalues; /* [in]  f32  [B][R][K] */
    const colt5_tensor *dscores; /* [in]  f32  [B][R][K] */
    const colt5_tensor *dgates;  /* [in]  f32  [B][R][K] */
} colt5_topk_gradient;

/**
 * The gradient of colt5_topk_forward. The gate is 1 in value and the solver's score in gradient:
 *
 *     dg[index] = dvalues · x[index] + dscores + dgates        (valid tokens; 0 elsewhere)
 *     dx = dvalues at index + the solver's gradient of dg
 *
 * x, mask, options, index, state  [in]   as the forward call had or gave them (state is NULL with
 *                                        non_differentiable, where dx = dvalues at index)
 * dx                              [out]  f32  [B][R][N]
 *
 * Errors: as colt5_select, for dx.
 */
COLT5_API
colt5_status colt5_topk_backward(colt5_context *ctx, const colt5_tensor *x,
                                 const colt5_tensor *mask, const colt5_topk_options *options,
                                 const colt5_tensor *index, const colt5_tensor *state,
                                 const colt5_topk_gradient *gradient, const colt5_tensor *dx);

#ifdef __cplusplus
}
#endif
#endif
