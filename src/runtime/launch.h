/* SPDX-License-Identifier: MIT */
/*
 * The one door to the device's queue for kernels:
 *
 *     return launch(ctx, KERNEL_GATHER, DEFINES(STORAGE(x->type)), GRID(D, K, B),
 *                   ARGS(TENSOR(x), TENSOR(index), TENSOR(y), SIZE(N), SIZE(K), SIZE(D)));
 *
 * An empty grid does nothing. The work-group of a GRID is chosen here; GROUPS fixes it, and the
 * kernel must then accept the size group_size() gave.
 */
#ifndef COLT5_RUNTIME_LAUNCH_H
#define COLT5_RUNTIME_LAUNCH_H

#include <stdbool.h>

#include "runtime/program.h"
#include "runtime/status.h"
#include "runtime/tuning.h"

enum argument_kind {
    ARGUMENT_TENSOR, /* two kernel arguments: the buffer and, as ulong, the offset; see common.cl */
    ARGUMENT_SIZE,   /* ulong */
    ARGUMENT_INT,    /* int */
    ARGUMENT_FLOAT,  /* float */
    ARGUMENT_LOCAL   /* __local memory of so many bytes */
};

struct argument {
    enum argument_kind kind;
    const colt5_tensor *tensor; /* NULL: absent */
    size_t size;
    int integer;
    float real;
};

struct arguments {
    size_t count;
    const struct argument *list;
};

struct grid {
    size_t items[3]; /* work-items (GRID) or work-groups (GROUPS) */
    size_t group[3]; /* work-group; 0: chosen by launch */
};

#define DEFINES(...) ((const struct define[]){__VA_ARGS__, {NULL, 0}})
#define NO_DEFINES   ((const struct define[]){{NULL, 0}})
#define DEFINE(n, v)                                                                               \
    {                                                                                              \
        n, (long)(v)                                                                               \
    }
#define STORAGE(type)                                                                              \
    {                                                                                              \
        "STORAGE", (long)(type)                                                                    \
    }
#define GRID(x, y, z)          ((struct grid){{(x), (y), (z)}, {0, 0, 0}})
#define GROUPS(x, y, z, group) ((struct grid){{(x), (y), (z)}, {(group), 1, 1}})
/* x by many rows: folded along y and z, because some devices take 65535 groups along these at most.
   Kernels find theirs by grid_row(), and check it as well as x. */
#define ROW_GRID(x, rows)                                                                          \
    ((struct grid){                                                                                \
        {(x), (rows) <= 65535 ? (rows) : 32768, (rows) <= 65535 ? 1 : ((rows) + 32767) / 32768},   \
        {0, 0, 0}})
#define ARGS(...)                                                                                  \
    ((struct arguments){sizeof((const struct argument[]){__VA_ARGS__}) / sizeof(struct argument),  \
                        (const struct argument[]){__VA_ARGS__}})
#define TENSOR(t)                                                                                  \
    {                                                                                              \
        .kind = ARGUMENT_TENSOR, .tensor = (t)                                                     \
    }
#define SIZE(n)                                                                                    \
    {                                                                                              \
        .kind = ARGUMENT_SIZE, .size = (n)                                                         \
    }
#define INT(n)                                                                                     \
    {                                                                                              \
        .kind = ARGUMENT_INT, .integer = (n)                                                       \
    }
#define FLOAT(v)                                                                                   \
    {                                                                                              \
        .kind = ARGUMENT_FLOAT, .real = (v)                                                        \
    }
#define LOCAL(bytes)                                                                               \
    {                                                                                              \
        .kind = ARGUMENT_LOCAL, .size = (bytes)                                                    \
    }

/* Enqueues a kernel. While the context plans, it only counts. */
colt5_status launch(colt5_context *ctx, enum kernel id, const struct define *defines,
                    struct grid grid, struct arguments arguments);

/*
 * A power of two for GROUPS: at most wanted, the device's largest, and what the kernel itself
 * allows. While the context plans, at most wanted and the device's largest: scratch must not be
 * sized by it.
 */
colt5_status group_size(colt5_context *ctx, enum kernel id, const struct define *defines,
                        size_t wanted, size_t *group);

/* LOST on a lost device, CANCELLED where the callback says so: before each command that is not
 * enqueued by launch (a backend's product, say). */
colt5_status may_enqueue(colt5_context *ctx, const char *what);

/* Counts work for the statistics: floating-point operations and bytes moved at the least. */
void count_work(colt5_context *ctx, uint64_t flop, uint64_t bytes);

/*
 * True where the device is a CPU: kernels then take fewer, larger work-items. The environment's
 * COLT5_KERNELS, cpu or gpu, decides otherwise, so that one device can test both shapes.
 */
bool device_is_cpu(const colt5_context *ctx);

/*
 * The WIDTH for kernels that use `wide` (common.cl): the device's favourite for this storage type,
 * or less, 1 at the last, where row (the elements of a row) or the offset of one of the tensors
 * (NULL: absent) is not a multiple of it. A tensor's own type does not matter.
 */
#define vector_width(ctx, type, row, ...)                                                          \
    vector_width_of(ctx, type, row, (const colt5_tensor *const[]){__VA_ARGS__},                    \
                    sizeof((const colt5_tensor *const[]){__VA_ARGS__}) / sizeof(void *))
size_t vector_width_of(const colt5_context *ctx, colt5_type type, size_t row,
                       const colt5_tensor *const *tensors, size_t count);

/* Device to device, within the queue; a no-op while planning. */
colt5_status copy_tensor(colt5_context *ctx, const colt5_tensor *from, const colt5_tensor *to);

/* Sets every byte of a tensor to 0. */
colt5_status clear_tensor(colt5_context *ctx, const colt5_tensor *tensor);

/* Host values into a tensor, waited for; skipped while planning. For small tables. */
colt5_status upload_tensor(colt5_context *ctx, const void *values, const colt5_tensor *tensor);

#endif
