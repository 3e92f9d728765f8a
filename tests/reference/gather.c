/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

void reference_gather(const double *x, const int *index, double *y, size_t B, size_t N, size_t K,
                      size_t D)
{
    for (size_t b = 0; b < B; b++)
        for (size_t k = 0; k < K; k++)
            for (size_t d = 0; d < D; d++) {
                const int n = index[b * K + k];
                y[(b * K + k) * D + d] =
                    n >= 0 && (size_t)n < N ? x[(b * N + (size_t)n) * D + d] : 0;
            }
}
