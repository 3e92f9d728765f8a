/* SPDX-License-Identifier: MIT */
/* How kernels that sum over rows are laid out on a device. */
#ifndef COLT5_OPS_ROWS_H
#define COLT5_OPS_ROWS_H

#include "runtime/launch.h"

/* Rows of x [..][D]: all dims but the last. */
size_t row_count(const colt5_tensor *x);
/* D, the last dim. */
size_t row_width(const colt5_tensor *x);

struct row_plan {
    size_t width; /* WIDTH: elements of a vector */
    size_t lanes; /* LANES: work-items of a row */
    size_t
        steps; /* STEPS: vectors a work-item keeps in registers; 0: none, the row is read again */
    size_t group; /* work-items of a group */
    struct define
        defines[10]; /* STORAGE, WIDTH, LANES, STEPS, WHOLE, WARPS, and the kernel's own */
};

/* What a kernel can keep of a row in a work-item's registers. */
struct row_limits {
    size_t steps;          /* vectors at most; 0: none */
    size_t values;         /* elements that it should aim at; 0: a few vectors */
    struct define more[3]; /* the kernel's own, if any */
};

/*
 * A plan for rows of D elements of this type, in vectors of width (vector_width): on a CPU a
 * work-item takes a row; on a GPU neighbours share it, so that they read neighbours.
 */
colt5_status plan_rows(colt5_context *ctx, enum kernel id, colt5_type type, size_t D, size_t width,
                       struct row_limits limits, struct row_plan *plan);

/* Work-groups for so many rows, as GROUPS. */
struct grid row_groups(const struct row_plan *plan, size_t rows);
/* The same, but on a GPU no more than it runs at a time: each goes on to the next rows. */
struct grid row_groups_in_turn(const colt5_context *ctx, const struct row_plan *plan, size_t rows);

#endif
