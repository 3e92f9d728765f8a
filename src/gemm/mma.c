/* SPDX-License-Identifier: MIT */
/* Matrix units by kernels/mma_gemm.cl: f16 and bf16, everything fused. */
#include <string.h>

#include "gemm/backend.h"
#include "runtime/context.h"
#include "runtime/launch.h"

#define DEPTH  32   /* as in the kernel */
#define LONG_K 4096 /* from here on adding up parts costs nothing beside the product */

static const size_t edges[] = {128, 64}; /* rows and columns of a tile */

/* The units that the kernel is written for, as the device's info names them. */
static const struct units {
    const char *name;
    int number, lanes; /* UNITS and WARP_LANES of the kernel; 0: NVIDIA's, which has neither */
    size_t items[2];   /* work-items of a tile, large and small */
    size_t slabs;      /* of each operand in local memory */
} all_units[] = {
    {"wgmma", 0, 0, {128, 128}, 3}, {"mma", 0, 0, {128, 128}, 3},
    {"mfma", 1, 64, {256, 256}, 2}, {"wmma", 2, 32, {256, 256}, 2},
    {"dpas8", 3, 8, {512, 128}, 2}, {"dpas16", 3, 16, {512, 128}, 2},
};

/* NULL where there are none that are known, or too little else for them. */
static const struct units *units_of(const colt5_context *ctx)
{
    const colt5_device_info *info = &ctx->info;
    for (size_t i = 0; i < sizeof(all_units) / sizeof(all_units[0]); i++) {
        const struct units *units = &all_units[i];
        if (!strcmp(info->matrix_units, units->name))
            return info->largest_group >= units->items[0] &&
                           info->local_memory >= units->slabs * 2 * 128 * DEPTH * 2
                       ? units
                       : NULL;
    }
    return NULL;
}

static size_t groups_of(const struct gemm *product, size_t edge)
{
    return (product->M + edge - 1) / edge * ((product->N + edge - 1) / edge);
}

bool gemm_mma_can(const colt5_context *ctx)
{
    const struct units *units = units_of(ctx);
    return units && units->number == 0;
}

static bool can(const colt5_context *ctx, const struct gemm *product)
{
    return units_of(ctx) && product->a->type != COLT5_F32;
}

/* The large tile where there are enough of them, or K is long enough to make enough by parts. */
size_t gemm_mma_tile(const colt5_context *ctx, const struct gemm *product)
{
    if (product->tile) return product->tile - 1;
    if (product->like) return gemm_mma_tile(ctx, product->like);
    const int edge = tuned(ctx, TUNED_MMA_TILE);
    if (edge) return edge == 64;
    const bool enough = groups_of(product, edges[0]) >= ctx->info.compute_units;
    return enough || product->K >= LONG_K ? 0 : 1;
}

/* So many that every compute unit has two work-groups; one where it has one anyway. */
size_t gemm_mma_parts(const colt5_context *ctx, const struct gemm *product)
{
    if (product->parts) return product->parts;
    if (product->like) return gemm_mma_parts(ctx, product->like) > 1 ? 2 : 1;
    const size_t groups = groups_of(product, edges[gemm_mma_tile(ctx, product)]);
    if (groups >= ctx->info.compute_units) return 1;
    const size_t wanted = 2 * (size_t)ctx->info.compute_units / groups;
    const size_t most = product->K / (size_t)tuned(ctx, TUNED_SMALLEST_PART);
    const size_t parts = wanted < most ? wanted : most;
    return parts > 1 ? parts : 1;
}

/* Sixteen bytes of A and of B can be read at once. */
static bool reads_chunks(const struct gemm *product)
{
    if (product->like && !reads_chunks(product->like)) return false;
    const size_t along_a = product->transpose_a ? product->M : product->K;
    const size_t along_b = product->transpose_b ? product->K : product->N;
    return (along_a | along_b | product->a->offset | product->b->offset) % 8 == 0;
}

static unsigned variant(const colt5_context *ctx, const struct gemm *product)
{
    const bool in_parts = gemm_mma_parts(ctx, product) > 1;
    unsigned number = (unsigned)gemm_mma_tile(ctx, product);
    number = 2 * number + (product->a->type == COLT5_BF16);
    number = 3 * number + (in_parts ? 2 : product->c->type == COLT5_F32);
    number = 2 * number + product->transpose_a;
    number = 2 * number + product->transpose_b;
    return 2 * number + reads_chunks(product);
}

colt5_status gemm_launch_mma(colt5_context *ctx, const struct gemm *product, size_t parts,
                             size_t part)
{
    const struct gemm_pairs *pairs = product->pairs;
    const struct units *units = units_of(ctx);
    const size_t tile = gemm_mma_tile(ctx, product), edge = edges[tile];
    const size_t along_a = product->transpose_a ? product->M : product->K;
    const size_t along_b = product->transpose_b ? product->K : product->N;
    const struct define defines[] = {
        STORAGE(pairs ? COLT5_F32 : product->a->type),
        DEFINE("C_F32", product->c->type == COLT5_F32),
        DEFINE("TRANSPOSE_A", product->transpose_a),
        DEFINE("TRANSPOSE_B", product->transpose_b),
        DEFINE("VECTOR", pairs || reads_chunks(product)),
        DEFINE("TERMS", pairs && pairs->a.dims[0] == 2 ? 3 : 1),
        DEFINE("TILE", edge),
        DEFINE("BAND", tuned(ctx, TUNED_TILES_ABREAST)),
        {units->number ? "UNITS" : "STAGES",
         units->number ? units->number : tuned(ctx, TUNED_MMA_STAGES)},
        {units->number ? "WARP_LANES" : NULL, units->lanes},
        {NULL, 0},
    };
    return launch(
        ctx, KERNEL_MMA_GEMM, defines,
        GROUPS(groups_of(product, edge), parts, 1, units->items[tile]),
        ARGS(TENSOR(product->a), TENSOR(product->b), TENSOR(product->c), TENSOR(product->bias),
             TENSOR(product->row_scale), TENSOR(gemm_beside(product)), TENSOR(product->index),
             TENSOR(product->scatter), TENSOR(pairs ? &pairs->ranges : NULL), INT((int)product->M),
             INT((int)product->N), INT((int)product->K), INT((int)part),
             INT((int)(pairs ? gemm_pair_stride(along_a) : along_a)),
             INT((int)(pairs ? gemm_pair_stride(along_b) : along_b)), INT((int)product->index_rows),
             INT((int)product->a_rows), INT((int)product->scatter_rows), INT((int)product->c_rows),
             FLOAT(gemm_alpha(product)), INT(gemm_extras(product))));
}

static colt5_status run(colt5_context *ctx, const struct gemm *product)
{
    return gemm_run_parts(ctx, product, gemm_mma_parts(ctx, product), DEPTH, gemm_launch_mma);
}

const struct gemm_backend gemm_mma = {
    .name = "mma", .can = can, .variant = variant, .run = run, .fuses = true};
