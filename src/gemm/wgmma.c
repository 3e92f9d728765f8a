/* SPDX-License-Identifier: MIT */
/*
 * NVIDIA's matrix units as Hopper has them, by kernels/wgmma_gemm.cl: f16 and bf16; float32 by tf32
 * where the context's math is fast, and else by pairs of f16. Pairs hold values of comparable size:
 * whether they do the device finds out, and where not, plain tiles make the product. Both kernels
 * are launched, one does nothing.
 */
#include "gemm/backend.h"
#include "runtime/context.h"
#include "runtime/launch.h"
#include "runtime/retarget.h"
#include "runtime/workspace.h"

/* As in the kernel: */
#define TILE        128 /* rows of C */
#define NARROW      128 /* and columns, or */
#define WIDE        256
#define LINE        128 /* bytes of k that a slab has of a row */
#define GROUP_OF_K  32  /* floats in a line */
#define WIDE_STAGES 4
#define BLOCK_ROWS  64 /* that a group of convert_operand takes, where k is not contiguous */
#define BLOCK_ITEMS 256
#define ITEMS       384
#define MAP_INTS    96 /* three tensor maps, of each work-group */

#define WIDE_TIME     15                  /* of a wide tile, in eighths of a narrow one's */
#define LONG_K        1024                /* from where wide tiles of 16 bits may pay */
#define LEAST         64                  /* rows and columns from where it pays */
#define SMALLEST      ((uint64_t)1 << 24) /* M·N·K from where it pays */
#define SMALLEST_PART 1024                /* k of a part */
#define MOST_PARTS    16
#define PART_COST     128 /* of a part more, relative to the whole: 1 / this */

static size_t depth_of(colt5_type type)
{
    return LINE / colt5_type_size(type);
}

static bool by_pairs(const colt5_context *ctx, const struct gemm *product)
{
    return product->a->type == COLT5_F32 && ctx->math == COLT5_MATH_STRICT;
}

static size_t along_a(const struct gemm *product)
{
    return product->transpose_a ? product->M : product->K;
}

static size_t along_b(const struct gemm *product)
{
    return product->transpose_b ? product->K : product->N;
}

/* Lines that begin at multiples of 16 bytes. */
static bool aligned(const colt5_tensor *tensor, size_t length)
{
    const size_t each = 16 / colt5_type_size(tensor->type);
    return length % each == 0 && tensor->offset % each == 0;
}

static bool can(const colt5_context *ctx, const struct gemm *product)
{
    colt5_tensor a = *product->a;
    if (product->index) a.offset = 0; /* where they are gathered to */
    return retarget_can(ctx) && product->K > 0 && aligned(&a, along_a(product)) &&
           (product->b->type == COLT5_F32 || aligned(product->b, along_b(product)));
}

static bool pays(const struct gemm *product)
{
    return product->M >= LEAST && product->N >= LEAST &&
           (uint64_t)product->M * product->N >= SMALLEST / product->K;
}

/* How many thousandths of the device's time are work when K is cut to so many parts, MOST_PARTS at
 * most, less what the parts cost. */
static size_t use_of(size_t tiles, size_t parts, size_t units)
{
    const size_t works = tiles * parts, rounds = (works + units - 1) / units;
    return 1000 * works / (rounds * units) * (PART_COST - (parts - 1)) / PART_COST;
}

static size_t tiles_of(const struct gemm *product, size_t columns)
{
    return (product->M + TILE - 1) / TILE * ((product->N + columns - 1) / columns);
}

/* The parts that leave the fewest compute units idle: for a weight's gradient there are few tiles,
 * but long ones. */
static size_t best_parts(const struct gemm *product, size_t tiles, size_t units)
{
    size_t most = product->K / SMALLEST_PART, best = 1;
    if (tiles >= units) return 1; /* parts would cost more than idle units */
    if (most > MOST_PARTS) most = MOST_PARTS;
    for (size_t parts = 2; parts <= most; parts++)
        if (use_of(tiles, parts, units) > use_of(tiles, best, units)) best = parts;
    return best;
}

