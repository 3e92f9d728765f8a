/* SPDX-License-Identifier: MIT */
/*
 * Local attention with short windows on NVIDIA's matrix units: kernels/attention_band*.cl. `can`
 * says whether they do it, as in attention_mma.h; where the context has COLT5_ATTENTION=mma or
 * tiles in its environment they are left out.
 */
#ifndef COLT5_OPS_ATTENTION_BAND_H
#define COLT5_OPS_ATTENTION_BAND_H

#include "ops/attention.h"

#define ATTENTION_BAND_ROWS  64 /* OWN of the kernels */
#define ATTENTION_BAND_ITEMS 128
#define ATTENTION_BAND_DEFINES(a)                                                                  \
    DEFINES(STORAGE((a)->q->type), DEFINE("LOCAL", 1), DEFINE("HEAD", 64))

bool attention_band_can(colt5_context *ctx, const struct attention_problem *a,
                        const colt5_tensor *y, attention_way plain);
colt5_status attention_band(colt5_context *ctx, const struct attention_problem *a,
                            const colt5_tensor *y, const colt5_tensor *lse);

/* band: the way that is tried, made of the kernels of attention_band_backward.cl. */
bool attention_band_can_go_back(colt5_context *ctx, const struct attention_backward *call,
                                attention_way forward, attention_way_back plain,
                                attention_way_back band);

#endif
