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
