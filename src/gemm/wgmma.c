/* SPDX-License-Identifier: MIT */
/*
 * NVIDIA's matrix units as Hopper has them, by kernels/wgmma_gemm.cl: f16 and bf16; float32 by tf32
 * where the context's math is fast, and else by pairs of f16, which are as exact as float32. Where
 * values of a column of B lie too far apart for pairs the kernel sees it, and multiplies floats.
 */
#include "gemm/arrivals.h"
#include "gemm/backend.h"
#include "runtime/check.h"
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
#define ROWS        4   /* that a group of convert_operand takes, or, where k is not contiguous, */
#define BLOCK_ROWS  64  /* these, of GROUP_OF_K; */
#define RANGE_K     256 /* and of so many k column_ranges */
#define BLOCK_ITEMS 256
#define ITEMS       384
#define WARPS       8  /* of a tile, at most */
#define MAP_INTS    96 /* three tensor maps, of each work-group */

#define WIDE_TIME     15                  /* of a wide tile, in eighths of a narrow one's */
#define LONG_K        1024                /* from where wide tiles may pay */
#define LEAST         64                  /* rows and columns from where it pays */
#define SMALLEST      ((uint64_t)1 << 24) /* M·N·K from where it pays */
#define SMALLEST_PART 1024                /* k of a part */
#define MOST_PARTS    16
#define PART_COST     128 /* of a part more, relative to the whole: 1 / this */

/* The tensors of a call besides the product's: B's floats as the unit takes them, and, of pairs,
 * the ranges of its columns; tensor maps; sums that wait for others of their tile. */
struct wgmma_call {
    const struct gemm *product;
    colt5_tensor lines, ranges, maps, waiting, arrivals;
    size_t parts, slabs; /* of K, of a part */
};

static size_t depth_of(colt5_type type)
{
    return LINE / colt5_type_size(type);
}

static bool by_pairs(const colt5_context *ctx, const struct gemm *product)
{
    return product->a->type == COLT5_F32 && ctx->math == COLT5_MATH_STRICT;
}

