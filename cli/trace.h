/* SPDX-License-Identifier: MIT */
/* A file for chrome://tracing and ui.perfetto.dev: when each command ran on the device. */
#ifndef CLI_TRACE_H
#define CLI_TRACE_H

#include "cli.h"

struct trace;

/* An empty one; NULL without memory. */
struct trace *trace_create(void);
void trace_destroy(struct trace *trace);

/*
 * Adds what ran since colt5_context_set_profiling(ctx, 1), under a heading, and turns profiling
 * off. The exit code, after a message where it is not 0.
 */
int trace_take(struct trace *trace, colt5_context *ctx, const char *name);

/* Writes the file, whole or not at all. */
int trace_write(const struct trace *trace, const char *path);

#endif
