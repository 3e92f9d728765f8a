/* SPDX-License-Identifier: MIT */
#include <colt5/ops/route.h>

#include "runtime/check.h"
#include "runtime/launch.h"

colt5_status colt5_route_mask(colt5_context *ctx, const colt5_tensor *mask,
                              const colt5_tensor *index, const colt5_tensor *routed)
{
    REQUIRE_TENSOR(ctx, "route_mask", index, 3);
    REQUIRE_TENSOR(ctx, "route_mask", routed, 3);
    const size_t B = index->dims[0], R = index->dims[1], K = index->dims[2], count = B * R * K;
    const bool bytes = routed->type == COLT5_U8;

    REQUIRE_TYPE(ctx, "route_mask", index, COLT5_I32);
    REQUIRE(ctx, bytes || routed->type == COLT5_F32, COLT5_ERROR_TYPE,
            "route_mask: routed is %s, not u8 or f32", colt5_type_name(routed->type));
    REQUIRE_SHAPE(ctx, "route_mask", routed, B, R, K);
    size_t N = (size_t)INT32_MAX + 1;
    if (mask) {
        REQUIRE_TENSOR(ctx, "route_mask", mask, 2);
        REQUIRE_TYPE(ctx, "route_mask", mask, COLT5_U8);
        N = mask->dims[1];
        REQUIRE_SHAPE(ctx, "route_mask", mask, B, N);
    }

    count_work(ctx, 0, count * (4 + colt5_type_size(routed->type)));
    return launch(ctx, KERNEL_ROUTE_MASK, NO_DEFINES, GRID(count, 1, 1),
                  ARGS(TENSOR(mask), TENSOR(index), TENSOR(bytes ? routed : NULL),
                       TENSOR(bytes ? NULL : routed), SIZE(N), SIZE(R * K), SIZE(count)));
}

/* Checks scores [B][R][N], index [B][R][K] and picked [B][R][K]. */
static colt5_status check_picked(colt5_context *ctx, const char *op, const colt5_tensor *scores,
                                 const colt5_tensor *index, const char *name,
                                 const colt5_tensor *picked)
{
    REQUIRE_TENSOR(ctx, op, scores, 3);
    REQUIRE_TENSOR(ctx, op, index, 3);
    const size_t B = scores->dims[0], R = scores->dims[1], K = index->dims[2];
    REQUIRE_TYPE(ctx, op, scores, COLT5_F32);
    REQUIRE_TYPE(ctx, op, index, COLT5_I32);
    REQUIRE_SHAPE(ctx, op, index, B, R, K);
    CHECK(check_type(ctx, op, name, picked, COLT5_F32));
    return check_shape(ctx, op, name, picked, 3, index->dims);
}

colt5_status colt5_gather_scores(colt5_context *ctx, const colt5_tensor *scores,
                                 const colt5_tensor *index, const colt5_tensor *y)
{
    CHECK(check_picked(ctx, "gather_scores", scores, index, "y", y));
    const size_t N = scores->dims[2], K = index->dims[2], count = colt5_tensor_count(index);

    count_work(ctx, 0, 12 * count);
    return launch(ctx, KERNEL_GATHER_SCORES, NO_DEFINES, GRID(count, 1, 1),
                  ARGS(TENSOR(scores), TENSOR(index), TENSOR(y), SIZE(N), SIZE(K), SIZE(count)));
}

colt5_status colt5_gather_scores_backward(colt5_context *ctx, const colt5_tensor *dy,
                                          const colt5_tensor *index, const colt5_tensor *dscores)
{
    CHECK(check_picked(ctx, "gather_scores_backward", dscores, index, "dy", dy));
    const size_t N = dscores->dims[2], K = index->dims[2], count = colt5_tensor_count(index);

    count_work(ctx, 0, 12 * count + 4 * colt5_tensor_count(dscores));
    CHECK(clear_tensor(ctx, dscores));
    return launch(ctx, KERNEL_GATHER_SCORES_BACKWARD, NO_DEFINES, GRID(count, 1, 1),
                  ARGS(TENSOR(dy), TENSOR(index), TENSOR(dscores), SIZE(N), SIZE(K), SIZE(count)));
}

