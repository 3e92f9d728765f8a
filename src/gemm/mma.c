/* SPDX-License-Identifier: MIT */
/* NVIDIA's matrix units by kernels/mma_gemm.cl: f16 and bf16, everything fused. */
#include <string.h>

#include "gemm/backend.h"
#include "runtime/context.h"
#include "runtime/launch.h"

#define ITEMS         128 /* as in the kernel, like the next two */
#define DEPTH         32
#define LOCAL_BYTES   (3 * 2 * 128 * DEPTH * 2)
#define SMALLEST_PART 256  /* k of a part of K */
#define LONG_K        4096 /* from here on adding up parts costs nothing beside the product */

static const size_t edges[] = {128, 64}; /* rows and columns of a tile */

static size_t groups_of(const struct gemm *product, size_t edge)
{
    return (product->M + edge - 1) / edge * ((product->N + edge - 1) / edge);
}

static bool can(const colt5_context *ctx, const struct gemm *product)
{
    const char *units = ctx->info.matrix_units;
    return (!strcmp(units, "mma") || !strcmp(units, "wgmma")) && product->a->type != COLT5_F32 &&
           ctx->info.largest_group >= ITEMS && ctx->info.local_memory >= LOCAL_BYTES;
}

/* The large tile where there are enough of them, or K is long enough to make enough by parts. */
static size_t choose_tile(const colt5_context *ctx, const struct gemm *product)
{
    if (product->tile) return product->tile - 1;
    if (product->like) return choose_tile(ctx, product->like);
    const bool enough = groups_of(product, edges[0]) >= ctx->info.compute_units;
    return enough || product->K >= LONG_K ? 0 : 1;
}

/* So many that every compute unit has two work-groups; one where it has one anyway. */
static size_t choose_parts(const colt5_context *ctx, const struct gemm *product)
{
    if (product->parts) return product->parts;
    if (product->like) return choose_parts(ctx, product->like) > 1 ? 2 : 1;
    const size_t groups = groups_of(product, edges[choose_tile(ctx, product)]);
    if (groups >= ctx->info.compute_units) return 1;
    const size_t wanted = 2 * (size_t)ctx->info.compute_units / groups;
    const size_t most = product->K / SMALLEST_PART;
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
    const bool in_parts = choose_parts(ctx, product) > 1;
    unsigned number = (unsigned)choose_tile(ctx, product);
    number = 2 * number + (product->a->type == COLT5_BF16);
    number = 3 * number + (in_parts ? 2 : product->c->type == COLT5_F32);
    number = 2 * number + product->transpose_a;
    number = 2 * number + product->transpose_b;
    return 2 * number + reads_chunks(product);
}

static colt5_status launch_tiles(colt5_context *ctx, const struct gemm *product, size_t parts,
                                 size_t part)
{
    const size_t edge = edges[choose_tile(ctx, product)];
    const struct define defines[] = {
        STORAGE(product->a->type),
        DEFINE("C_F32", product->c->type == COLT5_F32),
        DEFINE("TRANSPOSE_A", product->transpose_a),
        DEFINE("TRANSPOSE_B", product->transpose_b),
        DEFINE("VECTOR", reads_chunks(product)),
        DEFINE("TILE", edge),
        {NULL, 0},
    };
    return launch(ctx, KERNEL_MMA_GEMM, defines, GROUPS(groups_of(product, edge), parts, 1, ITEMS),
                  ARGS(TENSOR(product->a), TENSOR(product->b), TENSOR(product->c),
                       TENSOR(product->bias), TENSOR(product->row_scale), TENSOR(product->residual),
                       TENSOR(product->index), TENSOR(product->scatter), INT((int)product->M),
                       INT((int)product->N), INT((int)product->K), INT((int)part),
                       INT((int)product->index_rows), INT((int)product->a_rows),
                       INT((int)product->scatter_rows), INT((int)product->c_rows),
                       FLOAT(gemm_alpha(product)), INT(product->gelu)));
}

static colt5_status run(colt5_context *ctx, const struct gemm *product)
{
    struct gemm call = *product;
    call.tile = (unsigned)choose_tile(ctx, product) + 1;
    return gemm_run_parts(ctx, &call, choose_parts(ctx, product), DEPTH, launch_tiles);
}

const struct gemm_backend gemm_mma = {
    .name = "mma", .can = can, .variant = variant, .run = run, .fuses = true};
