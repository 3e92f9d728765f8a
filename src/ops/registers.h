/* SPDX-License-Identifier: MIT */
/* Kernels on GPUs that keep a whole row in the registers of one work-group: in which shape a device
 * takes them. */
#ifndef COLT5_OPS_REGISTERS_H
#define COLT5_OPS_REGISTERS_H

#include <stdbool.h>

#include "runtime/launch.h"
#include "runtime/workspace.h"

/* How a row of N floats is spread. */
struct register_plan {
    size_t number;        /* among all shapes */
    size_t group, values; /* GROUP, VALUES: items, and floats of each; group 0: it is not */
    struct define defines[4];
};

/* One of these kernels. */
struct register_kernel {
    enum { REGISTERS_OF_SELECT, REGISTERS_OF_SOLVER } number;
    const char *what; /* for the log */
    /* Does a row of N floats in the shape of plan; sets *works where the result is right. */
    colt5_status (*trial)(colt5_context *ctx, const struct register_plan *plan, size_t N,
                          bool *works);
    bool halved; /* half of the items with twice the values are tried first on NVIDIA's GPUs */
};

/*
 * The shape for rows of N: none where they are too long for the device, or where it does not run
 * the kernel in any. Each shape is tried once in a context, when it is first wanted.
 */
colt5_status plan_registers(colt5_context *ctx, const struct register_kernel *kernel, size_t N,
                            struct register_plan *plan);

/* What a trial runs on: a row of which every seventh token is masked. */
struct row_trial {
    size_t N, valid;
    colt5_tensor s, mask; /* f32 [1][1][N], all different; u8 [1][N] */
    float *values;        /* of s; -infinity where masked */
    void *result;         /* room for N · 4 bytes */
    struct stack_mark mark;
};

/* To be released whether or not it could be made. */
colt5_status row_trial_make(colt5_context *ctx, size_t N, struct row_trial *trial);
void row_trial_release(colt5_context *ctx, struct row_trial *trial);

#endif