/* Checks a row tensor [B][R][N], its blocks [B·R·nb][1][width], and gives nb. */
static colt5_status check_blocks(colt5_context *ctx, const char *op, const char *row_name,
                                 const colt5_tensor *rows, const char *block_name,
                                 const colt5_tensor *blocks, size_t width, size_t *nb)
{
    CHECK(check_tensor(ctx, op, row_name, rows, 3));
    CHECK(check_type(ctx, op, row_name, rows, COLT5_F32));
    const size_t N = rows->dims[2];
    REQUIRE(ctx, width >= 1 && width <= N, COLT5_ERROR_ARGUMENT,
            "%s: a width of %zu is not in 1 to %zu", op, width, N);
    *nb = N / width;
    CHECK(check_type(ctx, op, block_name, blocks, COLT5_F32));
    return check_shape(ctx, op, block_name, blocks, 3,
                       (const size_t[]){rows->dims[0] * rows->dims[1] * *nb, 1, width});
}

colt5_status colt5_block_rows(colt5_context *ctx, const colt5_tensor *s, const colt5_tensor *mask,
                              size_t width, const colt5_tensor *s_blocks,
                              const colt5_tensor *mask_blocks)
{
    size_t nb;
    CHECK(check_blocks(ctx, "block_rows", "s", s, "s_blocks", s_blocks, width, &nb));
    const size_t B = s->dims[0], R = s->dims[1], N = s->dims[2], count = B * R * nb * width;
    REQUIRE(ctx, !mask == !mask_blocks, COLT5_ERROR_ARGUMENT,
            "block_rows: mask and mask_blocks must be given together");
    if (mask) {
        REQUIRE_TYPE(ctx, "block_rows", mask, COLT5_U8);
        REQUIRE_TYPE(ctx, "block_rows", mask_blocks, COLT5_U8);
        REQUIRE_SHAPE(ctx, "block_rows", mask, B, N);
        REQUIRE_SHAPE(ctx, "block_rows", mask_blocks, B * R * nb, width);
    }

    count_work(ctx, 0, (mask ? 10 : 8) * count);
    return launch(ctx, KERNEL_BLOCK_ROWS, NO_DEFINES, GRID(count, 1, 1),
                  ARGS(TENSOR(s), TENSOR(mask), TENSOR(s_blocks), TENSOR(mask_blocks), SIZE(N),
                       SIZE(R), SIZE(width), SIZE(nb), SIZE(count)));
}

colt5_status colt5_block_rows_backward(colt5_context *ctx, const colt5_tensor *ds_blocks,
                                       size_t width, const colt5_tensor *ds)
{
    size_t nb;
    CHECK(check_blocks(ctx, "block_rows_backward", "ds", ds, "ds_blocks", ds_blocks, width, &nb));
    const size_t N = ds->dims[2], count = colt5_tensor_count(ds);

    count_work(ctx, 0, 8 * count);
    return launch(ctx, KERNEL_BLOCK_ROWS_BACKWARD, NO_DEFINES, GRID(count, 1, 1),
                  ARGS(TENSOR(ds_blocks), TENSOR(ds), SIZE(N), SIZE(width), SIZE(nb), SIZE(count)));
}

colt5_status colt5_block_index(colt5_context *ctx, const colt5_tensor *index, size_t width,
                               const colt5_tensor *position)
{
    REQUIRE_TENSOR(ctx, "block_index", index, 3);
    REQUIRE_TENSOR(ctx, "block_index", position, 3);
    const size_t B = position->dims[0], R = position->dims[1], Kb = index->dims[2];
    const size_t nb = Kb ? position->dims[2] / Kb : 0, count = colt5_tensor_count(index);

    REQUIRE_TYPE(ctx, "block_index", index, COLT5_I32);
    REQUIRE_TYPE(ctx, "block_index", position, COLT5_I32);
    REQUIRE_SHAPE(ctx, "block_index", index, B * R * nb, 1, Kb);
    REQUIRE_SHAPE(ctx, "block_index", position, B, R, nb * Kb);
    REQUIRE(ctx, width >= 1 && nb <= INT32_MAX / width, COLT5_ERROR_ARGUMENT,
            "block_index: %zu blocks of width %zu pass the largest index", nb, width);

    count_work(ctx, 0, 8 * count);
    return launch(
        ctx, KERNEL_BLOCK_INDEX, NO_DEFINES, GRID(count, 1, 1),
        ARGS(TENSOR(index), TENSOR(position), SIZE(width), SIZE(nb), SIZE(Kb), SIZE(count)));
}
