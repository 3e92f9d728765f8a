/* SPDX-License-Identifier: MIT */
/* Around a backend that only multiplies: rows of A gathered before, C finished after. */
#include <colt5/ops/gather.h>

#include "gemm/backend.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

/* In a plan, where scratch has no buffer, nothing is: it may only take more than the run. */
static bool same_place(const colt5_tensor *a, const colt5_tensor *b)
{
    return a->buffer && a->buffer == b->buffer && a->offset == b->offset;
}

/* C is what the backend makes: nothing is left to do after it. */
static bool is_bare(const struct gemm *product)
{
    return !product->bias && !product->gelu && !product->row_scale && !product->scatter &&
           !product->gelu_input &&
           (!product->residual || product->residual == product->c ||
            same_place(product->residual, product->c)) &&
           product->c->type == COLT5_F32;
}

colt5_status gemm_gather(colt5_context *ctx, const struct gemm *product, colt5_tensor *rows,
                         struct gemm *gathered)
{
    const size_t M = product->M, K = product->K, per_sample = product->index_rows;
    const size_t samples = M / per_sample;
    colt5_tensor from = *product->a, index = *product->index;
    from.rank = 3;
    from.dims[0] = samples, from.dims[1] = product->a_rows, from.dims[2] = K;
    index.rank = 2;
    index.dims[0] = samples, index.dims[1] = per_sample;
    const colt5_status status =
        scratch(ctx, from.type, 3, (size_t[]){samples, per_sample, K}, rows);
    gathered->a = rows;
    gathered->index = NULL;
    return status == COLT5_OK ? colt5_gather(ctx, &from, &index, rows) : status;
}

static colt5_status multiply_and_finish(colt5_context *ctx, const struct gemm_backend *backend,
                                        const struct gemm *product, struct gemm *bare)
{
    const bool in_place =
        product->c->type == COLT5_F32 && !gemm_beside(product) && !product->scatter;
    colt5_tensor sums = *product->c;
    colt5_status status = COLT5_OK;
    if (!in_place) status = scratch(ctx, COLT5_F32, 2, (size_t[]){product->M, product->N}, &sums);
    if (status != COLT5_OK) return status;
    bare->c = &sums;
    bare->residual = NULL;
    bare->alpha = 1;
    status = backend->run(ctx, bare);
    return status == COLT5_OK ? gemm_epilogue(ctx, product, &sums, 1) : status;
}

colt5_status gemm_run_around(colt5_context *ctx, const struct gemm_backend *backend,
                             const struct gemm *product)
{
    const struct stack_mark mark = workspace_mark(ctx);
    struct gemm bare = {.op = product->op,
                        .M = product->M,
                        .N = product->N,
                        .K = product->K,
                        .transpose_a = product->transpose_a,
                        .transpose_b = product->transpose_b,
                        .alpha = product->alpha,
                        .a = product->a,
                        .b = product->b,
                        .c = product->c,
                        .residual = product->residual};
    colt5_tensor rows;
    colt5_status status = COLT5_OK;
    if (product->index) status = gemm_gather(ctx, product, &rows, &bare);
    if (status == COLT5_OK)
        status = is_bare(product) ? backend->run(ctx, &bare)
                                  : multiply_and_finish(ctx, backend, product, &bare);
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status gemm_epilogue(colt5_context *ctx, const struct gemm *product, const colt5_tensor *sums,
                           size_t parts)
{
    const size_t columns = (product->N + 3) / 4; /* in fours */
    const size_t residual = gemm_beside(product) ? gemm_beside(product)->offset : 0;
    const bool vector = (product->N | sums->offset | product->c->offset | residual) % 4 == 0;
    return launch(ctx, KERNEL_GEMM_EPILOGUE,
                  DEFINES(STORAGE(product->a->type), DEFINE("C_F32", product->c->type == COLT5_F32),
                          DEFINE("VECTOR", vector)),
                  GRID(product->M * columns, 1, 1),
                  ARGS(TENSOR(sums), TENSOR(product->c), TENSOR(product->bias),
                       TENSOR(product->row_scale), TENSOR(gemm_beside(product)),
                       TENSOR(product->scatter), SIZE(product->M), SIZE(product->N),
                       INT((int)parts), INT((int)product->scatter_rows), INT((int)product->c_rows),
                       FLOAT(gemm_alpha(product)), INT(gemm_extras(product))));
}

colt5_status gemm_run_parts(colt5_context *ctx, const struct gemm *product, size_t parts,
                            size_t depth, gemm_launch launch_parts)
{
    const size_t M = product->M, N = product->N, K = product->K;
    if (parts <= 1) return launch_parts(ctx, product, 1, K);
    const struct stack_mark mark = workspace_mark(ctx);
    const size_t slabs = (K + depth - 1) / depth, part = (slabs + parts - 1) / parts * depth;
    parts = (K + part - 1) / part;
    colt5_tensor sums;
    colt5_status status = scratch(ctx, COLT5_F32, 3, (size_t[]){parts, M, N}, &sums);
    struct gemm bare = *product;
    bare.c = &sums;
    bare.alpha = 1;
    bare.bias = bare.row_scale = bare.residual = bare.scatter = bare.gelu_input = NULL;
    bare.gelu = bare.scale_first = false;
    if (status == COLT5_OK) status = launch_parts(ctx, &bare, parts, part);
    if (status == COLT5_OK) status = gemm_epilogue(ctx, product, &sums, parts);
    workspace_rewind(ctx, mark);
    return status;
}
