/* SPDX-License-Identifier: MIT */
/* Our own kernel, kernels/tiled_gemm.cl: any device, any type, everything fused. */
#include "gemm/backend.h"
#include "runtime/context.h"
#include "runtime/launch.h"

/* Tiles from large to small: rows and columns of a work-group and of a work-item. */
static const struct tile {
    size_t edge, item;
} tiles[] = {{128, 8}, {64, 8}, {32, 4}};

/* k of a slab. */
static size_t depth_of(const colt5_context *ctx)
{
    return (size_t)tuned(ctx, TUNED_TILED_DEPTH);
}

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
    const size_t local = 4 * depth_of(ctx) * (tile.edge + 4) * sizeof(float);
    return items_of(tile) <= ctx->info.largest_group && local <= ctx->info.local_memory;
}

/* Parts that K is cut to so that every compute unit has two work-groups, each with enough to do
 * that writing and adding the parts costs little. */
static size_t parts_of(const colt5_context *ctx, const struct gemm *product, struct tile tile)
{
    const size_t groups = tiles_of(product->M, tile) * tiles_of(product->N, tile);
    const size_t wanted = 2 * (size_t)ctx->info.compute_units / groups;
    const size_t most = product->K / (size_t)tuned(ctx, TUNED_SMALLEST_PART);
    const size_t parts = wanted < most ? wanted : most;
    return parts > 1 && !device_is_cpu(ctx) ? parts : 1;
}

/* The largest tile that fits the device and, with K in parts, leaves few compute units idle. */
static size_t choose_tile(const colt5_context *ctx, const struct gemm *product)
{
    if (product->tile) return product->tile - 1;
    if (product->like) return choose_tile(ctx, product->like);
    const size_t last = sizeof(tiles) / sizeof(tiles[0]) - 1;
    if (device_is_cpu(ctx)) return last; /* the others only take longer to build there */
    const size_t edge = (size_t)tuned(ctx, TUNED_TILED_TILE);
    for (size_t i = 0; edge && i < last; i++)
        if (tiles[i].edge == edge && fits(ctx, tiles[i])) return i;
    for (size_t i = 0; !edge && i < last; i++) {
        const size_t groups = tiles_of(product->M, tiles[i]) * tiles_of(product->N, tiles[i]) *
                              parts_of(ctx, product, tiles[i]);
        if (fits(ctx, tiles[i]) && 2 * groups >= 3 * (size_t)ctx->info.compute_units) return i;
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

/* As many parts as a test asks for; a self-test takes two where its product takes several. */
static size_t choose_parts(const colt5_context *ctx, const struct gemm *product, struct tile tile)
{
    if (product->parts) return product->parts;
    if (product->like) return choose_parts(ctx, product->like, tile) > 1 ? 2 : 1;
    return parts_of(ctx, product, tile);
}

static unsigned variant(const colt5_context *ctx, const struct gemm *product)
{
    unsigned number = (unsigned)choose_tile(ctx, product);
    const bool in_parts = choose_parts(ctx, product, tiles[number]) > 1;
    number = 3 * number + product->a->type;
    number = 3 * number + (in_parts ? 2 : product->c->type == COLT5_F32);
    number = 2 * number + product->transpose_a;
    number = 2 * number + product->transpose_b;
    return 2 * number + reads_vectors(product);
}

colt5_status gemm_launch_tiled(colt5_context *ctx, const struct gemm *product, size_t parts,
                               size_t part)
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
        DEFINE("DEPTH", depth_of(ctx)),
        DEFINE("BAND", tuned(ctx, TUNED_TILES_ABREAST)),
        {product->pairs ? "RANGES" : NULL, 1},
        {NULL, 0},
    };
    const size_t groups = tiles_of(product->M, tile) * tiles_of(product->N, tile);
    return launch(
        ctx, KERNEL_TILED_GEMM, defines, GROUPS(groups, parts, 1, items_of(tile)),
        ARGS(TENSOR(product->a), TENSOR(product->b), TENSOR(product->c), TENSOR(product->bias),
             TENSOR(product->row_scale), TENSOR(gemm_beside(product)), TENSOR(product->index),
             TENSOR(product->scatter), INT((int)product->M), INT((int)product->N),
             INT((int)product->K), INT((int)part), INT((int)product->index_rows),
             INT((int)product->a_rows), INT((int)product->scatter_rows), INT((int)product->c_rows),
             FLOAT(gemm_alpha(product)), INT(gemm_extras(product)),
             TENSOR(product->pairs ? &product->pairs->ranges : NULL)));
}

static colt5_status run(colt5_context *ctx, const struct gemm *product)
{
    const size_t parts = choose_parts(ctx, product, tiles[choose_tile(ctx, product)]);
    return gemm_run_parts(ctx, product, parts, depth_of(ctx), gemm_launch_tiled);
}

/* Only the smallest tiles, for a device that does not take the others whatever it says of itself.
 */
static struct gemm smallest(const struct gemm *product)
{
    struct gemm small = *product;
    small.tile = sizeof(tiles) / sizeof(tiles[0]);
    small.parts = 1;
    return small;
}

static unsigned small_variant(const colt5_context *ctx, const struct gemm *product)
{
    const struct gemm small = smallest(product);
    return variant(ctx, &small);
}

static colt5_status run_small(colt5_context *ctx, const struct gemm *product)
{
    const struct gemm small = smallest(product);
    return run(ctx, &small);
}

const struct gemm_backend gemm_small_tiles = {
    .name = "small-tiles", .can = can, .variant = small_variant, .run = run_small, .fuses = true};
const struct gemm_backend gemm_tiled = {
    .name = "tiled", .can = can, .variant = variant, .run = run, .fuses = true};
