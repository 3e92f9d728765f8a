/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <math.h>
#include <stdlib.h>

struct token {
    double s;
    size_t n;
};

/* Ascending: what is selected first comes last. */
static int by_order(const void *a, const void *b)
{
    const struct token *x = a, *y = b;
    if (x->s != y->s) return x->s < y->s ? -1 : 1;
    return x->n > y->n ? -1 : x->n < y->n;
}

static size_t sorted(const double *s, const uint8_t *mask, size_t N, struct token *tokens)
{
    size_t count = 0;
    for (size_t n = 0; n < N; n++)
        if (!mask || mask[n]) tokens[count++] = (struct token){s[n], n};
    qsort(tokens, count, sizeof(*tokens), by_order);
    return count;
}

void reference_cum_softmax(const double *s, const uint8_t *mask, double temperature, double *scores,
                           size_t B, size_t R, size_t N)
{
    struct token *tokens = calloc(N + 1, sizeof(*tokens));
    for (size_t row = 0; row < B * R; row++) {
        const size_t count = sorted(s + row * N, mask ? mask + row / R * N : NULL, N, tokens);
        double sum = 0;
        for (size_t n = 0; n < N; n++) scores[row * N + n] = 0;
        for (size_t i = 0; i < count; i++) {
            const double e = exp((tokens[i].s - tokens[count - 1].s) / temperature);
            sum += e;
            scores[row * N + tokens[i].n] = e / fmax(sum, (double)1e-6F);
        }
    }
    free(tokens);
}

void reference_cum_softmax_backward(const double *s, const uint8_t *mask, double temperature,
                                    const double *dscores, double *ds, size_t B, size_t R, size_t N)
{
    struct token *tokens = calloc(N + 1, sizeof(*tokens));
    double *sums = calloc(N + 1, sizeof(*sums));
    for (size_t row = 0; row < B * R; row++) {
        const size_t count = sorted(s + row * N, mask ? mask + row / R * N : NULL, N, tokens);
        double sum = 0, of_sums = 0;
        for (size_t n = 0; n < N; n++) ds[row * N + n] = 0;
        for (size_t i = 0; i < count; i++)
            sums[i] = sum += exp((tokens[i].s - tokens[count - 1].s) / temperature);
        for (size_t i = count; i-- > 0;) {
            const double e = exp((tokens[i].s - tokens[count - 1].s) / temperature);
            const double dscore = dscores[row * N + tokens[i].n];
            const double clamped = fmax(sums[i], (double)1e-6F);
            if (sums[i] >= (double)1e-6F) of_sums -= dscore * e / (sums[i] * sums[i]);
            ds[row * N + tokens[i].n] = (dscore / clamped + of_sums) * e / temperature;
        }
    }
    free(tokens), free(sums);
}
