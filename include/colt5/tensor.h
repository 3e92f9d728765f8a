/* SPDX-License-Identifier: MIT */
#ifndef COLT5_TENSOR_H
#define COLT5_TENSOR_H

#include <stddef.h>
#include <stdint.h>

#ifndef CL_TARGET_OPENCL_VERSION
    #define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>

#include <colt5/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Element types. F32, F16 and BF16 store values, I32 and I64 ids and indices, U8 masks. */
typedef enum colt5_type {
    COLT5_F32,
    COLT5_F16,
    COLT5_BF16,
    COLT5_I32,
    COLT5_I64,
    COLT5_U8
} colt5_type;

/** The largest rank of a tensor. */
#define COLT5_MAX_RANK 5

/**
 * A view of device memory: contiguous, row-major, last index fastest. It never owns its buffer;
 * several tensors may view one buffer.
 */
typedef struct colt5_tensor {
    cl_mem buffer;               /* the memory; the caller's */
    size_t offset;               /* of the first element, in elements */
    colt5_type type;             /* of every element */
    int rank;                    /* 1 to COLT5_MAX_RANK */
    size_t dims[COLT5_MAX_RANK]; /* dims[0 .. rank-1], slowest first */
} colt5_tensor;

/** Bytes of one element: 4, 2, 2, 4, 8 or 1; 0 for a value that is no type. */
COLT5_API
size_t colt5_type_size(colt5_type type);

/** "f32", "f16", "bf16", "i32", "i64" or "u8"; "?" for a value that is no type. */
COLT5_API
const char *colt5_type_name(colt5_type type);

/** Elements of a tensor: the product of its dims. */
COLT5_API
size_t colt5_tensor_count(const colt5_tensor *tensor);

/** A tensor over memory of the caller's, offset elements into it. dims: rank sizes. */
COLT5_API
colt5_tensor colt5_tensor_wrap(cl_mem buffer, size_t offset, colt5_type type, int rank,
                               const size_t *dims);

/**
 * A tensor over a new buffer of its own, to be given back with colt5_tensor_free.
 *
 * Errors: COLT5_ERROR_ARGUMENT, COLT5_ERROR_MEMORY (the text names the bytes asked and the
 * device's largest buffer); *tensor is then all zero.
 */
COLT5_API
colt5_status colt5_tensor_create(colt5_context *ctx, colt5_type type, int rank, const size_t *dims,
                                 colt5_tensor *tensor);

/** Releases the buffer of a tensor made by colt5_tensor_create and clears it. NULL is allowed. */
COLT5_API
void colt5_tensor_free(colt5_context *ctx, colt5_tensor *tensor);

/**
 * Copies colt5_tensor_count elements of the tensor's own type from host memory to the tensor, and
 * waits for it. Errors: COLT5_ERROR_OPENCL, COLT5_ERROR_LOST.
 */
COLT5_API
colt5_status colt5_tensor_write(colt5_context *ctx, const colt5_tensor *tensor, const void *values);

/** Copies a tensor's elements to host memory, in the tensor's own type, and waits for it. */
COLT5_API
colt5_status colt5_tensor_read(colt5_context *ctx, const colt5_tensor *tensor, void *values);

/**
 * Converts count values between F32, F16 and BF16 in host memory; rounds to nearest even, keeps
 * infinities and NaN. from and to may be equal in type; they must not overlap otherwise.
 */
COLT5_API
void colt5_convert(colt5_type from_type, const void *from, colt5_type to_type, void *to,
                   size_t count);

#ifdef __cplusplus
}
#endif
#endif
