/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_CROSS_ENTROPY_H
#define COLT5_OPS_CROSS_ENTROPY_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * The loss of a model that names one of V symbols for each row. Neither softmax nor its gradient
 * is kept: a row leaves one number, its log-sum-exp. A row whose target is outside [0, V), such as
 * -1, is not counted, and its logits are not looked at.
 *
 * Errors of each: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT, COLT5_ERROR_MEMORY
 * (scratch): outputs untouched; COLT5_ERROR_OPENCL (outputs undefined). Source: SPEC section 4.
 */

/**
 * loss = Σ over counted rows of losses / counted, with losses[row] = lse[row] - logits[row,
 * targets[row]] and lse[row] = log Σ_v exp(logits[row, v]); 0 where no row is counted. In nats.
 *
 * logits   [in]   f32|f16|bf16  [..][V]
 * targets  [in]   i32           [rows]   any shape with a number for each row of logits
 * loss     [out]  f32           [1]      summed in a fixed order
 * counted  [out]  i32           [1]      how many rows are counted; may be NULL
 * losses   [out]  f32           [rows]   any such shape; 0 of rows not counted; may be NULL
 * lse      [out]  f32           [rows]   likewise; what backward needs
 */
COLT5_API
colt5_status colt5_cross_entropy_forward(colt5_context *ctx, const colt5_tensor *logits,
                                         const colt5_tensor *targets, const colt5_tensor *loss,
                                         const colt5_tensor *counted, const colt5_tensor *losses,
                                         const colt5_tensor *lse);

/**
 * dlogits = (exp(logits - lse) - onehot(targets)) · scale / counted; 0 in rows not counted.
 *
 * logits, targets, counted, lse   as above; with counted NULL it is 1, for a caller who knows the
 *                                 rows of several calls and puts their number into scale
 * scale    [in]                   what the gradient of the loss is
 * dlogits  [out]  as logits       may be logits itself, must not overlap them otherwise
 */
COLT5_API
colt5_status colt5_cross_entropy_backward(colt5_context *ctx, const colt5_tensor *logits,
                                          const colt5_tensor *targets, const colt5_tensor *counted,
                                          const colt5_tensor *lse, float scale,
                                          const colt5_tensor *dlogits);

#ifdef __cplusplus
}
#endif
#endif
