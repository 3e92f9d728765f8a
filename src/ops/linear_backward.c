/* SPDX-License-Identifier: MIT */
#include "ops/columns.h"
#include "ops/linear.h"

#include <colt5/ops/gather.h>

#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/memory.h"
#include "runtime/workspace.h"

static const colt5_linear_options no_options;

struct backward {
    const colt5_tensor *x, *weight, *dy, *index, *gelu_input;
    float scale;
    const colt5_linear_gradients *gradients;
    size_t rows, O, I; /* rows of dy */
};

/* dbias += Σ dy over its rows. */
static colt5_status add_dbias(colt5_context *ctx, const struct backward *call)
{
    const size_t rows = call->rows, O = call->O;
    const colt5_tensor dy = colt5_tensor_wrap(call->dy->buffer, call->dy->offset, call->dy->type, 2,
                                              (size_t[]){rows, O});
    count_work(ctx, 0, rows * O * colt5_type_size(dy.type));
    return sum_rows(ctx, &dy, NULL, call->gradients->dbias);
}

/* dy as the operands of its products are stored. */
static colt5_status round_dy(colt5_context *ctx, const struct backward *call, colt5_tensor *rounded)
{
    *rounded = *call->dy;
    const colt5_type type = call->weight->type;
    if (call->dy->type == type) return COLT5_OK;
    const colt5_status status = scratch(ctx, type, 2, (size_t[]){call->rows, call->O}, rounded);
    const struct gemm copy = {
        .op = "linear", .M = call->rows, .N = call->O, .a = rounded, .c = rounded};
    return status == COLT5_OK ? gemm_epilogue(ctx, &copy, call->dy, 1) : status;
}

static colt5_status make_dx(colt5_context *ctx, const struct backward *call, const colt5_tensor *dy)
{
    const struct gemm product = {.op = "linear",
                                 .M = call->rows,
                                 .N = call->I,
                                 .K = call->O,
                                 .alpha = call->scale,
                                 .a = dy,
                                 .b = call->weight,
                                 .c = call->gradients->dx,
                                 .gelu_input = call->gelu_input};
    return gemm(ctx, &product);
}

static colt5_status add_dweight(colt5_context *ctx, const struct backward *call,
                                const colt5_tensor *dy)
{
    colt5_tensor rows = *call->x;
    colt5_status status = COLT5_OK;
    if (call->index) {
        const size_t *routes = call->index->dims;
        status = scratch(ctx, rows.type, 3, (size_t[]){routes[0], routes[1], call->I}, &rows);
        if (status == COLT5_OK) status = colt5_gather(ctx, call->x, call->index, &rows);
    }
    const struct gemm product = {.op = "linear",
                                 .M = call->O,
                                 .N = call->I,
                                 .K = call->rows,
                                 .transpose_a = true,
                                 .alpha = call->scale,
                                 .a = dy,
                                 .b = &rows,
                                 .c = call->gradients->dweight,
                                 .residual = call->gradients->dweight};
    return status == COLT5_OK ? gemm(ctx, &product) : status;
}

static colt5_status run_backward(colt5_context *ctx, void *argument)
{
    const struct backward *call = argument;
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor dy;
    colt5_status status = round_dy(ctx, call, &dy);
    if (status == COLT5_OK && call->gradients->dx) status = make_dx(ctx, call, &dy);
    if (status == COLT5_OK && call->gradients->dweight) status = add_dweight(ctx, call, &dy);
    if (status == COLT5_OK && call->gradients->dbias && call->rows > 0)
        status = add_dbias(ctx, call);
    workspace_rewind(ctx, mark);
    return status;
}

/* A gradient: of this shape, of the type of x or f32 (dx: of x only), on no input. */
static colt5_status check_gradient(colt5_context *ctx, const char *name, const colt5_tensor *given,
                                   const colt5_tensor *like, bool may_be_f32,
                                   const struct backward *call)
{
    if (!given) return COLT5_OK;
    CHECK(check_shape(ctx, "linear", name, given, like->rank, like->dims));
    REQUIRE(ctx, given->type == call->weight->type || (may_be_f32 && given->type == COLT5_F32),
            COLT5_ERROR_TYPE, "linear: %s is %s", name, colt5_type_name(given->type));
    CHECK(check_apart(ctx, "linear", name, given, "dy", call->dy));
    CHECK(check_apart(ctx, "linear", name, given, "weight", call->weight));
    if (call->x) CHECK(check_apart(ctx, "linear", name, given, "x", call->x));
    if (call->index) CHECK(check_apart(ctx, "linear", name, given, "index", call->index));
    return COLT5_OK;
}

