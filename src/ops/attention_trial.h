/* SPDX-License-Identifier: MIT */
/*
 * Kernels tried beside their plain twins on a small attention: first with all there is to it (a
 * ragged last tile, masked keys, scores that multiply, a null key), then without a mask, where
 * every key is there.
 */
#ifndef COLT5_OPS_ATTENTION_TRIAL_H
#define COLT5_OPS_ATTENTION_TRIAL_H

#include "ops/attention.h"

/* What is tried, and with what. */
struct attention_try {
    const struct attention_problem *like; /* local or not, and its type */
    size_t E;
    attention_way plain, tried;
    attention_way_back plain_back, tried_back; /* NULL: the forward is tried */
};

/* A probe's test; `call` is a struct attention_try. */
colt5_status attention_try_out(colt5_context *ctx, void *call, bool *works);

#endif
