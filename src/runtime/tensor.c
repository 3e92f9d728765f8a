/* SPDX-License-Identifier: MIT */
#include <colt5/tensor.h>

#include <string.h>

#include "runtime/check.h"
#include "runtime/context.h"

static const struct {
    const char *name;
    size_t size;
} types[] = {
    [COLT5_F32] = {"f32", 4}, [COLT5_F16] = {"f16", 2}, [COLT5_BF16] = {"bf16", 2},
    [COLT5_I32] = {"i32", 4}, [COLT5_I64] = {"i64", 8}, [COLT5_U8] = {"u8", 1},
};

static bool is_type(colt5_type type)
{
    return (unsigned)type < sizeof(types) / sizeof(types[0]);
}

size_t colt5_type_size(colt5_type type)
{
    return is_type(type) ? types[type].size : 0;
}

const char *colt5_type_name(colt5_type type)
{
    return is_type(type) ? types[type].name : "?";
}

size_t colt5_tensor_count(const colt5_tensor *tensor)
{
    return dims_product(tensor->dims, tensor->rank);
}

colt5_tensor colt5_tensor_wrap(cl_mem buffer, size_t offset, colt5_type type, int rank,
                               const size_t *dims)
{
    colt5_tensor tensor = {.buffer = buffer, .offset = offset, .type = type, .rank = rank};
    for (int i = 0; i < rank && i < COLT5_MAX_RANK; i++) tensor.dims[i] = dims[i];
    return tensor;
}

colt5_status colt5_tensor_create(colt5_context *ctx, colt5_type type, int rank, const size_t *dims,
                                 colt5_tensor *tensor)
{
    REQUIRE(ctx, tensor, COLT5_ERROR_ARGUMENT, "tensor: there is nowhere to put it");
    memset(tensor, 0, sizeof(*tensor));
    REQUIRE(ctx, ctx && dims, COLT5_ERROR_ARGUMENT, "tensor: ctx or dims is NULL");
    REQUIRE(ctx, is_type(type), COLT5_ERROR_ARGUMENT, "tensor: %d is no type", (int)type);
    REQUIRE(ctx, rank >= 1 && rank <= COLT5_MAX_RANK, COLT5_ERROR_ARGUMENT,
            "tensor: a rank of %d is not in 1 to %d", rank, COLT5_MAX_RANK);
    size_t bytes = dims_product(dims, rank);
    REQUIRE(ctx, size_multiply(bytes, types[type].size, &bytes), COLT5_ERROR_MEMORY,
            "tensor: its size in bytes passes 2^64");
    cl_mem buffer;
    CHECK(buffer_create(ctx, bytes, &buffer));
    *tensor = colt5_tensor_wrap(buffer, 0, type, rank, dims);
    ctx->buffer_bytes += buffer_size(buffer);
    ctx->live_tensors++;
    return COLT5_OK;
}

void colt5_tensor_free(colt5_context *ctx, colt5_tensor *tensor)
{
    if (!tensor || !tensor->buffer) return;
    ctx->buffer_bytes -= buffer_size(tensor->buffer);
    ctx->live_tensors--;
    buffer_release(&tensor->buffer);
    memset(tensor, 0, sizeof(*tensor));
}

/* Reads, or where into is NULL writes. */
static colt5_status transfer(colt5_context *ctx, const char *op, const colt5_tensor *tensor,
                             void *into, const void *from)
{
    REQUIRE_TENSOR(ctx, op, tensor, 0);
    REQUIRE(ctx, !ctx->lost, COLT5_ERROR_LOST, "%s: the device was lost", op);
    const size_t size = types[tensor->type].size, bytes = colt5_tensor_count(tensor) * size;
    if (bytes == 0) return COLT5_OK;
    REQUIRE(ctx, into || from, COLT5_ERROR_ARGUMENT, "%s: values is NULL", op);
    const cl_int error =
        into ? clEnqueueReadBuffer(ctx->queue, tensor->buffer, CL_TRUE, tensor->offset * size,
                                   bytes, into, 0, NULL, NULL)
             : clEnqueueWriteBuffer(ctx->queue, tensor->buffer, CL_TRUE, tensor->offset * size,
                                    bytes, from, 0, NULL, NULL);
    return error == CL_SUCCESS
               ? COLT5_OK
               : fail_cl(ctx, op, into ? "clEnqueueReadBuffer" : "clEnqueueWriteBuffer", error);
}

colt5_status colt5_tensor_write(colt5_context *ctx, const colt5_tensor *tensor, const void *values)
{
    return transfer(ctx, "tensor_write", tensor, NULL, values);
}

colt5_status colt5_tensor_read(colt5_context *ctx, const colt5_tensor *tensor, void *values)
{
    return transfer(ctx, "tensor_read", tensor, values, NULL);
}
