/* SPDX-License-Identifier: MIT */
#include "runtime/workspace.h"

#include <string.h>

#include "runtime/context.h"

#define ALIGNMENT 256 /* bytes: what every device's buffers and vectors are content with */

static void start(struct workspace *space)
{
    for (int i = 0; i < WORKSPACE_SLABS; i++) space->slabs[i].used = space->slabs[i].peak = 0;
    space->slab = 0;
    space->can_halve_more = false;
}

/* What the run came to: each slab must hold its own most. */
static size_t peak_of(const struct workspace *space)
{
    size_t total = 0;
    for (int i = 0; i < WORKSPACE_SLABS; i++) total += space->slabs[i].peak;
    return total;
}

size_t workspace_held(const colt5_context *ctx)
{
    size_t total = 0;
    for (int i = 0; i < WORKSPACE_SLABS; i++) total += ctx->workspace.slabs[i].capacity;
    return total;
}

/* ---- taking and giving back ---- */

/* For checkers: a buffer of this size to the byte. */
static colt5_status take_single(colt5_context *ctx, size_t bytes, cl_mem *buffer)
{
    struct workspace *space = &ctx->workspace;
    if (space->single_count == space->single_capacity) {
        const size_t capacity = 2 * space->single_capacity + 64;
        cl_mem *grown = host_reallocate(space->single, capacity * sizeof(cl_mem));
        REQUIRE(ctx, grown, COLT5_ERROR_MEMORY, "workspace: no host memory");
        space->single = grown;
        space->single_capacity = capacity;
    }
    const colt5_status status = buffer_create(ctx, bytes, buffer);
    if (status == COLT5_OK) space->single[space->single_count++] = *buffer;
    return status;
}

/* Takes bytes, a multiple of ALIGNMENT, from the current slab or the next. */
static colt5_status take(colt5_context *ctx, size_t bytes, cl_mem *buffer, size_t *start_byte)
{
    struct workspace *space = &ctx->workspace;
    const size_t largest = ctx->info.largest_buffer / ALIGNMENT * ALIGNMENT;
    REQUIRE(ctx, bytes <= largest, COLT5_ERROR_MEMORY,
            "workspace: a tensor of %zu bytes is needed, the device's largest buffer has %zu",
            bytes, largest);
    if (space->slabs[space->slab].used > largest - bytes) {
        REQUIRE(ctx, space->slab + 1 < WORKSPACE_SLABS, COLT5_ERROR_MEMORY,
                "workspace: more than %d buffers of %zu bytes are needed", WORKSPACE_SLABS,
                largest);
        space->slabs[++space->slab].used = 0;
    }
    const int i = space->slab;
    const size_t end = space->slabs[i].used + bytes;
    REQUIRE(ctx, ctx->planning || space->separate || end <= space->slabs[i].capacity,
            COLT5_ERROR_INTERNAL, "workspace: byte %zu is asked, %zu were planned", end,
            space->slabs[i].capacity);
    *start_byte = space->slabs[i].used;
    *buffer = space->slabs[i].buffer;
    space->slabs[i].used = end;
    if (end > space->slabs[i].peak) space->slabs[i].peak = end;
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
        status = take_single(ctx, bytes, &buffer);
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
        buffer_release(&space->single[--space->single_count]);
}

/* ---- slabs ---- */

static void release_slabs(struct workspace *space)
{
    for (int i = 0; i < WORKSPACE_SLABS; i++) {
        buffer_release(&space->slabs[i].buffer);
        space->slabs[i].capacity = 0;
    }
}

static colt5_status grow_slabs(colt5_context *ctx)
{
    struct workspace *space = &ctx->workspace;
    for (int i = 0; i < WORKSPACE_SLABS; i++) {
        if (space->slabs[i].peak <= space->slabs[i].capacity) continue;
        buffer_release(&space->slabs[i].buffer);
        space->slabs[i].capacity = 0;
        const colt5_status status =
            buffer_create(ctx, space->slabs[i].peak, &space->slabs[i].buffer);
        if (status != COLT5_OK) return status;
        space->slabs[i].capacity = space->slabs[i].peak;
    }
    return COLT5_OK;
}

/* What scratch may take: the device's memory less the context's tensors, or the user's limit. */
static size_t available(const colt5_context *ctx)
{
    const uint64_t memory = ctx->info.memory, held = ctx->buffer_bytes;
    const uint64_t left = memory > held ? memory - held : 0;
    const size_t limit = ctx->workspace.limit, most = left < SIZE_MAX ? (size_t)left : SIZE_MAX;
    return limit && limit < most ? limit : most;
}

/* Slabs as the plan wants them; those of an earlier call stay where they do not stand in the way.
 */
static colt5_status make_slabs(colt5_context *ctx)
{
    struct workspace *space = &ctx->workspace;
    if (space->separate) return COLT5_OK;
    size_t total = 0;
    for (int i = 0; i < WORKSPACE_SLABS; i++)
        total += space->slabs[i].peak > space->slabs[i].capacity ? space->slabs[i].peak
                                                                 : space->slabs[i].capacity;
    if (total > available(ctx)) release_slabs(space);
    const colt5_status status = grow_slabs(ctx);
    if (status != COLT5_ERROR_MEMORY) return status;
    release_slabs(space);
    clFinish(ctx->queue); /* kernels under way still hold what was just released */
    return grow_slabs(ctx);
}

