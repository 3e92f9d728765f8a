/* SPDX-License-Identifier: MIT */
#include "runtime/stack.h"

#include "runtime/context.h"

#define ALIGNMENT 256 /* bytes: what every device's buffers and vectors are content with */

void stack_start(struct stack *stack)
{
    stack_rewind(stack, (struct stack_mark){0, 0, 0});
    for (int i = 0; i < STACK_SLABS; i++) stack->slabs[i].used = stack->slabs[i].peak = 0;
}

size_t stack_peak(const struct stack *stack)
{
    size_t total = 0;
    for (int i = 0; i < STACK_SLABS; i++) total += stack->slabs[i].peak;
    return total;
}

size_t stack_held(const struct stack *stack)
{
    size_t total = 0;
    for (int i = 0; i < STACK_SLABS; i++) total += stack->slabs[i].capacity;
    return total;
}

size_t stack_grown(const struct stack *stack)
{
    size_t total = 0;
    for (int i = 0; i < STACK_SLABS; i++) {
        const size_t peak = stack->slabs[i].peak, capacity = stack->slabs[i].capacity;
        total += peak > capacity ? peak : capacity;
    }
    return total;
}

/* For checkers: a buffer of this size to the byte. */
static colt5_status take_single(colt5_context *ctx, struct stack *stack, size_t bytes,
                                cl_mem *buffer)
{
    if (stack->single_count == stack->single_capacity) {
        const size_t capacity = 2 * stack->single_capacity + 64;
        cl_mem *grown = host_reallocate(stack->single, capacity * sizeof(cl_mem));
        REQUIRE(ctx, grown, COLT5_ERROR_MEMORY, "workspace: no host memory");
        stack->single = grown;
        stack->single_capacity = capacity;
    }
    const colt5_status status = buffer_create(ctx, bytes, buffer);
    if (status == COLT5_OK) stack->single[stack->single_count++] = *buffer;
    return status;
}

/* Takes bytes, a multiple of ALIGNMENT, from the current slab or the next. */
static colt5_status take(colt5_context *ctx, struct stack *stack, size_t bytes, cl_mem *buffer,
                         size_t *start_byte)
{
    const size_t largest = ctx->info.largest_buffer / ALIGNMENT * ALIGNMENT;
    REQUIRE(ctx, bytes <= largest, COLT5_ERROR_MEMORY,
            "workspace: a tensor of %zu bytes is needed, the device's largest buffer has %zu",
            bytes, largest);
    if (stack->slabs[stack->slab].used > largest - bytes) {
        REQUIRE(ctx, stack->slab + 1 < STACK_SLABS, COLT5_ERROR_MEMORY,
                "workspace: more than %d buffers of %zu bytes are needed", STACK_SLABS, largest);
        stack->slabs[++stack->slab].used = 0;
    }
    const int i = stack->slab;
    const size_t end = stack->slabs[i].used + bytes;
    REQUIRE(ctx, ctx->planning || ctx->workspace.separate || end <= stack->slabs[i].capacity,
            COLT5_ERROR_INTERNAL, "workspace: byte %zu is asked, %zu were planned", end,
            stack->slabs[i].capacity);
    *start_byte = stack->slabs[i].used;
    *buffer = stack->slabs[i].buffer;
    stack->slabs[i].used = end;
    if (end > stack->slabs[i].peak) stack->slabs[i].peak = end;
    return COLT5_OK;
}

colt5_status stack_take(colt5_context *ctx, struct stack *stack, colt5_type type, int rank,
                        const size_t *dims, colt5_tensor *tensor)
{
    size_t bytes = dims_product(dims, rank), padded, start_byte = 0;
    const bool sane = size_multiply(bytes, colt5_type_size(type), &bytes) &&
                      size_add(bytes, ALIGNMENT - 1, &padded);
    REQUIRE(ctx, sane, COLT5_ERROR_MEMORY, "workspace: a tensor's size passes 2^64 bytes");
    padded = padded / ALIGNMENT * ALIGNMENT;
    cl_mem buffer = NULL;
    colt5_status status = take(ctx, stack, padded, &buffer, &start_byte);
    if (status == COLT5_OK && ctx->workspace.separate && !ctx->planning) {
        status = take_single(ctx, stack, bytes, &buffer);
        start_byte = 0;
    }
    *tensor = colt5_tensor_wrap(ctx->planning ? NULL : buffer, start_byte / colt5_type_size(type),
                                type, rank, dims);
    return status;
}

struct stack_mark stack_mark(const struct stack *stack)
{
    return (struct stack_mark){stack->slab, stack->slabs[stack->slab].used, stack->single_count};
}

void stack_rewind(struct stack *stack, struct stack_mark mark)
{
    for (int i = stack->slab; i > mark.slab; i--) stack->slabs[i].used = 0;
    stack->slab = mark.slab;
    stack->slabs[mark.slab].used = mark.used;
    /* OpenCL keeps a released buffer until the kernels that use it have run. */
    while (stack->single_count > mark.single_count)
        buffer_release(&stack->single[--stack->single_count]);
}

static void release_slab(struct stack *stack, int i)
{
    buffer_release(&stack->slabs[i].buffer);
    stack->slabs[i].capacity = 0;
}

colt5_status stack_grow(colt5_context *ctx, struct stack *stack)
{
    for (int i = 0; i < STACK_SLABS; i++) {
        if (stack->slabs[i].peak <= stack->slabs[i].capacity) continue;
        release_slab(stack, i);
        const colt5_status status =
            buffer_create(ctx, stack->slabs[i].peak, &stack->slabs[i].buffer);
        if (status != COLT5_OK) return status;
        stack->slabs[i].capacity = stack->slabs[i].peak;
    }
    return COLT5_OK;
}

void stack_release(struct stack *stack)
{
    stack_rewind(stack, (struct stack_mark){0, 0, 0});
    for (int i = 0; i < STACK_SLABS; i++) release_slab(stack, i);
    host_release(stack->single);
    stack->single = NULL;
    stack->single_capacity = 0;
}
