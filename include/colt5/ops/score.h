/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_SCORE_H
#define COLT5_OPS_SCORE_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One router to score for. */
typedef struct colt5_score_target {
    const colt5_tensor *token; /* [in]  as x  [R][D], or [B][R][D] for tokens of each sample */
    const colt5_tensor *s;     /* [out] f32   [B][R][N] */
} colt5_score_target;

/** How a token is compared with a routing token. NULL instead of it means the plain product. */
typedef struct colt5_score_options {
    int cosine;         /* 1: both are l2-normalised (their norm at least 1e-12) */
    float cosine_scale; /* times this where cosine is 1; 8 is the usual value */
} colt5_score_options;

/**
 * Raw routing scores of every router of a layer, in one pass over x for each four routing tokens:
 *
 *     s[b,r,n] = Σ_d x[b,n,d] · token[r,d]
 *     s[b,r,n] = cosine_scale · Σ_d x[b,n,d] · token[r,d] / (max(‖x‖, 1e-12) · max(‖token‖, 1e-12))
 *
 * x        [in]   f32|f16|bf16  [B][N][D]
 * targets  [in]   count of them, at least one; no s may overlap x
 *
 * Sums are float32 over many partial sums joined in a fixed order, more exact than one running sum.
 * A row of x reaches its own scores only: what stands in a masked row does no harm.
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (every s untouched);
 * COLT5_ERROR_MEMORY (scratch, cosine only; untouched); COLT5_ERROR_OPENCL (undefined).
 * Source: SPEC section 2.
 */
COLT5_API
colt5_status colt5_score_forward(colt5_context *ctx, const colt5_tensor *x, size_t count,
                                 const colt5_score_target *targets,
                                 const colt5_score_options *options);

/** One router's part in the backward pass. */
typedef struct colt5_score_gradient {
    const colt5_tensor *token;  /* [in]      as in the forward call */
    const colt5_tensor *ds;     /* [in]      f32            [B][R][N] */
    const colt5_tensor *dtoken; /* [in,out]  f32|f16|bf16   as token; added to; NULL: not wanted */
} colt5_score_gradient;

/**
 * The gradient of colt5_score_forward:
 *
 *     dx[b,n,:] (=, or += with accumulate) Σ over targets and r of ds[b,r,n] · ∂s/∂x
 *     dtoken[r,:] += Σ over b and n of ds[b,r,n] · ∂s/∂token        (of each sample, where token
 * is)
 *
 * x          [in]          f32|f16|bf16  [B][N][D]
 * gradients  [in]          count of them, as the targets of the forward call
 * dx         [out|in,out]  as x          [B][N][D]   NULL: not wanted
 *
 * Where ds is 0 (a token not routed, a masked one) the row of x is not looked at: it may hold NaN.
 * Sums have a fixed order. Errors as colt5_score_forward; a failed check leaves dx and every dtoken
 * untouched.
 */
COLT5_API
colt5_status colt5_score_backward(colt5_context *ctx, const colt5_tensor *x, size_t count,
                                  const colt5_score_gradient *gradients,
                                  const colt5_score_options *options, const colt5_tensor *dx,
                                  int accumulate);

#ifdef __cplusplus
}
#endif
#endif
