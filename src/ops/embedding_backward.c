/* SPDX-License-Identifier: MIT */
#include <colt5/ops/embedding.h>

#include "ops/sort.h"
#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

#define PIECE 64 /* rows a work-item adds up: many work-items, few sums beside the rows */

struct embedding_backward {
    const colt5_tensor *ids, *dy, *dweight;
};

/* Rows to be summed by key: of x, picked by order (NULL: as they lie). */
struct keyed_rows {
    colt5_tensor x, keys;
    const colt5_tensor *order;
};

/* One level of the tree: sums of pieces to dweight, and to the next level what goes on. */
static colt5_status sum_level(colt5_context *ctx, const struct keyed_rows *level,
                              struct keyed_rows *next, size_t pieces, const colt5_tensor *dweight)
{
    const size_t rows = level->keys.dims[0], V = dweight->dims[0], D = dweight->dims[1];
    const size_t width = vector_width(ctx, level->x.type, D, &level->x, dweight);
    return launch(ctx, KERNEL_SUM_BY_KEY, DEFINES(STORAGE(level->x.type), DEFINE("WIDTH", width)),
                  ROW_GRID(D / width, pieces),
                  ARGS(TENSOR(&level->x), TENSOR(&level->keys), TENSOR(level->order),
                       TENSOR(dweight), TENSOR(next ? &next->x : NULL),
                       TENSOR(next ? &next->keys : NULL), SIZE(rows), SIZE(PIECE), SIZE(V),
                       SIZE(D)));
}

static colt5_status sum_rows(colt5_context *ctx, struct keyed_rows level,
                             const colt5_tensor *dweight)
{
    for (;;) {
        const size_t pieces = (level.keys.dims[0] + PIECE - 1) / PIECE, parts = 2 * pieces;
        if (pieces == 1) return sum_level(ctx, &level, NULL, 1, dweight);
        struct keyed_rows next = {.order = NULL};
        CHECK(scratch(ctx, COLT5_F32, 2, (size_t[]){parts, dweight->dims[1]}, &next.x));
        CHECK(scratch(ctx, COLT5_I32, 1, &parts, &next.keys));
        CHECK(sum_level(ctx, &level, &next, pieces, dweight));
        level = next;
    }
}

static colt5_status run_backward(colt5_context *ctx, void *argument)
{
    const struct embedding_backward *call = argument;
    const size_t rows = colt5_tensor_count(call->ids), V = call->dweight->dims[0];
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor keys[2], order[2];
    colt5_status status;
    for (int i = 0; i < 2; i++) {
        TRY(scratch(ctx, COLT5_I32, 1, &rows, &keys[i]));
        TRY(scratch(ctx, COLT5_I32, 1, &rows, &order[i]));
    }
    TRY(launch(ctx, KERNEL_EMBEDDING_KEYS,
               DEFINES(DEFINE("WIDTH", 1), DEFINE("LONG_IDS", call->ids->type == COLT5_I64)),
               GRID(rows, 1, 1), ARGS(TENSOR(call->ids), TENSOR(&keys[0]), SIZE(rows), SIZE(V))));
    TRY(sort_rows(ctx, V + 1, keys, order));
    status = sum_rows(ctx, (struct keyed_rows){*call->dy, keys[0], &order[0]}, call->dweight);
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status colt5_embedding_backward(colt5_context *ctx, const colt5_tensor *ids,
                                      const colt5_tensor *dy, const colt5_tensor *dweight)
{
    REQUIRE_TENSOR(ctx, "embedding", ids, 2);
    REQUIRE_TENSOR(ctx, "embedding", dweight, 2);
    const size_t B = ids->dims[0], N = ids->dims[1], V = dweight->dims[0], D = dweight->dims[1];

    REQUIRE(ctx, ids->type == COLT5_I32 || ids->type == COLT5_I64, COLT5_ERROR_TYPE,
            "embedding: ids is %s, not i32 or i64", colt5_type_name(ids->type));
    REQUIRE_STORAGE(ctx, "embedding", dy);
    REQUIRE_SHAPE(ctx, "embedding", dy, B, N, D);
    REQUIRE_TYPE(ctx, "embedding", dweight, COLT5_F32);
    REQUIRE_APART(ctx, "embedding", ids, dweight);
    REQUIRE_APART(ctx, "embedding", dy, dweight);
    REQUIRE(ctx, B * N < INT32_MAX && V < INT32_MAX, COLT5_ERROR_SHAPE,
            "embedding: %zu tokens of %zu ids: 2^31 or more", B * N, V);
    if (B * N == 0) return COLT5_OK;

    struct embedding_backward call = {ids, dy, dweight};
    count_work(ctx, 0, B * N * D * colt5_type_size(dy->type));
    return workspace_call(ctx, "embedding", run_backward, &call, NULL, 0);
}
