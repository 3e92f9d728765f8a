/* SPDX-License-Identifier: MIT */
#include <colt5/ops/gather.h>

#include "runtime/check.h"
#include "runtime/launch.h"

colt5_status colt5_gather(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *index,
                          const colt5_tensor *y)
{
    REQUIRE_TENSOR(ctx, "gather", x, 3);
    REQUIRE_TENSOR(ctx, "gather", index, 2);
    const size_t B = x->dims[0], N = x->dims[1], D = x->dims[2], K = index->dims[1];

    REQUIRE_STORAGE(ctx, "gather", x);
    REQUIRE_TYPE(ctx, "gather", index, COLT5_I32);
    REQUIRE_TYPE(ctx, "gather", y, x->type);
    REQUIRE_SHAPE(ctx, "gather", index, B, K);
    REQUIRE_SHAPE(ctx, "gather", y, B, K, D);
    REQUIRE_APART(ctx, "gather", x, y);

    count_work(ctx, 0, 2 * B * K * D * colt5_type_size(x->type));
    const size_t width = vector_width(ctx, x->type, D, x, y);
    return launch(ctx, KERNEL_GATHER, DEFINES(STORAGE(x->type), DEFINE("WIDTH", width)),
                  GRID(D / width, K, B),
                  ARGS(TENSOR(x), TENSOR(index), TENSOR(y), SIZE(N), SIZE(K), SIZE(D)));
}
