/* SPDX-License-Identifier: MIT */
#include "runtime/workspace.h"

#include <string.h>

#include "runtime/context.h"

static void start(struct workspace *space)
{
    stack_start(&space->scratch);
    stack_start(&space->kept);
    if (space->saved) stack_start(space->saved);
    space->can_halve_more = false;
}

static size_t peak_of(const struct workspace *space)
{
    return stack_peak(&space->scratch) + stack_peak(&space->kept);
}

size_t workspace_held(const colt5_context *ctx)
{
    return stack_held(&ctx->workspace.scratch) + stack_held(&ctx->workspace.kept);
}

/* ---- taking and giving back ---- */

colt5_status scratch(colt5_context *ctx, colt5_type type, int rank, const size_t *dims,
                     colt5_tensor *tensor)
{
    return stack_take(ctx, &ctx->workspace.scratch, type, rank, dims, tensor);
}

struct stack_mark workspace_mark(colt5_context *ctx)
{
    return stack_mark(&ctx->workspace.scratch);
}

void workspace_rewind(colt5_context *ctx, struct stack_mark mark)
{
    stack_rewind(&ctx->workspace.scratch, mark);
}

static struct stack *keeping(colt5_context *ctx)
{
    return ctx->workspace.saved ? ctx->workspace.saved : &ctx->workspace.kept;
}

colt5_status keep(colt5_context *ctx, colt5_type type, int rank, const size_t *dims,
                  colt5_tensor *tensor)
{
    return stack_take(ctx, keeping(ctx), type, rank, dims, tensor);
}

struct stack_mark keep_mark(colt5_context *ctx)
{
    return stack_mark(keeping(ctx));
}

void keep_rewind(colt5_context *ctx, struct stack_mark mark)
{
    stack_rewind(keeping(ctx), mark);
}

/* ---- buffers ---- */

/* What scratch may take: the device's memory less the context's tensors, or the user's limit. */
static size_t available(const colt5_context *ctx)
{
    const uint64_t memory = ctx->info.memory, held = ctx->buffer_bytes;
    const uint64_t left = memory > held ? memory - held : 0;
    const size_t limit = ctx->workspace.limit, most = left < SIZE_MAX ? (size_t)left : SIZE_MAX;
    return limit && limit < most ? limit : most;
}

/* The bytes of a caller's stack count as the context's tensors. */
static colt5_status grow_saved(colt5_context *ctx, struct stack *saved)
{
    if (!saved) return COLT5_OK;
    ctx->buffer_bytes -= stack_held(saved);
    const colt5_status status = stack_grow(ctx, saved);
    ctx->buffer_bytes += stack_held(saved);
    return status;
}

static colt5_status grow(colt5_context *ctx)
{
    struct workspace *space = &ctx->workspace;
    colt5_status status = grow_saved(ctx, space->saved);
    if (status == COLT5_OK) status = stack_grow(ctx, &space->kept);
    return status == COLT5_OK ? stack_grow(ctx, &space->scratch) : status;
}

static void release_own(struct workspace *space)
{
    stack_release(&space->scratch);
    stack_release(&space->kept);
}

/* Bytes the caller's stack will grow by. */
static size_t wanted_of_saved(const struct workspace *space)
{
    return space->saved ? stack_grown(space->saved) - stack_held(space->saved) : 0;
}

/* Buffers as the plan wants them; those of an earlier call stay where they do not stand in the way.
 */
static colt5_status make_slabs(colt5_context *ctx)
{
    struct workspace *space = &ctx->workspace;
    if (space->separate) return COLT5_OK;
    if (stack_grown(&space->scratch) + stack_grown(&space->kept) + wanted_of_saved(space) >
        available(ctx))
        release_own(space);
    const colt5_status status = grow(ctx);
    if (status != COLT5_ERROR_MEMORY) return status;
    release_own(space);
    clFinish(ctx->queue); /* kernels under way still hold what was just released */
    return grow(ctx);
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
    size_t reserve;
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
    const size_t peak = peak_of(space), most = peak > attempt->reserve ? peak : attempt->reserve;
    const size_t needed = most + wanted_of_saved(space), have = available(ctx);
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

/* Everything but what went to the caller's stack is given back. */
static void end(struct workspace *space)
{
    stack_rewind(&space->scratch, (struct stack_mark){0, 0, 0});
    stack_rewind(&space->kept, (struct stack_mark){0, 0, 0});
    space->saved = NULL;
    space->running = false;
}

static colt5_status plan_and_run(colt5_context *ctx, const struct attempt *attempt,
                                 struct stack *saved)
{
    struct workspace *space = &ctx->workspace;
    space->running = true;
    space->saved = saved;
    colt5_status status = plan(ctx, attempt, true);
    uncount(ctx, attempt);
    if (status == COLT5_OK) {
        start(space);
        status = attempt->run(ctx, attempt->call);
        if (peak_of(space) > ctx->workspace_peak) ctx->workspace_peak = peak_of(space);
    }
    end(space);
    return status;
}

colt5_status workspace_call(colt5_context *ctx, const char *what, workspace_run run, void *call,
                            size_t *chunk, size_t smallest)
{
    if (ctx->workspace.running) {
        shrink(&ctx->workspace, chunk, smallest);
        return run(ctx, call);
    }
    const struct attempt attempt = begin(ctx, what, run, call, chunk, smallest);
    return plan_and_run(ctx, &attempt, NULL);
}

colt5_status workspace_call_saving(colt5_context *ctx, const char *what, workspace_run run,
                                   void *call, size_t *chunk, size_t smallest, struct stack *saved,
                                   size_t reserve)
{
    REQUIRE(ctx, !ctx->workspace.running, COLT5_ERROR_INTERNAL, "%s: saving within a call", what);
    struct attempt attempt = begin(ctx, what, run, call, chunk, smallest);
    attempt.reserve = reserve;
    return plan_and_run(ctx, &attempt, saved);
}

colt5_status workspace_plan(colt5_context *ctx, const char *what, workspace_run run, void *call,
                            size_t *chunk, size_t smallest, struct stack *saved,
                            struct planned *planned)
{
    struct workspace *space = &ctx->workspace;
    *planned = (struct planned){.scratch = 0};
    REQUIRE(ctx, !space->running, COLT5_ERROR_INTERNAL, "%s: planned within a call", what);
    const struct attempt attempt = begin(ctx, what, run, call, chunk, smallest);
    space->running = true;
    space->saved = saved;
    const colt5_status status = plan(ctx, &attempt, false);
    *planned = (struct planned){.scratch = peak_of(space),
                                .saved = saved ? stack_peak(saved) : 0,
                                .launches = ctx->launches - attempt.launches,
                                .flop = ctx->flop - attempt.flop};
    uncount(ctx, &attempt);
    end(space);
    return status;
}

void workspace_release_saved(colt5_context *ctx, struct stack *saved)
{
    ctx->buffer_bytes -= stack_held(saved);
    stack_release(saved);
}

void workspace_release(colt5_context *ctx)
{
    release_own(&ctx->workspace);
}
