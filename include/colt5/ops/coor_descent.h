/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_COOR_DESCENT_H
#define COLT5_OPS_COOR_DESCENT_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** How the solver runs. Its result is not converged: every field is part of the function. */
typedef struct colt5_coor_descent_options {
    float k;         /* tokens wanted, a real number; >= 0, below 1e-20 counts as 1e-20 */
    int n_iters;     /* T, iterations; 1 to 10000; usually 20 */
    float eps;       /* smoothness of the last iterations; > 0; usually 0.03 */
    float eps_init;  /* smoothness of the first, where it is larger; finite; usually 4 */
    float eps_decay; /* its factor from one iteration to the next; 0 to 1; usually 0.7 */
} colt5_coor_descent_options;

/** Numbers of state per row and iteration: a_t in two parts (high, low), da_t/da_(t-1), and e_t. */
#define COLT5_COOR_DESCENT_STATE 4

/**
 * Scores of a differentiable top-k by coordinate descent, over the valid tokens of each row:
 *
 *     e = max(eps_init, eps);  b = -s
 *     T times:  a = e (log k - logsumexp((s + b) / e));  b = -max(s + a, 0)
 *               e = max(e eps_decay, eps)
 *     scores = exp((s + a + b) / e), in [0, 1]; a masked token's is 0
 *
 * s        [in]   f32  [B][R][N]
 * mask     [in]   u8   [B][N]        nonzero: a real token; NULL: all are
 * options  [in]
 * scores   [out]  f32  [B][R][N]     must not overlap s
 * state    [out]  f32  [B][R][T][4]  what the backward needs (COLT5_COOR_DESCENT_STATE); or NULL
 *
 * A row with no valid token gives scores 0, and an s of -infinity counts as masked. A NaN among the
 * valid tokens makes NaN of its row's scores. Rows longer than a work-group holds take scratch
 * memory and a launch per iteration. Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE,
 * COLT5_ERROR_ARGUMENT, COLT5_ERROR_MEMORY (outputs untouched); COLT5_ERROR_OPENCL (outputs
 * undefined). Source: SPEC section 2.1.
 */
COLT5_API
colt5_status colt5_coor_descent_forward(colt5_context *ctx, const colt5_tensor *s,
                                        const colt5_tensor *mask,
                                        const colt5_coor_descent_options *options,
                                        const colt5_tensor *scores, const colt5_tensor *state);

/**
 * The gradient of colt5_coor_descent_forward, exact for its T iterations.
 *
 * s, mask, options      as in the forward
 * state    [in]   f32  [B][R][T][4]  of the forward
 * dscores  [in]   f32  [B][R][N]     what stands at masked tokens is not read
 * ds       [out]  f32  [B][R][N]     0 at masked tokens; must not overlap an input
 * dk       [out]  f32  [B][R]        gradient of k, row by row; or NULL
 *
 * Errors: as the forward.
 */
COLT5_API
colt5_status colt5_coor_descent_backward(colt5_context *ctx, const colt5_tensor *s,
                                         const colt5_tensor *mask,
                                         const colt5_coor_descent_options *options,
                                         const colt5_tensor *state, const colt5_tensor *dscores,
                                         const colt5_tensor *ds, const colt5_tensor *dk);

#ifdef __cplusplus
}
#endif
#endif
