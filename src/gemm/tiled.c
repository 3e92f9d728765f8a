/* SPDX-License-Identifier: MIT */
/* Our own kernel, kernels/tiled_gemm.cl: any device, any type, everything fused. */
#include "gemm/backend.h"
#include "runtime/context.h"
#include "runtime/launch.h"

/* Tiles from large to small: rows and columns of a work-group and of a work-item. */
static const struct tile {
    size_t edge, item;
} tiles[] = {{128, 8}, {64, 8}, {32, 4}};

#define DEPTH 16 /* as in the kernel */

static size_t items_of(struct tile tile)
{
    return tile.edge / tile.item * (tile.edge / tile.item);
}

static size_t tiles_of(size_t n, struct tile tile)
{
    return (n + tile.edge - 1) / tile.edge;
}

static bool fits(const colt5_context *ctx, struct tile tile)
{
    const size_t local = 4 * DEPTH * (tile.edge + 4) * sizeof(float);
    return items_of(tile) <= ctx->info.largest_group && local <= ctx->info.local_memory;
}

/* The largest tile that fits the device and still gives every compute unit two work-groups. */
static size_t choose_tile(const colt5_context *ctx, const struct gemm *product)
{
    if (product->like) return choose_tile(ctx, product->like);
    if (product->tile) return product->tile - 1;
    const size_t last = sizeof(tiles) / sizeof(tiles[0]) - 1;
    if (device_is_cpu(ctx)) return last; /* the others only take longer to build there */
    for (size_t i = 0; i < last; i++) {
        const size_t groups = tiles_of(product->M, tiles[i]) * tiles_of(product->N, tiles[i]);
        if (fits(ctx, tiles[i]) && groups >= 2 * (size_t)ctx->info.compute_units) return i;
    }
    return last;
}

/* Four neighbours of A and of B can be read at once. */
static bool reads_vectors(const struct gemm *product)
{
    if (product->like && !reads_vectors(product->like)) return false;
    const size_t along_a = product->transpose_a ? product->M : product->K;
    const size_t along_b = product->transpose_b ? product->K : product->N;
    return (along_a | along_b | product->a->offset | product->b->offset) % 4 == 0;
}

static bool can(const colt5_context *ctx, const struct gemm *product)
{
    (void)product;
    return fits(ctx, tiles[sizeof(tiles) / sizeof(tiles[0]) - 1]);
}

static unsigned variant(const colt5_context *ctx, const struct gemm *product)
{
    unsigned number = (unsigned)choose_tile(ctx, product);
    number = 3 * number + product->a->type;
    number = 2 * number + (product->c->type == COLT5_F32);
    number = 2 * number + product->transpose_a;
    number = 2 * number + product->transpose_b;
    return 2 * number + reads_vectors(product);
}

static colt5_status run(colt5_context *ctx, const struct gemm *product)
{
    const struct tile tile = tiles[choose_tile(ctx, product)];
    const struct define defines[] = {
        STORAGE(product->a->type),
        DEFINE("C_F32", product->c->type == COLT5_F32),
        DEFINE("TRANSPOSE_A", product->transpose_a),
        DEFINE("TRANSPOSE_B", product->transpose_b),
        DEFINE("VECTOR", reads_vectors(product)),
        DEFINE("TILE", tile.edge),
        DEFINE("ITEM", tile.item),
        {NULL, 0},
    };
    const size_t groups = tiles_of(product->M, tile) * tiles_of(product->N, tile);
    return launch(ctx, KERNEL_TILED_GEMM, defines, GROUPS(groups, 1, 1, items_of(tile)),
                  ARGS(TENSOR(product->a), TENSOR(product->b), TENSOR(product->c),
                       TENSOR(product->bias), TENSOR(product->row_scale), TENSOR(product->residual),
                       TENSOR(product->index), TENSOR(product->scatter), INT((int)product->M),
                       INT((int)product->N), INT((int)product->K), INT((int)product->K),
                       INT((int)product->index_rows), INT((int)product->a_rows),
                       INT((int)product->scatter_rows), INT((int)product->c_rows),
                       FLOAT(gemm_alpha(product)), INT(product->gelu)));
}

const struct gemm_backend gemm_tiled = {
    .name = "tiled", .can = can, .variant = variant, .run = run, .fuses = true};
