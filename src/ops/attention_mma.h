/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_ATTENTION_MMA_H
#define COLT5_OPS_ATTENTION_MMA_H

#include "ops/attention.h"

/* A way to run the forward. */
typedef colt5_status (*attention_way)(colt5_context *ctx, const struct attention_problem *a,
                                      const colt5_tensor *y, const colt5_tensor *lse);

/*
 * Whether matrix units can do it: the device has them, the type is theirs, rows are aligned, and
 * they once came to what the plain way comes to (tried when first asked). COLT5_ATTENTION=tiles
 * leaves them out.
 */
bool attention_mma_can(colt5_context *ctx, const struct attention_problem *a, const colt5_tensor *y,
                       attention_way plain);

colt5_status attention_mma(colt5_context *ctx, const struct attention_problem *a,
                           const colt5_tensor *y, const colt5_tensor *lse);

#endif
