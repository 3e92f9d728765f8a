/* SPDX-License-Identifier: MIT */
/* Host memory through one hook, device buffers, and size arithmetic that cannot wrap. */
#ifndef COLT5_RUNTIME_MEMORY_H
#define COLT5_RUNTIME_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

#include <colt5/tensor.h>

/* Host memory; NULL when there is none. host_release(NULL) does nothing. */
void *host_allocate(size_t bytes);
void *host_allocate_zeroed(size_t count, size_t bytes);
void *host_reallocate(void *memory, size_t bytes);
char *host_copy_text(const char *text);
void host_release(void *memory);

/* Blocks of host memory now held, for tests. */
size_t host_live_blocks(void);

/* a·b and a+b into *result; false (and *result SIZE_MAX) when they pass SIZE_MAX. */
bool size_multiply(size_t a, size_t b, size_t *result);
bool size_add(size_t a, size_t b, size_t *result);

/* The product of rank dims, or SIZE_MAX where it passes SIZE_MAX. */
size_t dims_product(const size_t *dims, int rank);

/* A device buffer; refused when larger than the device's largest. What a room keeps as a cache is
 * made so (with colt5_tensor_wrap over it): colt5_tensor_create counts as a live object. */
colt5_status buffer_create(colt5_context *ctx, size_t bytes, cl_mem *buffer);
/* Releases it, if there is one, and sets it to NULL. */
void buffer_release(cl_mem *buffer);
/* CL_MEM_SIZE; 0 where OpenCL does not answer. */
size_t buffer_size(cl_mem buffer);

#endif
