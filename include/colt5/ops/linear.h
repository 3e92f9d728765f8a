/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_LINEAR_H
#define COLT5_OPS_LINEAR_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a linear map does besides multiplying; all zero: nothing. An absent tensor is NULL. */
typedef struct colt5_linear_options {
    const colt5_tensor *bias;       /* as x [O], added to every row */
    int gelu;                       /* 1: exact GELU of each sum */
    float scale;                    /* of the product, before the bias; 0 means 1 */
    const colt5_tensor *index;      /* i32 [B][K]: rows of x picked, as colt5_gather */
    const colt5_tensor *row_scale;  /* f32, one per row of the product: multiplies it, after GELU */
    const colt5_tensor *residual;   /* as y, may be y itself: added last */
    const colt5_tensor *scatter;    /* i32 [B][K]: where in y each row goes; unique in a sample */
    int scale_first;                /* 1: row_scale multiplies before the bias, as scale does */
    const colt5_tensor *gelu_input; /* of the backward call only: see there */
} colt5_linear_options;

/**
 * A linear map, y = x Wᵀ, and what usually stands before and behind it, in one pass:
 *
 *     y = residual + row_scale · gelu(scale · x Wᵀ + bias)
 *
 * x        [in]   f32|f16|bf16  [..][I]
 * weight   [in]   as x          [O][I]    some rows of a larger weight are a weight too
 * options  [in]   or NULL
 * y        [out]  as x or f32   [..][O]   must not overlap an input; residual may be y itself
 *
 * I and O may be written as several dims ([H][E] for 512): the last dims of x multiply to I, those
 * of y to O, and the dims before them are equal. With an index x is [B][N][I] and row k of sample b
 * is x[b, index[b,k], :] (outside [0, N): zeros); the product has the rows [B][K]. With scatter y
 * is [B][N'][O] and row k of sample b goes to y[b, scatter[b,k], :], added to the residual's row
 * there; rows of y that no entry names keep their content, and an entry outside [0, N') is dropped.
 * With scale_first y = residual + gelu(row_scale · scale · x Wᵀ + bias): a norm's scale of each
 * row, its gamma being multiplied into the weight, need not be a pass over x.
 *
 * Sums are float32 whatever the types. Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE,
 * COLT5_ERROR_ARGUMENT (y untouched); COLT5_ERROR_MEMORY, COLT5_ERROR_OPENCL (y undefined).
 * Source: SPEC section 1.
 */
COLT5_API
colt5_status colt5_linear_forward(colt5_context *ctx, const colt5_tensor *x,
                                  const colt5_tensor *weight, const colt5_linear_options *options,
                                  const colt5_tensor *y);

/** Where the gradients of a linear map go; NULL: not wanted. */
typedef struct colt5_linear_gradients {
    const colt5_tensor *dx;      /* as x [..][I]: written; with an index [B][K][I] */
    const colt5_tensor *dweight; /* as x or f32 [O][I]: added to */
    const colt5_tensor *dbias;   /* as x or f32 [O]: added to */
} colt5_linear_gradients;

/**
 * The gradients of y = scale · x Wᵀ + bias:
 *
 *     dx = scale · dy W          dweight += scale · dyᵀ x          dbias += Σ_rows dy
 *
 * x          [in]   f32|f16|bf16  [..][I]   NULL where dweight is not wanted
 * weight     [in]   as x          [O][I]
 * options    [in]   or NULL: scale and index as in the forward call, gelu_input; the others absent
 *                   (bias and residual are not looked at)
 * dy         [in]   as x or f32   [..][O]   f32 is rounded to the type of x first
 * gradients  [out]  at least one            must not overlap an input or each other
 *
 * Where x is gelu(gelu_input), as dx in type and shape (no input may overlap dx but it), dx is the
 * gradient of that instead, as colt5_gelu_backward would make it:
 *
 *     dx = gelu'(gelu_input) · scale · dy W, and 0 where that is multiplied by 0
 *
 * With an index dx is the gradient of the picked rows: colt5_scatter_add puts it back. Every sum
 * has a fixed order. GELU, row_scale and scatter are undone by their own ops before this one:
 * COLT5_ERROR_ARGUMENT where they are set. Errors otherwise as the forward call.
 */
COLT5_API
colt5_status colt5_linear_backward(colt5_context *ctx, const colt5_tensor *x,
                                   const colt5_tensor *weight, const colt5_linear_options *options,
                                   const colt5_tensor *dy, const colt5_linear_gradients *gradients);

#ifdef __cplusplus
}
#endif
#endif
