/* SPDX-License-Identifier: MIT */
#ifndef COLT5_NPY_H
#define COLT5_NPY_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** An array in host memory. */
typedef struct colt5_npy {
    colt5_type type; /* F32, F16, I32, I64 or U8 */
    int rank;        /* 0 (one value) to COLT5_MAX_RANK */
    size_t dims[COLT5_MAX_RANK];
    size_t count; /* elements */
    void *values; /* of colt5_npy_read: given back with colt5_npy_release */
} colt5_npy;

/**
 * Reads a .npy file: version 1.0 or 2.0, little-endian, C order; f2 becomes F16, f4 F32, f8 F32
 * (rounded), i4 I32, i8 I64, u1 and b1 (masks) U8. Nothing may follow the data.
 *
 * Errors: COLT5_ERROR_FILE, COLT5_ERROR_FORMAT, COLT5_ERROR_MEMORY; *array is then all zero. The
 * text is colt5_message(NULL)'s and names the file.
 */
COLT5_API
colt5_status colt5_npy_read(const char *path, colt5_npy *array);

/** Releases what colt5_npy_read made and clears it. NULL is allowed. */
COLT5_API
void colt5_npy_release(colt5_npy *array);

/**
 * Writes an array whole or not at all (colt5_write_file): F32, F16 and BF16 values as f4, I32 as
 * i4, I64 as i8, U8 as u1; version 1.0. array->count is not read: the dims say it.
 *
 * Errors: COLT5_ERROR_ARGUMENT, COLT5_ERROR_FILE, COLT5_ERROR_MEMORY.
 */
COLT5_API
colt5_status colt5_npy_write(const char *path, const colt5_npy *array);

#ifdef __cplusplus
}
#endif
#endif
