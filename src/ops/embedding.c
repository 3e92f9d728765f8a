/* SPDX-License-Identifier: MIT */
#include <colt5/ops/embedding.h>

#include "runtime/check.h"
#include "runtime/launch.h"

#define LONG_IDS(ids) DEFINE("LONG_IDS", (ids)->type == COLT5_I64)

static colt5_status check_ids(colt5_context *ctx, const char *op, const colt5_tensor *ids)
{
    REQUIRE_TENSOR(ctx, op, ids, 2);
    REQUIRE(ctx, ids->type == COLT5_I32 || ids->type == COLT5_I64, COLT5_ERROR_TYPE,
            "%s: ids is %s, not i32 or i64", op, colt5_type_name(ids->type));
    return COLT5_OK;
}

colt5_status colt5_embedding_forward(colt5_context *ctx, const colt5_tensor *ids,
                                     const colt5_tensor *weight, const colt5_tensor *y)
{
    CHECK(check_ids(ctx, "embedding", ids));
    REQUIRE_TENSOR(ctx, "embedding", weight, 2);
    const size_t B = ids->dims[0], N = ids->dims[1], V = weight->dims[0], D = weight->dims[1];

    REQUIRE_STORAGE(ctx, "embedding", weight);
    REQUIRE_TYPE(ctx, "embedding", y, weight->type);
    REQUIRE_SHAPE(ctx, "embedding", y, B, N, D);
    REQUIRE_APART(ctx, "embedding", weight, y);
    REQUIRE_APART(ctx, "embedding", ids, y);

    const size_t width = vector_width(ctx, weight->type, D, weight, y);
    count_work(ctx, 0, 2 * B * N * D * colt5_type_size(weight->type));
    return launch(ctx, KERNEL_EMBEDDING_FORWARD,
                  DEFINES(STORAGE(weight->type), DEFINE("WIDTH", width), LONG_IDS(ids)),
                  ROW_GRID(D / width, B * N),
                  ARGS(TENSOR(ids), TENSOR(weight), TENSOR(y), SIZE(B * N), SIZE(V), SIZE(D)));
}

colt5_status colt5_token_mask(colt5_context *ctx, const colt5_tensor *ids,
                              const colt5_tensor *given, int64_t padding, const colt5_tensor *mask)
{
    CHECK(check_ids(ctx, "token_mask", ids));
    const size_t B = ids->dims[0], N = ids->dims[1];
    REQUIRE_TYPE(ctx, "token_mask", mask, COLT5_U8);
    REQUIRE_SHAPE(ctx, "token_mask", mask, B, N);
    REQUIRE_APART(ctx, "token_mask", ids, mask);
    if (given) {
        REQUIRE_TYPE(ctx, "token_mask", given, COLT5_U8);
        REQUIRE_SHAPE(ctx, "token_mask", given, B, N);
    }

    const bool can_be = ids->type == COLT5_I64 || (padding >= INT32_MIN && padding <= INT32_MAX);
    return launch(ctx, KERNEL_TOKEN_MASK, DEFINES(DEFINE("WIDTH", 1), LONG_IDS(ids)),
                  GRID(B * N, 1, 1),
                  ARGS(TENSOR(ids), TENSOR(given), TENSOR(mask), SIZE((size_t)padding), INT(can_be),
                       SIZE(B * N)));
}
