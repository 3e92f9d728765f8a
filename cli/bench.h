/* SPDX-License-Identifier: MIT */
/* What the files of `colt5 bench` share. */
#ifndef CLI_BENCH_H
#define CLI_BENCH_H

#include "cli.h"
#include "trace.h"

/* One line of the report. */
struct bench_row {
    char name[160];
    colt5_type type;
    colt5_math math;
    size_t batch, seq;
    bool backward; /* forward and backward */
    double median_ms, min_ms, max_ms;
    /* Scratch and outputs; with the backward also what is kept for it and the gradients. Weights
     * and inputs are left out. */
    uint64_t peak_bytes;
    uint64_t launches, flop, bytes;
};

/* The same work as another report has it; 0: it has not. */
struct bench_other {
    double median_ms;
    uint64_t peak_bytes;
};

/* What the device can do at most, measured with the library's own ops; 0: not measured. */
struct ceilings {
    double bytes_per_second; /* moving whole rows */
    double flop_per_second;  /* a large product */
};

struct bench {
    struct session session;
    colt5_type type;
    bool type_given;
    colt5_math math;
    size_t batch, seq; /* 0: by the device, or by the text */
    size_t repeat;     /* 0: as many as two seconds hold, 1 to 20 */
    uint64_t seed;
    struct list set, only; /* ops to time, or tunables; none: all, and the README's block */
    bool backward, dense, no_ceilings, tune;
    const char *format, *text_path, *input_path, *trace_path, *compare_path;
    char *text;
    size_t text_bytes;
    struct trace *trace;       /* NULL: none is wanted */
    struct comparison *others; /* NULL: none to compare with */

    bool cpu;
    struct ceilings ceilings;
    struct bench_row *rows;
    size_t row_count, row_capacity;
    size_t steps_done, steps; /* of the progress */
};

/* Something to be timed: enqueues one call. */
typedef colt5_status (*bench_call)(colt5_context *ctx, void *what);

/* A row with everything but its figures. */
struct bench_row bench_row_of(const struct bench *bench, const char *name);
/*
 * Times a call that has run once already (kernels are built then): each waited for. Fills the
 * row's figures; outputs: bytes that the call needs besides weights, inputs and scratch. Then runs
 * it once more for the trace, where one is wanted.
 */
int bench_measure(struct bench *bench, bench_call call, void *what, uint64_t outputs,
                  struct bench_row *row);
/* Values of no meaning, near a normal distribution, the same each time. */
void bench_noise(colt5_type type, size_t count, void *values);
/* Adds a row to the report. */
int bench_add(struct bench *bench, const struct bench_row *row);

int bench_ceilings(struct bench *bench); /* bench_ceilings.c: fills bench->ceilings */
int bench_ops(struct bench *bench);      /* bench_ops.c: every op, or every one with a backward */
size_t bench_op_count(const struct bench *bench);
/* EXIT_USAGE, after a message, where --only names one that there is not. */
int bench_check_only(const struct bench *bench);
/* bench_layers.c: a config file, seeded, or a model folder; NULL: the README's block. */
int bench_layer(struct bench *bench, const char *path);

/* ---- --tune (bench_tune.c) ---- */

/* EXIT_USAGE, after a message, where an option does not go with it. */
int bench_check_tune(const struct bench *bench);
/* Searches, keeps what it finds, and prints it. */
int bench_tune(struct bench *bench);

/* ---- another report (bench_compare.c) ---- */

/* Reads a report of --format json. */
int read_comparison(const char *path, struct comparison **others);
struct bench_other find_other(const struct comparison *others, const struct bench_row *row);
void free_comparison(struct comparison *others);

/* bench_report.c */
int bench_report(const struct bench *bench);

#endif
