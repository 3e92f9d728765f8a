/* SPDX-License-Identifier: MIT */
#include "ops/activation.h"

#include "ops/warps.h"
#include "runtime/check.h"
#include "runtime/launch.h"

#define ELEMENT_DEFINES(x, width)                                                                  \
    DEFINES(STORAGE((x)->type), DEFINE("WIDTH", width), DEFINE("WARPS", warps(ctx, (x)->type)))

colt5_status colt5_gelu_forward(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *y)
{
    REQUIRE_STORAGE(ctx, "gelu", x);
    REQUIRE_LIKE(ctx, "gelu", y, x);
    REQUIRE_APART_OR_SAME(ctx, "gelu", x, y);

    const size_t count = colt5_tensor_count(x);
    const size_t width = vector_width(ctx, x->type, count, x, y);
    count_work(ctx, 0, 2 * count * colt5_type_size(x->type));
    return launch(ctx, KERNEL_GELU_FORWARD, ELEMENT_DEFINES(x, width), GRID(count / width, 1, 1),
                  ARGS(TENSOR(x), TENSOR(y), SIZE(count / width)));
}

colt5_status colt5_gelu_backward(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *dy,
                                 const colt5_tensor *dx)
{
    REQUIRE_STORAGE(ctx, "gelu", x);
    REQUIRE_LIKE(ctx, "gelu", dy, x);
    REQUIRE_LIKE(ctx, "gelu", dx, x);
    REQUIRE_APART_OR_SAME(ctx, "gelu", x, dx);
    REQUIRE_APART_OR_SAME(ctx, "gelu", dy, dx);

    const size_t count = colt5_tensor_count(x);
    const size_t width = vector_width(ctx, x->type, count, x, dy, dx);
    count_work(ctx, 0, 3 * count * colt5_type_size(x->type));
    return launch(ctx, KERNEL_GELU_BACKWARD, ELEMENT_DEFINES(x, width), GRID(count / width, 1, 1),
                  ARGS(TENSOR(x), TENSOR(dy), TENSOR(dx), SIZE(count / width)));
}

colt5_status colt5_add(colt5_context *ctx, const colt5_tensor *a, const colt5_tensor *b,
                       const colt5_tensor *y)
{
    REQUIRE_STORAGE(ctx, "add", a);
    REQUIRE_LIKE(ctx, "add", b, a);
    REQUIRE_LIKE(ctx, "add", y, a);
    REQUIRE_APART_OR_SAME(ctx, "add", a, y);
    REQUIRE_APART_OR_SAME(ctx, "add", b, y);

    const size_t count = colt5_tensor_count(a);
    const size_t width = vector_width(ctx, a->type, count, a, b, y);
    count_work(ctx, 0, 3 * count * colt5_type_size(a->type));
    return launch(ctx, KERNEL_ADD, ELEMENT_DEFINES(a, width), GRID(count / width, 1, 1),
                  ARGS(TENSOR(a), TENSOR(b), TENSOR(y), SIZE(count / width)));
}

colt5_status scale_columns(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *scale,
                           const colt5_tensor *y)
{
    const size_t count = colt5_tensor_count(x), D = scale->dims[0];
    const size_t width = vector_width(ctx, x->type, D, x, scale, y);
    count_work(ctx, 0, 2 * count * colt5_type_size(x->type));
    return launch(ctx, KERNEL_SCALE_COLUMNS, ELEMENT_DEFINES(x, width), GRID(count / width, 1, 1),
                  ARGS(TENSOR(x), TENSOR(scale), TENSOR(y), SIZE(count / width), SIZE(D)));
}
