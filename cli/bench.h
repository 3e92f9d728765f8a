/* SPDX-License-Identifier: MIT */
/* What the files of `colt5 bench` share. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli.h"

/* One line of the report. */
struct bench_row {
    char name[160];
    colt5_type type;
    colt5_math math;
    size_t batch, seq;
    double median_ms, min_ms, max_ms;
    uint64_t peak_bytes; /* scratch and outputs; weights and inputs left out */
    uint64_t launches, flop, bytes;
};

/* What the device can do at most, measured with the library's own ops; 0: not measured. */
struct ceilings {
    double bytes_per_second; /* moving whole rows */
    double flop_per_second;  /* a large product */
};

struct bench {
    struct session session;
    colt5_type type;
    colt5_math math;
    size_t batch, seq; /* 0: by the device, or by the text */
    size_t repeat;     /* 0: as many as two seconds hold, 1 to 20 */
    uint64_t seed;
    struct list set;
    bool dense;
    const char *format, *text_path;
    char *text;
    size_t text_bytes;

    bool cpu;
    struct ceilings ceilings;
    struct bench_row *rows;
    size_t row_count, row_capacity;
    size_t steps_done, steps; /* of the progress */
};

/* Something to be timed: enqueues one call. */
typedef colt5_status (*bench_call)(colt5_context *ctx, void *what);

/*
 * Times a call that has run once already (kernels are built then): each waited for. Fills all of
 * the row but its name, batch and seq; outputs: bytes the call writes.
 */
int bench_measure(struct bench *bench, bench_call call, void *what, uint64_t outputs,
                  struct bench_row *row);
/* Values of no meaning, near a normal distribution, the same each time. */
void bench_noise(colt5_type type, size_t count, void *values);
/* Adds a row to the report. */
int bench_add(struct bench *bench, const struct bench_row *row);

int bench_ceilings(struct bench *bench); /* bench_ops.c: fills bench->ceilings */
int bench_ops(struct bench *bench);      /* bench_ops.c: every op */
size_t bench_op_count(void);
/* bench_layers.c: a config file, seeded, or a model folder; NULL: the README's block. */
int bench_layer(struct bench *bench, const char *path);

/* bench_report.c */
int bench_report(const struct bench *bench);

#endif
