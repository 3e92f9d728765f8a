/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <math.h>

static double norm(const double *v, size_t D)
{
    double square = 0;
    for (size_t d = 0; d < D; d++) square += v[d] * v[d];
    return fmax(sqrt(square), 1e-12);
}

void reference_score(const double *x, const double *token, bool per_sample, bool cosine,
                     double scale, double *s, size_t B, size_t N, size_t D, size_t R)
{
    for (size_t b = 0; b < B; b++)
        for (size_t r = 0; r < R; r++)
            for (size_t n = 0; n < N; n++) {
                const double *row = x + (b * N + n) * D;
                const double *t = token + ((per_sample ? b * R : 0) + r) * D;
                double sum = 0;
                for (size_t d = 0; d < D; d++) sum += row[d] * t[d];
                s[(b * R + r) * N + n] = cosine ? scale * sum / norm(row, D) / norm(t, D) : sum;
            }
}

/* What one pair (row, t) adds to its gradients, for the gradient g of its score. */
static void add_pair(const double *row, const double *t, bool cosine, double scale, double g,
                     double *drow, double *dt, size_t D)
{
    const double of_row = cosine ? norm(row, D) : 1, of_t = cosine ? norm(t, D) : 1;
    double p = 0;
    for (size_t d = 0; d < D; d++) p += row[d] * t[d] / of_row / of_t;
    if (cosine) g *= scale;
    for (size_t d = 0; d < D; d++) {
        const double along_row = cosine && of_row > 1e-12 ? p * row[d] / of_row : 0;
        const double along_t = cosine && of_t > 1e-12 ? p * t[d] / of_t : 0;
        drow[d] += g * (t[d] / of_t - along_row) / of_row;
        dt[d] += g * (row[d] / of_row - along_t) / of_t;
    }
}

void reference_score_backward(const double *x, const double *token, bool per_sample, bool cosine,
                              double scale, const double *ds, double *dx, double *dtoken, size_t B,
                              size_t N, size_t D, size_t R)
{
    for (size_t b = 0; b < B; b++)
        for (size_t r = 0; r < R; r++)
            for (size_t n = 0; n < N; n++) {
                const size_t row = (b * N + n) * D, t = ((per_sample ? b * R : 0) + r) * D;
                const double g = ds[(b * R + r) * N + n];
                if (g == 0) continue;
                add_pair(x + row, token + t, cosine, scale, g, dx + row, dtoken + t, D);
            }
}