/* ---- planning ---- */

static void shrink(struct workspace *space, size_t *chunk, size_t smallest)
{
    if (!chunk) return;
    const size_t least = smallest ? smallest : 1;
    for (int i = 0; i < space->halvings && *chunk / 2 >= least; i++) *chunk /= 2;
    if (*chunk / 2 >= least) space->can_halve_more = true;
}

/* A call as it was asked for, and the context's state before it. */
struct attempt {
    const char *what;
    workspace_run run;
    void *call;
    size_t *chunk, wanted, smallest;
    uint64_t launches, flop, bytes;
};

static struct attempt begin(colt5_context *ctx, const char *what, workspace_run run, void *call,
                            size_t *chunk, size_t smallest)
{
    return (struct attempt){.what = what,
                            .run = run,
                            .call = call,
                            .chunk = chunk,
                            .wanted = chunk ? *chunk : 0,
                            .smallest = smallest,
                            .launches = ctx->launches,
                            .flop = ctx->flop,
                            .bytes = ctx->bytes};
}

static void uncount(colt5_context *ctx, const struct attempt *attempt)
{
    ctx->launches = attempt->launches;
    ctx->flop = attempt->flop;
    ctx->bytes = attempt->bytes;
}

/* One planning run, compared with what there is. */
static colt5_status plan_once(colt5_context *ctx, const struct attempt *attempt)
{
    struct workspace *space = &ctx->workspace;
    uncount(ctx, attempt);
    start(space);
    if (attempt->chunk) *attempt->chunk = attempt->wanted;
    shrink(space, attempt->chunk, attempt->smallest);
    ctx->planning = true;
    const colt5_status status = attempt->run(ctx, attempt->call);
    ctx->planning = false;
    if (status != COLT5_OK) return status;
    const size_t needed = peak_of(space), have = available(ctx);
    REQUIRE(ctx, needed <= have, COLT5_ERROR_MEMORY,
            "%s: %zu bytes of scratch are needed, %zu are available", attempt->what, needed, have);
    return COLT5_OK;
}

static colt5_status hold(colt5_context *ctx, const struct attempt *attempt)
{
    const size_t needed = peak_of(&ctx->workspace);
    const colt5_status status = make_slabs(ctx);
    if (status != COLT5_ERROR_MEMORY) return status;
    return fail(ctx, status,
                "%s: %zu bytes of scratch are needed, the device refused them (%zu of "
                "its %llu are the context's tensors)",
                attempt->what, needed, (size_t)ctx->buffer_bytes,
                (unsigned long long)ctx->info.memory);
}

/* Plans, and halves the chunks until the plan fits (and, if asked, the slabs were had). */
static colt5_status plan(colt5_context *ctx, const struct attempt *attempt, bool with_slabs)
{
    struct workspace *space = &ctx->workspace;
    char before[sizeof(ctx->message)]; /* a try that failed is no failure of the call */
    memcpy(before, ctx->message, sizeof(before));
    for (space->halvings = 0;; space->halvings++) {
        colt5_status status = plan_once(ctx, attempt);
        if (status == COLT5_OK && with_slabs) status = hold(ctx, attempt);
        if (status == COLT5_OK) memcpy(ctx->message, before, sizeof(before));
        if (status != COLT5_ERROR_MEMORY || !space->can_halve_more) return status;
    }
}

colt5_status workspace_call(colt5_context *ctx, const char *what, workspace_run run, void *call,
                            size_t *chunk, size_t smallest)
{
    struct workspace *space = &ctx->workspace;
    if (space->running) {
        shrink(space, chunk, smallest);
        return run(ctx, call);
    }
    const struct attempt attempt = begin(ctx, what, run, call, chunk, smallest);
    space->running = true;
    colt5_status status = plan(ctx, &attempt, true);
    uncount(ctx, &attempt);
    if (status == COLT5_OK) {
        start(space);
        status = run(ctx, call);
        if (peak_of(space) > ctx->workspace_peak) ctx->workspace_peak = peak_of(space);
    }
    workspace_rewind(ctx, (struct workspace_mark){0, 0, 0});
    space->running = false;
    return status;
}

colt5_status workspace_plan(colt5_context *ctx, const char *what, workspace_run run, void *call,
                            size_t *chunk, size_t smallest, size_t *bytes)
{
    struct workspace *space = &ctx->workspace;
    *bytes = 0;
    REQUIRE(ctx, !space->running, COLT5_ERROR_INTERNAL, "%s: planned within a call", what);
    const struct attempt attempt = begin(ctx, what, run, call, chunk, smallest);
    space->running = true;
    const colt5_status status = plan(ctx, &attempt, false);
    *bytes = peak_of(space);
    workspace_rewind(ctx, (struct workspace_mark){0, 0, 0});
    space->running = false;
    return status;
}

void workspace_release(colt5_context *ctx)
{
    struct workspace *space = &ctx->workspace;
    workspace_rewind(ctx, (struct workspace_mark){0, 0, 0});
    release_slabs(space);
    host_release(space->single);
    space->single = NULL;
    space->single_capacity = 0;
}