/* What a product in tiles of so many columns takes, in eighths of a narrow tile of the whole K,
 * times 1024. */
static size_t time_of(const struct gemm *product, size_t columns, size_t units)
{
    const size_t tiles = tiles_of(product, columns), parts = best_parts(product, tiles, units);
    const size_t rounds = (tiles * parts + units - 1) / units;
    return rounds * (columns == WIDE ? WIDE_TIME : 8) * 1024 / parts;
}

/* Columns of C in a tile: the kernel's COLUMNS. Wide tiles read less, but their consumers do not
 * take turns: of 16 bits a long K pays for that. */
static size_t columns_of(const colt5_context *ctx, const struct gemm *product)
{
    const size_t units = ctx->info.compute_units;
    if (product->like) return columns_of(ctx, product->like);
    if (by_pairs(ctx, product) || (product->a->type != COLT5_F32 && product->K < LONG_K))
        return NARROW;
    return time_of(product, WIDE, units) < time_of(product, NARROW, units) ? WIDE : NARROW;
}

static size_t parts_of(const colt5_context *ctx, const struct gemm *product)
{
    if (product->parts) return product->parts;
    if (product->like) return parts_of(ctx, product->like) > 1 ? 2 : 1;
    return best_parts(product, tiles_of(product, columns_of(ctx, product)),
                      ctx->info.compute_units);
}

/* Sixteen bytes of a row of C cannot be written at once. */
static bool is_narrow(const struct gemm *product)
{
    const size_t residual = product->residual ? product->residual->offset : 0;
    return (product->N | product->c->offset | residual) % 8 != 0;
}

/* What may stand around the product, a bit each, as the kernel's AROUND has it; nothing around sums
 * of parts, which the accelerator writes where a box of rows has those of one part. */
static unsigned around_of(const struct gemm *product, size_t parts)
{
    if (parts > 1) return product->N % 8 || product->M % 16 ? 32u : 0u;
    if (product->like) product = product->like;
    return (is_narrow(product) ? 32u : 0u) | (product->bias ? 1u : 0u) | (product->gelu ? 2u : 0u) |
           (product->row_scale ? 4u : 0u) | (product->residual ? 8u : 0u) |
           (product->scatter ? 16u : 0u);
}

static unsigned variant(const colt5_context *ctx, const struct gemm *product)
{
    unsigned number =
        product->a->type == COLT5_F32 ? by_pairs(ctx, product) : 1u + product->a->type;
    number = 2 * number + (columns_of(ctx, product) == WIDE);
    number = 2 * number + product->transpose_a;
    number = 2 * number + product->transpose_b;
    const size_t parts = parts_of(ctx, product);
    const unsigned around = around_of(product, parts);
    if (parts > 1) return 2 * number + (around != 0);
    return 64 + 64 * (2 * number + (product->c->type == COLT5_F32)) + around;
}

/* B's floats as the unit takes them, [N][K rounded up]. */
static colt5_status convert_b(colt5_context *ctx, const struct gemm *product)
{
    const colt5_tensor *lines = &product->pairs->b;
    const bool pairs = by_pairs(ctx, product), transposed = !product->transpose_b;
    const size_t N = product->N, line = lines->dims[1];
    const size_t blocks = (N + BLOCK_ROWS - 1) / BLOCK_ROWS * (line / GROUP_OF_K);
    return launch(ctx, KERNEL_CONVERT_OPERAND,
                  DEFINES(STORAGE(COLT5_F32), DEFINE("C_F32", 1), DEFINE("PAIRS", pairs),
                          DEFINE("TRANSPOSED", transposed)),
                  transposed ? GROUPS(blocks, 1, 1, BLOCK_ITEMS) : ROW_GRID(line / 8, N),
                  ARGS(TENSOR(product->b), TENSOR(pairs ? &product->pairs->ranges : NULL),
                       TENSOR(lines), INT((int)N), INT((int)product->K), INT((int)line)));
}

