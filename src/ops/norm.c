/* SPDX-License-Identifier: MIT */
#include "ops/norm.h"

#include "ops/columns.h"
#include "ops/rows.h"
#include "runtime/check.h"
#include "runtime/workspace.h"

/* What a work-item keeps in registers: of x and the parameters, or of x, dy, base and the sums. Of
 * so few values several rows' loads are under way. */
static const struct row_limits forward_limits = {.steps = 8, .values = 16};
static const struct row_limits backward_limits = {.steps = 4, .values = 16};

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

/* Of rows of x, or of those that an index [B][K] picks of x [B][N][D]. */
static colt5_status launch_rms(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *index,
                               const colt5_tensor *gamma, const colt5_tensor *y,
                               const colt5_tensor *scale, size_t rows)
{
    const size_t D = row_width(x);
    struct row_plan plan;
    CHECK(plan_rows(ctx, KERNEL_RMS_NORM_FORWARD, x->type, D,
                    vector_width(ctx, x->type, D, x, gamma, y), forward_limits, &plan));
    return launch(ctx, KERNEL_RMS_NORM_FORWARD, plan.defines, row_groups_in_turn(ctx, &plan, rows),
                  ARGS(TENSOR(x), TENSOR(index), TENSOR(gamma), TENSOR(y), TENSOR(scale),
                       SIZE(rows), INT((int)(index ? index->dims[1] : 0)),
                       INT((int)(index ? x->dims[1] : 0)), SIZE(D),
                       LOCAL(plan.group * sizeof(float))));
}

colt5_status colt5_rms_norm_forward(colt5_context *ctx, const colt5_tensor *x,
                                    const colt5_tensor *gamma, const colt5_tensor *y,
                                    const colt5_tensor *scale)
{
    CHECK(check_rows(ctx, "rms_norm", x, y));
    CHECK(check_parameter(ctx, "rms_norm", "gamma", gamma, x, y));
    CHECK(check_per_row(ctx, "rms_norm", "scale", scale, x));

    count_rows(ctx, x, y);
    return launch_rms(ctx, x, NULL, gamma, y, scale, row_count(x));
}

colt5_status rms_norm_picked(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *index,
                             const colt5_tensor *gamma, const colt5_tensor *y)
{
    count_rows(ctx, y, y);
    return launch_rms(ctx, x, index, gamma, y, NULL, row_count(y));
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
                    vector_width(ctx, x->type, D, x, weight, bias, y), forward_limits, &plan));
    count_rows(ctx, x, y);
    return launch(ctx, KERNEL_LAYER_NORM_FORWARD, plan.defines,
                  row_groups_in_turn(ctx, &plan, rows),
                  ARGS(TENSOR(x), TENSOR(weight), TENSOR(bias), TENSOR(y), TENSOR(mean),
                       TENSOR(scale), SIZE(rows), SIZE(D), LOCAL(plan.group * sizeof(float))));
}

/* A backward call; the RMSNorm has no bias. */
struct norm_backward {
    const char *op;
    enum kernel kernel;
    const colt5_tensor *x, *weight, *dy, *base, *dx, *dweight, *dbias;
};

static colt5_status check_gradient(colt5_context *ctx, const char *op, const char *name,
                                   const colt5_tensor *gradient, size_t D)
{
    if (!gradient) return COLT5_OK;
    CHECK(check_shape(ctx, op, name, gradient, 1, &D));
    return check_storage(ctx, op, name, gradient);
}

static colt5_status check_backward(colt5_context *ctx, const struct norm_backward *call,
                                   const char *weight, const char *dweight)
{
    const colt5_tensor *x = call->x, *dy = call->dy, *base = call->base, *dx = call->dx;
    CHECK(check_rows(ctx, call->op, x, NULL));
    REQUIRE_LIKE(ctx, call->op, dy, x);
    CHECK(check_parameter(ctx, call->op, weight, call->weight, x, x));
    if (base) REQUIRE_LIKE(ctx, call->op, base, x);
    if (dx) {
        REQUIRE_LIKE(ctx, call->op, dx, x);
        REQUIRE_APART(ctx, call->op, x, dx);
        REQUIRE_APART_OR_SAME(ctx, call->op, dy, dx);
        if (base) REQUIRE_APART_OR_SAME(ctx, call->op, base, dx);
    }
    CHECK(check_gradient(ctx, call->op, dweight, call->dweight, row_width(x)));
    return check_gradient(ctx, call->op, "dbias", call->dbias, row_width(x));
}

