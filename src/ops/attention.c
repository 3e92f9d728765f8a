/* SPDX-License-Identifier: MIT */
#include "ops/attention.h"

#include <colt5/device.h>

#include "ops/attention_band.h"
#include "ops/attention_mma.h"
#include "runtime/check.h"

enum attention_kernels attention_kernels_for(const colt5_context *ctx)
{
    return device_is_cpu(ctx) ? ATTENTION_VECTORS : ATTENTION_TILES;
}

size_t attention_query_tiles(const struct attention_problem *a, size_t rows)
{
    if (a->Q == 0) return 0;
    return (a->first_query + a->Q - 1) / rows - a->first_query / rows + 1;
}

size_t attention_width(const struct attention_problem *a, const colt5_tensor *const *others,
                       size_t n)
{
    size_t odd = a->E | a->q->offset | a->kv->offset | (a->null_kv ? a->null_kv->offset : 0);
    for (size_t i = 0; i < n; i++) odd |= others[i] ? others[i]->offset : 0;
    return odd % 4 == 0 ? 4 : 1;
}

#define ATTENTION_INPUTS(a)                                                                        \
    TENSOR((a)->q), TENSOR((a)->kv), TENSOR((a)->null_kv), TENSOR((a)->mask),                      \
        TENSOR((a)->q_scores), TENSOR((a)->kv_scores), INT((a)->multiply_keys)

static colt5_status forward_vectors(colt5_context *ctx, const struct attention_problem *a,
                                    const colt5_tensor *y, const colt5_tensor *lse)
{
    return launch(ctx, KERNEL_ATTENTION_VECTORS, ATTENTION_LANE_DEFINES(ctx, a),
                  GROUPS(attention_query_tiles(a, ATTENTION_LANE_ROWS), a->H, a->B, 1),
                  ARGS(ATTENTION_INPUTS(a), TENSOR(y), TENSOR(lse), ATTENTION_SIZES(a)));
}

colt5_status attention_fit_tile(colt5_context *ctx, enum kernel kernel,
                                const struct attention_problem *a, size_t width,
                                size_t (*bytes)(struct attention_tile), struct attention_tile *tile)
{
    const uint64_t local_memory = colt5_context_device_info(ctx)->local_memory;
    while (tile->ty > ATTENTION_LEAST_TY && bytes(*tile) > local_memory) tile->ty /= 2;
    for (;;) {
        size_t group;
        CHECK(group_size(ctx, kernel, ATTENTION_TILE_DEFINES(a, *tile, width),
                         ATTENTION_TX * tile->ty, &group));
        if (group >= ATTENTION_TX * tile->ty || tile->ty <= ATTENTION_LEAST_TY) return COLT5_OK;
        /* A work-item holds as much whatever TY is: what lies between need not be built. */
        while (tile->ty > ATTENTION_LEAST_TY && ATTENTION_TX * tile->ty > group) tile->ty /= 2;
    }
}

static size_t tile_bytes(struct attention_tile tile)
{
    const size_t y = tile.ty * tile.ry, x = ATTENTION_TX * tile.rx, row = tile.head + 4;
    const size_t keys = x * row, weights = y * (x + 4);
    return sizeof(float) *
           (y * row + x * row + y * ATTENTION_TX + (keys > weights ? keys : weights) + x + 2);
}

/* Wide heads take smaller tiles, for local memory and registers. */
static struct attention_tile tile_for(const colt5_context *ctx, size_t E)
{
    const int ry = tuned(ctx, TUNED_ATTENTION_RY), rx = tuned(ctx, TUNED_ATTENTION_RX);
    const size_t head = (E + 31) / 32 * 32;
    return head <= 64    ? (struct attention_tile){head, 16, ry ? ry : 4, rx ? rx : 4}
           : head <= 128 ? (struct attention_tile){head, 16, 2, 2}
                         : (struct attention_tile){head, 8, 2, 1};
}

colt5_status attention_forward_tiles(colt5_context *ctx, const struct attention_problem *a,
                                     const colt5_tensor *y, const colt5_tensor *lse)
{
    struct attention_tile tile = tile_for(ctx, a->E);
    const size_t width = attention_width(a, &y, 1);
    CHECK(attention_fit_tile(ctx, KERNEL_ATTENTION_TILES, a, width, tile_bytes, &tile));
    return launch(
        ctx, KERNEL_ATTENTION_TILES, ATTENTION_TILE_DEFINES(a, tile, width),
        GROUPS(attention_query_tiles(a, tile.ty * tile.ry), a->H, a->B, ATTENTION_TX * tile.ty),
        ARGS(ATTENTION_INPUTS(a), TENSOR(y), TENSOR(lse), ATTENTION_SIZES(a)));
}

/* Rows read and written once. */
static uint64_t bytes_of(const struct attention_problem *a, const colt5_tensor *y)
{
    const uint64_t row = a->H * a->E * colt5_type_size(y->type);
    return a->B * row * (2 * a->Q + 2 * a->M);
}

colt5_status attend_forward(colt5_context *ctx, const struct attention_problem *attention,
                            const colt5_tensor *y, const colt5_tensor *lse)
{
    const struct attention_problem *a = attention;
    count_work(ctx, 4 * a->B * a->H * a->E * a->pairs, bytes_of(a, y));
    switch (attention_kernels_for(ctx)) {
    case ATTENTION_VECTORS:
        return forward_vectors(ctx, a, y, lse);
    case ATTENTION_TILES:
        return attention_band_can(ctx, a, y, attention_forward_tiles)
                   ? attention_band(ctx, a, y, lse)
               : attention_mma_can(ctx, a, y, attention_forward_tiles)
                   ? attention_mma(ctx, a, y, lse)
                   : attention_forward_tiles(ctx, a, y, lse);
    }
    return COLT5_ERROR_INTERNAL;
}
