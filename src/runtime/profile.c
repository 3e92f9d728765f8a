/* SPDX-License-Identifier: MIT */
#include "runtime/profile.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/context.h"

#define PENDING_MOST  512 /* events not yet read; a driver keeps something for each */
#define TIMELINE_MOST 65536

struct profile {
    bool on;
    struct {
        cl_event event;
        colt5_profile_span span; /* its times are missing */
    } pending[PENDING_MOST];
    size_t pending_count;
    uint64_t calls, flop, bytes; /* of ops, and the context's counts, at the last command */
    colt5_profile_row *rows;
    size_t row_count, row_capacity;
    colt5_profile_span *spans;
    size_t span_count, span_capacity;
};

/* The row of a name; NULL when there is no host memory for a new one. */
static colt5_profile_row *row_of(struct profile *profile, const char *name)
{
    for (size_t i = 0; i < profile->row_count; i++)
        if (!strcmp(profile->rows[i].kernel, name)) return &profile->rows[i];
    if (profile->row_count == profile->row_capacity) {
        const size_t capacity = 2 * profile->row_capacity + 32;
        colt5_profile_row *grown = host_reallocate(profile->rows, capacity * sizeof(*grown));
        if (!grown) return NULL;
        profile->rows = grown;
        profile->row_capacity = capacity;
    }
    colt5_profile_row *row = &profile->rows[profile->row_count++];
    *row = (colt5_profile_row){name, 0, 0};
    return row;
}

static void add_span(struct profile *profile, const colt5_profile_span *span)
{
    if (profile->span_count == TIMELINE_MOST) return;
    if (profile->span_count == profile->span_capacity) {
        const size_t capacity = 2 * profile->span_capacity + 256;
        colt5_profile_span *grown = host_reallocate(profile->spans, capacity * sizeof(*grown));
        if (!grown) return;
        profile->spans = grown;
        profile->span_capacity = capacity;
    }
    profile->spans[profile->span_count++] = *span;
}

static bool get_time(cl_event event, cl_profiling_info which, uint64_t *time)
{
    cl_ulong value = 0;
    if (clGetEventProfilingInfo(event, which, sizeof(value), &value, NULL) != CL_SUCCESS)
        return false;
    *time = value;
    return true;
}

/* Accounts an event that has completed; one that failed has no times. */
static void account(struct profile *profile, colt5_profile_span *span, cl_event event)
{
    if (!get_time(event, CL_PROFILING_COMMAND_QUEUED, &span->queued) ||
        !get_time(event, CL_PROFILING_COMMAND_START, &span->start) ||
        !get_time(event, CL_PROFILING_COMMAND_END, &span->end))
        return;
    if (span->end < span->start) span->end = span->start;
    colt5_profile_row *row = row_of(profile, span->kernel);
    if (!row) return;
    row->calls++;
    row->nanoseconds += span->end - span->start;
    add_span(profile, span);
}

/* Waits for the first count events and accounts them; the queue is in-order. */
static void drain(struct profile *profile, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        cl_event event = profile->pending[i].event;
        if (!event) continue; /* could not be enqueued */
        clWaitForEvents(1, &event);
        account(profile, &profile->pending[i].span, event);
        clReleaseEvent(event);
    }
    profile->pending_count -= count;
    memmove(profile->pending, profile->pending + count,
            profile->pending_count * sizeof(profile->pending[0]));
}

/* An op counts its work before its first command. */
static colt5_profile_span begin_span(const colt5_context *ctx, struct profile *profile,
                                     const char *name)
{
    const bool reset = ctx->flop < profile->flop || ctx->bytes < profile->bytes;
    const uint64_t flop = reset ? 0 : profile->flop, bytes = reset ? 0 : profile->bytes;
    colt5_profile_span span = {
        .kernel = name, .part = ctx->part, .flop = ctx->flop - flop, .bytes = ctx->bytes - bytes};
    if (span.flop || span.bytes) profile->calls++;
    span.call = profile->calls;
    profile->flop = ctx->flop;
    profile->bytes = ctx->bytes;
    return span;
}

cl_event *profile_slot(colt5_context *ctx, const char *name)
{
    struct profile *profile = ctx->profile;
    if (!profile || !profile->on) return NULL;
    /* Half of them: the device still has the other half to work on. */
    if (profile->pending_count == PENDING_MOST) drain(profile, PENDING_MOST / 2);
    const size_t i = profile->pending_count++;
    profile->pending[i].span = begin_span(ctx, profile, name);
    profile->pending[i].event = NULL;
    return &profile->pending[i].event;
}

void profile_part(colt5_context *ctx, const char *part)
{
    ctx->part = part;
}

