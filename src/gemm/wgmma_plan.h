/* SPDX-License-Identifier: MIT */
/* How the wgmma backend cuts a product to works. */
#ifndef COLT5_GEMM_WGMMA_PLAN_H
#define COLT5_GEMM_WGMMA_PLAN_H

#include "gemm/gemm.h"

/* As in kernels/wgmma_gemm.cl: */
#define WGMMA_TILE   128 /* rows of C in a tile */
#define WGMMA_NARROW 128 /* and columns, or */
#define WGMMA_WIDE   256

struct wgmma_plan {
    bool by_pairs;   /* floats are multiplied as pairs of f16 */
    bool converts_b; /* B is made anew: pairs, or floats whose k is not contiguous */
    bool alternates; /* the consumers of a work-group take turns, the kernel's ALTERNATE: one
                        finishes its tile while the other one multiplies */
    bool in_parts;   /* K may be cut */
    size_t columns;  /* of C in a tile */
    size_t tiles;    /* of C */
    size_t parts;    /* of K */
    size_t slabs;    /* of a part */
};

struct wgmma_plan wgmma_plan(const colt5_context *ctx, const struct gemm *product);

#endif
