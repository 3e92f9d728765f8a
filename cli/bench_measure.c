/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "bench.h"

#define MOST 20 /* runs, where nobody said how many */

void bench_noise(colt5_type type, size_t count, void *values)
{
    enum { BLOCK = 4093 }; /* repeated; a prime, so that rows differ */
    float block[BLOCK];
    uint32_t state = 1;
    for (size_t i = 0; i < BLOCK; i++) {
        float sum = -6;
        for (int j = 0; j < 12; j++) {
            state = state * 1664525u + 1013904223u;
            sum += (float)(state >> 8) * 0x1p-24f;
        }
        block[i] = sum;
    }
    const size_t size = colt5_type_size(type);
    for (size_t done = 0; done < count; done += BLOCK)
        colt5_convert(COLT5_F32, block, type, (char *)values + done * size,
                      count - done < BLOCK ? count - done : BLOCK);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static colt5_status time_call(colt5_context *ctx, bench_call call, void *what, double *seconds)
{
    const double start = seconds_now();
    colt5_status status = call(ctx, what);
    if (status == COLT5_OK) status = colt5_context_finish(ctx);
    *seconds = seconds_now() - start;
    return status;
}

/* Whether there should be another run after count of them. */
static bool go_on(const struct bench *bench, size_t count, double spent)
{
    if (bench->repeat) return count < bench->repeat;
    return count == 0 || (count < MOST && spent < 2);
}

static void summarise(double *seconds, size_t count, struct bench_row *row)
{
    qsort(seconds, count, sizeof(*seconds), compare);
    row->median_ms = 500 * (seconds[(count - 1) / 2] + seconds[count / 2]);
    row->min_ms = 1000 * seconds[0];
    row->max_ms = 1000 * seconds[count - 1];
}

static int measure(struct bench *bench, bench_call call, void *what, double *seconds,
                   struct bench_row *row)
{
    colt5_context *ctx = bench->session.ctx;
    double spent = 0;
    size_t count = 0;
    colt5_status status = COLT5_OK;
    colt5_context_reset_statistics(ctx);
    for (; status == COLT5_OK && go_on(bench, count, spent); spent += seconds[count++])
        status = time_call(ctx, call, what, &seconds[count]);
    colt5_statistics statistics = {.struct_size = sizeof(statistics)};
    if (status == COLT5_OK) status = colt5_context_statistics(ctx, &statistics);
    if (status != COLT5_OK) return complain_status(ctx, status);
    if (interrupted()) return EXIT_INTERRUPTED;
    summarise(seconds, count, row);
    row->peak_bytes = statistics.workspace_peak;
    row->launches = statistics.launches / count;
    row->flop = statistics.flop / count;
    row->bytes = statistics.bytes / count;
    return EXIT_FINE;
}

struct bench_row bench_row_of(const struct bench *bench, const char *name)
{
    struct bench_row row = {.type = bench->type,
                            .math = bench->math,
                            .batch = bench->batch,
                            .seq = bench->seq,
                            .backward = bench->backward};
    snprintf(row.name, sizeof(row.name), "%s", name);
    return row;
}

/* The call once more, in a queue that takes times: the first one there only warms it up. */
static int trace_call(struct bench *bench, bench_call call, void *what, const struct bench_row *row)
{
    colt5_context *ctx = bench->session.ctx;
    char name[256];
    double seconds;
    snprintf(name, sizeof(name), "%s, %s, %zu x %zu%s", row->name, colt5_type_name(row->type),
             row->batch, row->seq, row->backward ? ", with backward" : "");
    for (int i = 0; i < 2; i++) {
        colt5_status status = colt5_context_set_profiling(ctx, 1);
        if (status == COLT5_OK) status = time_call(ctx, call, what, &seconds);
        if (status != COLT5_OK) return complain_status(ctx, status);
    }
    return trace_take(bench->trace, ctx, name);
}

int bench_measure(struct bench *bench, bench_call call, void *what, uint64_t outputs,
                  struct bench_row *row)
{
    double *seconds = calloc(bench->repeat ? bench->repeat : MOST, sizeof(*seconds));
    if (!seconds) return complain_memory();
    int code = measure(bench, call, what, seconds, row);
    free(seconds);
    row->peak_bytes += outputs;
    if (code == EXIT_FINE && bench->trace) code = trace_call(bench, call, what, row);
    return code;
}

int bench_add(struct bench *bench, const struct bench_row *row)
{
    if (bench->row_count == bench->row_capacity) {
        const size_t capacity = 2 * bench->row_capacity + 64;
        struct bench_row *rows = realloc(bench->rows, capacity * sizeof(*rows));
        if (!rows) return complain_memory();
        bench->rows = rows;
        bench->row_capacity = capacity;
    }
    bench->rows[bench->row_count++] = *row;
    return EXIT_FINE;
}
