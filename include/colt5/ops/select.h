/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_SELECT_H
#define COLT5_OPS_SELECT_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The exact top K of every row, by position.
 *
 * Order: valid before masked, then larger s, then smaller index. -0 equals 0; NaN comes after every
 * number, but a valid NaN before a masked token. The K first of that order are picked.
 *
 * s      [in]   f32  [B][R][N]    N at most 2^31 - 1
 * mask   [in]   u8   [B][N]       NULL: every token is valid
 * index  [out]  i32  [B][R][K]    1 <= K <= N; ascending, each position once
 *
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT, COLT5_ERROR_MEMORY (scratch;
 * index untouched); COLT5_ERROR_OPENCL (index undefined). Source: SPEC section 2.
 */
COLT5_API
colt5_status colt5_select(colt5_context *ctx, const colt5_tensor *s, const colt5_tensor *mask,
                          const colt5_tensor *index);

#ifdef __cplusplus
}
#endif
#endif