/* As dx, which may take its place. */
static colt5_status check_gelu_input(colt5_context *ctx, const struct backward *call)
{
    const colt5_tensor *input = call->gelu_input, *dx = call->gradients->dx;
    REQUIRE(ctx, dx, COLT5_ERROR_ARGUMENT, "linear: gelu_input without dx");
    CHECK(check_like(ctx, "linear", "gelu_input", input, dx));
    return check_apart_or_same(ctx, "linear", "gelu_input", input, "dx", dx);
}

static colt5_status check_gradients(colt5_context *ctx, const struct backward *call)
{
    const colt5_tensor *dx = call->gradients->dx, *dweight = call->gradients->dweight;
    const colt5_tensor *dbias = call->gradients->dbias;
    REQUIRE(ctx, dx || dweight || dbias, COLT5_ERROR_ARGUMENT, "linear: no gradient is wanted");
    REQUIRE(ctx, call->x || !dweight, COLT5_ERROR_ARGUMENT, "linear: dweight needs x");
    colt5_tensor bias = *call->weight, picked = call->x ? *call->x : *call->weight;
    bias.rank = 1;
    if (call->index) picked.dims[1] = call->index->dims[1];
    if (dx && !call->x) {
        REQUIRE_TENSOR(ctx, "linear", dx, 0);
        const int rank = linear_leading_dims(dx, call->I);
        REQUIRE(ctx, rank >= 0 && dims_product(dx->dims, rank) == call->rows, COLT5_ERROR_SHAPE,
                "linear: dx has not the rows of dy");
        picked = *dx;
    }
    CHECK(check_gradient(ctx, "dx", dx, &picked, false, call));
    if (call->gelu_input) CHECK(check_gelu_input(ctx, call));
    CHECK(check_gradient(ctx, "dweight", dweight, call->weight, true, call));
    CHECK(check_gradient(ctx, "dbias", dbias, &bias, true, call));
    if (dx && dweight) REQUIRE_APART(ctx, "linear", dx, dweight);
    if (dx && dbias) REQUIRE_APART(ctx, "linear", dx, dbias);
    if (dweight && dbias) REQUIRE_APART(ctx, "linear", dweight, dbias);
    return COLT5_OK;
}

colt5_status colt5_linear_backward(colt5_context *ctx, const colt5_tensor *x,
                                   const colt5_tensor *weight, const colt5_linear_options *options,
                                   const colt5_tensor *dy, const colt5_linear_gradients *gradients)
{
    if (!options) options = &no_options;
    REQUIRE_TENSOR(ctx, "linear", weight, 2);
    REQUIRE_STORAGE(ctx, "linear", weight);
    REQUIRE_TENSOR(ctx, "linear", dy, 0);
    REQUIRE(ctx, dy->type == weight->type || dy->type == COLT5_F32, COLT5_ERROR_TYPE,
            "linear: dy is %s, neither f32 nor weight's %s", colt5_type_name(dy->type),
            colt5_type_name(weight->type));
    REQUIRE(ctx, gradients, COLT5_ERROR_ARGUMENT, "linear: gradients is NULL");
    REQUIRE(
        ctx, !options->gelu && !options->row_scale && !options->scatter && !options->scale_first,
        COLT5_ERROR_ARGUMENT, "linear: gelu, row_scale and scatter are undone by their own ops");
    struct backward call = {.x = x,
                            .weight = weight,
                            .dy = dy,
                            .index = options->index,
                            .gelu_input = options->gelu_input,
                            .scale = options->scale,
                            .gradients = gradients,
                            .O = weight->dims[0],
                            .I = weight->dims[1]};
    const int dy_rank = linear_leading_dims(dy, call.O);
    REQUIRE(ctx, dy_rank >= 0, COLT5_ERROR_SHAPE, "linear: the last dims of dy do not make %zu",
            call.O);
    call.rows = dims_product(dy->dims, dy_rank);
    if (x) {
        REQUIRE_TENSOR(ctx, "linear", x, 0);
        REQUIRE_TYPE(ctx, "linear", x, weight->type);
        const int x_rank = linear_leading_dims(x, call.I);
        REQUIRE(ctx, x_rank >= 0, COLT5_ERROR_SHAPE, "linear: the last dims of x do not make %zu",
                call.I);
        struct gemm rows = {0};
        const colt5_linear_options only_index = {.index = options->index};
        CHECK(linear_check_rows(ctx, x, x_rank, &only_index, "dy", dy, dy_rank, &rows));
    }
    CHECK(check_gradients(ctx, &call));
    return workspace_call(ctx, "linear", run_backward, &call, NULL, 0);
}
