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

/* A device buffer of the context's; counted, and refused when larger than the device's largest. */
colt5_status buffer_create(colt5_context *ctx, size_t bytes, cl_mem *buffer);
void buffer_release(colt5_context *ctx, cl_mem *buffer);

#endif
