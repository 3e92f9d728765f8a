/* SPDX-License-Identifier: MIT */
#include "runtime/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/context.h"

static colt5_allocator hooks; /* all NULL: the C library's */
static atomic_size_t live_blocks;

colt5_status colt5_set_allocator(const colt5_allocator *allocator)
{
    const bool all =
        allocator && allocator->allocate && allocator->reallocate && allocator->release;
    const bool none =
        !allocator || (!allocator->allocate && !allocator->reallocate && !allocator->release);
    REQUIRE(NULL, all || none, COLT5_ERROR_ARGUMENT,
            "set_allocator: allocate, reallocate and release must be set together");
    REQUIRE(NULL, live_blocks == 0, COLT5_ERROR_ARGUMENT,
            "set_allocator: memory of the present allocator is still held");
    hooks = all ? *allocator : (colt5_allocator){NULL, NULL, NULL, NULL};
    return COLT5_OK;
}

void *host_allocate(size_t bytes)
{
    const size_t at_least = bytes ? bytes : 1;
    void *memory = hooks.allocate ? hooks.allocate(hooks.user, at_least) : malloc(at_least);
    if (memory) live_blocks++;
    return memory;
}

void *host_allocate_zeroed(size_t count, size_t bytes)
{
    size_t total;
    if (!size_multiply(count, bytes, &total)) return NULL;
    void *memory = host_allocate(total);
    if (memory) memset(memory, 0, total);
    return memory;
}

void *host_reallocate(void *memory, size_t bytes)
{
    if (!memory) return host_allocate(bytes);
    const size_t at_least = bytes ? bytes : 1;
    return hooks.reallocate ? hooks.reallocate(hooks.user, memory, at_least)
                            : realloc(memory, at_least);
}

char *host_copy_text(const char *text)
{
    const size_t bytes = strlen(text) + 1;
    char *copy = host_allocate(bytes);
    if (copy) memcpy(copy, text, bytes);
    return copy;
}

void host_release(void *memory)
{
    if (!memory) return;
    live_blocks--;
    if (hooks.release)
        hooks.release(hooks.user, memory);
    else
        free(memory);
}

size_t host_live_blocks(void)
{
    return live_blocks;
}

bool size_multiply(size_t a, size_t b, size_t *result)
{
    if (!__builtin_mul_overflow(a, b, result)) return true;
    *result = SIZE_MAX;
    return false;
}

bool size_add(size_t a, size_t b, size_t *result)
{
    if (!__builtin_add_overflow(a, b, result)) return true;
    *result = SIZE_MAX;
    return false;
}

size_t dims_product(const size_t *dims, int rank)
{
    size_t product = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) empty = empty || dims[i] == 0;
    if (empty) return 0;
    for (int i = 0; i < rank; i++)
        if (!size_multiply(product, dims[i], &product)) return SIZE_MAX;
    return product;
}

/*
 * A buffer the device has really given: NVIDIA's driver creates one of any size and finds out at
 * its first use that there is no memory.
 */
static cl_mem create_for_good(colt5_context *ctx, size_t bytes, cl_int *error)
{
    cl_mem buffer = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, bytes, NULL, error);
    if (*error != CL_SUCCESS) return NULL;
    *error = clEnqueueMigrateMemObjects(ctx->queue, 1, &buffer,
                                        CL_MIGRATE_MEM_OBJECT_CONTENT_UNDEFINED, 0, NULL, NULL);
    if (*error == CL_SUCCESS) return buffer;
    clReleaseMemObject(buffer);
    return NULL;
}

/* NaN of every type: what is read must have been written. One write of the whole buffer, because
 * Oclgrind takes a buffer's other bytes for uninitialised once the host has written a part. */
static colt5_status poison(colt5_context *ctx, cl_mem buffer, size_t bytes)
{
    unsigned char *values = host_allocate(bytes);
    REQUIRE(ctx, values, COLT5_ERROR_MEMORY, "buffer: no host memory");
    memset(values, 0xFF, bytes);
    const cl_int error =
        clEnqueueWriteBuffer(ctx->queue, buffer, CL_TRUE, 0, bytes, values, 0, NULL, NULL);
    host_release(values);
    return error == CL_SUCCESS ? COLT5_OK : fail_cl(ctx, "buffer", "clEnqueueWriteBuffer", error);
}

colt5_status buffer_create(colt5_context *ctx, size_t bytes, cl_mem *buffer)
{
    *buffer = NULL;
    REQUIRE(ctx, !ctx->lost, COLT5_ERROR_LOST, "buffer: the device was lost");
    REQUIRE(ctx, bytes <= ctx->info.largest_buffer, COLT5_ERROR_MEMORY,
            "buffer: %zu bytes asked, the device's largest buffer has %llu", bytes,
            (unsigned long long)ctx->info.largest_buffer);
    cl_int error;
    *buffer = create_for_good(ctx, bytes ? bytes : 1, &error);
    if (*buffer && ctx->workspace.separate && bytes > 0) {
        const colt5_status status = poison(ctx, *buffer, bytes);
        if (status != COLT5_OK) buffer_release(buffer);
        return status;
    }
    if (*buffer) return COLT5_OK;
    const colt5_status status = fail_cl(ctx, "buffer", "clCreateBuffer", error);
    if (status != COLT5_ERROR_MEMORY && error != CL_OUT_OF_RESOURCES) return status;
    return ctx->lost ? status
                     : fail(ctx, COLT5_ERROR_MEMORY,
                            "buffer: no room for %zu bytes: clCreateBuffer: %s (%d)", bytes,
                            cl_error_name(error), (int)error);
}

void buffer_release(cl_mem *buffer)
{
    if (!*buffer) return;
    clReleaseMemObject(*buffer);
    *buffer = NULL;
}

size_t buffer_size(cl_mem buffer)
{
    size_t bytes = 0;
    clGetMemObjectInfo(buffer, CL_MEM_SIZE, sizeof(bytes), &bytes, NULL);
    return bytes;
}
