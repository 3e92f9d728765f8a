/* SPDX-License-Identifier: MIT */
/*
 * Float32 products on units that multiply f16: every element becomes a pair of f16, high and low,
 * and three products of those are added in float32 (kernels/split.cl, kernels/mma_gemm.cl). No less
 * exact than float32 where the values of an operand are of comparable size. Where the context's
 * math is fast the high parts alone are multiplied, once: they have the bits of tf32. Whether
 * values are of comparable size the device finds out; where not, plain tiles make the product. Both
 * are launched, one does nothing.
 */
#include "gemm/backend.h"
#include "runtime/check.h"
#include "runtime/context.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

#define LEAST    128                 /* rows and columns from where it pays */
#define SMALLEST ((uint64_t)1 << 30) /* M·N·K from where it pays */
#define DEPTH    32                  /* of the kernels' slabs, a multiple of both */

/* An operand as it lies in memory. */
struct operand {
    const colt5_tensor *tensor, *index;
    size_t lines, length;
};

static struct operand operand_a(const struct gemm *product)
{
    const bool lines = product->transpose_a;
    return (struct operand){product->a, product->index, lines ? product->K : product->M,
                            lines ? product->M : product->K};
}

static struct operand operand_b(const struct gemm *product)
{
    const bool rows = product->transpose_b;
    return (struct operand){product->b, NULL, rows ? product->N : product->K,
                            rows ? product->K : product->N};
}

static bool can(const colt5_context *ctx, const struct gemm *product)
{
    return gemm_mma_can(ctx) && product->a->type == COLT5_F32 && product->K > 0;
}

/* With strict math only who asks for it: its last bits depend on all of an operand, by the scale,
 * so that a part of the rows would not be as it is among the others. */
static bool pays(const colt5_context *ctx, const struct gemm *product)
{
    return ctx->math == COLT5_MATH_FAST && product->M >= LEAST && product->N >= LEAST &&
           (uint64_t)product->M * product->N >= SMALLEST / product->K;
}

/* Four neighbours can be read at once. */
static bool reads_vectors(const struct operand *operand)
{
    return (operand->length | operand->tensor->offset) % 4 == 0;
}

static bool vectors_of(const struct gemm *product, bool is_a)
{
    const struct operand operand = is_a ? operand_a(product) : operand_b(product);
    return reads_vectors(&operand) && (!product->like || vectors_of(product->like, is_a));
}

static unsigned variant(const colt5_context *ctx, const struct gemm *product)
{
    unsigned number = (unsigned)gemm_mma_tile(ctx, product);
    number = 2 * number + (gemm_mma_parts(ctx, product) > 1);
    number = 2 * number + (ctx->math == COLT5_MATH_FAST);
    number = 2 * number + vectors_of(product, true);
    number = 2 * number + vectors_of(product, false);
    number = 2 * number + product->transpose_a;
    return 2 * number + product->transpose_b;
}

/* Work-groups that look for an operand's range. */
static size_t blocks_of(const struct operand *operand)
{
    return (operand->lines + 31) / 32 * ((operand->length + 127) / 128);
}

static colt5_status find_ranges(colt5_context *ctx, const struct gemm *product)
{
    const struct operand a = operand_a(product), b = operand_b(product);
    const bool vectors = vectors_of(product, true) && vectors_of(product, false);
    CHECK(clear_tensor(ctx, &product->pairs->ranges));
    return launch(ctx, KERNEL_SPLIT_RANGE,
                  DEFINES(STORAGE(COLT5_F32), DEFINE("C_F32", 1), DEFINE("VECTOR", vectors)),
                  GROUPS(blocks_of(&a) + blocks_of(&b), 1, 1, 256),
                  ARGS(TENSOR(a.tensor), TENSOR(a.index), TENSOR(b.tensor),
                       TENSOR(&product->pairs->ranges), INT((int)a.lines), INT((int)a.length),
                       INT((int)b.lines), INT((int)b.length), INT((int)product->index_rows),
                       INT((int)product->a_rows)));
}

static colt5_status make_pairs(colt5_context *ctx, const struct gemm *product,
                               const struct operand *operand, int slot, const colt5_tensor *pairs)
{
    const size_t stride = pairs->dims[2];
    return launch(ctx, KERNEL_SPLIT_PAIRS,
                  DEFINES(STORAGE(COLT5_F32), DEFINE("C_F32", 1),
                          DEFINE("VECTOR", vectors_of(product, slot == 0))),
                  ROW_GRID(stride / 8, operand->lines),
                  ARGS(TENSOR(operand->tensor), TENSOR(operand->index),
                       TENSOR(&product->pairs->ranges), TENSOR(pairs), INT((int)operand->lines),
                       INT((int)operand->length), INT((int)stride), INT((int)pairs->dims[0]),
                       INT((int)product->index_rows), INT((int)product->a_rows), INT(slot)));
}

static colt5_status take_pairs(colt5_context *ctx, const struct operand *operand,
                               colt5_tensor *pairs)
{
    const size_t planes = ctx->math == COLT5_MATH_FAST ? 1 : 2;
    const size_t stride = gemm_pair_stride(operand->length);
    return scratch(ctx, COLT5_F16, 3, (size_t[]){planes, operand->lines, stride}, pairs);
}

/* Whichever of the two is for these values. */
static colt5_status launch_both(colt5_context *ctx, const struct gemm *product, size_t parts,
                                size_t part)
{
    struct gemm of_pairs = *product;
    of_pairs.a = &product->pairs->a;
    of_pairs.b = &product->pairs->b;
    of_pairs.index = NULL;
    const colt5_status status = gemm_launch_mma(ctx, &of_pairs, parts, part);
    return status == COLT5_OK ? gemm_launch_tiled(ctx, product, parts, part) : status;
}

static colt5_status run(colt5_context *ctx, const struct gemm *product)
{
    const struct operand a = operand_a(product), b = operand_b(product);
    const struct stack_mark mark = workspace_mark(ctx);
    struct gemm_pairs pairs;
    struct gemm call = *product;
    call.pairs = &pairs;
    colt5_status status = scratch(ctx, COLT5_I32, 1, (size_t[]){4}, &pairs.ranges);
    if (status == COLT5_OK) status = take_pairs(ctx, &a, &pairs.a);
    if (status == COLT5_OK) status = take_pairs(ctx, &b, &pairs.b);
    if (status == COLT5_OK) status = find_ranges(ctx, &call);
    if (status == COLT5_OK) status = make_pairs(ctx, &call, &a, 0, &pairs.a);
    if (status == COLT5_OK) status = make_pairs(ctx, &call, &b, 1, &pairs.b);
    if (status == COLT5_OK)
        status = gemm_run_parts(ctx, &call, gemm_mma_parts(ctx, product), DEPTH, launch_both);
    workspace_rewind(ctx, mark);
    return status;
}

const struct gemm_backend gemm_split = {
    .name = "split", .can = can, .pays = pays, .variant = variant, .run = run, .fuses = true};
