/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_MASK_ROWS_H
#define COLT5_OPS_MASK_ROWS_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * y[b,n,:] = x[b,n,:] where mask[b,n] is nonzero, else 0, whatever x holds there.
 *
 * x     [in]   f32|f16|bf16  [B][N][D]
 * mask  [in]   u8            [B][N]
 * y     [out]  as x          [B][N][D]  may be x itself, must not overlap it otherwise
 *
 * Its gradient is itself. Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (y
 * untouched); COLT5_ERROR_OPENCL (y undefined). Source: SPEC section 2, masks.
 */
COLT5_API
colt5_status colt5_mask_rows(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *mask,
                             const colt5_tensor *y);

#ifdef __cplusplus
}
#endif
#endif
