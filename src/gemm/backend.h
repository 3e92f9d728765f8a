/* SPDX-License-Identifier: MIT */
/* What stands behind the door: each backend says what it can do, and runs it. */
#ifndef COLT5_GEMM_BACKEND_H
#define COLT5_GEMM_BACKEND_H

#include "gemm/gemm.h"

/* Kernels a backend may have; each is tested before its first use in a context. */
#define GEMM_VARIANTS 12288

struct gemm_backend {
    const char *name; /* as COLT5_GEMM has it */

    /* Whether this device, with these types and sizes, is one for it. Of what never changes, so
     * that a plan and the run it is for choose alike. */
    bool (*can)(const colt5_context *ctx, const struct gemm *product);

    /* Whether it is worth while for a product of this size; NULL: always. A backend that is asked
     * for by name is not asked this. */
    bool (*pays)(const colt5_context *ctx, const struct gemm *product);

    /* Which of its kernels will run: below GEMM_VARIANTS. */
    unsigned (*variant)(const colt5_context *ctx, const struct gemm *product);

    /* Enqueues the product, with scratch of the running workspace call. */
    colt5_status (*run)(colt5_context *ctx, const struct gemm *product);

    /* It gathers, scatters and finishes C itself. Otherwise it is only asked for
     * C = alpha · op(A) op(B), or += where residual is c, all in float32. */
    bool fuses;

    /* Its kernels differ by what they fuse: a self-test is given no more than the product has. */
    bool specialised;

    /* Forgets what it keeps for the context; NULL: nothing. */
    void (*release)(colt5_context *ctx);
};

/* NVIDIA's matrix units as Hopper has them: f16, bf16 and, as math asks, tf32 or pairs of f16. */
extern const struct gemm_backend gemm_wgmma;
/* Matrix units of NVIDIA, AMD and Intel: f16 and bf16. */
extern const struct gemm_backend gemm_mma;
/* NVIDIA's for float32, by pairs of f16 or, as math asks, their high parts. */
extern const struct gemm_backend gemm_split;
/* Our own kernel, register tiles over local memory: every type, every device. */
extern const struct gemm_backend gemm_tiled;
/* The same in its smallest size, when all else fails. */
extern const struct gemm_backend gemm_small_tiles;
/* Our own kernel for CPUs, packed panels: every type. */
extern const struct gemm_backend gemm_packed;
/* CLBlast: float32, devices of every vendor that it is tuned for. */
extern const struct gemm_backend gemm_clblast;
/* A CBLAS on the host's threads: float32, CPU devices that run native kernels. */
extern const struct gemm_backend gemm_cblas;

/* Runs a product by a backend that only multiplies: gathers before it, finishes after it. */
colt5_status gemm_run_around(colt5_context *ctx, const struct gemm_backend *backend,
                             const struct gemm *product);

/* Launches `parts` parts of a product, each `part` of K, every one into its own [M][N] of C. */
typedef colt5_status (*gemm_launch)(colt5_context *ctx, const struct gemm *product, size_t parts,
                                    size_t part);

/* A product by launch_parts(): in one part as it is, in several their bare sums (of a multiple of
 * depth each), which are then added in their order and finished. */
colt5_status gemm_run_parts(colt5_context *ctx, const struct gemm *product, size_t parts,
                            size_t depth, gemm_launch launch_parts);

/* A product whose rows of A are gathered: they go to scratch, and *gathered has them as its A. */
colt5_status gemm_gather(colt5_context *ctx, const struct gemm *product, colt5_tensor *rows,
                         struct gemm *gathered);

/* The launches of a product by one backend's kernel, for gemm_run_parts, and what it chooses. */
colt5_status gemm_launch_tiled(colt5_context *ctx, const struct gemm *product, size_t parts,
                               size_t part);
colt5_status gemm_launch_mma(colt5_context *ctx, const struct gemm *product, size_t parts,
                             size_t part);
bool gemm_mma_can(const colt5_context *ctx); /* NVIDIA's units, which multiply pairs too */
size_t gemm_mma_tile(const colt5_context *ctx, const struct gemm *product);
size_t gemm_mma_parts(const colt5_context *ctx, const struct gemm *product);

/* Float32 operands as pairs of f16, [planes][lines][gemm_pair_stride(length)]: 2 planes, or 1 of
 * high parts alone. Of these gemm_launch_mma makes the product, or gemm_launch_tiled of A and B, as
 * ranges [4] say when they run. */
struct gemm_pairs {
    colt5_tensor ranges, a, b;
};

static inline size_t gemm_pair_stride(size_t length)
{
    return (length + 7) / 8 * 8;
}

/* A small product with a known answer, by the kernel that would run this one: *works if the answer
 * came. If not the log is told that the backend is left out, and why. An error that tells nothing
 * of the backend (cancelled, the device lost, no memory) is the call's. Within a workspace call,
 * but not while it plans. */
colt5_status gemm_self_test(colt5_context *ctx, const struct gemm_backend *backend,
                            const struct gemm *like, bool *works);

/* What stands in the place of a residual, for a kernel. */
static inline const colt5_tensor *gemm_beside(const struct gemm *product)
{
    return product->gelu_input ? product->gelu_input : product->residual;
}

/* What else a kernel does, a bit each, as common.cl has them. */
static inline cl_int gemm_extras(const struct gemm *product)
{
    return (product->gelu ? 1 : 0) | (product->gelu_input ? 2 : 0) | (product->scale_first ? 4 : 0);
}

/* What a scale of 0 stands for. */
static inline float gemm_alpha(const struct gemm *product)
{
    return product->alpha == 0 ? 1 : product->alpha;
}

#endif
