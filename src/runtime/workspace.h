/* SPDX-License-Identifier: MIT */
/*
 * Scratch memory for layers, planned before the first launch.
 *
 * A layer's call runs twice: first planning (launch() counts and does nothing, scratch() hands out
 * addresses of no buffer), then for real over slabs as large as the plan came to. Both runs take
 * the same way, so the plan cannot be wrong. Scratch is a stack: mark, take, rewind.
 */
#ifndef COLT5_RUNTIME_WORKSPACE_H
#define COLT5_RUNTIME_WORKSPACE_H

#include <stdbool.h>

#include <colt5/tensor.h>

#define WORKSPACE_SLABS 16

struct workspace {
    struct {
        cl_mem buffer;
        size_t capacity; /* bytes of buffer */
        size_t used;
        size_t peak; /* most used since the plan began */
    } slabs[WORKSPACE_SLABS];
    int slab;          /* the one scratch() takes from */
    size_t total_peak; /* of all slabs together */
    size_t limit;      /* asked by the user; 0: the device's */
    bool separate;     /* a buffer per tensor, so that checkers see overruns */
    cl_mem *single;    /* those buffers */
    size_t single_count, single_capacity;
    int depth; /* of nested calls; the outermost plans */
};

struct workspace_mark {
    int slab;
    size_t used;
    size_t single_count;
};

/* A call that needs scratch: run is called with the context planning, then for real. */
typedef colt5_status (*workspace_run)(colt5_context *ctx, void *call);

/*
 * Plans run(ctx, call), makes the slabs, runs it. Nested calls just run. Where the plan passes what
 * the device has, chunk (may be NULL) is halved down to at least smallest and it is planned again;
 * refuses with COLT5_ERROR_MEMORY and both numbers, before any launch, when that does not help.
 */
colt5_status workspace_call(colt5_context *ctx, const char *what, workspace_run run, void *call,
                            size_t *chunk, size_t smallest);

/* As workspace_call, but only plans: *bytes is the peak; launches and flop are counted. */
colt5_status workspace_plan(colt5_context *ctx, workspace_run run, void *call, size_t *bytes);

/* Takes a tensor from the scratch of the running call. */
colt5_status scratch(colt5_context *ctx, colt5_type type, int rank, const size_t *dims,
                     colt5_tensor *tensor);

/* Gives back everything taken since the mark. In-order queues make reuse at once safe. */
struct workspace_mark workspace_mark(colt5_context *ctx);
void workspace_rewind(colt5_context *ctx, struct workspace_mark mark);

void workspace_release(colt5_context *ctx);

#endif