static colt5_status launch_backward(colt5_context *ctx, const struct norm_backward *call,
                                    size_t rows_each, const colt5_tensor *dweight,
                                    const colt5_tensor *dbias)
{
    const colt5_tensor *x = call->x, *weight = call->weight, *dy = call->dy, *dx = call->dx;
    const size_t rows = row_count(x), D = row_width(x);
    const size_t width = vector_width(ctx, x->type, D, x, weight, dy, call->base, dx);
    struct row_plan plan;
    CHECK(plan_rows(ctx, call->kernel, x->type, D, width, backward_limits, &plan));
    /* Sums in memory are one work-group's, and one row's at a time. */
    const size_t group = plan.steps ? plan.group : plan.lanes;
    const struct grid grid = GROUPS((rows + rows_each - 1) / rows_each, 1, 1, group);
    const size_t local = group * width * sizeof(float);
    if (call->kernel == KERNEL_RMS_NORM_BACKWARD)
        return launch(ctx, call->kernel, plan.defines, grid,
                      ARGS(TENSOR(x), TENSOR(weight), TENSOR(dy), TENSOR(call->base), TENSOR(dx),
                           TENSOR(dweight), SIZE(rows), SIZE(D), SIZE(rows_each), LOCAL(local)));
    return launch(ctx, call->kernel, plan.defines, grid,
                  ARGS(TENSOR(x), TENSOR(weight), TENSOR(dy), TENSOR(call->base), TENSOR(dx),
                       TENSOR(dweight), TENSOR(dbias), SIZE(rows), SIZE(D), SIZE(rows_each),
                       LOCAL(local)));
}

static colt5_status run_backward(colt5_context *ctx, void *argument)
{
    const struct norm_backward *call = argument;
    const size_t rows = row_count(call->x), D = row_width(call->x);
    const size_t rows_each = rows_a_part(ctx, rows);
    const size_t parts = (rows + rows_each - 1) / rows_each;
    const size_t wanted = (call->dweight != NULL) + (call->dbias != NULL);
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor partials;
    colt5_status status;
    TRY(scratch(ctx, COLT5_F32, 3, (size_t[]){wanted, parts, D}, &partials));
    colt5_tensor dweight = partials, dbias = partials;
    if (call->dweight) dbias.offset += parts * D;
    TRY(launch_backward(ctx, call, rows_each, call->dweight ? &dweight : NULL,
                        call->dbias ? &dbias : NULL));
    TRY(add_column_pair(ctx, &partials, call->dweight, call->dbias));
out:
    workspace_rewind(ctx, mark);
    return status;
}

static void count_backward(colt5_context *ctx, const struct norm_backward *call)
{
    const size_t passes = 2 + (call->base != NULL) + (call->dx != NULL);
    count_work(ctx, 0, passes * colt5_tensor_count(call->x) * colt5_type_size(call->x->type));
}

colt5_status colt5_rms_norm_backward(colt5_context *ctx, const colt5_tensor *x,
                                     const colt5_tensor *gamma, const colt5_tensor *dy,
                                     const colt5_tensor *base, const colt5_tensor *dx,
                                     const colt5_tensor *dgamma)
{
    struct norm_backward call = {.op = "rms_norm",
                                 .kernel = KERNEL_RMS_NORM_BACKWARD,
                                 .x = x,
                                 .weight = gamma,
                                 .dy = dy,
                                 .base = base,
                                 .dx = dx,
                                 .dweight = dgamma};
    CHECK(check_backward(ctx, &call, "gamma", "dgamma"));
    count_backward(ctx, &call);
    return workspace_call(ctx, call.op, run_backward, &call, NULL, 0);
}

colt5_status colt5_layer_norm_backward(colt5_context *ctx, const colt5_tensor *x,
                                       const colt5_tensor *weight, const colt5_tensor *dy,
                                       const colt5_tensor *base, const colt5_tensor *dx,
                                       const colt5_tensor *dweight, const colt5_tensor *dbias)
{
    struct norm_backward call = {.op = "layer_norm",
                                 .kernel = KERNEL_LAYER_NORM_BACKWARD,
                                 .x = x,
                                 .weight = weight,
                                 .dy = dy,
                                 .base = base,
                                 .dx = dx,
                                 .dweight = dweight,
                                 .dbias = dbias};
    CHECK(check_backward(ctx, &call, "weight", "dweight"));
    count_backward(ctx, &call);
    return workspace_call(ctx, call.op, run_backward, &call, NULL, 0);
}
