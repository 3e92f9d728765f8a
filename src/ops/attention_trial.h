/* SPDX-License-Identifier: MIT */
/*
 * A small attention with all there is to it (a ragged last tile, masked keys, scores that multiply,
 * a null key), for trying kernels beside their plain twins.
 */
#ifndef COLT5_OPS_ATTENTION_TRIAL_H
#define COLT5_OPS_ATTENTION_TRIAL_H

#include "ops/attention.h"

struct attention_trial {
    struct attention_problem problem;
    colt5_tensor q, kv, null_kv, mask, q_scores, kv_scores; /* q: queries, keys, values if local */
    colt5_tensor lse, dy;
    colt5_tensor y[2], dq[2], dkv[2]; /* by the plain kernels, and by those that are tried */
};

/* Filled and, but for the results, with values; to be released whatever becomes of it. */
colt5_status attention_trial_make(colt5_context *ctx, bool local, colt5_type type, size_t E,
                                  struct attention_trial *trial);
void attention_trial_release(struct attention_trial *trial);

/* Whether two results of 16 bits are about the same. Waits for the device. */
colt5_status attention_trial_compare(colt5_context *ctx, const colt5_tensor results[2],
                                     bool *alike);

#endif
