/* SPDX-License-Identifier: MIT */
#include <colt5/ops/scatter.h>

#include "ops/columns.h"
#include "ops/rows.h"
#include "runtime/check.h"
#include "runtime/workspace.h"

/* See kernels/scatter_backward.cl. */
struct scatter_backward {
    const char *op;
    const colt5_tensor *dx, *index, *scores, *y, *dy, *dscores;
    bool mean;
};

static colt5_status check_scores(colt5_context *ctx, const char *op, const char *name,
                                 const colt5_tensor *scores, size_t B, size_t K)
{
    if (!scores) return COLT5_OK;
    CHECK(check_type(ctx, op, name, scores, COLT5_F32));
    return check_shape(ctx, op, name, scores, 2, (size_t[]){B, K});
}

static colt5_status check_backward(colt5_context *ctx, const struct scatter_backward *call)
{
    const char *op = call->op;
    const colt5_tensor *dx = call->dx, *index = call->index, *y = call->y, *dy = call->dy;
    REQUIRE_TENSOR(ctx, op, dx, 3);
    REQUIRE_TENSOR(ctx, op, index, 2);
    const size_t B = dx->dims[0], D = dx->dims[2], K = index->dims[1];

    REQUIRE_STORAGE(ctx, op, dx);
    REQUIRE_TYPE(ctx, op, index, COLT5_I32);
    REQUIRE_SHAPE(ctx, op, index, B, K);
    CHECK(check_scores(ctx, op, "scores", call->scores, B, K));
    CHECK(check_scores(ctx, op, "dscores", call->dscores, B, K));
    if (call->dscores) {
        REQUIRE_TYPE(ctx, op, y, dx->type);
        REQUIRE_SHAPE(ctx, op, y, B, K, D);
    }
    if (dy) {
        REQUIRE_TYPE(ctx, op, dy, dx->type);
        REQUIRE_SHAPE(ctx, op, dy, B, K, D);
        REQUIRE_APART(ctx, op, dx, dy);
        if (y) REQUIRE_APART_OR_SAME(ctx, op, y, dy);
    }
    return COLT5_OK;
}

/* index NULL: dots of the rows of dx and y, each of slots rows. */
static colt5_status launch_dots(colt5_context *ctx, const struct scatter_backward *call,
                                const colt5_tensor *counts, size_t N, size_t K, size_t slots)
{
    const colt5_tensor *dx = call->dx, *y = call->dscores ? call->y : NULL, *dy = call->dy;
    const size_t D = row_width(dx), width = vector_width(ctx, dx->type, D, dx, y, dy);
    struct row_plan plan;
    CHECK(
        plan_rows(ctx, KERNEL_SCATTER_BACKWARD, dx->type, D, width, (struct row_limits){0}, &plan));
    if (counts)
        CHECK(launch(ctx, KERNEL_SLOT_COUNTS, plan.defines, GRID(slots, 1, 1),
                     ARGS(TENSOR(call->index), TENSOR(counts), SIZE(K), SIZE(slots))));
    return launch(ctx, KERNEL_SCATTER_BACKWARD, plan.defines, row_groups(&plan, slots),
                  ARGS(TENSOR(dx), TENSOR(call->index), TENSOR(call->scores), TENSOR(counts),
                       TENSOR(y), TENSOR(dy), TENSOR(call->dscores), SIZE(N), SIZE(K), SIZE(D),
                       SIZE(slots), LOCAL(plan.group * sizeof(float))));
}

static colt5_status run_backward(colt5_context *ctx, void *argument)
{
    const struct scatter_backward *call = argument;
    const size_t B = call->dx->dims[0], N = call->dx->dims[1], K = call->index->dims[1];
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor counts;
    colt5_status status = COLT5_OK;
    if (call->mean) TRY(scratch(ctx, COLT5_I32, 2, (size_t[]){B, K}, &counts));
    status = launch_dots(ctx, call, call->mean ? &counts : NULL, N, K, B * K);
out:
    workspace_rewind(ctx, mark);
    return status;
}

static colt5_status backward(colt5_context *ctx, struct scatter_backward call)
{
    CHECK(check_backward(ctx, &call));
    const size_t routed = colt5_tensor_count(call.index) * row_width(call.dx);
    const size_t passes = 1 + (call.dy != NULL) + (call.dscores != NULL);
    count_work(ctx, 0, passes * routed * colt5_type_size(call.dx->type));
    return workspace_call(ctx, call.op, run_backward, &call, NULL, 0);
}

colt5_status colt5_scatter_backward(colt5_context *ctx, const colt5_tensor *dx,
                                    const colt5_tensor *index, const colt5_tensor *scores,
                                    const colt5_tensor *y, const colt5_tensor *dy,
                                    const colt5_tensor *dscores)
{
    return backward(ctx, (struct scatter_backward){.op = "scatter",
                                                   .dx = dx,
                                                   .index = index,
                                                   .scores = scores,
                                                   .y = y,
                                                   .dy = dy,
                                                   .dscores = dscores});
}

