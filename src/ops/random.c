/* SPDX-License-Identifier: MIT */
#include <colt5/ops/random.h>

#include "runtime/check.h"
#include "runtime/launch.h"

colt5_status colt5_random_uniform(colt5_context *ctx, uint64_t seed, uint32_t stream, uint32_t slot,
                                  uint32_t first_row, const colt5_tensor *u)
{
    REQUIRE_TENSOR(ctx, "random_uniform", u, 0);
    REQUIRE_TYPE(ctx, "random_uniform", u, COLT5_F32);
    const size_t count = colt5_tensor_count(u), N = u->dims[u->rank - 1];
    const size_t rows = N ? count / N : 0, largest = (size_t)1 << 32;
    REQUIRE(ctx, N <= largest && rows <= largest - first_row, COLT5_ERROR_SHAPE,
            "random_uniform: u has %zu rows of %zu after row %lu; counters end at 2^32", rows, N,
            (unsigned long)first_row);

    count_work(ctx, 0, 4 * count);
    return launch(ctx, KERNEL_RANDOM_UNIFORM, NO_DEFINES, GRID(count, 1, 1),
                  ARGS(TENSOR(u), SIZE(seed), SIZE(stream), SIZE(slot), SIZE(first_row), SIZE(N),
                       SIZE(count)));
}
