/* SPDX-License-Identifier: MIT */
/* What a router does with the indices it has picked. */
#ifndef COLT5_OPS_ROUTE_H
#define COLT5_OPS_ROUTE_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The mask of routed tokens, which is also their straight-through score:
 * routed[b,r,k] = 1 where mask[b, index[b,r,k]] is nonzero, else 0.
 *
 * mask    [in]   u8      [B][N]      NULL: every token is real
 * index   [in]   i32     [B][R][K]   outside [0, N) (below 0 where mask is NULL): 0
 * routed  [out]  u8|f32  [B][R][K]
 *
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (routed untouched);
 * COLT5_ERROR_OPENCL (routed undefined). Source: SPEC section 2.
 */
COLT5_API
colt5_status colt5_route_mask(colt5_context *ctx, const colt5_tensor *mask,
                              const colt5_tensor *index, const colt5_tensor *routed);

/**
 * Picks scores along the last axis: y[b,r,k] = scores[b,r, index[b,r,k]].
 *
 * scores  [in]   f32  [B][R][N]
 * index   [in]   i32  [B][R][K]   outside [0, N): y is 0
 * y       [out]  f32  [B][R][K]
 *
 * Errors: as colt5_route_mask.
 */
COLT5_API
colt5_status colt5_gather_scores(colt5_context *ctx, const colt5_tensor *scores,
                                 const colt5_tensor *index, const colt5_tensor *y);

/**
 * The gradient of colt5_gather_scores: dscores[b,r, index[b,r,k]] = dy[b,r,k], and 0 elsewhere.
 *
 * dy       [in]   f32  [B][R][K]
 * index    [in]   i32  [B][R][K]   no index twice in a row; outside [0, N): passed over
 * dscores  [out]  f32  [B][R][N]
 *
 * Errors: as colt5_route_mask.
 */
COLT5_API
colt5_status colt5_gather_scores_backward(colt5_context *ctx, const colt5_tensor *dy,
                                          const colt5_tensor *index, const colt5_tensor *dscores);

/**
 * Block routing: cuts rows to blocks of `width` tokens that any router then takes as samples of
 * their own. nb = floor(N / width) blocks a row; a remainder is left out. Block i of row (b,r) is
 * sample (b·R + r)·nb + i:
 *
 *     s_blocks[(b·R + r)·nb + i, 0, j] = s[b, r, i·width + j],  mask_blocks[…, j] = mask[b, i·width
 * + j]
 *
 * s            [in]   f32  [B][R][N]
 * mask         [in]   u8   [B][N]              NULL: every token is real
 * width        [in]   1 to N
 * s_blocks     [out]  f32  [B·R·nb][1][width]
 * mask_blocks  [out]  u8   [B·R·nb][width]     NULL exactly where mask is
 *
 * Errors: as colt5_route_mask. Source: SPEC section 2.1.
 */
COLT5_API
colt5_status colt5_block_rows(colt5_context *ctx, const colt5_tensor *s, const colt5_tensor *mask,
                              size_t width, const colt5_tensor *s_blocks,
                              const colt5_tensor *mask_blocks);

/** The gradient of colt5_block_rows: ds [B][R][N] from ds_blocks [B·R·nb][1][width], the remainder
 * 0. */
COLT5_API
colt5_status colt5_block_rows_backward(colt5_context *ctx, const colt5_tensor *ds_blocks,
                                       size_t width, const colt5_tensor *ds);

/**
 * Indices inside blocks become indices of the sequence:
 * position[b, r, i·Kb + j] = index[(b·R + r)·nb + i, 0, j] + i·width.
 *
 * index   [in]   i32  [B·R·nb][1][Kb]
 * position  [out]  i32  [B][R][nb·Kb]
 *
 * Errors: as colt5_route_mask.
 */
COLT5_API
colt5_status colt5_block_index(colt5_context *ctx, const colt5_tensor *index, size_t width,
                               const colt5_tensor *position);

#ifdef __cplusplus
}
#endif
#endif
