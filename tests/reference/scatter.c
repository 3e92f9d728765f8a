/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

/* One element: the sum over the slots of row n, and how many there are. */
static double slots_sum(const double *y, const int *index, const double *scores, size_t n, size_t d,
                        size_t K, size_t D, size_t *slots)
{
    double sum = 0;
    *slots = 0;
    for (size_t k = 0; k < K; k++)
        if (index[k] >= 0 && (size_t)index[k] == n) {
            sum += (scores ? scores[k] : 1) * y[k * D + d];
            ++*slots;
        }
    return sum;
}

void reference_scatter(const double *y, const int *index, const double *scores, bool mean,
                       const double *base, double *x, size_t B, size_t N, size_t K, size_t D)
{
    for (size_t b = 0; b < B; b++)
        for (size_t n = 0; n < N; n++)
            for (size_t d = 0; d < D; d++) {
                size_t slots;
                const double sum = slots_sum(y + b * K * D, index + b * K,
                                             scores ? scores + b * K : 0, n, d, K, D, &slots);
                const size_t i = (b * N + n) * D + d;
                if (slots) x[i] = (base ? base[i] : 0) + (mean ? sum / (double)slots : sum);
            }
}

void reference_scatter_fill(const double *y, const int *index, const double *scores, bool mean,
                            const double *row, const double *base, double *x, size_t B, size_t N,
                            size_t K, size_t D)
{
    for (size_t i = 0; i < B * N * D; i++) x[i] = (base ? base[i] : 0) + (row ? row[i % D] : 0);
    reference_scatter(y, index, scores, mean, base, x, B, N, K, D);
}

void reference_scatter_backward(const double *dx, const int *index, const double *scores, bool mean,
                                const double *y, double *dy, double *dscores, size_t B, size_t N,
                                size_t K, size_t D)
{
    for (size_t slot = 0; slot < B * K; slot++) {
        const int n = index[slot];
        size_t slots = 0;
        for (size_t k = 0; k < K; k++) slots += index[slot / K * K + k] == n;
        dscores[slot] = 0;
        for (size_t d = 0; d < D; d++) {
            const bool inside = n >= 0 && (size_t)n < N;
            const double g = inside ? dx[(slot / K * N + (size_t)n) * D + d] : 0;
            const double share = mean ? g / (double)slots : g;
            dy[slot * D + d] = (scores ? scores[slot] : 1) * share;
            dscores[slot] += share * y[slot * D + d];
        }
    }
}
