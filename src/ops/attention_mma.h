/* SPDX-License-Identifier: MIT */
/*
 * Attention on NVIDIA's matrix units: kernels/attention_mma*.cl; float32 as tf32 where the
 * context's math is fast, and else with what that leaves of the numbers. `can` says whether they do
 * it: the device has them, the width is theirs, rows are aligned, and they once came to what the
 * plain way comes to (tried when first asked; probe.h). Where the context has COLT5_ATTENTION=tiles
 * in its environment they are left out.
 */
#ifndef COLT5_OPS_ATTENTION_MMA_H
#define COLT5_OPS_ATTENTION_MMA_H

#include "ops/attention.h"

#define ATTENTION_MMA_ROWS  64 /* of a tile, as in the kernels, like the next */
#define ATTENTION_MMA_ITEMS 128

bool attention_mma_can(colt5_context *ctx, const struct attention_problem *a, const colt5_tensor *y,
                       attention_way plain);
colt5_status attention_mma(colt5_context *ctx, const struct attention_problem *a,
                           const colt5_tensor *y, const colt5_tensor *lse);

/* Whether the device has the units, and its rows of up to `widest` are aligned for them. */
bool attention_mma_has(const colt5_context *ctx, const struct attention_problem *a, size_t widest);
bool attention_multiple_of_8(const colt5_tensor *tensor);

/* mma: the way that is tried, made of the kernels of attention_mma_backward.cl. */
bool attention_mma_can_go_back(colt5_context *ctx, const struct attention_backward *call,
                               attention_way forward, attention_way_back plain,
                               attention_way_back mma);

/* Defines of the kernels; those of the backward, and of float32, take smaller tiles. */
struct attention_mma_shape {
    size_t head, keys;
    bool exact; /* more than tf32; only of float32 */
};
struct attention_mma_shape attention_mma_shape(const colt5_context *ctx,
                                               const struct attention_problem *a, bool backward);
#define ATTENTION_MMA_DEFINES(a, shape)                                                            \
    DEFINES(STORAGE((a)->q->type), DEFINE("LOCAL", (a)->local), DEFINE("HEAD", (shape).head),      \
            DEFINE("KEYS", (shape).keys), DEFINE("EXACT", (shape).exact))

#endif
