/* SPDX-License-Identifier: MIT */
/* Every op once more, in double precision and plain loops: what the kernels are compared with. */
#ifndef TESTS_REFERENCE_REFERENCE_H
#define TESTS_REFERENCE_REFERENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* gather.c */
void reference_gather(const double *x, const int *index, double *y, size_t B, size_t N, size_t K,
                      size_t D);

#endif
