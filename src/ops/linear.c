/* SPDX-License-Identifier: MIT */
#include "ops/linear.h"

#include "gemm/gemm.h"
#include "runtime/check.h"
#include "runtime/memory.h"

static const colt5_linear_options no_options;

int linear_leading_dims(const colt5_tensor *tensor, size_t width)
{
    for (int rank = tensor->rank - 1; rank >= 0; rank--)
        if (dims_product(tensor->dims + rank, tensor->rank - rank) == width) return rank;
    return -1;
}

static bool same_dims(const colt5_tensor *a, int rank_a, const colt5_tensor *b, int rank_b)
{
    bool same = rank_a == rank_b;
    for (int i = 0; same && i < rank_a; i++) same = a->dims[i] == b->dims[i];
    return same;
}

static colt5_status check_extras(colt5_context *ctx, const colt5_tensor *x,
                                 const colt5_tensor *weight, const colt5_linear_options *options,
                                 const colt5_tensor *y, size_t rows)
{
    const colt5_tensor *bias = options->bias, *row_scale = options->row_scale;
    const colt5_tensor *residual = options->residual;
    if (bias) {
        REQUIRE_TYPE(ctx, "linear", bias, x->type);
        REQUIRE_SHAPE(ctx, "linear", bias, weight->dims[0]);
        REQUIRE_APART(ctx, "linear", bias, y);
    }
    if (row_scale) {
        REQUIRE_TYPE(ctx, "linear", row_scale, COLT5_F32);
        REQUIRE(ctx, colt5_tensor_count(row_scale) == rows, COLT5_ERROR_SHAPE,
                "linear: row_scale has %zu elements, the product %zu rows",
                colt5_tensor_count(row_scale), rows);
        REQUIRE_APART(ctx, "linear", row_scale, y);
    }
    if (residual) {
        REQUIRE_TYPE(ctx, "linear", residual, y->type);
        CHECK(check_shape(ctx, "linear", "residual", residual, y->rank, y->dims));
        REQUIRE_APART_OR_SAME(ctx, "linear", residual, y);
    }
    return COLT5_OK;
}

colt5_status linear_check_rows(colt5_context *ctx, const colt5_tensor *x, int x_rank,
                               const colt5_linear_options *options, const char *name,
                               const colt5_tensor *y, int y_rank, struct gemm *product)
{
    const colt5_tensor *index = options->index, *scatter = options->scatter, *rows = x;
    int rank = x_rank;
    if (index) {
        REQUIRE_TENSOR(ctx, "linear", index, 2);
        REQUIRE_TYPE(ctx, "linear", index, COLT5_I32);
        REQUIRE_APART(ctx, "linear", index, y);
        REQUIRE(ctx, x_rank == 2 && index->dims[0] == x->dims[0], COLT5_ERROR_SHAPE,
                "linear: with an index x is [B][N][I], index [B][K]");
        product->index_rows = index->dims[1];
        product->a_rows = x->dims[1];
        rows = index;
        rank = 2;
    }
    product->M = dims_product(rows->dims, rank);
    if (!scatter) {
        REQUIRE(ctx, same_dims(rows, rank, y, y_rank), COLT5_ERROR_SHAPE,
                "linear: the dims before O of %s are not those of %s", name, index ? "index" : "x");
        return COLT5_OK;
    }
    REQUIRE_TENSOR(ctx, "linear", scatter, 2);
    REQUIRE_TYPE(ctx, "linear", scatter, COLT5_I32);
    REQUIRE_APART(ctx, "linear", scatter, y);
    REQUIRE(ctx, same_dims(rows, rank, scatter, 2), COLT5_ERROR_SHAPE,
            "linear: scatter is not [B][K] as the rows of %s", index ? "index" : "x");
    REQUIRE(ctx, y_rank == 2 && y->dims[0] == scatter->dims[0], COLT5_ERROR_SHAPE,
            "linear: with scatter y is [B][N][O], scatter [B][K]");
    product->scatter_rows = scatter->dims[1];
    product->c_rows = y->dims[1];
    return COLT5_OK;
}

colt5_status colt5_linear_forward(colt5_context *ctx, const colt5_tensor *x,
                                  const colt5_tensor *weight, const colt5_linear_options *options,
                                  const colt5_tensor *y)
{
    if (!options) options = &no_options;
    REQUIRE_STORAGE(ctx, "linear", x);
    REQUIRE_TENSOR(ctx, "linear", weight, 2);
    REQUIRE_TYPE(ctx, "linear", weight, x->type);
    REQUIRE_TENSOR(ctx, "linear", y, 0);
    REQUIRE(ctx, y->type == x->type || y->type == COLT5_F32, COLT5_ERROR_TYPE,
            "linear: y is %s, neither f32 nor x's %s", colt5_type_name(y->type),
            colt5_type_name(x->type));
    REQUIRE_APART(ctx, "linear", x, y);
    REQUIRE_APART(ctx, "linear", weight, y);

    const size_t O = weight->dims[0], I = weight->dims[1];
    const int x_rank = linear_leading_dims(x, I), y_rank = linear_leading_dims(y, O);
    REQUIRE(ctx, x_rank >= 0, COLT5_ERROR_SHAPE, "linear: the last dims of x do not make %zu", I);
    REQUIRE(ctx, y_rank >= 0, COLT5_ERROR_SHAPE, "linear: the last dims of y do not make %zu", O);
    struct gemm product = {.op = "linear",
                           .N = O,
                           .K = I,
                           .transpose_b = true,
                           .alpha = options->scale,
                           .a = x,
                           .b = weight,
                           .c = y,
                           .index = options->index,
                           .bias = options->bias,
                           .gelu = options->gelu != 0,
                           .row_scale = options->row_scale,
                           .scale_first = options->scale_first != 0,
                           .residual = options->residual,
                           .scatter = options->scatter};
    REQUIRE(ctx, !options->gelu_input, COLT5_ERROR_ARGUMENT,
            "linear: gelu_input is of the backward call");
    REQUIRE(ctx, options->row_scale || !options->scale_first, COLT5_ERROR_ARGUMENT,
            "linear: scale_first without row_scale");
    CHECK(linear_check_rows(ctx, x, x_rank, options, "y", y, y_rank, &product));
    CHECK(check_extras(ctx, x, weight, options, y, product.M));
    return gemm(ctx, &product);
}
