/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_SCATTER_H
#define COLT5_OPS_SCATTER_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Rows put back where they were picked: the way back from a heavy branch. In all of them
 *
 * y       [in]      f32|f16|bf16  [B][K][D]
 * index   [in]      i32           [B][K]     the row of x of each slot; outside [0, N) is skipped
 * scores  [in]      f32           [B][K]     what a slot is multiplied by; NULL: 1
 * base    [in]      as x          [B][N][D]  may be x itself, must not overlap it otherwise
 * x       [in,out]  as y          [B][N][D]  must not overlap y
 *
 * Sums are float32 in ascending order of the slots: repeatable to the bit. A slot's NaN stays in
 * the row it goes to, whatever its score.
 * Errors of each: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (x untouched);
 * COLT5_ERROR_MEMORY, COLT5_ERROR_OPENCL (x undefined). Source: SPEC sections 2.2 and 4.
 */

/** What is known of the indices of a sample. */
typedef enum colt5_index_kind {
    COLT5_INDEX_UNIQUE,  /* no row twice; two slots of one row would race */
    COLT5_INDEX_REPEATED /* a row may have several slots */
} colt5_index_kind;

/**
 * x[b, index[b,k], :] = base[b, index[b,k], :] + scores[b,k] · y[b,k,:], indices unique.
 *
 * base NULL: routed rows are scores · y, the others of x stay as they are. base x itself: routed
 * rows are added to, the others stay. Another base: the others are copied from it.
 * Gradients: colt5_scatter_backward; that of base is that of x.
 */
COLT5_API
colt5_status colt5_scatter(colt5_context *ctx, const colt5_tensor *y, const colt5_tensor *index,
                           const colt5_tensor *scores, const colt5_tensor *base,
                           const colt5_tensor *x);

/** x[b, index[b,k], :] += scores[b,k] · y[b,k,:]. Also the gradient of colt5_gather. */
COLT5_API
colt5_status colt5_scatter_add(colt5_context *ctx, const colt5_tensor *y, const colt5_tensor *index,
                               const colt5_tensor *scores, colt5_index_kind kind,
                               const colt5_tensor *x);

/**
 * x[b,n,:] = base[b,n,:] + the mean of scores[b,k] · y[b,k,:] over the slots k of row n, for rows
 * that have slots; indices may repeat. The other rows and base as in colt5_scatter.
 * Gradients: colt5_scatter_mean_backward.
 */
COLT5_API
colt5_status colt5_scatter_mean(colt5_context *ctx, const colt5_tensor *y,
                                const colt5_tensor *index, const colt5_tensor *scores,
                                const colt5_tensor *base, const colt5_tensor *x);

/**
 * Every row in one pass: x[b,n,:] = base[b,n,:] + (the mean over its slots of scores · y, or row
 * where it has none).
 *
 * kind  COLT5_INDEX_UNIQUE: one slot a row at most
 * row   [in]  as x  [D]  NULL: zeros
 * base               NULL: zeros
 */
COLT5_API
colt5_status colt5_scatter_fill(colt5_context *ctx, const colt5_tensor *y,
                                const colt5_tensor *index, const colt5_tensor *scores,
                                colt5_index_kind kind, const colt5_tensor *row,
                                const colt5_tensor *base, const colt5_tensor *x);

/**
 * x[..., :] = base[..., :] + row[:].
 *
 * row   [in]   as x          [D]      NULL: zeros
 * base  [in]   as x          [..][D]  NULL: zeros; may be x itself
 * x     [out]  f32|f16|bf16  [..][D]
 */
COLT5_API
colt5_status colt5_broadcast_row(colt5_context *ctx, const colt5_tensor *row,
                                 const colt5_tensor *base, const colt5_tensor *x);

/**
 * Gradients of colt5_scatter, and of the y and scores of colt5_scatter_add with unique indices:
 * dy[b,k,:] = scores[b,k] · dx[b, index[b,k], :], dscores[b,k] = dx[b, index[b,k], :] · y[b,k,:].
 *
 * dx       [in]   f32|f16|bf16  [B][N][D]
 * y        [in]   as dx         [B][K][D]  NULL where dscores is
 * dy       [out]  as dx         [B][K][D]  may be y itself; NULL: not wanted
 * dscores  [out]  f32           [B][K]     NULL: not wanted
 *
 * A skipped slot gets zeros; where dx is 0, y is not looked at and may be NaN.
 */
COLT5_API
colt5_status colt5_scatter_backward(colt5_context *ctx, const colt5_tensor *dx,
                                    const colt5_tensor *index, const colt5_tensor *scores,
                                    const colt5_tensor *y, const colt5_tensor *dy,
                                    const colt5_tensor *dscores);

/** As colt5_scatter_backward, each slot's gradients divided by the number of slots of its row. */
COLT5_API
colt5_status colt5_scatter_mean_backward(colt5_context *ctx, const colt5_tensor *dx,
                                         const colt5_tensor *index, const colt5_tensor *scores,
                                         const colt5_tensor *y, const colt5_tensor *dy,
                                         const colt5_tensor *dscores);

/**
 * The gradient of a broadcast row: drow[:] += the sum of the rows of dx.
 *
 * dx    [in]      f32|f16|bf16  [..][D]
 * rows  [in]      u8            a number for each row of dx, 0: left out; NULL: all count
 * drow  [in,out]  f32|f16|bf16  [D]
 *
 * For the row of colt5_scatter_fill, rows come from colt5_unrouted_rows.
 */
COLT5_API
colt5_status colt5_broadcast_row_backward(colt5_context *ctx, const colt5_tensor *dx,
                                          const colt5_tensor *rows, const colt5_tensor *drow);

/**
 * rows[b,n] = 1 where token n is valid and no index[b,k] is n, else 0.
 *
 * index  [in]   i32  [B][K]
 * mask   [in]   u8   [B][N]  NULL: all are valid
 * rows   [out]  u8   [B][N]
 */
COLT5_API
colt5_status colt5_unrouted_rows(colt5_context *ctx, const colt5_tensor *index,
                                 const colt5_tensor *mask, const colt5_tensor *rows);

/**
 * y[b,k] = Σ over d of a[b,k,d] · b[b,k,d]; where a is 0, b is not looked at and may be NaN.
 *
 * a, b  [in]   f32|f16|bf16  [B][K][D]
 * y     [out]  f32           [B][K]
 */
COLT5_API
colt5_status colt5_row_dot(colt5_context *ctx, const colt5_tensor *a, const colt5_tensor *b,
                           const colt5_tensor *y);

#ifdef __cplusplus
}
#endif
#endif
