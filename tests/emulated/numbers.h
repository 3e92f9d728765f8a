/* SPDX-License-Identifier: MIT */
/* Numbers for a kernel built with -D STORAGE, and for its reference. */
#ifndef TESTS_EMULATED_NUMBERS_H
#define TESTS_EMULATED_NUMBERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if STORAGE == 0
typedef float storage;
#elif STORAGE == 1
typedef _Float16 storage;
#else
typedef uint16_t storage; /* bf16, by its bits */
#endif

storage stored(double x);
double value_of(storage x);

double uniform(void); /* in [0, 1) */

/* A tensor for the kernels and for the reference, of numbers that the storage has exactly. */
struct numbers {
    size_t count;
    storage *kernel;
    double *exact;
};
struct numbers some_numbers(size_t count);
void release(struct numbers *n);

/* Filled with NaN, of whichever type; the caller frees it. */
void *allocate(size_t bytes);

/* Says so, and counts it in failures, where the norm of the difference is more than bound times
 * that of `want`. `have` is of floats or of storage. */
extern int failures;
void compare(const char *what, const void *have, bool floats, const double *want, size_t count,
             double bound);

#endif
