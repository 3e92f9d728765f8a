/* SPDX-License-Identifier: MIT */
/*
 * What local and flash attention share: one description of the work, and one choice of who does it.
 * The public ops check their tensors and describe; the kernels are kernels/attention*.cl.
 */
#ifndef COLT5_OPS_ATTENTION_H
#define COLT5_OPS_ATTENTION_H

#include "runtime/launch.h"

#define ATTENTION_WIDEST  256               /* E at most */
#define ATTENTION_LONGEST ((size_t)1 << 30) /* tokens are fewer: kernels add ints */

struct attention {
    bool local; /* q and kv are one tensor [B][P][3][H][E], and keys are near; see attention.cl */
    const colt5_tensor *q, *kv, *null_kv, *mask, *q_scores, *kv_scores; /* NULL: absent */
    int multiply_keys;
    size_t B, Q, M, H, E, R; /* M: rows of kv; R: routes, 1 where local */
    size_t N;                /* tokens of the whole sequence; M where not local */
    size_t first_key, first_query, window;
    int causal;
    size_t pairs; /* of a query and a key it may see, masks left aside, in one head of a sample */
};

/* The forward: y [B][Q][H][E], lse [B][H][Q] or NULL. Everything was checked. */
colt5_status attend_forward(colt5_context *ctx, const struct attention *attention,
                            const colt5_tensor *y, const colt5_tensor *lse);

#endif
