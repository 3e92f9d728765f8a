/* SPDX-License-Identifier: MIT */
#include "ops/scatter.h"

#include "ops/rows.h"
#include "ops/warps.h"
#include "runtime/check.h"
#include "runtime/workspace.h"

#define SCATTER_DEFINES(x, width)                                                                  \
    DEFINES(STORAGE((x)->type), DEFINE("WIDTH", width), DEFINE("WARPS", warps(ctx, (x)->type)))

/* What the calls have in common; see kernels/scatter.cl. */
struct scatter {
    const char *op;
    const colt5_tensor *y, *index, *scores, *row, *base, *x;
    colt5_index_kind kind;
    bool mean;
    bool every_row; /* x is written everywhere, else in routed rows alone */
};

static bool same(const colt5_tensor *a, const colt5_tensor *b)
{
    return a == b || (a && b && a->buffer == b->buffer && a->offset == b->offset);
}

static colt5_status check_scatter(colt5_context *ctx, const struct scatter *call)
{
    const char *op = call->op;
    const colt5_tensor *y = call->y, *index = call->index, *scores = call->scores;
    const colt5_tensor *row = call->row, *base = call->base, *x = call->x;
    REQUIRE_TENSOR(ctx, op, y, 3);
    REQUIRE_TENSOR(ctx, op, x, 3);
    const size_t B = x->dims[0], D = x->dims[2], K = y->dims[1];

    REQUIRE_STORAGE(ctx, op, y);
    REQUIRE_TYPE(ctx, op, x, y->type);
    REQUIRE_TYPE(ctx, op, index, COLT5_I32);
    REQUIRE_SHAPE(ctx, op, y, B, K, D);
    REQUIRE_SHAPE(ctx, op, index, B, K);
    REQUIRE(ctx, colt5_tensor_count(index) < INT32_MAX, COLT5_ERROR_SHAPE,
            "%s: index has %zu slots, more than 2^31", op, colt5_tensor_count(index));
    REQUIRE(ctx, (unsigned)call->kind <= COLT5_INDEX_REPEATED, COLT5_ERROR_ARGUMENT,
            "%s: %d is no kind of index", op, (int)call->kind);
    if (scores) {
        REQUIRE_TYPE(ctx, op, scores, COLT5_F32);
        REQUIRE_SHAPE(ctx, op, scores, B, K);
    }
    if (row) {
        REQUIRE_TYPE(ctx, op, row, x->type);
        REQUIRE_SHAPE(ctx, op, row, D);
        REQUIRE_APART(ctx, op, row, x);
    }
    if (base) {
        REQUIRE_LIKE(ctx, op, base, x);
        REQUIRE_APART_OR_SAME(ctx, op, base, x);
    }
    REQUIRE_APART(ctx, op, y, x);
    return COLT5_OK;
}

static void count_scatter(colt5_context *ctx, const struct scatter *call)
{
    const size_t routed = colt5_tensor_count(call->y), all = colt5_tensor_count(call->x);
    const size_t moved =
        call->every_row ? routed + all * (call->base ? 2 : 1) : routed * (call->base ? 3 : 2);
    count_work(ctx, 0, moved * colt5_type_size(call->x->type));
}

static colt5_status launch_scatter(colt5_context *ctx, const struct scatter *call,
                                   const colt5_tensor *head, const colt5_tensor *next)
{
    const colt5_tensor *y = call->y, *scores = call->scores, *row = call->row, *base = call->base;
    const colt5_tensor *index = call->index, *x = call->x;
    const size_t N = x->dims[1], D = x->dims[2], K = y->dims[1];
    const size_t rows = x->dims[0] * N, slots = x->dims[0] * K;
    const size_t width = vector_width(ctx, x->type, D, y, row, base, x);
    const struct define *defines = SCATTER_DEFINES(x, width);

    if (call->every_row)
        CHECK(launch(ctx, KERNEL_SCATTER_CLEAR, defines, GRID(rows, 1, 1),
                     ARGS(TENSOR(head), SIZE(rows))));
    if (head)
        CHECK(
            launch(ctx, KERNEL_SCATTER_CHAIN, defines, GRID(slots, 1, 1),
                   ARGS(TENSOR(index), TENSOR(head), TENSOR(next), SIZE(N), SIZE(K), SIZE(slots))));
    if (call->every_row)
        return launch(ctx, KERNEL_SCATTER_ROWS, defines, ROW_GRID(D / width, rows),
                      ARGS(TENSOR(y), TENSOR(scores), TENSOR(head), TENSOR(next), TENSOR(row),
                           TENSOR(base), TENSOR(x), SIZE(D), SIZE(rows), INT(call->mean)));
    return launch(ctx, KERNEL_SCATTER_SLOTS, defines, ROW_GRID(D / width, slots),
                  ARGS(TENSOR(y), TENSOR(index), TENSOR(scores), TENSOR(head), TENSOR(next),
                       TENSOR(row), TENSOR(x), SIZE(N), SIZE(K), SIZE(D), SIZE(slots),
                       INT(base != NULL), INT(call->mean)));
}

