/* SPDX-License-Identifier: MIT */
/*
 * Scratch memory for layers, planned before the first launch.
 *
 * A layer's call runs twice: first planning (launch() counts and does nothing, scratch() hands out
 * addresses of no buffer), then for real over slabs as large as the plan came to. Both runs must
 * take the same way, so nothing that shapes scratch may depend on what only one of them knows (a
 * tensor's values, group_size()). Scratch is a stack: mark, take, rewind.
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
        size_t peak; /* most used since the run began */
    } slabs[WORKSPACE_SLABS];
    int slab;       /* the one scratch() takes from */
    size_t limit;   /* asked by the user; 0: the device's */
    bool separate;  /* for checkers: a buffer per tensor, every buffer begins as NaN */
    cl_mem *single; /* those buffers */
    size_t single_count, single_capacity;
    bool running;        /* within a call: calls within it just run */
    int halvings;        /* of every chunk, in this try */
    bool can_halve_more; /* some chunk of this try is above its smallest */
};

struct workspace_mark {
    int slab;
    size_t used;
    size_t single_count;
};

/* A call that needs scratch: run is called with the context planning, then for real. */
typedef colt5_status (*workspace_run)(colt5_context *ctx, void *call);

/*
 * Plans run(ctx, call), makes the slabs, runs it. Within another call it just runs.
 *
 * chunk (may be NULL; usually a field of call) is the number of rows the call would like to work
 * on at once. Where the plan passes what the device has, or the device refuses the slabs, every
 * chunk of the call and of those within it is halved, down to at least its smallest, and all is
 * planned again; run reads what is left in *chunk. When that does not help the call is refused with
 * COLT5_ERROR_MEMORY and both numbers, before any launch.
 */
colt5_status workspace_call(colt5_context *ctx, const char *what, workspace_run run, void *call,
                            size_t *chunk, size_t smallest);

/*
 * As workspace_call, but only plans and makes no slabs: *bytes is the scratch the call would take,
 * also when it is refused; launches, flop and bytes are counted in the statistics. Not within a
 * call.
 */
colt5_status workspace_plan(colt5_context *ctx, const char *what, workspace_run run, void *call,
                            size_t *chunk, size_t smallest, size_t *bytes);

/* Takes a tensor from the scratch of the running call. */
colt5_status scratch(colt5_context *ctx, colt5_type type, int rank, const size_t *dims,
                     colt5_tensor *tensor);

/* Gives back everything taken since the mark. In-order queues make reuse at once safe. */
struct workspace_mark workspace_mark(colt5_context *ctx);
void workspace_rewind(colt5_context *ctx, struct workspace_mark mark);

/* Bytes of the slabs held now. */
size_t workspace_held(const colt5_context *ctx);

void workspace_release(colt5_context *ctx);

#endif
