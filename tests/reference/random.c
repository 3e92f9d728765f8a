/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include "ops/philox.h"

/* The host's Philox, which test_random.c holds against the published vectors. */
void reference_random_uniform(uint64_t seed, uint32_t stream, uint32_t slot, uint32_t first_row,
                              double *u, size_t rows, size_t N)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t n = 0; n < N; n++)
            u[row * N + n] =
                philox_uniform(seed, (uint32_t)n, slot, first_row + (uint32_t)row, stream);
}
