/* SPDX-License-Identifier: MIT */
/* Device time per kernel, from OpenCL events, while profiling is on. */
#ifndef COLT5_RUNTIME_PROFILE_H
#define COLT5_RUNTIME_PROFILE_H

#include <colt5/context.h>

/*
 * Where the next command enqueued puts its event; NULL while profiling is off. name is what it is
 * accounted as, a text that lives as long as the library. A command that could not be enqueued
 * leaves the slot as it is. Ask right before each clEnqueue….
 */
cl_event *profile_slot(colt5_context *ctx, const char *name);

/* One command on the device, in nanoseconds of the device's clock. */
struct profile_span {
    const char *name;
    uint64_t start, end;
};

/*
 * Waits for the queue and gives the commands in the order they ran: the timeline of the first
 * TIMELINE_MOST since profiling was set. Valid until the next command is profiled.
 */
#define TIMELINE_MOST 65536
colt5_status profile_timeline(colt5_context *ctx, const struct profile_span **spans, size_t *count);

void profile_release(colt5_context *ctx);

#endif
