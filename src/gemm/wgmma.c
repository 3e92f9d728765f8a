/* SPDX-License-Identifier: MIT */
/*
 * NVIDIA's matrix units as Hopper has them, by kernels/wgmma_gemm.cl: f16 and bf16; float32 by tf32
 * where the context's math is fast, and else by pairs of f16, which are as exact as float32. Where
 * values of a column of B lie too far apart for pairs the kernel sees it, and multiplies floats.
 */
#include "gemm/arrivals.h"
#include "gemm/backend.h"
#include "gemm/wgmma_plan.h"
#include "runtime/check.h"
#include "runtime/context.h"
#include "runtime/launch.h"
#include "runtime/retarget.h"
#include "runtime/workspace.h"

/* As in the kernels: */
#define GROUP_OF_K  32 /* floats in a line */
#define WIDE_STAGES 4
#define ROWS        4   /* that a group of convert_operand takes, or, where k is not contiguous, */
#define BLOCK_ROWS  64  /* these, of GROUP_OF_K; */
#define RANGE_K     256 /* and of so many k column_ranges */
#define BLOCK_ITEMS 256
#define ITEMS       384
#define MAP_INTS    128 /* four tensor maps, of each work-group */

#define LEAST    64                  /* rows and columns from where it pays */
#define SMALLEST ((uint64_t)1 << 24) /* M·N·K from where it pays */

/* A call, and its tensors besides the product's: B's floats as the unit takes them, and, of pairs,
 * the ranges of its columns; tensor maps; sums that wait for others of their tile. */
struct wgmma_call {
    const struct gemm *product;
    struct wgmma_plan plan;
    colt5_tensor lines, ranges, maps, waiting, arrivals;
};

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
           (wgmma_plan(ctx, product).converts_b || aligned(product->b, along_b(product)));
}

static bool pays(const colt5_context *ctx, const struct gemm *product)
{
    (void)ctx;
    return product->M >= LEAST && product->N >= LEAST &&
           (uint64_t)product->M * product->N >= SMALLEST / product->K;
}

/* Sixteen bytes of a row of C cannot be written at once. */
static bool is_narrow(const struct gemm *product)
{
    const size_t residual = gemm_beside(product) ? gemm_beside(product)->offset : 0;
    return (product->N | product->c->offset | residual) % 8 != 0;
}

/* What may stand around the product, a bit each, as the kernel's AROUND has it; GELU's slope, for
 * which gelu_input is read, takes those of GELU and a residual. */
static unsigned around_of(const struct gemm *product)
{
    if (product->like) product = product->like;
    return (is_narrow(product) ? 32u : 0u) | (product->bias ? 1u : 0u) |
           (product->gelu || product->gelu_input ? 2u : 0u) | (product->row_scale ? 4u : 0u) |
           (gemm_beside(product) ? 8u : 0u) | (product->scatter ? 16u : 0u);
}

static unsigned variant(const colt5_context *ctx, const struct gemm *product)
{
    const struct wgmma_plan plan = wgmma_plan(ctx, product);
    unsigned number = product->a->type == COLT5_F32 ? plan.by_pairs : 1u + product->a->type;
    number = 3 * number + (plan.columns == WGMMA_WIDE ? 2 : plan.alternates);
    number = 2 * number + product->transpose_a;
    number = 2 * number + product->transpose_b;
    number = 2 * number + (product->c->type == COLT5_F32);
    number = 2 * number + plan.in_parts;
    return 64 * number + around_of(product);
}

/* Both kernels of convert_operand.cl are of one program; only what is not TRANSPOSED knows VECTOR.
 */
#define CONVERT_DEFINES(pairs, transposed, vector)                                                 \
    DEFINES(STORAGE(COLT5_F32), DEFINE("C_F32", 1), DEFINE("PAIRS", pairs),                        \
            DEFINE("TRANSPOSED", transposed), DEFINE("VECTOR", vector))

static colt5_status find_ranges(colt5_context *ctx, const struct gemm *product,
                                const colt5_tensor *ranges)
{
    const size_t blocks = (product->N + BLOCK_ROWS - 1) / BLOCK_ROWS;
    CHECK(clear_tensor(ctx, ranges));
    return launch(
        ctx, KERNEL_COLUMN_RANGES, CONVERT_DEFINES(1, 1, 0),
        GROUPS(blocks * ((product->K + RANGE_K - 1) / RANGE_K), 1, 1, BLOCK_ITEMS),
        ARGS(TENSOR(product->b), TENSOR(ranges), INT((int)product->N), INT((int)product->K)));
}

