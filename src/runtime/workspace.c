/* SPDX-License-Identifier: MIT */
#include "runtime/workspace.h"

#include <string.h>

#include "runtime/context.h"

#define ALIGNMENT 256 /* bytes: what every device's buffers and vectors are content with */

static void start(struct workspace *space, bool plan)
{
    for (int i = 0; i < WORKSPACE_SLABS; i++) {
        space->slabs[i].used = 0;
        if (plan) space->slabs[i].peak = 0;
    }
    space->slab = 0;
    space->total_peak = 0;
}

/* Bytes used of all slabs; those above the current one are empty. */
static size_t in_use(const struct workspace *space)
{
    size_t total = 0;
    for (int i = 0; i <= space->slab; i++) total += space->slabs[i].used;
    return total;
}

static colt5_status scratch_single(colt5_context *ctx, size_t bytes, cl_mem *buffer)
{
    struct workspace *space = &ctx->workspace;
    if (space->single_count == space->single_capacity) {
        const size_t capacity = 2 * space->single_capacity + 64;
        cl_mem *grown = host_reallocate(space->single, capacity * sizeof(*grown));
        REQUIRE(ctx, grown, COLT5_ERROR_MEMORY, "workspace: no host memory");
        space->single = grown;
        space->single_capacity = capacity;
    }
    const colt5_status status = buffer_create(ctx, bytes, buffer);
    if (status == COLT5_OK) space->single[space->single_count++] = *buffer;
    return status;
}

static colt5_status take(colt5_context *ctx, size_t bytes, cl_mem *buffer, size_t *start_byte)
{
    struct workspace *space = &ctx->workspace;
    const size_t largest = ctx->info.largest_buffer / ALIGNMENT * ALIGNMENT;
    REQUIRE(ctx, bytes <= largest, COLT5_ERROR_MEMORY,
            "workspace: a tensor of %zu bytes is needed, the device's largest buffer has %zu",
            bytes, largest);
    if (space->slabs[space->slab].used + bytes > largest) {
        REQUIRE(ctx, space->slab + 1 < WORKSPACE_SLABS, COLT5_ERROR_MEMORY,
                "workspace: more than %d buffers of %zu bytes are needed", WORKSPACE_SLABS,
                largest);
        space->slab++;
        space->slabs[space->slab].used = 0;
    }
    *start_byte = space->slabs[space->slab].used;
    *buffer = space->slabs[space->slab].buffer;
    space->slabs[space->slab].used += bytes;
    if (space->slabs[space->slab].used > space->slabs[space->slab].peak)
        space->slabs[space->slab].peak = space->slabs[space->slab].used;
    const size_t total = in_use(space);
    if (total > space->total_peak) space->total_peak = total;
    return COLT5_OK;
}

colt5_status scratch(colt5_context *ctx, colt5_type type, int rank, const size_t *dims,
                     colt5_tensor *tensor)
{
    size_t bytes = dims_product(dims, rank), padded, start_byte = 0;
    const bool sane = size_multiply(bytes, colt5_type_size(type), &bytes) &&
                      size_add(bytes, ALIGNMENT - 1, &padded);
    REQUIRE(ctx, sane, COLT5_ERROR_MEMORY, "workspace: a tensor's size passes 2^64 bytes");
    padded = padded / ALIGNMENT * ALIGNMENT;
    cl_mem buffer = NULL;
    colt5_status status = take(ctx, padded, &buffer, &start_byte);
    if (status == COLT5_OK && ctx->workspace.separate && !ctx->planning) {
        status = scratch_single(ctx, bytes, &buffer);
        start_byte = 0;
    }
    *tensor = colt5_tensor_wrap(ctx->planning ? NULL : buffer, start_byte / colt5_type_size(type),
                                type, rank, dims);
    return status;
}

struct workspace_mark workspace_mark(colt5_context *ctx)
{
    const struct workspace *space = &ctx->workspace;
    return (struct workspace_mark){space->slab, space->slabs[space->slab].used,
                                   space->single_count};
}

