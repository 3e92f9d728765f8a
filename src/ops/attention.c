/* SPDX-License-Identifier: MIT */
#include "ops/attention.h"

/* Tiles of so many queries, cut by token number, that hold the tokens of y. */
static size_t query_tiles(const struct attention *a, size_t rows)
{
    if (a->Q == 0) return 0;
    return (a->first_query + a->Q - 1) / rows - a->first_query / rows + 1;
}

#define ATTENTION_INPUTS(a)                                                                        \
    TENSOR((a)->q), TENSOR((a)->kv), TENSOR((a)->null_kv), TENSOR((a)->mask),                      \
        TENSOR((a)->q_scores), TENSOR((a)->kv_scores), INT((a)->multiply_keys)
#define ATTENTION_SIZES(a)                                                                         \
    SIZE((a)->Q), SIZE((a)->M), SIZE((a)->H), SIZE((a)->E), SIZE((a)->R), SIZE((a)->N),            \
        SIZE((a)->first_key), SIZE((a)->first_query), SIZE((a)->window), INT((a)->causal)

static colt5_status forward_vectors(colt5_context *ctx, const struct attention *a,
                                    const colt5_tensor *y, const colt5_tensor *lse)
{
    const size_t rows = 32; /* 2·LANES */
    return launch(ctx, KERNEL_ATTENTION_VECTORS,
                  DEFINES(STORAGE(y->type), DEFINE("LOCAL", a->local)),
                  GROUPS(query_tiles(a, rows), a->H, a->B, 1),
                  ARGS(ATTENTION_INPUTS(a), TENSOR(y), TENSOR(lse), ATTENTION_SIZES(a)));
}

/* Rows read and written once. */
static uint64_t bytes_of(const struct attention *a, const colt5_tensor *y)
{
    const uint64_t row = a->H * a->E * colt5_type_size(y->type);
    return a->B * row * (2 * a->Q + 2 * a->M);
}

colt5_status attend_forward(colt5_context *ctx, const struct attention *attention,
                            const colt5_tensor *y, const colt5_tensor *lse)
{
    const struct attention *a = attention;
    count_work(ctx, 4 * a->B * a->H * a->E * a->pairs, bytes_of(a, y));
    return forward_vectors(ctx, a, y, lse);
}
