/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_CUM_SOFTMAX_H
#define COLT5_OPS_CUM_SOFTMAX_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Cumulative softmax over the valid tokens of each row: with z = s / temperature - max(s /
 * temperature),
 *
 *     scores[n] = exp(z[n]) / max(sum of exp(z) over the tokens not after n in ascending order,
 * 1e-6)
 *
 * Among equal s the token of smaller index comes later in that order (it is selected first).
 *
 * s            [in]   f32  [B][R][N]
 * mask         [in]   u8   [B][N]     nonzero: a real token; NULL: all are
 * temperature  [in]                   > 0, usually 1
 * scores       [out]  f32  [B][R][N]  in [0, 1]; 0 at masked tokens; must not overlap s
 *
 * A row with no valid token gives scores 0; NaN in a row stays in it. Takes scratch memory (the
 * tokens are sorted). Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT,
 * COLT5_ERROR_MEMORY (scores untouched); COLT5_ERROR_OPENCL (scores undefined).
 * Source: SPEC section 2.3.
 */
COLT5_API
colt5_status colt5_cum_softmax_forward(colt5_context *ctx, const colt5_tensor *s,
                                       const colt5_tensor *mask, float temperature,
                                       const colt5_tensor *scores);

/**
 * The gradient of colt5_cum_softmax_forward; none passes through the maximum or a clamped sum.
 *
 * s, mask, temperature  as in the forward
 * dscores  [in]   f32  [B][R][N]  what stands at masked tokens is not read
 * ds       [out]  f32  [B][R][N]  0 at masked tokens; must not overlap an input
 *
 * Errors: as the forward.
 */
COLT5_API
colt5_status colt5_cum_softmax_backward(colt5_context *ctx, const colt5_tensor *s,
                                        const colt5_tensor *mask, float temperature,
                                        const colt5_tensor *dscores, const colt5_tensor *ds);

#ifdef __cplusplus
}
#endif
#endif