void workspace_rewind(colt5_context *ctx, struct workspace_mark mark)
{
    struct workspace *space = &ctx->workspace;
    for (int i = space->slab; i > mark.slab; i--) space->slabs[i].used = 0;
    space->slab = mark.slab;
    space->slabs[mark.slab].used = mark.used;
    /* OpenCL keeps a released buffer until the kernels that use it have run. */
    while (space->single_count > mark.single_count)
        buffer_release(ctx, &space->single[--space->single_count]);
}

static colt5_status plan(colt5_context *ctx, workspace_run run, void *call)
{
    start(&ctx->workspace, true);
    ctx->planning = true;
    const colt5_status status = run(ctx, call);
    ctx->planning = false;
    return status;
}

static size_t available(const colt5_context *ctx)
{
    const struct workspace *space = &ctx->workspace;
    const uint64_t memory = ctx->info.memory, held = ctx->buffer_bytes;
    const size_t free_bytes = memory > held ? (size_t)(memory - held) : 0;
    return space->limit && space->limit < free_bytes ? space->limit : free_bytes;
}

static colt5_status plan_within(colt5_context *ctx, const char *what, workspace_run run, void *call,
                                size_t *chunk, size_t smallest)
{
    const struct {
        uint64_t launches, flop, bytes;
    } before = {ctx->launches, ctx->flop, ctx->bytes};
    for (;;) {
        const colt5_status status = plan(ctx, run, call);
        ctx->launches = before.launches;
        ctx->flop = before.flop;
        ctx->bytes = before.bytes;
        const size_t needed = ctx->workspace.total_peak, have = available(ctx);
        const bool too_big = status == COLT5_ERROR_MEMORY || (status == COLT5_OK && needed > have);
        if (!too_big) return status;
        if (!chunk || *chunk / 2 < smallest)
            return status != COLT5_OK
                       ? status
                       : fail(ctx, COLT5_ERROR_MEMORY,
                              "%s: %zu bytes of scratch are needed, %zu are available", what,
                              needed, have);
        *chunk /= 2;
    }
}

static colt5_status make_slabs(colt5_context *ctx)
{
    struct workspace *space = &ctx->workspace;
    if (space->separate) return COLT5_OK;
    for (int i = 0; i < WORKSPACE_SLABS; i++) {
        if (space->slabs[i].peak <= space->slabs[i].capacity) continue;
        buffer_release(ctx, &space->slabs[i].buffer);
        space->slabs[i].capacity = 0;
        const colt5_status status =
            buffer_create(ctx, space->slabs[i].peak, &space->slabs[i].buffer);
        if (status != COLT5_OK) return status;
        space->slabs[i].capacity = space->slabs[i].peak;
    }
    return COLT5_OK;
}

colt5_status workspace_call(colt5_context *ctx, const char *what, workspace_run run, void *call,
                            size_t *chunk, size_t smallest)
{
    struct workspace *space = &ctx->workspace;
    if (space->depth > 0) return run(ctx, call);
    space->depth = 1;
    colt5_status status = plan_within(ctx, what, run, call, chunk, smallest);
    const size_t peak = space->total_peak;
    if (status == COLT5_OK) status = make_slabs(ctx);
    if (status == COLT5_OK) {
        start(space, false);
        status = run(ctx, call);
    }
    workspace_rewind(ctx, (struct workspace_mark){0, 0, 0});
    space->total_peak = peak;
    if (peak > ctx->workspace_peak) ctx->workspace_peak = peak;
    space->depth = 0;
    return status;
}

colt5_status workspace_plan(colt5_context *ctx, workspace_run run, void *call, size_t *bytes)
{
    struct workspace *space = &ctx->workspace;
    space->depth++;
    const colt5_status status = plan(ctx, run, call);
    space->depth--;
    *bytes = space->total_peak;
    return status;
}

void workspace_release(colt5_context *ctx)
{
    struct workspace *space = &ctx->workspace;
    workspace_rewind(ctx, (struct workspace_mark){0, 0, 0});
    for (int i = 0; i < WORKSPACE_SLABS; i++) buffer_release(ctx, &space->slabs[i].buffer);
    host_release(space->single);
    space->single = NULL;
    space->single_capacity = 0;
}
