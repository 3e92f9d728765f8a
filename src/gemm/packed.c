/* SPDX-License-Identifier: MIT */
/*
 * Our own product for CPUs, kernels/packed_gemm.cl: operands are rewritten in panels, in blocks
 * that the caches hold, and multiplied from there.
 */
#include "gemm/backend.h"
#include "runtime/context.h"
#include "runtime/launch.h"

/* Panels of A are packed this many floats at a time (8 MB, which a last-level cache holds) … */
#define PACKED_A ((size_t)2 << 20)
/* … those of B this many (64 MB): more columns than that are made one part after the other. A
 * longer K is cut to parts of about TUNED_PACKED_DEPTH: a panel of B then stays in the second
 * level. */
#define PACKED_B ((size_t)16 << 20)
/* Panels of A that a work-item multiplies with one panel of B. */
#define BLOCK ((size_t)8)

#define PACK_DEPTH 64 /* as in the kernel */

/* How the product is cut; every count is of rows, columns or k, not of panels. */
struct cut {
    size_t lanes, rows, columns; /* a vector register; a panel of A, of B */
    size_t M, N, K;              /* made at a time */
};

static size_t divide_up(size_t n, size_t step)
{
    return (n + step - 1) / step;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

static size_t vector_lanes(const colt5_context *ctx)
{
    cl_uint width = (cl_uint)tuned(ctx, TUNED_PACKED_LANES);
    if (width) return width;
    clGetDeviceInfo(ctx->device, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof(width), &width, NULL);
    return width >= 16 ? 16 : width >= 8 ? 8 : width >= 4 ? 4 : 0;
}

static struct cut cut_product(const colt5_context *ctx, const struct gemm *product)
{
    struct cut cut = {.lanes = vector_lanes(ctx)};
    /* AVX-512 has 32 registers: 14·2 sums, 2 of B, 1 of A. Elsewhere 16 are taken for granted. */
    cut.rows = (size_t)tuned(ctx, TUNED_PACKED_ROWS);
    if (!cut.rows) cut.rows = cut.lanes == 16 ? 14 : 6;
    cut.columns = 2 * cut.lanes;
    const size_t depth = (size_t)tuned(ctx, TUNED_PACKED_DEPTH);
    const size_t parts = divide_up(product->K, depth + depth / 2);
    cut.K = parts ? divide_up(product->K, parts) : 0;
    const size_t M = PACKED_A / (cut.K + 1) / cut.rows * cut.rows;
    const size_t N = PACKED_B / (product->K + 1) / cut.columns * cut.columns;
    cut.M = M < cut.rows ? cut.rows : M;
    cut.N = N < cut.columns ? cut.columns : N;
    return cut;
}

static bool can(const colt5_context *ctx, const struct gemm *product)
{
    (void)product;
    return device_is_cpu(ctx) && vector_lanes(ctx) > 0;
}

static unsigned variant(const colt5_context *ctx, const struct gemm *product)
{
    (void)ctx;
    return 2 * product->a->type + (product->c->type == COLT5_F32);
}

/* A part of the product: rows m to end_m, columns n to end_n, k to end_k. */
struct part {
    size_t m, end_m, n, end_n, k, end_k;
};

struct packed {
    const struct gemm *product;
    struct cut cut;
    colt5_tensor a, b, partial;
    bool in_parts; /* of K */
};

static colt5_status take_scratch(colt5_context *ctx, struct packed *packed)
{
    const struct gemm *product = packed->product;
    const struct cut cut = packed->cut;
    const size_t M = least(product->M, cut.M), N = least(product->N, cut.N);
    const size_t rows = divide_up(M, cut.rows) * cut.rows;
    const size_t columns = divide_up(N, cut.columns) * cut.columns;
    colt5_status status = scratch(ctx, COLT5_F32, 2, (size_t[]){cut.K, rows}, &packed->a);
    if (status == COLT5_OK)
        status = scratch(ctx, COLT5_F32, 2, (size_t[]){product->K, columns}, &packed->b);
    if (status == COLT5_OK && packed->in_parts)
        status = scratch(ctx, COLT5_F32, 2, (size_t[]){M, columns}, &packed->partial);
    return status;
}

/* The part's panels of A or of B. */
static colt5_status pack(colt5_context *ctx, const struct packed *packed, bool is_a,
                         const struct part *part, const colt5_tensor *panels)
{
    const struct gemm *product = packed->product;
    const size_t first = is_a ? part->m : part->n, end = is_a ? part->end_m : part->end_n;
    const size_t width = is_a ? packed->cut.rows : packed->cut.columns;
    const bool by_lines = is_a ? product->transpose_a : !product->transpose_b;
    const size_t blocks = divide_up(part->end_k - part->k, PACK_DEPTH);
    return launch(ctx, KERNEL_PACK_PANELS,
                  DEFINES(STORAGE(product->a->type), DEFINE("C_F32", product->c->type == COLT5_F32),
                          DEFINE("REGISTER", packed->cut.lanes), DEFINE("ROWS", packed->cut.rows)),
                  GROUPS(blocks, divide_up(end - first, width), 1, 1),
                  ARGS(TENSOR(is_a ? product->a : product->b), TENSOR(panels),
                       TENSOR(is_a ? product->index : NULL),
                       INT((int)(is_a ? product->M : product->N)), INT((int)product->K),
                       INT((int)first), INT((int)width), INT((int)part->k), INT((int)part->end_k),
                       INT(by_lines), INT((int)product->index_rows), INT((int)product->a_rows)));
}

static colt5_status multiply(colt5_context *ctx, const struct packed *packed,
                             const struct part *part, const colt5_tensor *b)
{
    const struct gemm *product = packed->product;
    const struct cut cut = packed->cut;
    const size_t panels_m = divide_up(part->end_m - part->m, cut.rows);
    const size_t panels_n = divide_up(part->end_n - part->n, cut.columns);
    size_t block = BLOCK; /* fewer where the device's units would not all have work */
    while (block > 1 && divide_up(panels_m, block) * panels_n < 4 * ctx->info.compute_units)
        block /= 2;
    return launch(ctx, KERNEL_PACKED_GEMM,
                  DEFINES(STORAGE(product->a->type), DEFINE("C_F32", product->c->type == COLT5_F32),
                          DEFINE("REGISTER", cut.lanes), DEFINE("ROWS", cut.rows)),
                  GROUPS(panels_n, divide_up(panels_m, block), 1, 1),
                  ARGS(TENSOR(&packed->a), TENSOR(b), TENSOR(product->c), TENSOR(product->bias),
                       TENSOR(product->row_scale), TENSOR(gemm_beside(product)),
                       TENSOR(product->scatter), TENSOR(packed->in_parts ? &packed->partial : NULL),
                       INT((int)product->N), INT((int)part->m), INT((int)part->end_m),
                       INT((int)part->n), INT((int)part->end_n), INT((int)(part->end_k - part->k)),
                       INT((int)block), INT((int)product->scatter_rows), INT((int)product->c_rows),
                       FLOAT(gemm_alpha(product)), INT(gemm_extras(product)), INT(part->k == 0),
                       INT(part->end_k == product->K)));
}

/* All of K for some rows and columns: at least once, so that K = 0 gives what K = 0 gives. */
static colt5_status multiply_parts(colt5_context *ctx, const struct packed *packed,
                                   struct part part)
{
    const size_t K = packed->product->K;
    const size_t columns =
        divide_up(part.end_n - part.n, packed->cut.columns) * packed->cut.columns;
    part.k = 0;
    do {
        part.end_k = least(part.k + packed->cut.K, K);
        colt5_tensor b = packed->b;
        b.offset += columns * part.k;
        colt5_status status = COLT5_OK;
        if (part.m == 0) status = pack(ctx, packed, false, &part, &b);
        if (status == COLT5_OK) status = pack(ctx, packed, true, &part, &packed->a);
        if (status == COLT5_OK) status = multiply(ctx, packed, &part, &b);
        if (status != COLT5_OK) return status;
        part.k = part.end_k;
    } while (part.k < K);
    return COLT5_OK;
}

static colt5_status run(colt5_context *ctx, const struct gemm *product)
{
    struct packed packed = {.product = product, .cut = cut_product(ctx, product)};
    packed.in_parts = packed.cut.K < product->K;
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_status status = take_scratch(ctx, &packed);
    struct part part = {0};
    for (part.n = 0; status == COLT5_OK && part.n < product->N; part.n = part.end_n) {
        part.end_n = least(part.n + packed.cut.N, product->N);
        for (part.m = 0; status == COLT5_OK && part.m < product->M; part.m = part.end_m) {
            part.end_m = least(part.m + packed.cut.M, product->M);
            status = multiply_parts(ctx, &packed, part);
        }
    }
    workspace_rewind(ctx, mark);
    return status;
}

const struct gemm_backend gemm_packed = {
    .name = "packed", .can = can, .variant = variant, .run = run, .fuses = true};
