/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_EMBEDDING_H
#define COLT5_OPS_EMBEDDING_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Errors of each: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (outputs untouched);
 * COLT5_ERROR_OPENCL (outputs undefined). Source: SPEC section 4, text encoder.
 */

/**
 * y[b,n,:] = weight[ids[b,n], :].
 *
 * ids     [in]   i32|i64       [B][N]     an id outside [0, V) gives a row of zeros
 * weight  [in]   f32|f16|bf16  [V][D]
 * y       [out]  as weight     [B][N][D]  must not overlap weight
 */
COLT5_API
colt5_status colt5_embedding_forward(colt5_context *ctx, const colt5_tensor *ids,
                                     const colt5_tensor *weight, const colt5_tensor *y);

/**
 * The gradient of colt5_embedding_forward: dweight[v,:] += the sum of dy[b,n,:] where ids[b,n] = v.
 *
 * ids      [in]      i32|i64       [B][N]
 * dy       [in]      f32|f16|bf16  [B][N][D]
 * dweight  [in,out]  f32           [V][D]     must not overlap the others
 *
 * An id outside [0, V) counts nowhere. Tokens are sorted by id, so that sums have a fixed order;
 * B·N and V must be below 2^31. Errors also: COLT5_ERROR_MEMORY (scratch).
 */
COLT5_API
colt5_status colt5_embedding_backward(colt5_context *ctx, const colt5_tensor *ids,
                                      const colt5_tensor *dy, const colt5_tensor *dweight);

/**
 * mask[b,n] = 1 where ids[b,n] is not padding and given[b,n] is nonzero, else 0.
 *
 * ids    [in]   i32|i64  [B][N]
 * given  [in]   u8       [B][N]  NULL: every token counts
 * mask   [out]  u8       [B][N]  may be given
 */
COLT5_API
colt5_status colt5_token_mask(colt5_context *ctx, const colt5_tensor *ids,
                              const colt5_tensor *given, int64_t padding, const colt5_tensor *mask);

#ifdef __cplusplus
}
#endif
#endif
