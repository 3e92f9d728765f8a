/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_ADAMW_H
#define COLT5_OPS_ADAMW_H

#include <stdint.h>

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One step's numbers; start from colt5_adamw_options_default. */
typedef struct colt5_adamw_options {
    float learning_rate; /* >= 0; no default */
    float beta1, beta2;  /* in [0, 1) [0.9, 0.95] how long m and v remember */
    float eps;           /* > 0 [1e-8] */
    float decay;         /* >= 0 [0.1] of weights, per unit of the learning rate */
    uint64_t step;       /* >= 1 [1] how many steps m and v will have seen, this one included */
} colt5_adamw_options;

/** The defaults in brackets; learning_rate is 0. */
COLT5_API
colt5_adamw_options colt5_adamw_options_default(void);

/** A parameter and what its optimiser keeps; all of as many elements, none overlapping. */
typedef struct colt5_adamw_tensors {
    const colt5_tensor *weight; /* [in,out]  f32|f16|bf16, what the model computes with */
    const colt5_tensor *master; /* [in,out]  f32, the exact weight; NULL: weight, then f32, is it */
    const colt5_tensor *m;      /* [in,out]  f32, running mean of gradients, 0 at first */
    const colt5_tensor *v;      /* [in,out]  f32, running mean of their squares, 0 at first */
} colt5_adamw_tensors;

/**
 * A step of AdamW with decoupled decay and corrected bias (t = step):
 *
 *     g = gradient · factor
 *     m = beta1 · m + (1 - beta1) · g
 *     v = beta2 · v + (1 - beta2) · g²
 *     master = master · (1 - learning_rate · decay)
 *              - learning_rate · (m / (1 - beta1^t)) / (√(v / (1 - beta2^t)) + eps)
 *     weight = master, rounded to its type
 *
 * gradient  [in]  f32  as many elements
 * factor    [in]  f32  [1]  from colt5_gradient_norm; NULL: 1. Where it is 0 nothing is written,
 *                           and the step should not be counted.
 *
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (tensors untouched);
 * COLT5_ERROR_OPENCL (tensors undefined). Source: Loshchilov and Hutter, "Decoupled weight decay
 * regularization", 2019.
 */
COLT5_API
colt5_status colt5_adamw(colt5_context *ctx, const colt5_tensor *gradient,
                         const colt5_tensor *factor, const colt5_adamw_options *options,
                         const colt5_adamw_tensors *tensors);

#ifdef __cplusplus
}
#endif
#endif