static colt5_status run_scatter(colt5_context *ctx, void *argument)
{
    const struct scatter *call = argument;
    const size_t B = call->x->dims[0], N = call->x->dims[1], K = call->y->dims[1];
    const struct stack_mark mark = workspace_mark(ctx);
    const bool repeated = call->kind == COLT5_INDEX_REPEATED;
    colt5_tensor head, next;
    colt5_status status;
    TRY(scratch(ctx, COLT5_I32, 2, (size_t[]){B, N}, &head));
    TRY(scratch(ctx, COLT5_I32, 2, (size_t[]){B, K}, &next));
    status = launch_scatter(ctx, call, call->every_row || repeated ? &head : NULL,
                            repeated ? &next : NULL);
out:
    workspace_rewind(ctx, mark);
    return status;
}

static colt5_status scatter(colt5_context *ctx, struct scatter call)
{
    CHECK(check_scatter(ctx, &call));
    count_scatter(ctx, &call);
    return workspace_call(ctx, call.op, run_scatter, &call, NULL, 0);
}

colt5_status colt5_scatter(colt5_context *ctx, const colt5_tensor *y, const colt5_tensor *index,
                           const colt5_tensor *scores, const colt5_tensor *base,
                           const colt5_tensor *x)
{
    return scatter(ctx, (struct scatter){.op = "scatter",
                                         .y = y,
                                         .index = index,
                                         .scores = scores,
                                         .base = base,
                                         .x = x,
                                         .kind = COLT5_INDEX_UNIQUE,
                                         .every_row = base && !same(base, x)});
}

colt5_status colt5_scatter_add(colt5_context *ctx, const colt5_tensor *y, const colt5_tensor *index,
                               const colt5_tensor *scores, colt5_index_kind kind,
                               const colt5_tensor *x)
{
    return scatter(ctx, (struct scatter){.op = "scatter_add",
                                         .y = y,
                                         .index = index,
                                         .scores = scores,
                                         .base = x,
                                         .x = x,
                                         .kind = kind});
}

colt5_status colt5_scatter_mean(colt5_context *ctx, const colt5_tensor *y,
                                const colt5_tensor *index, const colt5_tensor *scores,
                                const colt5_tensor *base, const colt5_tensor *x)
{
    return scatter(ctx, (struct scatter){.op = "scatter_mean",
                                         .y = y,
                                         .index = index,
                                         .scores = scores,
                                         .base = base,
                                         .x = x,
                                         .kind = COLT5_INDEX_REPEATED,
                                         .mean = true,
                                         .every_row = base && !same(base, x)});
}

colt5_status colt5_scatter_fill(colt5_context *ctx, const colt5_tensor *y,
                                const colt5_tensor *index, const colt5_tensor *scores,
                                colt5_index_kind kind, const colt5_tensor *row,
                                const colt5_tensor *base, const colt5_tensor *x)
{
    return scatter(ctx, (struct scatter){.op = "scatter_fill",
                                         .y = y,
                                         .index = index,
                                         .scores = scores,
                                         .row = row,
                                         .base = base,
                                         .x = x,
                                         .kind = kind,
                                         .mean = true,
                                         .every_row = true});
}

colt5_status scatter_instead(colt5_context *ctx, const colt5_tensor *y, const colt5_tensor *index,
                             const colt5_tensor *scores, colt5_index_kind kind,
                             const colt5_tensor *row, const colt5_tensor *x)
{
    return scatter(ctx, (struct scatter){.op = "scatter_instead",
                                         .y = y,
                                         .index = index,
                                         .scores = scores,
                                         .row = row,
                                         .base = x,
                                         .x = x,
                                         .kind = kind,
                                         .mean = true});
}

colt5_status colt5_broadcast_row(colt5_context *ctx, const colt5_tensor *row,
                                 const colt5_tensor *base, const colt5_tensor *x)
{
    REQUIRE_STORAGE(ctx, "broadcast_row", x);
    const size_t rows = row_count(x), D = row_width(x);
    if (row) {
        REQUIRE_TYPE(ctx, "broadcast_row", row, x->type);
        REQUIRE_SHAPE(ctx, "broadcast_row", row, D);
        REQUIRE_APART(ctx, "broadcast_row", row, x);
    }
    if (base) {
        REQUIRE_LIKE(ctx, "broadcast_row", base, x);
        REQUIRE_APART_OR_SAME(ctx, "broadcast_row", base, x);
    }

    const size_t width = vector_width(ctx, x->type, D, row, base, x);
    count_work(ctx, 0, (base ? 2 : 1) * colt5_tensor_count(x) * colt5_type_size(x->type));
    return launch(ctx, KERNEL_SCATTER_ROWS, SCATTER_DEFINES(x, width), ROW_GRID(D / width, rows),
                  ARGS(TENSOR(NULL), TENSOR(NULL), TENSOR(NULL), TENSOR(NULL), TENSOR(row),
                       TENSOR(base), TENSOR(x), SIZE(D), SIZE(rows), INT(0)));
}
