/* SPDX-License-Identifier: MIT */
/* The scores with what an RMSNorm of the same rows wants. */
#ifndef COLT5_OPS_SCORE_INTERNAL_H
#define COLT5_OPS_SCORE_INTERNAL_H

#include <colt5/ops/score.h>

/* As colt5_score_forward, and inverses f32 [B][N] (NULL: not wanted): 1 / max(‖x‖, 1e-12). */
colt5_status score_and_norms(colt5_context *ctx, const colt5_tensor *x, size_t count,
                             const colt5_score_target *targets, const colt5_score_options *options,
                             const colt5_tensor *inverses);

#endif
