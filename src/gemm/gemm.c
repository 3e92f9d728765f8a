/* SPDX-License-Identifier: MIT */
#include "gemm/gemm.h"

#include "gemm/backend.h"
#include "runtime/launch.h"

#define LARGEST 0x7FFFFFFF /* rows, columns and depth of a product: kernels count them with int */

static uint64_t bytes_of(const struct gemm *product)
{
    const uint64_t M = product->M, N = product->N, K = product->K;
    const uint64_t c = M * N * colt5_type_size(product->c->type);
    return (M * K + K * N) * colt5_type_size(product->a->type) + (product->residual ? 2 * c : c);
}

colt5_status gemm(colt5_context *ctx, const struct gemm *product)
{
    const size_t M = product->M, N = product->N, K = product->K;
    if (M == 0 || N == 0) return COLT5_OK;
    REQUIRE(ctx, M <= LARGEST && N <= LARGEST && K <= LARGEST, COLT5_ERROR_SHAPE,
            "%s: a product of %zu × %zu × %zu is too large", product->op, M, N, K);
    count_work(ctx, 2 * (uint64_t)M * N * K, bytes_of(product));
    return gemm_tiled(ctx, product);
}
