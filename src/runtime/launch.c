/* SPDX-License-Identifier: MIT */
#include "runtime/launch.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/context.h"
#include "runtime/profile.h"

#define WIDEST_CLEAR 16 /* bytes that a work-item of clear.cl sets at most */

/* Sets one argument of a list; a tensor takes two kernel arguments. */
static cl_int set_argument(colt5_context *ctx, cl_kernel kernel, cl_uint *slot,
                           const struct argument *argument)
{
    const cl_ulong absent = UINT64_MAX;
    cl_int error;
    switch (argument->kind) {
    case ARGUMENT_TENSOR: {
        const colt5_tensor *tensor = argument->tensor;
        const cl_ulong offset = tensor ? tensor->offset : absent;
        error = clSetKernelArg(kernel, (*slot)++, sizeof(cl_mem),
                               tensor ? &tensor->buffer : &ctx->nothing);
        if (error != CL_SUCCESS) return error;
        return clSetKernelArg(kernel, (*slot)++, sizeof(offset), &offset);
    }
    case ARGUMENT_SIZE: {
        const cl_ulong size = argument->size;
        return clSetKernelArg(kernel, (*slot)++, sizeof(size), &size);
    }
    case ARGUMENT_INT: {
        const cl_int integer = argument->integer;
        return clSetKernelArg(kernel, (*slot)++, sizeof(integer), &integer);
    }
    case ARGUMENT_FLOAT: {
        const cl_float real = argument->real;
        return clSetKernelArg(kernel, (*slot)++, sizeof(real), &real);
    }
    case ARGUMENT_LOCAL:
        return clSetKernelArg(kernel, (*slot)++, argument->size, NULL);
    }
    return CL_INVALID_VALUE;
}

static colt5_status set_arguments(colt5_context *ctx, cl_kernel kernel, const char *name,
                                  struct arguments arguments)
{
    cl_uint slot = 0;
    for (size_t i = 0; i < arguments.count; i++) {
        const cl_int error = set_argument(ctx, kernel, &slot, &arguments.list[i]);
        if (error != CL_SUCCESS)
            return fail(ctx, COLT5_ERROR_OPENCL, "%s: clSetKernelArg %u: %s (%d)", name,
                        (unsigned)slot, cl_error_name(error), (int)error);
    }
    return COLT5_OK;
}

static size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

/*
 * A work-group for a plain grid: along x, which is rounded up, then along y as far as y divides:
 * kernels check x alone.
 */
static void choose_group(const colt5_context *ctx, const struct grid *grid, size_t largest,
                         size_t group[3])
{
    size_t wanted = (size_t)tuned(ctx, TUNED_PLAIN_GROUP);
    if (wanted > largest) wanted = largest;
    group[0] = group[1] = group[2] = 1;
    while (group[0] * 2 <= wanted && group[0] < grid->items[0]) group[0] *= 2;
    while (group[0] * group[1] * 2 <= wanted && grid->items[1] % (group[1] * 2) == 0) group[1] *= 2;
}

static colt5_status enqueue(colt5_context *ctx, const struct built_kernel *built,
                            const struct grid *grid)
{
    size_t global[3], group[3];
    if (grid->group[0]) {
        for (int i = 0; i < 3; i++) {
            group[i] = grid->group[i];
            global[i] = grid->items[i] * group[i];
        }
    } else {
        choose_group(ctx, grid, built->largest_group, group);
        for (int i = 0; i < 3; i++) global[i] = round_up(grid->items[i], group[i]);
    }
    const cl_int error = clEnqueueNDRangeKernel(ctx->queue, built->kernel, 3, NULL, global, group,
                                                0, NULL, profile_slot(ctx, kernel_name(built->id)));
    return error == CL_SUCCESS
               ? COLT5_OK
               : fail_cl(ctx, kernel_name(built->id), "clEnqueueNDRangeKernel", error);
}

colt5_status may_enqueue(colt5_context *ctx, const char *what)
{
    REQUIRE(ctx, !ctx->lost, COLT5_ERROR_LOST, "%s: the device was lost", what);
    REQUIRE(ctx, !ctx->callbacks.cancel || !ctx->callbacks.cancel(ctx->callbacks.user),
            COLT5_CANCELLED, "%s: cancelled", what);
    return COLT5_OK;
}

colt5_status launch(colt5_context *ctx, enum kernel id, const struct define *defines,
                    struct grid grid, struct arguments arguments)
{
    if (grid.items[0] == 0 || grid.items[1] == 0 || grid.items[2] == 0) return COLT5_OK;
    struct built_kernel *built;
    colt5_status status = COLT5_OK;
    if (!ctx->planning) {
        status = may_enqueue(ctx, kernel_name(id));
        if (status == COLT5_OK) status = program_kernel(ctx, id, defines, &built);
        if (status == COLT5_OK)
            status = set_arguments(ctx, built->kernel, kernel_name(id), arguments);
        if (status == COLT5_OK) status = enqueue(ctx, built, &grid);
    }
    if (status == COLT5_OK) ctx->launches++;
    return status;
}