/* Of floats B is made anew: pairs, or where k is not contiguous. */
static bool converts_b(const colt5_context *ctx, const struct gemm *product)
{
    return product->a->type == COLT5_F32 && (by_pairs(ctx, product) || !product->transpose_b);
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
           (converts_b(ctx, product) || aligned(product->b, along_b(product)));
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
 * take turns: a long K pays for that. */
static size_t columns_of(const colt5_context *ctx, const struct gemm *product)
{
    const size_t units = ctx->info.compute_units;
    if (product->like) return columns_of(ctx, product->like);
    if (by_pairs(ctx, product) || product->K < LONG_K) return NARROW;
    return time_of(product, WIDE, units) < time_of(product, NARROW, units) ? WIDE : NARROW;
}

static size_t parts_of(const colt5_context *ctx, const struct gemm *product)
{
    if (product->parts) return product->parts;
    if (product->like) return parts_of(ctx, product->like) > 1 ? 2 : 1;
    const size_t tiles = tiles_of(product, columns_of(ctx, product));
    return tiles * WARPS > ARRIVALS ? 1 : best_parts(product, tiles, ctx->info.compute_units);
}

/* The consumers of a work-group take turns, the kernel's ALTERNATE: one finishes its tile while the
 * other one multiplies. Not where each work-group has one tile at most. */
static bool alternates(const colt5_context *ctx, const struct gemm *product)
{
    if (product->like) return alternates(ctx, product->like);
    if (by_pairs(ctx, product) || columns_of(ctx, product) == WIDE) return false;
    return tiles_of(product, NARROW) * parts_of(ctx, product) > ctx->info.compute_units;
}

/* Sixteen bytes of a row of C cannot be written at once. */
static bool is_narrow(const struct gemm *product)
{
    const size_t residual = product->residual ? product->residual->offset : 0;
    return (product->N | product->c->offset | residual) % 8 != 0;
}

/* What may stand around the product, a bit each, as the kernel's AROUND has it. */
static unsigned around_of(const struct gemm *product)
{
    if (product->like) product = product->like;
    return (is_narrow(product) ? 32u : 0u) | (product->bias ? 1u : 0u) | (product->gelu ? 2u : 0u) |
           (product->row_scale ? 4u : 0u) | (product->residual ? 8u : 0u) |
           (product->scatter ? 16u : 0u);
}

static unsigned variant(const colt5_context *ctx, const struct gemm *product)
{
    unsigned number =
        product->a->type == COLT5_F32 ? by_pairs(ctx, product) : 1u + product->a->type;
    number = 3 * number + (columns_of(ctx, product) == WIDE ? 2 : alternates(ctx, product));
    number = 2 * number + product->transpose_a;
    number = 2 * number + product->transpose_b;
    number = 2 * number + (product->c->type == COLT5_F32);
    number = 2 * number + (parts_of(ctx, product) > 1);
    return 64 * number + around_of(product);
}

static colt5_status find_ranges(colt5_context *ctx, const struct gemm *product,
                                const colt5_tensor *ranges)
{
    const size_t blocks = (product->N + BLOCK_ROWS - 1) / BLOCK_ROWS;
    CHECK(clear_tensor(ctx, ranges));
    return launch(
        ctx, KERNEL_COLUMN_RANGES,
        DEFINES(STORAGE(COLT5_F32), DEFINE("C_F32", 1), DEFINE("PAIRS", 1),
                DEFINE("TRANSPOSED", 1)),
        GROUPS(blocks * ((product->K + RANGE_K - 1) / RANGE_K), 1, 1, BLOCK_ITEMS),
        ARGS(TENSOR(product->b), TENSOR(ranges), INT((int)product->N), INT((int)product->K)));
}

/* [N][K rounded up]. */
static colt5_status convert_b(colt5_context *ctx, const struct wgmma_call *call)
{
    const struct gemm *product = call->product;
    const bool pairs = by_pairs(ctx, product), transposed = !product->transpose_b;
    const size_t N = product->N, line = call->lines.dims[1];
    const size_t blocks = (N + BLOCK_ROWS - 1) / BLOCK_ROWS * (line / GROUP_OF_K);
    if (pairs && transposed) CHECK(find_ranges(ctx, product, &call->ranges));
    return launch(ctx, KERNEL_CONVERT_OPERAND,
                  DEFINES(STORAGE(COLT5_F32), DEFINE("C_F32", 1), DEFINE("PAIRS", pairs),
                          DEFINE("TRANSPOSED", transposed),
                          DEFINE("VECTOR", (product->K | product->b->offset) % 4 == 0)),
                  GROUPS(transposed ? blocks : (N + ROWS - 1) / ROWS, 1, 1, BLOCK_ITEMS),
                  ARGS(TENSOR(product->b), TENSOR(pairs ? &call->ranges : NULL),
                       TENSOR(&call->lines), INT((int)N), INT((int)product->K), INT((int)line)));
}

static colt5_status launch_wgmma(colt5_context *ctx, const struct wgmma_call *call)
{
    const struct gemm *product = call->product;
    const bool is_f32 = product->a->type == COLT5_F32, pairs = by_pairs(ctx, product);
    const bool in_parts = parts_of(ctx, product) > 1, converts = converts_b(ctx, product);
    const size_t columns = columns_of(ctx, product),
                 works = tiles_of(product, columns) * call->parts, groups = call->maps.dims[0];
    const struct define defines[] = {
        STORAGE(product->a->type),
        DEFINE("C_F32", product->c->type == COLT5_F32),
        DEFINE("TRANSPOSE_A", product->transpose_a),
        DEFINE("TRANSPOSE_B", is_f32 || product->transpose_b),
        DEFINE("PAIRS", pairs),
        DEFINE("IN_PARTS", in_parts),
        DEFINE("COLUMNS", columns),
        DEFINE("ALTERNATE", alternates(ctx, product)),
        DEFINE("STAGES", columns == WIDE ? WIDE_STAGES : tuned(ctx, TUNED_WGMMA_STAGES)),
        DEFINE("BAND", tuned(ctx, TUNED_TILES_ABREAST)),
        DEFINE("AROUND", around_of(product)),
        {NULL, 0}};
    return launch(
        ctx, KERNEL_WGMMA_GEMM, defines, GROUPS(works < groups ? works : groups, 1, 1, ITEMS),
        ARGS(TENSOR(product->a), TENSOR(converts ? &call->lines : product->b),
             TENSOR(pairs ? product->b : NULL), TENSOR(&call->maps), TENSOR(product->c),
             TENSOR(product->bias), TENSOR(product->row_scale), TENSOR(product->residual),
             TENSOR(product->scatter), TENSOR(pairs ? &call->ranges : NULL),
             TENSOR(in_parts ? &call->waiting : NULL), TENSOR(in_parts ? &call->arrivals : NULL),
             INT((int)product->M), INT((int)product->N), INT((int)product->K),
             INT((int)(converts ? call->lines.dims[1] : product->K)), INT((int)call->slabs),
             INT((int)call->parts), INT((int)product->scatter_rows), INT((int)product->c_rows),
             FLOAT(gemm_alpha(product)), INT(product->gelu), INT(product->transpose_b)));
}

static colt5_status prepare_b(colt5_context *ctx, struct wgmma_call *call)
{
    const struct gemm *product = call->product;
    const size_t line = (product->K + GROUP_OF_K - 1) / GROUP_OF_K * GROUP_OF_K;
    CHECK(scratch(ctx, COLT5_F32, 2, (size_t[]){product->N, line}, &call->lines));
    if (by_pairs(ctx, product))
        CHECK(scratch(ctx, COLT5_I32, 2, (size_t[]){product->N, 2}, &call->ranges));
    return convert_b(ctx, call);
}

/* Cuts K, as evenly as slabs can be; of floats these come in twos. */
static colt5_status prepare_parts(colt5_context *ctx, struct wgmma_call *call)
{
    const struct gemm *product = call->product;
    const size_t together = product->a->type == COLT5_F32 ? 2 : 1, parts = parts_of(ctx, product);
    const size_t depth = depth_of(product->a->type) * together;
    const size_t all = (product->K + depth - 1) / depth, each = (all + parts - 1) / parts;
    const size_t columns = columns_of(ctx, product);
    call->parts = (all + each - 1) / each;
    call->slabs = each * together;
    if (parts == 1) return COLT5_OK;
    CHECK(gemm_arrivals(ctx, &call->arrivals));
    return scratch(ctx, COLT5_F32, 3,
                   (size_t[]){call->parts, tiles_of(product, columns), TILE * columns},
                   &call->waiting);
}

static colt5_status run_aligned(colt5_context *ctx, const struct gemm *product)
{
    struct wgmma_call call = {.product = product};
    CHECK(scratch(ctx, COLT5_I32, 2, (size_t[]){ctx->info.compute_units, MAP_INTS}, &call.maps));
    if (converts_b(ctx, product)) CHECK(prepare_b(ctx, &call));
    CHECK(prepare_parts(ctx, &call));
    return launch_wgmma(ctx, &call);
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
