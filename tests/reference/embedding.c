/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

void reference_embedding_forward(const int64_t *ids, const double *weight, double *y, size_t rows,
                                 size_t V, size_t D)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t d = 0; d < D; d++)
            y[r * D + d] = ids[r] >= 0 && (uint64_t)ids[r] < V ? weight[(size_t)ids[r] * D + d] : 0;
}

void reference_token_mask(const int64_t *ids, int64_t padding, double *mask, size_t rows)
{
    for (size_t r = 0; r < rows; r++) mask[r] = ids[r] != padding;
}

void reference_embedding_backward(const int64_t *ids, const double *dy, double *dweight,
                                  size_t rows, size_t V, size_t D)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t d = 0; d < D; d++)
            if (ids[r] >= 0 && (uint64_t)ids[r] < V)
                dweight[(size_t)ids[r] * D + d] += dy[r * D + d];
}
