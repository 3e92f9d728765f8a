/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <stdlib.h>

bool reference_topk(const double *x, const uint8_t *mask, const double *g, double *values,
                    int *index, double *scores, double *gates, size_t B, size_t R, size_t N,
                    size_t K)
{
    int *order = malloc(N * sizeof(*order));
    if (!order) return false;
    for (size_t row = 0; row < B * R; row++) {
        const uint8_t *valid = mask ? mask + row / R * N : NULL;
        reference_order(x + row * N, valid, order, N);
        for (size_t k = 0; k < K; k++) {
            const size_t n = (size_t)order[k];
            index[row * K + k] = order[k];
            values[row * K + k] = x[row * N + n];
            scores[row * K + k] = g[row * N + n];
            gates[row * K + k] = !valid || valid[n];
        }
    }
    free(order);
    return true;
}

/* What reaches g, the solver's scores: values = x · gate, and gate as well as scores are g. */
void reference_topk_gate_gradient(const double *x, const uint8_t *mask, const int *index,
                                  const double *dvalues, const double *dscores,
                                  const double *dgates, double *dg, size_t B, size_t R, size_t N,
                                  size_t K)
{
    for (size_t i = 0; i < B * R * N; i++) dg[i] = 0;
    for (size_t i = 0; i < B * R * K; i++) {
        const size_t row = i / K, n = (size_t)index[i];
        if (!mask || mask[row / R * N + n])
            dg[row * N + n] += dvalues[i] * x[row * N + n] + dscores[i] + dgates[i];
    }
}