void profile_release(colt5_context *ctx)
{
    struct profile *profile = ctx->profile;
    if (!profile) return;
    drain(profile, profile->pending_count);
    host_release(profile->rows);
    host_release(profile->spans);
    host_release(profile);
    ctx->profile = NULL;
}

static bool queue_profiles(cl_command_queue queue)
{
    cl_command_queue_properties properties = 0;
    clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof(properties), &properties, NULL);
    return (properties & CL_QUEUE_PROFILING_ENABLE) != 0;
}

/* The context's own queue made anew; the old one has run dry. */
static colt5_status replace_queue(colt5_context *ctx, bool profiling)
{
    cl_int error;
    cl_command_queue queue = clCreateCommandQueue(
        ctx->cl, ctx->device, profiling ? CL_QUEUE_PROFILING_ENABLE : 0, &error);
    if (!queue) return fail_cl(ctx, "profiling", "clCreateCommandQueue", error);
    clReleaseCommandQueue(ctx->queue);
    ctx->queue = queue;
    return COLT5_OK;
}

colt5_status colt5_context_set_profiling(colt5_context *ctx, int on)
{
    REQUIRE(NULL, ctx, COLT5_ERROR_ARGUMENT, "profiling: ctx is NULL");
    REQUIRE(ctx, !on || ctx->owns_queue || queue_profiles(ctx->queue), COLT5_ERROR_ARGUMENT,
            "profiling: the application's queue lacks CL_QUEUE_PROFILING_ENABLE");
    colt5_status status = colt5_context_finish(ctx);
    if (status != COLT5_OK) return status;
    if (ctx->owns_queue && queue_profiles(ctx->queue) != (on != 0)) {
        status = replace_queue(ctx, on != 0);
        if (status != COLT5_OK) return status;
    }
    if (!on) {
        if (ctx->profile) ctx->profile->on = false;
        return COLT5_OK;
    }
    profile_release(ctx);
    ctx->profile = host_allocate_zeroed(1, sizeof(*ctx->profile));
    REQUIRE(ctx, ctx->profile, COLT5_ERROR_MEMORY, "profiling: no host memory");
    ctx->profile->on = true;
    ctx->profile->flop = ctx->flop;
    ctx->profile->bytes = ctx->bytes;
    return COLT5_OK;
}

static int most_time_first(const void *a, const void *b)
{
    const colt5_profile_row *row_a = a, *row_b = b;
    if (row_a->nanoseconds != row_b->nanoseconds)
        return row_a->nanoseconds < row_b->nanoseconds ? 1 : -1;
    return strcmp(row_a->kernel, row_b->kernel);
}

/* Waits for the queue and accounts everything pending. */
static colt5_status settle(colt5_context *ctx)
{
    const colt5_status status = colt5_context_finish(ctx);
    if (status == COLT5_OK && ctx->profile) drain(ctx->profile, ctx->profile->pending_count);
    return status;
}

colt5_status colt5_context_profile(colt5_context *ctx, colt5_profile_row *rows, size_t capacity,
                                   size_t *count)
{
    REQUIRE(NULL, ctx, COLT5_ERROR_ARGUMENT, "profile: ctx is NULL");
    REQUIRE(ctx, count && (rows || capacity == 0), COLT5_ERROR_ARGUMENT,
            "profile: count, or room for %zu rows, is missing", capacity);
    *count = 0;
    const colt5_status status = settle(ctx);
    struct profile *profile = ctx->profile;
    if (status != COLT5_OK || !profile) return status;
    if (profile->row_count > 0)
        qsort(profile->rows, profile->row_count, sizeof(*profile->rows), most_time_first);
    *count = profile->row_count;
    for (size_t i = 0; i < profile->row_count && i < capacity; i++) rows[i] = profile->rows[i];
    return COLT5_OK;
}

colt5_status colt5_context_timeline(colt5_context *ctx, colt5_profile_span *spans, size_t capacity,
                                    size_t *count)
{
    REQUIRE(NULL, ctx, COLT5_ERROR_ARGUMENT, "timeline: ctx is NULL");
    REQUIRE(ctx, count && (spans || capacity == 0), COLT5_ERROR_ARGUMENT,
            "timeline: count, or room for %zu spans, is missing", capacity);
    *count = 0;
    const colt5_status status = settle(ctx);
    const struct profile *profile = ctx->profile;
    if (status != COLT5_OK || !profile) return status;
    *count = profile->span_count;
    for (size_t i = 0; i < profile->span_count && i < capacity; i++) spans[i] = profile->spans[i];
    return COLT5_OK;
}