colt5_status group_size(colt5_context *ctx, enum kernel id, const struct define *defines,
                        size_t wanted, size_t *group)
{
    size_t largest = ctx->info.largest_group;
    if (!ctx->planning) {
        struct built_kernel *built;
        const colt5_status status = program_kernel(ctx, id, defines, &built);
        if (status != COLT5_OK) return status;
        if (built->largest_group < largest) largest = built->largest_group;
    }
    if (wanted < largest) largest = wanted;
    for (*group = 1; *group * 2 <= largest;) *group *= 2;
    return COLT5_OK;
}

void count_work(colt5_context *ctx, uint64_t flop, uint64_t bytes)
{
    ctx->flop += flop;
    ctx->bytes += bytes;
}

bool device_is_cpu(const colt5_context *ctx)
{
    const char *kernels = getenv("COLT5_KERNELS");
    if (kernels && !strcmp(kernels, "cpu")) return true;
    if (kernels && !strcmp(kernels, "gpu")) return false;
    /* llvmpipe runs a kernel as a shader: its vectors go across work-items, and it ends the loops
     * of a work-item after 65535 turns, whatever is left of them. */
    return ctx->info.kind == COLT5_DEVICE_CPU && !strstr(ctx->info.name, "llvmpipe");
}

size_t vector_width_of(const colt5_context *ctx, colt5_type type, size_t row,
                       const colt5_tensor *const *tensors, size_t count)
{
    size_t odd = row;
    for (size_t i = 0; i < count; i++) odd |= tensors[i] ? tensors[i]->offset : 0;
    size_t width =
        device_is_cpu(ctx) ? (size_t)tuned(ctx, TUNED_VECTOR) : 16 / colt5_type_size(type);
    if (width == 16 && odd % width != 0) width = 8;
    return odd % width == 0 ? width : 1;
}

static size_t bytes_of(const colt5_tensor *tensor)
{
    return colt5_tensor_count(tensor) * colt5_type_size(tensor->type);
}

/* As copy_tensor, by a kernel: Oclgrind takes a buffer's other bytes for uninitialised once a part
 * of it was copied to. */
static colt5_status copy_checked(colt5_context *ctx, const colt5_tensor *from,
                                 const colt5_tensor *to)
{
    const size_t size = colt5_type_size(to->type), bytes = bytes_of(to);
    const colt5_tensor x =
        colt5_tensor_wrap(from->buffer, from->offset * size, COLT5_U8, 1, &bytes);
    const colt5_tensor y = colt5_tensor_wrap(to->buffer, to->offset * size, COLT5_U8, 1, &bytes);
    const uint64_t launches = ctx->launches;
    const colt5_status status = launch(ctx, KERNEL_COPY, NO_DEFINES, GRID(bytes, 1, 1),
                                       ARGS(TENSOR(&x), TENSOR(&y), SIZE(bytes)));
    ctx->launches = launches; /* a copy is none elsewhere, nor in a plan */
    return status;
}

colt5_status copy_tensor(colt5_context *ctx, const colt5_tensor *from, const colt5_tensor *to)
{
    const size_t size = colt5_type_size(from->type), bytes = bytes_of(from);
    if (ctx->planning || bytes == 0) return COLT5_OK;
    if (ctx->workspace.separate) return copy_checked(ctx, from, to);
    CHECK(may_enqueue(ctx, "copy"));
    const cl_int error =
        clEnqueueCopyBuffer(ctx->queue, from->buffer, to->buffer, from->offset * size,
                            to->offset * size, bytes, 0, NULL, profile_slot(ctx, "copy"));
    return error == CL_SUCCESS ? COLT5_OK : fail_cl(ctx, "copy", "clEnqueueCopyBuffer", error);
}

colt5_status clear_tensor(colt5_context *ctx, const colt5_tensor *tensor)
{
    size_t size = colt5_type_size(tensor->type), count = colt5_tensor_count(tensor);
    colt5_tensor elements = *tensor;
    while (size < WIDEST_CLEAR && count % 2 == 0 && elements.offset % 2 == 0) {
        size *= 2;
        count /= 2;
        elements.offset /= 2;
    }
    return launch(ctx, KERNEL_CLEAR, DEFINES(DEFINE("BYTES", size)), GRID(count, 1, 1),
                  ARGS(TENSOR(&elements), SIZE(count)));
}

colt5_status upload_tensor(colt5_context *ctx, const void *values, const colt5_tensor *tensor)
{
    return ctx->planning ? COLT5_OK : colt5_tensor_write(ctx, tensor, values);
}
