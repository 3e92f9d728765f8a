/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_ACTIVATION_H
#define COLT5_OPS_ACTIVATION_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Element by element. Errors of each: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT
 * (y untouched); COLT5_ERROR_OPENCL (y undefined). Source: SPEC section 1.
 */

/**
 * y = x/2 · (1 + erf(x/√2)), the exact GELU.
 *
 * x  [in]   f32|f16|bf16  [..]
 * y  [out]  as x          [..]  may be x itself, must not overlap it otherwise
 */
COLT5_API
colt5_status colt5_gelu_forward(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *y);

/**
 * dx = dy · (Φ(x) + x · φ(x)), Φ and φ of the normal distribution; 0 where dy is 0, whatever x is.
 *
 * x, dy  [in]   f32|f16|bf16  [..]
 * dx     [out]  as x          [..]  may be dy or x itself, must not overlap them otherwise
 */
COLT5_API
colt5_status colt5_gelu_backward(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *dy,
                                 const colt5_tensor *dx);

/**
 * y = a + b.
 *
 * a, b  [in]   f32|f16|bf16  [..]
 * y     [out]  as a          [..]  may be a or b itself, must not overlap them otherwise
 */
COLT5_API
colt5_status colt5_add(colt5_context *ctx, const colt5_tensor *a, const colt5_tensor *b,
                       const colt5_tensor *y);

#ifdef __cplusplus
}
#endif
#endif
