/* SPDX-License-Identifier: MIT */
#include "layers/saved.h"

#include <string.h>

#include "layers/layer.h"
#include "runtime/memory.h"
#include "runtime/status.h"
#include "runtime/workspace.h"

colt5_status colt5_saved_create(colt5_context *ctx, colt5_saved **out)
{
    REQUIRE(ctx, ctx && out, COLT5_ERROR_ARGUMENT, "saved: ctx or saved is NULL");
    colt5_saved *saved = *out = host_allocate_zeroed(1, sizeof(*saved));
    REQUIRE(ctx, saved, COLT5_ERROR_MEMORY, "saved: no host memory");
    saved->ctx = ctx;
    return COLT5_OK;
}

void colt5_saved_destroy(colt5_saved *saved)
{
    if (!saved) return;
    workspace_release_saved(saved->ctx, &saved->stack);
    host_release(saved->blocks);
    host_release(saved);
}

uint64_t colt5_saved_bytes(const colt5_saved *saved)
{
    return saved ? stack_peak(&saved->stack) : 0;
}

colt5_status saved_start(colt5_saved *saved, const colt5_layer *layer, const colt5_forward *forward)
{
    saved->layer = NULL;
    saved->forward = *forward;
    if (forward->x) saved->x = *forward->x;
    if (saved->depth < layer->depth) {
        struct saved_block *blocks = host_reallocate(saved->blocks, layer->depth * sizeof(*blocks));
        REQUIRE(saved->ctx, blocks, COLT5_ERROR_MEMORY, "saved: no host memory");
        saved->blocks = blocks;
    }
    saved->depth = layer->depth;
    for (size_t i = 0; i < saved->depth; i++)
        saved->blocks[i] = (struct saved_block){.x = {.buffer = NULL}};
    saved->text = (struct saved_text){.mask = {.buffer = NULL}};
    return COLT5_OK;
}

bool saved_fits(const colt5_saved *saved, const colt5_layer *layer, const colt5_forward *forward)
{
    const colt5_forward *was = &saved->forward;
    return saved->layer == layer && saved->x.rank == forward->x->rank &&
           !memcmp(saved->x.dims, forward->x->dims, 2 * sizeof(saved->x.dims[0])) &&
           !was->mask == !forward->mask && !was->recompute == !forward->recompute;
}

static const struct routed *routed_of(const struct saved_block *block, size_t i)
{
    switch (i) {
    case 0:
        return &block->attention.q;
    case 1:
        return &block->attention.kv;
    default:
        return &block->feed_forward.routed;
    }
}

#define ROUTERS 3 /* of a block */

/* Entry number `wanted` of the routers that learn; NULL past the last, *count then how many. */
static const struct routed *find(const colt5_saved *saved, size_t wanted, size_t *count)
{
    *count = 0;
    for (size_t i = 0; saved && saved->layer && i < saved->depth * ROUTERS; i++) {
        const struct routed *routed = routed_of(&saved->blocks[i / ROUTERS], i % ROUTERS);
        if (routed->learns && (*count)++ == wanted) return routed;
    }
    return NULL;
}

size_t colt5_saved_route_count(const colt5_saved *saved)
{
    size_t count;
    find(saved, SIZE_MAX, &count);
    return count;
}

colt5_status colt5_saved_get_route(const colt5_saved *saved, size_t i, colt5_saved_route *route)
{
    size_t count;
    const struct routed *routed = find(saved, i, &count);
    REQUIRE(saved ? saved->ctx : NULL, routed && route, COLT5_ERROR_ARGUMENT,
            "saved: there is no route %zu", i);
    *route = (colt5_saved_route){routed->path, routed->solved};
    return COLT5_OK;
}