static colt5_status launch_parts(colt5_context *ctx, const struct gemm *product, size_t parts,
                                 size_t part)
{
    const bool is_f32 = product->a->type == COLT5_F32, pairs = by_pairs(ctx, product);
    const size_t depth = depth_of(product->a->type), columns = columns_of(ctx, product),
                 works = tiles_of(product, columns) * parts;
    const size_t groups = product->maps->dims[0];
    const colt5_tensor *b = product->pairs ? &product->pairs->b : product->b;
    const struct define defines[] = {
        STORAGE(product->a->type),
        DEFINE("C_F32", product->c->type == COLT5_F32),
        DEFINE("TRANSPOSE_A", product->transpose_a),
        DEFINE("TRANSPOSE_B", is_f32 || product->transpose_b),
        DEFINE("PAIRS", pairs),
        DEFINE("COLUMNS", columns),
        DEFINE("STAGES", columns == WIDE ? WIDE_STAGES : tuned(ctx, TUNED_WGMMA_STAGES)),
        DEFINE("BAND", tuned(ctx, TUNED_TILES_ABREAST)),
        DEFINE("AROUND", around_of(product, parts)),
        {NULL, 0}};
    const colt5_status status = launch(
        ctx, KERNEL_WGMMA_GEMM, defines, GROUPS(works < groups ? works : groups, 1, 1, ITEMS),
        ARGS(TENSOR(product->a), TENSOR(b), TENSOR(product->maps), TENSOR(product->c),
             TENSOR(product->bias), TENSOR(product->row_scale), TENSOR(product->residual),
             TENSOR(product->scatter), TENSOR(pairs ? &product->pairs->ranges : NULL),
             INT((int)product->M), INT((int)product->N), INT((int)product->K),
             INT((int)(product->pairs ? b->dims[1] : product->K)),
             INT((int)((part + depth - 1) / depth)), INT((int)parts),
             INT((int)product->scatter_rows), INT((int)product->c_rows), FLOAT(gemm_alpha(product)),
             INT(product->gelu)));
    return status == COLT5_OK && pairs ? gemm_launch_tiled(ctx, product, parts, part) : status;
}

/* What floats need besides. */
static colt5_status prepare_floats(colt5_context *ctx, struct gemm *product,
                                   struct gemm_pairs *pairs)
{
    const size_t line = (product->K + GROUP_OF_K - 1) / GROUP_OF_K * GROUP_OF_K;
    colt5_status status = scratch(ctx, COLT5_F32, 2, (size_t[]){product->N, line}, &pairs->b);
    product->pairs = pairs;
    if (status == COLT5_OK && by_pairs(ctx, product)) {
        status = scratch(ctx, COLT5_I32, 1, (size_t[]){4}, &pairs->ranges);
        if (status == COLT5_OK) status = gemm_find_ranges(ctx, product);
    }
    return status == COLT5_OK ? convert_b(ctx, product) : status;
}

static colt5_status run_aligned(colt5_context *ctx, const struct gemm *product)
{
    struct gemm_pairs pairs;
    struct gemm call = *product;
    colt5_tensor maps;
    call.maps = &maps;
    colt5_status status =
        scratch(ctx, COLT5_I32, 2, (size_t[]){ctx->info.compute_units, MAP_INTS}, &maps);
    if (status == COLT5_OK && product->a->type == COLT5_F32)
        status = prepare_floats(ctx, &call, &pairs);
    return status == COLT5_OK ? gemm_run_parts(ctx, &call, parts_of(ctx, product),
                                               depth_of(product->a->type), launch_parts)
                              : status;
}

static colt5_status run(colt5_context *ctx, const struct gemm *product)
{
    const struct stack_mark mark = workspace_mark(ctx);
    struct gemm call = *product;
    colt5_tensor rows;
    colt5_status status = COLT5_OK;
    if (product->index) status = gemm_gather(ctx, product, &rows, &call);
    if (status == COLT5_OK) status = run_aligned(ctx, &call);
    workspace_rewind(ctx, mark);
    return status;
}

const struct gemm_backend gemm_wgmma = {.name = "wgmma",
                                        .can = can,
                                        .pays = pays,
                                        .variant = variant,
                                        .run = run,
                                        .fuses = true,
                                        .specialised = true};
