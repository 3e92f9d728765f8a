/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_NORM_H
#define COLT5_OPS_NORM_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Normalised rows. Sums are float32 in a fixed order whatever the storage.
 * Errors of each: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (outputs untouched);
 * COLT5_ERROR_OPENCL (outputs undefined). Source: SPEC section 1.
 */

/**
 * RMSNorm: y = x · scale · gamma with scale = √D / max(‖x‖₂, 1e-12), row by row.
 *
 * x      [in]   f32|f16|bf16  [..][D]
 * gamma  [in]   as x          [D]
 * y      [out]  as x          [..][D]  may be x itself; NULL: only scale is wanted
 * scale  [out]  f32           [rows]   any shape with a number for each row of x; may be NULL
 */
COLT5_API
colt5_status colt5_rms_norm_forward(colt5_context *ctx, const colt5_tensor *x,
                                    const colt5_tensor *gamma, const colt5_tensor *y,
                                    const colt5_tensor *scale);

/**
 * LayerNorm: y = (x - mean) · scale · weight + bias with scale = 1 / √(variance + 1e-5), variance
 * the biased one, row by row.
 *
 * x       [in]   f32|f16|bf16  [..][D]
 * weight  [in]   as x          [D]
 * bias    [in]   as x          [D]
 * y       [out]  as x          [..][D]  may be x itself; NULL: only mean and scale are wanted
 * mean    [out]  f32           [rows]   as scale of colt5_rms_norm_forward; may be NULL
 * scale   [out]  f32           [rows]   likewise
 */
COLT5_API
colt5_status colt5_layer_norm_forward(colt5_context *ctx, const colt5_tensor *x,
                                      const colt5_tensor *weight, const colt5_tensor *bias,
                                      const colt5_tensor *y, const colt5_tensor *mean,
                                      const colt5_tensor *scale);

/*
 * Gradients. Where a whole row of dy is 0 the row of x is not looked at and may hold NaN; its dx is
 * base. Gradients of parameters are added to, in any storage type; they may be NULL.
 *
 * dy    [in]       as x  [..][D]
 * base  [in]       as x  [..][D]  what dx is added to, a residual's gradient; NULL: zeros
 * dx    [out]      as x  [..][D]  may be dy or base itself; NULL: not wanted
 *
 * Sums over rows have a fixed order. Errors as the forward calls', and COLT5_ERROR_MEMORY
 * (scratch).
 */

/**
 * dx = base + scale · (gamma · dy - x · scale²/D · Σ gamma · dy · x), without the second term where
 * ‖x‖₂ is below 1e-12; dgamma += Σ over rows of dy · x · scale.
 *
 * dgamma  [in,out]  f32|f16|bf16  [D]
 */
COLT5_API
colt5_status colt5_rms_norm_backward(colt5_context *ctx, const colt5_tensor *x,
                                     const colt5_tensor *gamma, const colt5_tensor *dy,
                                     const colt5_tensor *base, const colt5_tensor *dx,
                                     const colt5_tensor *dgamma);

/**
 * With z = (x - mean) · scale and g = weight · dy:
 * dx = base + scale · (g - Σ g / D - z · Σ g z / D); dweight += Σ over rows of dy · z;
 * dbias += Σ over rows of dy.
 *
 * dweight, dbias  [in,out]  f32|f16|bf16  [D]
 */
COLT5_API
colt5_status colt5_layer_norm_backward(colt5_context *ctx, const colt5_tensor *x,
                                       const colt5_tensor *weight, const colt5_tensor *dy,
                                       const colt5_tensor *base, const colt5_tensor *dx,
                                       const colt5_tensor *dweight, const colt5_tensor *dbias);

#ifdef __cplusplus
}
#endif
#endif
