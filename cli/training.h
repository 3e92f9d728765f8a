/* SPDX-License-Identifier: MIT */
/* What a training leaves to look at: log.csv, a row a step, and loss.png. */
#ifndef CLI_TRAINING_H
#define CLI_TRAINING_H

#include "picture.h"

/* ---- log.csv (training_log.c) ---- */

/* The columns every log begins with; more may follow them. */
enum { LOG_STEP, LOG_TRAINING, LOG_HELD_OUT, LOG_FIXED };
#define LOG_NAMES "step", "training_bits", "held_out_bits"

/* The curves of a log, a point a row; NaN where a row has none. */
struct curves {
    size_t count, capacity;
    double (*points)[LOG_FIXED];
};

/* Zero is a closed one. */
struct training_log {
    int fd;
    char *path; /* NULL: closed */
    size_t columns;
    struct curves curves;
};

/*
 * Opens a log for appending. One that is there keeps its rows up to this step: what a run that was
 * killed wrote after its last checkpoint is dropped. Its columns must be the same. The exit code,
 * after a message where it is not 0.
 */
int open_log(struct training_log *log, const char *path, const char *const *names, size_t columns,
             double last_step);

/* Adds a row of as many values, and has it written when it returns; NaN leaves a cell empty. */
int add_row(struct training_log *log, const double *values);

/* May be called again. */
void close_log(struct training_log *log);

/* ---- loss.png (loss_png.c) ---- */

/*
 * Both curves over the steps, in bits per hidden byte, and the baseline as a line (0: none).
 * pixels is NULL without memory.
 */
struct picture draw_loss(const struct curves *curves, double baseline);
int write_loss_png(const struct curves *curves, double baseline, const char *path);

#endif
