/* SPDX-License-Identifier: MIT */
/*
 * Device memory taken and given back as a stack, from few big buffers. While the context is
 * planning, addresses of no buffer are handed out and only the height is measured; stack_grow then
 * makes the buffers for the real run, which must take the same way.
 */
#ifndef COLT5_RUNTIME_STACK_H
#define COLT5_RUNTIME_STACK_H

#include <colt5/tensor.h>

#define STACK_SLABS 16

struct stack {
    struct {
        cl_mem buffer;
        size_t capacity; /* bytes of buffer */
        size_t used;
        size_t peak; /* most used since the run began */
    } slabs[STACK_SLABS];
    int slab;       /* the one that is taken from */
    cl_mem *single; /* for checkers: a buffer per tensor instead */
    size_t single_count, single_capacity;
};

struct stack_mark {
    int slab;
    size_t used;
    size_t single_count;
};

/* Empties it, and forgets how high it was. */
void stack_start(struct stack *stack);

colt5_status stack_take(colt5_context *ctx, struct stack *stack, colt5_type type, int rank,
                        const size_t *dims, colt5_tensor *tensor);

/* Gives back everything taken since the mark. In-order queues make reuse at once safe. */
struct stack_mark stack_mark(const struct stack *stack);
void stack_rewind(struct stack *stack, struct stack_mark mark);

/* Bytes: what the run came to (each slab must hold its own most), and what the buffers have. */
size_t stack_peak(const struct stack *stack);
size_t stack_held(const struct stack *stack);

/* Bytes that stack_grow will have: buffers that are large enough stay. */
size_t stack_grown(const struct stack *stack);

/* Makes buffers for what the run came to. */
colt5_status stack_grow(colt5_context *ctx, struct stack *stack);

/* Gives the buffers back. */
void stack_release(struct stack *stack);

#endif
