/* SPDX-License-Identifier: MIT */
/*
 * The one door to matrix products.
 *
 *     C[dest(m)][n] = residual[dest(m)][n]
 *                     + row_scale[m] · gelu(alpha · Σ_k op(A)[m][k] · op(B)[k][n] + bias[n])
 *
 * or, with gelu_input, the gradient of what GELU was taken of, C being that of what it gave,
 *
 *     C[m][n] = gelu'(gelu_input[m][n]) · row_scale[m] · alpha · Σ_k op(A)[m][k] · op(B)[k][n]
 *
 * Everything but A, B and C may be absent. The door picks a backend, gives it what it can fuse and
 * does the rest itself.
 */
#ifndef COLT5_GEMM_GEMM_H
#define COLT5_GEMM_GEMM_H

#include <stdbool.h>

#include <colt5/tensor.h>

/* One product. Of a, b and c the type, the buffer and the offset count, not the dims. */
struct gemm {
    const char *op;            /* who asks, for messages */
    size_t M, N, K;            /* C [M][N], op(A) [M][K], op(B) [K][N] */
    bool transpose_a;          /* A lies in memory as [K][M], not [M][K] */
    bool transpose_b;          /* B lies in memory as [N][K], not [K][N] (a Linear's weight) */
    float alpha;               /* 0 means 1 */
    const colt5_tensor *a, *b; /* f32|f16|bf16, the same type */
    const colt5_tensor *c;     /* as a, or f32; rows N apart */

    /* Row m of A is row index[m] of sample m / index_rows, a sample having a_rows rows; a row
     * outside is zeros. Not with transpose_a. */
    const colt5_tensor *index; /* i32 [M] */
    size_t index_rows, a_rows;

    const colt5_tensor *bias; /* as a, [N] */
    bool gelu;
    const colt5_tensor *row_scale; /* f32 [M] */
    bool scale_first; /* it multiplies the sums, as alpha does, and not what GELU gives */
    const colt5_tensor *residual; /* as c, of its shape; c itself to accumulate */

    /* dest(m) is row scatter[m] of sample m / scatter_rows, a sample having c_rows rows; a row
     * outside is dropped. Without it dest(m) = m. */
    const colt5_tensor *scatter; /* i32 [M], unique in a sample */
    size_t scatter_rows, c_rows;

    const colt5_tensor *gelu_input; /* as c, [M][N]; no bias, GELU, residual or scatter then */

    const struct gemm_pairs *pairs; /* only of the split backend (backend.h) */
    const struct gemm *like;        /* only of a self-test: the product whose kernel it tries out */
    /* Only of tests: which tile of the tiled kernel, from 1, and the parts of K; 0: it chooses. */
    unsigned tile, parts;
};

/* Runs the product; an empty C is nothing to do. Takes scratch of the running workspace call, or
 * makes one. The first use of a kernel waits for a small product of known answer. */
colt5_status gemm(colt5_context *ctx, const struct gemm *product);

/* Only what follows the product: C from sums that are there already, `parts` times [M][N] in
 * float32, added up in their order. Of a only the type counts. sums may be c itself where nothing
 * is scattered. */
colt5_status gemm_epilogue(colt5_context *ctx, const struct gemm *product, const colt5_tensor *sums,
                           size_t parts);

/* From now on tries the backend of this name first where it can ("" or NULL: the device's order).
 * COLT5_GEMM in the environment does so for every context. */
colt5_status gemm_prefer(colt5_context *ctx, const char *name);

/* The backend that would run this product. */
const char *gemm_backend_name(colt5_context *ctx, const struct gemm *product);

#endif