colt5_status colt5_scatter_mean_backward(colt5_context *ctx, const colt5_tensor *dx,
                                         const colt5_tensor *index, const colt5_tensor *scores,
                                         const colt5_tensor *y, const colt5_tensor *dy,
                                         const colt5_tensor *dscores)
{
    return backward(ctx, (struct scatter_backward){.op = "scatter_mean",
                                                   .dx = dx,
                                                   .index = index,
                                                   .scores = scores,
                                                   .y = y,
                                                   .dy = dy,
                                                   .dscores = dscores,
                                                   .mean = true});
}

colt5_status colt5_row_dot(colt5_context *ctx, const colt5_tensor *a, const colt5_tensor *b,
                           const colt5_tensor *y)
{
    REQUIRE_TENSOR(ctx, "row_dot", a, 3);
    const size_t B = a->dims[0], K = a->dims[1];
    REQUIRE_STORAGE(ctx, "row_dot", a);
    REQUIRE_LIKE(ctx, "row_dot", b, a);
    REQUIRE_TYPE(ctx, "row_dot", y, COLT5_F32);
    REQUIRE_SHAPE(ctx, "row_dot", y, B, K);
    REQUIRE_APART(ctx, "row_dot", a, y);
    REQUIRE_APART(ctx, "row_dot", b, y);

    const struct scatter_backward call = {.dx = a, .y = b, .dscores = y};
    count_work(ctx, 0, 2 * colt5_tensor_count(a) * colt5_type_size(a->type));
    return launch_dots(ctx, &call, NULL, 0, 0, B * K);
}

/* drow += the sum of the rows that count. */
struct row_gradient {
    const colt5_tensor *dx, *rows, *drow;
};

static colt5_status run_row_gradient(colt5_context *ctx, void *argument)
{
    const struct row_gradient *call = argument;
    return sum_rows(ctx, call->dx, call->rows, call->drow);
}

colt5_status colt5_broadcast_row_backward(colt5_context *ctx, const colt5_tensor *dx,
                                          const colt5_tensor *rows, const colt5_tensor *drow)
{
    REQUIRE_STORAGE(ctx, "broadcast_row", dx);
    const size_t D = row_width(dx);
    REQUIRE_STORAGE(ctx, "broadcast_row", drow);
    REQUIRE_SHAPE(ctx, "broadcast_row", drow, D);
    REQUIRE_APART(ctx, "broadcast_row", dx, drow);
    if (rows) {
        REQUIRE_TYPE(ctx, "broadcast_row", rows, COLT5_U8);
        REQUIRE(ctx, colt5_tensor_count(rows) == row_count(dx), COLT5_ERROR_SHAPE,
                "broadcast_row: rows has %zu elements for %zu rows", colt5_tensor_count(rows),
                row_count(dx));
    }
    struct row_gradient call = {dx, rows, drow};
    count_work(ctx, 0, colt5_tensor_count(dx) * colt5_type_size(dx->type));
    return workspace_call(ctx, "broadcast_row", run_row_gradient, &call, NULL, 0);
}

colt5_status colt5_unrouted_rows(colt5_context *ctx, const colt5_tensor *index,
                                 const colt5_tensor *mask, const colt5_tensor *rows)
{
    REQUIRE_TENSOR(ctx, "unrouted_rows", index, 2);
    REQUIRE_TENSOR(ctx, "unrouted_rows", rows, 2);
    const size_t B = rows->dims[0], N = rows->dims[1], K = index->dims[1];
    REQUIRE_TYPE(ctx, "unrouted_rows", index, COLT5_I32);
    REQUIRE_TYPE(ctx, "unrouted_rows", rows, COLT5_U8);
    REQUIRE_SHAPE(ctx, "unrouted_rows", index, B, K);
    if (mask) {
        REQUIRE_LIKE(ctx, "unrouted_rows", mask, rows);
        REQUIRE_APART(ctx, "unrouted_rows", mask, rows);
    }
    /* The defines of the dots, so that one program holds all of them. */
    const struct define *defines =
        DEFINES(STORAGE(COLT5_F32), DEFINE("WIDTH", 1), DEFINE("LANES", 1), DEFINE("STEPS", 0),
                DEFINE("WHOLE", 0), DEFINE("WARPS", 0));
    CHECK(launch(ctx, KERNEL_VALID_ROWS, defines, GRID(B * N, 1, 1),
                 ARGS(TENSOR(mask), TENSOR(rows), SIZE(B * N))));
    return launch(ctx, KERNEL_UNMARK_SLOTS, defines, GRID(B * K, 1, 1),
                  ARGS(TENSOR(index), TENSOR(rows), SIZE(N), SIZE(K), SIZE(B * K)));
}
