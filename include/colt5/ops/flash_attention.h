/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_FLASH_ATTENTION_H
#define COLT5_OPS_FLASH_ATTENTION_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * What flash attention reads. H heads of width E, 1 <= E <= 256; R routes (sets of keys), R divides
 * H: head h = r·(H/R) + g is head g of route r. NULL: absent.
 */
typedef struct colt5_flash_attention_inputs {
    const colt5_tensor *q;       /* f32|f16|bf16 [B][Q][H][E] */
    const colt5_tensor *kv;      /* as q [B][R][M][H/R][2E]: per head a key, then a value; M >= 0 */
    const colt5_tensor *null_kv; /* as q [2][H][E]: a key and a value every query sees, or NULL */
    const colt5_tensor *mask;    /* u8 [B][R][M]: nonzero: a real token; NULL: all are */
    const colt5_tensor *q_scores;  /* f32 [B][Q]: multiplies the queries, or NULL */
    const colt5_tensor *kv_scores; /* f32 [B][R][M]: multiplies the values, or NULL */
    int multiply_keys;             /* 1: kv_scores multiplies the keys too */
} colt5_flash_attention_inputs;

/**
 * Attention of every query to every key that the mask lets through:
 *
 *   y[i] = Σ_j softmax_j(q_scores[i] q[i] · k[j] / √E) kv_scores[j] v[j]   per head,
 *
 * j over the keys of the head's route and the null key (which has no score). k[j] is multiplied by
 * kv_scores[j] where multiply_keys is set. The matrix of scores is never stored.
 *
 * inputs  [in]   see above
 * y       [out]  as q  [B][Q][H][E]  must not overlap an input
 * lse     [out]  f32   [B][H][Q]     log Σ exp of the scores, -infinity where there is no key; what
 *                the backward needs; NULL: not kept
 *
 * Without any key (M = 0 or all masked, and no null_kv) y is zeros. Masked keys are never read.
 *
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (y and lse untouched);
 * COLT5_ERROR_OPENCL (both undefined). Source: SPEC section 3.2.
 */
COLT5_API
colt5_status colt5_flash_attention_forward(colt5_context *ctx,
                                           const colt5_flash_attention_inputs *inputs,
                                           const colt5_tensor *y, const colt5_tensor *lse);

/** Where the gradients go; NULL: not wanted. */
typedef struct colt5_flash_attention_gradients {
    const colt5_tensor *dq;         /* as q [B][Q][H][E], written */
    const colt5_tensor *dkv;        /* as kv [B][R][M][H/R][2E], written; masked rows 0 */
    const colt5_tensor *dnull_kv;   /* f32|f16|bf16 [2][H][E], added to */
    const colt5_tensor *dq_scores;  /* f32 [B][Q], written */
    const colt5_tensor *dkv_scores; /* f32 [B][R][M], written; masked 0 */
} colt5_flash_attention_gradients;

/**
 * The gradients of colt5_flash_attention_forward.
 *
 * inputs, y, lse  [in]   as the forward had and gave them; lse is needed
 * dy              [in]   as q  [B][Q][H][E]
 * gradients       [out]  of what is wanted; a gradient of an absent input must be NULL; none may
 *                        overlap an input
 *
 * A query whose row of dy is all 0 asks for nothing, whatever its rows of q and y hold. What other
 * queries and unmasked keys hold must be finite. Sums have a fixed order: equal calls give equal
 * bits. Errors: as the forward, and COLT5_ERROR_MEMORY (scratch).
 */
COLT5_API
colt5_status colt5_flash_attention_backward(colt5_context *ctx,
                                            const colt5_flash_attention_inputs *inputs,
                                            const colt5_tensor *y, const colt5_tensor *lse,
                                            const colt5_tensor *dy,
                                            const colt5_flash_attention_gradients *gradients);

#ifdef __cplusplus
}
#endif
#endif
