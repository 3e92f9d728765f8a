/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <math.h>
#include <stdlib.h>

/* What the order is over; qsort has no room for it. */
static const double *values;
static const uint8_t *valid;

/* Negative where token *a comes before token *b. */
static int compare(const void *a, const void *b)
{
    const int i = *(const int *)a, j = *(const int *)b;
    if (valid && !valid[i] != !valid[j]) return valid[i] ? -1 : 1;
    if (isnan(values[i]) != isnan(values[j])) return isnan(values[i]) ? 1 : -1;
    if (values[i] != values[j] && !isnan(values[i])) return values[i] > values[j] ? -1 : 1;
    return i < j ? -1 : 1;
}

void reference_order(const double *s, const uint8_t *mask, int *order, size_t N)
{
    for (size_t n = 0; n < N; n++) order[n] = (int)n;
    values = s;
    valid = mask;
    qsort(order, N, sizeof(*order), compare);
}

static int ascending(const void *a, const void *b)
{
    const int i = *(const int *)a, j = *(const int *)b;
    return (i > j) - (i < j);
}

bool reference_select(const double *s, const uint8_t *mask, int *index, size_t B, size_t R,
                      size_t N, size_t K)
{
    int *order = malloc(N * sizeof(*order));
    if (!order) return false;
    for (size_t row = 0; row < B * R; row++) {
        reference_order(s + row * N, mask ? mask + row / R * N : NULL, order, N);
        for (size_t k = 0; k < K; k++) index[row * K + k] = order[k];
        qsort(index + row * K, K, sizeof(*index), ascending);
    }
    free(order);
    return true;
}
