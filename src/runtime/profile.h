/* SPDX-License-Identifier: MIT */
/* Device time per kernel and command, from OpenCL events, while profiling is on. */
#ifndef COLT5_RUNTIME_PROFILE_H
#define COLT5_RUNTIME_PROFILE_H

#include <colt5/context.h>

/*
 * Where the next command enqueued puts its event; NULL while profiling is off. name is what it is
 * accounted as, a text that lives as long as the library. A command that could not be enqueued
 * leaves the slot as it is. Ask right before each clEnqueue….
 */
cl_event *profile_slot(colt5_context *ctx, const char *name);

/* What the commands from now on belong to within a layer, a text that lives as long as the library;
 * NULL: to none. */
void profile_part(colt5_context *ctx, const char *part);

void profile_release(colt5_context *ctx);

#endif
