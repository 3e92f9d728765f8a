/* SPDX-License-Identifier: MIT */
#include <colt5/ops/norm.h>

#include "ops/rows.h"
#include "runtime/check.h"

/* A number for each row of x, of any rank. */
static colt5_status check_per_row(colt5_context *ctx, const char *op, const char *name,
                                  const colt5_tensor *tensor, const colt5_tensor *x)
{
    if (!tensor) return COLT5_OK;
    CHECK(check_type(ctx, op, name, tensor, COLT5_F32));
    REQUIRE(ctx, colt5_tensor_count(tensor) == row_count(x), COLT5_ERROR_SHAPE,
            "%s: %s has %zu elements for %zu rows", op, name, colt5_tensor_count(tensor),
            row_count(x));
    return check_apart(ctx, op, name, tensor, "x", x);
}

/* What both norms ask of x, a parameter [D] and y. */
static colt5_status check_rows(colt5_context *ctx, const char *op, const colt5_tensor *x,
                               const colt5_tensor *y)
{
    REQUIRE_STORAGE(ctx, op, x);
    REQUIRE(ctx, row_width(x) > 0, COLT5_ERROR_SHAPE, "%s: x has rows of no elements", op);
    if (!y) return COLT5_OK;
    REQUIRE_LIKE(ctx, op, y, x);
    REQUIRE_APART_OR_SAME(ctx, op, x, y);
    return COLT5_OK;
}

static colt5_status check_parameter(colt5_context *ctx, const char *op, const char *name,
                                    const colt5_tensor *parameter, const colt5_tensor *x,
                                    const colt5_tensor *y)
{
    const size_t D = row_width(x);
    if (!y) return COLT5_OK;
    CHECK(check_shape(ctx, op, name, parameter, 1, &D));
    CHECK(check_type(ctx, op, name, parameter, x->type));
    return check_apart(ctx, op, name, parameter, "y", y);
}

static void count_rows(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *y)
{
    count_work(ctx, 0, (y ? 2 : 1) * colt5_tensor_count(x) * colt5_type_size(x->type));
}

colt5_status colt5_rms_norm_forward(colt5_context *ctx, const colt5_tensor *x,
                                    const colt5_tensor *gamma, const colt5_tensor *y,
                                    const colt5_tensor *scale)
{
    CHECK(check_rows(ctx, "rms_norm", x, y));
    CHECK(check_parameter(ctx, "rms_norm", "gamma", gamma, x, y));
    CHECK(check_per_row(ctx, "rms_norm", "scale", scale, x));

    const size_t rows = row_count(x), D = row_width(x);
    struct row_plan plan;
    CHECK(plan_rows(ctx, KERNEL_RMS_NORM_FORWARD, x->type, D,
                    vector_width(ctx, x->type, D, x, gamma, y), &plan));
    count_rows(ctx, x, y);
    return launch(ctx, KERNEL_RMS_NORM_FORWARD, plan.defines, row_groups(&plan, rows),
                  ARGS(TENSOR(x), TENSOR(gamma), TENSOR(y), TENSOR(scale), SIZE(rows), SIZE(D),
                       LOCAL(plan.group * sizeof(float))));
}

colt5_status colt5_layer_norm_forward(colt5_context *ctx, const colt5_tensor *x,
                                      const colt5_tensor *weight, const colt5_tensor *bias,
                                      const colt5_tensor *y, const colt5_tensor *mean,
                                      const colt5_tensor *scale)
{
    CHECK(check_rows(ctx, "layer_norm", x, y));
    CHECK(check_parameter(ctx, "layer_norm", "weight", weight, x, y));
    CHECK(check_parameter(ctx, "layer_norm", "bias", bias, x, y));
    CHECK(check_per_row(ctx, "layer_norm", "mean", mean, x));
    CHECK(check_per_row(ctx, "layer_norm", "scale", scale, x));

    const size_t rows = row_count(x), D = row_width(x);
    struct row_plan plan;
    CHECK(plan_rows(ctx, KERNEL_LAYER_NORM_FORWARD, x->type, D,
                    vector_width(ctx, x->type, D, x, weight, bias, y), &plan));
    count_rows(ctx, x, y);
    return launch(ctx, KERNEL_LAYER_NORM_FORWARD, plan.defines, row_groups(&plan, rows),
                  ARGS(TENSOR(x), TENSOR(weight), TENSOR(bias), TENSOR(y), TENSOR(mean),
                       TENSOR(scale), SIZE(rows), SIZE(D), LOCAL(plan.group * sizeof(float))));
}
