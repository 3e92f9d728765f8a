/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

void reference_route_mask(const uint8_t *mask, const int *index, double *routed, size_t B, size_t R,
                          size_t N, size_t K)
{
    for (size_t b = 0; b < B; b++)
        for (size_t i = 0; i < R * K; i++) {
            const int n = index[b * R * K + i];
            const bool inside = n >= 0 && (!mask || (size_t)n < N);
            routed[b * R * K + i] = inside && (!mask || mask[b * N + (size_t)n]);
        }
}

void reference_gather_scores(const double *scores, const int *index, double *y, size_t rows,
                             size_t N, size_t K)
{
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < K; k++) {
            const int n = index[row * K + k];
            y[row * K + k] = n >= 0 && (size_t)n < N ? scores[row * N + (size_t)n] : 0;
        }
}

void reference_gather_scores_backward(const double *dy, const int *index, double *dscores,
                                      size_t rows, size_t N, size_t K)
{
    for (size_t i = 0; i < rows * N; i++) dscores[i] = 0;
    for (size_t row = 0; row < rows; row++)
        for (size_t k = 0; k < K; k++) {
            const int n = index[row * K + k];
            if (n >= 0 && (size_t)n < N) dscores[row * N + (size_t)n] += dy[row * K + k];
        }
}

void reference_block_rows(const double *s, double *s_blocks, size_t rows, size_t N, size_t width)
{
    const size_t nb = N / width;
    for (size_t row = 0; row < rows; row++)
        for (size_t block = 0; block < nb; block++)
            for (size_t j = 0; j < width; j++)
                s_blocks[(row * nb + block) * width + j] = s[row * N + block * width + j];
}

void reference_block_rows_backward(const double *ds_blocks, double *ds, size_t rows, size_t N,
                                   size_t width)
{
    const size_t nb = N / width;
    for (size_t i = 0; i < rows * N; i++) ds[i] = 0;
    for (size_t row = 0; row < rows; row++)
        for (size_t block = 0; block < nb; block++)
            for (size_t j = 0; j < width; j++)
                ds[row * N + block * width + j] += ds_blocks[(row * nb + block) * width + j];
}
