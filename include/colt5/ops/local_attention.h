/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_LOCAL_ATTENTION_H
#define COLT5_OPS_LOCAL_ATTENTION_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Which keys a query may see, and which tokens of the sequence the tensors hold. A long sequence
 * can be cut: the rows of qkv are then the tokens of a piece and the keys around it.
 */
typedef struct colt5_local_attention_options {
    size_t window;    /* w, tokens, at least 1: |i - j| <= w; causal: the length of a block */
    int causal;       /* 1: j <= i, and j in the block of i or the one before; blocks start at 0 */
    size_t length;    /* N, tokens of the whole sequence */
    size_t first_key; /* position of row 0 of qkv */
    size_t first_query; /* position of row 0 of y */
} colt5_local_attention_options;

/**
 * Attention to near tokens: y[i] = Σ_j softmax_j(q[i]·k[j] / √E) v[j] per head, j over the allowed
 * keys of query i that the mask lets through.
 *
 * qkv      [in]   f32|f16|bf16  [B][P][3][H][E]  a row is a token: its queries, keys, values;
 *                               1 <= E <= 256; the positions first_key … first_key + P - 1 < N
 * mask     [in]   u8            [B][N]     nonzero: a real token; NULL: all are
 * options  [in]   the window and the place in the sequence
 * y        [out]  as qkv        [B][Q][H][E]     positions first_query … first_query + Q - 1;
 *                               must not overlap qkv
 * lse      [out]  f32           [B][H][Q]  log Σ exp of the scores, -infinity where no key is
 *                               allowed; what the backward needs; NULL: not kept
 *
 * A query with no allowed key gives zeros. A key that is masked or out of reach is never read, so
 * what it holds (NaN too) does not matter. A query's result does not depend on where the sequence
 * was cut, to the bit.
 *
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (also where qkv lacks a key
 * that a query of y may see); y and lse untouched. COLT5_ERROR_OPENCL (both undefined).
 * Source: SPEC section 3.1.
 */
COLT5_API
colt5_status colt5_local_attention_forward(colt5_context *ctx, const colt5_tensor *qkv,
                                           const colt5_tensor *mask,
                                           const colt5_local_attention_options *options,
                                           const colt5_tensor *y, const colt5_tensor *lse);

/**
 * The gradient of colt5_local_attention_forward.
 *
 * qkv, mask, options, y, lse  [in]   as the forward had and gave them; lse is needed
 * dy                          [in]   as y    [B][Q][H][E]
 * dqkv                        [out]  as qkv  [B][P][3][H][E]  what the queries of y ask of these
 *                                    rows; zeros where they ask nothing (masked rows, for one);
 *                                    must not overlap an input
 *
 * dy of masked tokens counts as 0, and a row of dy that is 0 asks for nothing, whatever its rows of
 * q and y hold. With the whole sequence in one call dqkv is the gradient; of a piece it is that
 * piece's share: the shares of a token, keys around a piece included, add up to its gradient. What
 * real tokens hold must be finite. Sums have a fixed order: equal calls give equal bits.
 * Errors: as the forward, and COLT5_ERROR_MEMORY (scratch).
 */
COLT5_API
colt5_status colt5_local_attention_backward(colt5_context *ctx, const colt5_tensor *qkv,
                                            const colt5_tensor *mask,
                                            const colt5_local_attention_options *options,
                                            const colt5_tensor *y, const colt5_tensor *lse,
                                            const colt5_tensor *dy, const colt5_tensor *dqkv);

#ifdef __cplusplus
}
#endif
#endif
