/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_GRADIENT_NORM_H
#define COLT5_OPS_GRADIENT_NORM_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Errors of each: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT, COLT5_ERROR_MEMORY
 * (scratch): outputs untouched; COLT5_ERROR_OPENCL (outputs undefined).
 */

/** What is made of the norm. All 0, or NULL in its place, means no clipping and no loss scale. */
typedef struct colt5_clip_options {
    float max_norm;   /* the gradients together shall not be longer; 0: as long as they are */
    float loss_scale; /* the gradients are so many times too large; 0: 1 */
} colt5_clip_options;

/**
 * The length of all gradients taken as one vector, and what they are to be multiplied by:
 *
 *     norm    √(Σ over tensors, Σ over elements of g²) / loss_scale
 *     factor  min(1, max_norm / norm) / loss_scale;  0 where norm is not finite
 *
 * gradients  [in]   f32|f16|bf16  any shapes; `count` tensors, types may differ
 * norm       [out]  f32           [1]  infinity or NaN as soon as one element is, or a sum passes
 *                                      float32's range
 * factor     [out]  f32           [1]  may be NULL; 0 tells colt5_adamw to leave everything as is
 *
 * Summed in a fixed order, in two stages.
 */
COLT5_API
colt5_status colt5_gradient_norm(colt5_context *ctx, const colt5_tensor *gradients, size_t count,
                                 const colt5_clip_options *options, const colt5_tensor *norm,
                                 const colt5_tensor *factor);

/**
 * gradients *= factor, in place; all 0 where factor is 0, whatever they were.
 *
 * gradients  [in,out]  f32|f16|bf16  any shapes; `count` tensors
 * factor     [in]      f32           [1]
 *
 * colt5_adamw takes the factor itself: this is for gradients that go elsewhere.
 */
COLT5_API
colt5_status colt5_gradient_scale(colt5_context *ctx, const colt5_tensor *gradients, size_t count,
                                  const colt5_tensor *factor);

#ifdef __cplusplus
}
#endif
#endif
