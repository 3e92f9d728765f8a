/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_ROTARY_H
#define COLT5_OPS_ROTARY_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Which heads are turned, and by what. All zero: every head, theta 10000, positions from 0. */
typedef struct colt5_rotary_options {
    double theta;          /* base of the frequencies, > 0; 0 stands for 10000 */
    size_t first_position; /* of row n = 0, where no positions are given */
    size_t length;         /* where positions are given: all are below it, at most 2^31 */
    size_t first_head;     /* heads first_head + i·head_step, i < heads, are turned */
    size_t heads;          /* 0: as many as there are */
    size_t head_step;      /* 0 stands for 1 */
    int inverse;           /* nonzero: by the negative angle, which is the gradient */
} colt5_rotary_options;

/**
 * Rotary embedding in place: t' = t·cos + rot(t)·sin with rot([t1, t2]) = [-t2, t1] on halves of a
 * head and angles position · theta^(-2i/E), i < E/2.
 *
 * x          [in,out]  f32|f16|bf16  [B][N][H][E]  E even; heads left out stay as they are
 * positions  [in]      i32           [B][N]        NULL: n + first_position
 *
 * A row whose position is not in [0, length) stays as it is. Sines and cosines are computed on the
 * host in double precision, kept in the context as float32, and made when first needed; that call
 * waits for the queue. options NULL: all zero.
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT, COLT5_ERROR_MEMORY (x
 * untouched); COLT5_ERROR_OPENCL (x undefined). Source: SPEC section 1.
 */
COLT5_API
colt5_status colt5_rotary(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *positions,
                          const colt5_rotary_options *options);

#ifdef __cplusplus
}
#endif
#endif
