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

#include "runtime/stack.h"

struct workspace {
    struct stack scratch;
    struct stack kept;   /* what a backward computes again of a forward */
    struct stack *saved; /* what the running call keeps for its caller, or NULL */
    size_t limit;        /* asked by the user; 0: the device's */
    bool separate;       /* for checkers: a buffer per tensor, every buffer begins as NaN */
    bool running;        /* within a call: calls within it just run */
    int halvings;        /* of every chunk, in this try */
    bool can_halve_more; /* some chunk of this try is above its smallest */
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
 * As workspace_call, not within a call: what the run takes by keep() goes into the caller's stack,
 * which is emptied first, and stays there. reserve: bytes of scratch that another call will want
 * beside it; too little memory for them is refused too.
 */
colt5_status workspace_call_saving(colt5_context *ctx, const char *what, workspace_run run,
                                   void *call, size_t *chunk, size_t smallest, struct stack *saved,
                                   size_t reserve);

/* What a call would come to. */
struct planned {
    size_t scratch, saved; /* bytes */
    uint64_t launches, flop;
};

/* As workspace_call_saving (saved may be NULL), but only plans: no buffers, no statistics. The
 * bytes are told also when it is refused. */
colt5_status workspace_plan(colt5_context *ctx, const char *what, workspace_run run, void *call,
                            size_t *chunk, size_t smallest, struct stack *saved,
                            struct planned *planned);

/* Gives a caller's stack back. */
void workspace_release_saved(colt5_context *ctx, struct stack *saved);

/* Takes a tensor from the scratch of the running call. */
colt5_status scratch(colt5_context *ctx, colt5_type type, int rank, const size_t *dims,
                     colt5_tensor *tensor);

/* Gives back all scratch taken since the mark. */
struct stack_mark workspace_mark(colt5_context *ctx);
void workspace_rewind(colt5_context *ctx, struct stack_mark mark);

/*
 * Takes a tensor that outlives the marks of scratch: into the caller's stack where the call has
 * one, else into the workspace's own, until keep_rewind.
 */
colt5_status keep(colt5_context *ctx, colt5_type type, int rank, const size_t *dims,
                  colt5_tensor *tensor);
struct stack_mark keep_mark(colt5_context *ctx);
void keep_rewind(colt5_context *ctx, struct stack_mark mark);

/* Bytes of the workspace's own buffers. */
size_t workspace_held(const colt5_context *ctx);

void workspace_release(colt5_context *ctx);

#endif
