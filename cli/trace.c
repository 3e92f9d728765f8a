/* SPDX-License-Identifier: MIT */
#include "trace.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The events so far: one process for each heading, times in microseconds. */
struct trace {
    json_t *events;
    int processes;
};

struct trace *trace_create(void)
{
    struct trace *trace = calloc(1, sizeof(*trace));
    if (!trace) return NULL;
    trace->events = json_array();
    if (trace->events) return trace;
    free(trace);
    return NULL;
}

void trace_destroy(struct trace *trace)
{
    if (!trace) return;
    json_decref(trace->events);
    free(trace);
}

static int add_name(struct trace *trace, const char *kind, const char *name)
{
    return json_array_append_new(trace->events, json_pack("{s:s, s:s, s:i, s:i, s:{s:s}}", "name",
                                                          kind, "ph", "M", "pid", trace->processes,
                                                          "tid", 1, "args", "name", name));
}

static double microseconds(uint64_t from, uint64_t to)
{
    return to > from ? (double)(to - from) * 1e-3 : 0;
}

/* first: when the first command of the heading began; everything counts from there. */
static int add_span(struct trace *trace, const colt5_profile_span *span, uint64_t first)
{
    json_t *event = json_pack(
        "{s:s, s:s, s:s, s:f, s:f, s:i, s:i, s:{s:I, s:f}}", "name", span->kernel, "cat", "kernel",
        "ph", "X", "ts", microseconds(first, span->start), "dur",
        microseconds(span->start, span->end), "pid", trace->processes, "tid", 1, "args", "call",
        (json_int_t)span->call, "waited_us", microseconds(span->queued, span->start));
    json_t *about = json_object_get(event, "args");
    if (span->part) json_object_set_new(about, "part", json_string(span->part));
    if (span->flop) json_object_set_new(about, "flop", json_integer((json_int_t)span->flop));
    if (span->bytes) json_object_set_new(about, "bytes", json_integer((json_int_t)span->bytes));
    return json_array_append_new(trace->events, event);
}

static int add_spans(struct trace *trace, colt5_context *ctx, const char *name,
                     const colt5_profile_span *spans, size_t count)
{
    trace->processes++;
    int failed = add_name(trace, "process_name", name) ||
                 add_name(trace, "thread_name", colt5_context_device_info(ctx)->name);
    for (size_t i = 0; i < count && !failed; i++)
        failed = add_span(trace, &spans[i], spans[0].start);
    return failed ? complain_memory() : EXIT_FINE;
}

/* A very long run has more commands than are kept. */
static void tell_missing(colt5_context *ctx, const char *name, size_t count)
{
    colt5_profile_row rows[256];
    size_t kernels;
    uint64_t ran = 0;
    if (colt5_context_profile(ctx, rows, 256, &kernels) != COLT5_OK) return;
    for (size_t i = 0; i < kernels && i < 256; i++) ran += rows[i].calls;
    if (ran > count)
        note("%s: the trace has the first %zu of %llu commands", name, count,
             (unsigned long long)ran);
}

int trace_take(struct trace *trace, colt5_context *ctx, const char *name)
{
    size_t count = 0;
    colt5_status status = colt5_context_timeline(ctx, NULL, 0, &count);
    if (status != COLT5_OK) return complain_status(ctx, status);
    colt5_profile_span *spans = calloc(count + 1, sizeof(*spans));
    if (!spans) return complain_memory();
    status = colt5_context_timeline(ctx, spans, count, &count);
    int code = status == COLT5_OK ? add_spans(trace, ctx, name, spans, count)
                                  : complain_status(ctx, status);
    free(spans);
    tell_missing(ctx, name, count);
    status = colt5_context_set_profiling(ctx, 0);
    if (code == EXIT_FINE && status != COLT5_OK) code = complain_status(ctx, status);
    return code;
}

int trace_write(const struct trace *trace, const char *path)
{
    json_t *whole = json_pack("{s:O, s:s}", "traceEvents", trace->events, "displayTimeUnit", "ms");
    char *text = whole ? json_dumps(whole, JSON_COMPACT | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(whole);
    if (!text) return complain_memory();
    const colt5_status status = colt5_write_file(path, text, strlen(text));
    free(text);
    return status == COLT5_OK ? EXIT_FINE : complain_status(NULL, status);
}
