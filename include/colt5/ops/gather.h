/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_GATHER_H
#define COLT5_OPS_GATHER_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Picks rows: y[b,k,:] = x[b, index[b,k], :].
 *
 * x      [in]   f32|f16|bf16  [B][N][D]
 * index  [in]   i32           [B][K]     each in [0, N)
 * y      [out]  as x          [B][K][D]  must not overlap x
 *
 * An index outside [0, N) gives a row of zeros. Its gradient is colt5_scatter_add.
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (y untouched);
 * COLT5_ERROR_OPENCL (y undefined). Source: SPEC section 2.
 */
COLT5_API
colt5_status colt5_gather(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *index,
                          const colt5_tensor *y);

#ifdef __cplusplus
}
#endif
#endif
