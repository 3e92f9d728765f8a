/* SPDX-License-Identifier: MIT */
#include "ops/attention.h"

#include <colt5/device.h>

#include "runtime/check.h"

/* Which kernels do it: this is the one place that chooses. */
enum implementation {
    VECTORS, /* attention_vectors.cl: a work-item is a core */
    TILES    /* attention_tiles.cl: a work-group is a tile */
};

static enum implementation choose(const colt5_context *ctx)
{
    return device_is_cpu(ctx) ? VECTORS : TILES;
}

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

/* What shapes a tile, by the names of attention_tiles.cl. */
struct tile {
    size_t head, ty, rq, rk;
};

#define TX 8

static size_t tile_bytes(struct tile tile)
{
    const size_t queries = tile.ty * tile.rq, keys = TX * tile.rk;
    const size_t key_floats = keys * (tile.head + 4), weight_floats = queries * (keys + 4);
    return sizeof(float) * (queries * (tile.head + 4) + keys * tile.head + queries * TX + keys + 2 +
                            (key_floats > weight_floats ? key_floats : weight_floats));
}

/* Wide heads take smaller tiles, for local memory and registers. */
static struct tile tile_for(size_t E)
{
    const size_t head = (E + 31) / 32 * 32;
    return head <= 64    ? (struct tile){head, 16, 4, 4}
           : head <= 128 ? (struct tile){head, 16, 2, 2}
                         : (struct tile){head, 8, 2, 1};
}

/* 4 where every row of numbers can be read in fours, else 1. */
static size_t width_of_rows(const struct attention *a, const colt5_tensor *y)
{
    const bool null_is = !a->null_kv || a->null_kv->offset % 4 == 0;
    return a->E % 4 || a->q->offset % 4 || a->kv->offset % 4 || y->offset % 4 || !null_is ? 1 : 4;
}

static colt5_status forward_tiles(colt5_context *ctx, const struct attention *a,
                                  const colt5_tensor *y, const colt5_tensor *lse)
{
    struct tile tile = tile_for(a->E);
    const uint64_t local_memory = colt5_context_device_info(ctx)->local_memory;
    while (tile.ty > 4 && tile_bytes(tile) > local_memory) tile.ty /= 2;
    for (;; tile.ty /= 2) {
        const struct define *defines =
            DEFINES(STORAGE(y->type), DEFINE("LOCAL", a->local), DEFINE("HEAD", tile.head),
                    DEFINE("TY", tile.ty), DEFINE("RQ", tile.rq), DEFINE("RK", tile.rk),
                    DEFINE("WIDTH", width_of_rows(a, y)));
        size_t group;
        CHECK(group_size(ctx, KERNEL_ATTENTION_TILES, defines, TX * tile.ty, &group));
        if (group < TX * tile.ty && tile.ty > 4) continue;
        return launch(ctx, KERNEL_ATTENTION_TILES, defines,
                      GROUPS(query_tiles(a, tile.ty * tile.rq), a->H, a->B, TX * tile.ty),
                      ARGS(ATTENTION_INPUTS(a), TENSOR(y), TENSOR(lse), ATTENTION_SIZES(a)));
    }
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
    switch (choose(ctx)) {
    case VECTORS:
        return forward_vectors(ctx, a, y, lse);
    case TILES:
        return forward_tiles(ctx, a, y, lse);
    }
    return COLT5_ERROR_INTERNAL;
}