/* [N][K rounded up]. */
static colt5_status convert_b(colt5_context *ctx, const struct wgmma_call *call)
{
    const struct gemm *product = call->product;
    const bool pairs = call->plan.by_pairs, transposed = !product->transpose_b;
    const size_t N = product->N, line = call->lines.dims[1];
    const size_t blocks = (N + BLOCK_ROWS - 1) / BLOCK_ROWS * (line / GROUP_OF_K);
    const bool vector = !transposed && (product->K | product->b->offset) % 4 == 0;
    if (pairs && transposed) CHECK(find_ranges(ctx, product, &call->ranges));
    return launch(ctx, KERNEL_CONVERT_OPERAND, CONVERT_DEFINES(pairs, transposed, vector),
                  GROUPS(transposed ? blocks : (N + ROWS - 1) / ROWS, 1, 1, BLOCK_ITEMS),
                  ARGS(TENSOR(product->b), TENSOR(pairs ? &call->ranges : NULL),
                       TENSOR(&call->lines), INT((int)N), INT((int)product->K), INT((int)line)));
}

static colt5_status launch_wgmma(colt5_context *ctx, const struct wgmma_call *call)
{
    const struct gemm *product = call->product;
    const struct wgmma_plan *plan = &call->plan;
    const size_t works = plan->tiles * plan->parts, groups = call->maps.dims[0];
    const bool wide = plan->columns == WGMMA_WIDE;
    const struct define defines[] = {
        STORAGE(product->a->type),
        DEFINE("C_F32", product->c->type == COLT5_F32),
        DEFINE("TRANSPOSE_A", product->transpose_a),
        DEFINE("TRANSPOSE_B", plan->converts_b || product->transpose_b),
        DEFINE("PAIRS", plan->by_pairs),
        DEFINE("IN_PARTS", plan->in_parts),
        DEFINE("COLUMNS", plan->columns),
        DEFINE("ALTERNATE", plan->alternates),
        DEFINE("STAGES", wide ? WIDE_STAGES : tuned(ctx, TUNED_WGMMA_STAGES)),
        DEFINE("BAND", tuned(ctx, TUNED_TILES_ABREAST)),
        DEFINE("AROUND", around_of(product)),
        {NULL, 0}};
    return launch(
        ctx, KERNEL_WGMMA_GEMM, defines, GROUPS(works < groups ? works : groups, 1, 1, ITEMS),
        ARGS(TENSOR(product->a), TENSOR(plan->converts_b ? &call->lines : product->b),
             TENSOR(plan->by_pairs ? product->b : NULL), TENSOR(&call->maps), TENSOR(product->c),
             TENSOR(product->bias), TENSOR(product->row_scale), TENSOR(gemm_beside(product)),
             TENSOR(product->scatter), TENSOR(plan->by_pairs ? &call->ranges : NULL),
             TENSOR(plan->in_parts ? &call->waiting : NULL),
             TENSOR(plan->in_parts ? &call->arrivals : NULL), INT((int)product->M),
             INT((int)product->N), INT((int)product->K),
             INT((int)(plan->converts_b ? call->lines.dims[1] : product->K)), INT((int)plan->slabs),
             INT((int)plan->parts), INT((int)product->scatter_rows), INT((int)product->c_rows),
             FLOAT(gemm_alpha(product)), INT(gemm_extras(product)), INT(product->transpose_b)));
}

static colt5_status prepare_b(colt5_context *ctx, struct wgmma_call *call)
{
    const struct gemm *product = call->product;
    const size_t line = (product->K + GROUP_OF_K - 1) / GROUP_OF_K * GROUP_OF_K;
    CHECK(scratch(ctx, COLT5_F32, 2, (size_t[]){product->N, line}, &call->lines));
    if (call->plan.by_pairs)
        CHECK(scratch(ctx, COLT5_I32, 2, (size_t[]){product->N, 2}, &call->ranges));
    return convert_b(ctx, call);
}

static colt5_status prepare_parts(colt5_context *ctx, struct wgmma_call *call)
{
    const struct wgmma_plan *plan = &call->plan;
    CHECK(gemm_arrivals(ctx, &call->arrivals));
    return scratch(ctx, COLT5_F32, 3,
                   (size_t[]){plan->parts, plan->tiles, WGMMA_TILE * plan->columns},
                   &call->waiting);
}

static colt5_status run_aligned(colt5_context *ctx, const struct gemm *product)
{
    struct wgmma_call call = {.product = product, .plan = wgmma_plan(ctx, product)};
    CHECK(scratch(ctx, COLT5_I32, 2, (size_t[]){ctx->info.compute_units, MAP_INTS}, &call.maps));
    if (call.plan.converts_b) CHECK(prepare_b(ctx, &call));
    if (call.plan.in_parts) CHECK(prepare_parts(ctx, &call));
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
