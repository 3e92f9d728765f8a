/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_SINKHORN_H
#define COLT5_OPS_SINKHORN_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How the router by optimal transport runs. */
typedef struct colt5_sinkhorn_options {
    float temperature;  /* > 0; usually 0.7 */
    int n_iters;        /* T, 1 to 10000; usually 8 */
    int log_scores;     /* nonzero: log(max(s, 1e-20)) takes the place of s */
    uint64_t seed;      /* of the Gumbel noise */
    uint32_t first_row; /* counter row of b = r = 0; usually 0 */
    uint32_t row_step;  /* counter rows from b to b + 1; 0: R */
} colt5_sinkhorn_options;

/**
 * K slots choose among the N tokens of each row, by Sinkhorn normalisation under Gumbel noise g:
 *
 *     M[i][n] = (f(s[n]) + g[i][n]) / temperature
 *     T times:  M -= logsumexp over n, for each slot i;  M -= logsumexp over i, for each token n
 *     index[i] = the n of the largest M[i][n] (equal: the smallest n);  scores[i] = exp of it
 *
 * Masked tokens take no part. A token may be chosen by several slots. g[i][n] = -log(-log u), u by
 * Philox4x32-10 of seed and counter (n, i, first_row + b row_step + r, 1). M is never stored.
 *
 * s        [in]   f32  [B][R][N]
 * mask     [in]   u8   [B][N]          nonzero: a real token; NULL: all are
 * options  [in]
 * index    [out]  i32  [B][R][K]
 * scores   [out]  f32  [B][R][K]       in [0, 1]
 * state    [out]  f32  [B][R][T][K+N]  slot and token potentials of each iteration, for the
 *                                      backward; or NULL
 *
 * A row with no valid token: index 0, scores 0. NaN in a row stays in it. Takes scratch memory of
 * B R (K + 2 N) floats. Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT,
 * COLT5_ERROR_MEMORY (outputs untouched); COLT5_ERROR_OPENCL (outputs undefined).
 * Source: SPEC section 2.2.
 */
COLT5_API
colt5_status colt5_sinkhorn_forward(colt5_context *ctx, const colt5_tensor *s,
                                    const colt5_tensor *mask, const colt5_sinkhorn_options *options,
                                    const colt5_tensor *index, const colt5_tensor *scores,
                                    const colt5_tensor *state);

/**
 * The gradient of colt5_sinkhorn_forward's scores; the choice of the tokens has none.
 *
 * s, mask, options     as in the forward
 * index    [in]   i32  [B][R][K]       of the forward
 * state    [in]   f32  [B][R][T][K+N]  of the forward
 * dscores  [in]   f32  [B][R][K]
 * ds       [out]  f32  [B][R][N]       0 at masked tokens; must not overlap an input
 *
 * Errors: as the forward.
 */
COLT5_API
colt5_status colt5_sinkhorn_backward(colt5_context *ctx, const colt5_tensor *s,
                                     const colt5_tensor *mask,
                                     const colt5_sinkhorn_options *options,
                                     const colt5_tensor *index, const colt5_tensor *state,
                                     const colt5_tensor *dscores, const colt5_tensor *ds);

#ifdef __cplusplus
}
#endif
#endif
