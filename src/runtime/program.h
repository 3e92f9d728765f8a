/* SPDX-License-Identifier: MIT */
/* Programs: kernel sources embedded in the library, built on first use with typed defines. */
#ifndef COLT5_RUNTIME_PROGRAM_H
#define COLT5_RUNTIME_PROGRAM_H

#include <colt5/tensor.h>

#include "runtime/kernels.h"

#define MAX_DEFINES 10

/* A define that shapes the code: -D name=value. A name of NULL ends a list. */
struct define {
    const char *name;
    long value;
};

struct built_kernel {
    enum kernel id;
    char *options; /* the defines, as the compiler gets them */
    cl_kernel kernel;
    size_t largest_group; /* CL_KERNEL_WORK_GROUP_SIZE */
};

struct built_program {
    enum kernel_file file;
    char *options;
    cl_program program;
};

struct program_cache {
    struct built_kernel *kernels;
    size_t kernel_count, kernel_capacity;
    struct built_program *programs;
    size_t program_count, program_capacity;
};

/* The kernel, built with these defines (at most MAX_DEFINES, ended by a NULL name) when it is new.
 */
colt5_status program_kernel(colt5_context *ctx, enum kernel id, const struct define *defines,
                            struct built_kernel **kernel);

/* The name of a kernel in the sources. */
const char *kernel_name(enum kernel id);

void program_cache_release(colt5_context *ctx);

#endif
