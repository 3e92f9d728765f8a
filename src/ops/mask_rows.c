/* SPDX-License-Identifier: MIT */
#include <colt5/ops/mask_rows.h>

#include "runtime/check.h"
#include "runtime/launch.h"

colt5_status colt5_mask_rows(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *mask,
                             const colt5_tensor *y)
{
    REQUIRE_TENSOR(ctx, "mask_rows", x, 3);
    REQUIRE_STORAGE(ctx, "mask_rows", x);
    const size_t B = x->dims[0], N = x->dims[1], D = x->dims[2];

    REQUIRE_TYPE(ctx, "mask_rows", mask, COLT5_U8);
    REQUIRE_SHAPE(ctx, "mask_rows", mask, B, N);
    REQUIRE_LIKE(ctx, "mask_rows", y, x);
    REQUIRE_APART_OR_SAME(ctx, "mask_rows", x, y);
    REQUIRE_APART(ctx, "mask_rows", mask, y);

    count_work(ctx, 0, 2 * B * N * D * colt5_type_size(x->type));
    return launch(ctx, KERNEL_MASK_ROWS, DEFINES(STORAGE(x->type)), GRID(D, N, B),
                  ARGS(TENSOR(x), TENSOR(mask), TENSOR(y), SIZE(N), SIZE(D)));
}
