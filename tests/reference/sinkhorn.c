/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <math.h>
#include <stdlib.h>

#include "ops/philox.h"

static double *numbers(size_t count)
{
    return calloc(count + 1, sizeof(double));
}

static double f_of(double s, const colt5_sinkhorn_options *options)
{
    return options->log_scores ? log(fmax(s, (double)1e-20F)) : s;
}

/* count numbers, `stride` apart. */
static double logsumexp(const double *x, size_t count, size_t stride)
{
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, x[i * stride]);
    for (size_t i = 0; i < count; i++) sum += exp(x[i * stride] - largest);
    return largest + log(sum);
}

/* Noise / temperature [K][N] of row b·R + r. */
static void draw(const colt5_sinkhorn_options *options, size_t row, size_t R, size_t N, size_t K,
                 double *q)
{
    const size_t step = options->row_step ? options->row_step : R;
    const uint32_t counter = (uint32_t)(options->first_row + row / R * step + row % R);
    for (size_t i = 0; i < K; i++)
        for (size_t n = 0; n < N; n++) {
            const double u = philox_uniform(options->seed, (uint32_t)n, (uint32_t)i, counter, 1);
            q[i * N + n] = -log(-log(u)) / options->temperature;
        }
}

/* M [K][count] of a row after all steps; token[j] is the position of its column j. */
static void iterate(const double *s, const double *q, const size_t *token, size_t count, size_t N,
                    size_t K, const colt5_sinkhorn_options *options, double *M)
{
    for (size_t i = 0; i < K; i++)
        for (size_t j = 0; j < count; j++)
            M[i * count + j] =
                f_of(s[token[j]], options) / options->temperature + q[i * N + token[j]];
    for (int t = 0; t < options->n_iters; t++) {
        for (size_t i = 0; i < K; i++) {
            const double all = logsumexp(M + i * count, count, 1);
            for (size_t j = 0; j < count; j++) M[i * count + j] -= all;
        }
        for (size_t j = 0; j < count; j++) {
            const double all = logsumexp(M + j, K, count);
            for (size_t i = 0; i < K; i++) M[i * count + j] -= all;
        }
    }
}

static size_t valid_tokens(const uint8_t *mask, size_t b, size_t N, size_t *token)
{
    size_t count = 0;
    for (size_t n = 0; n < N; n++)
        if (!mask || mask[b * N + n]) token[count++] = n;
    return count;
}

void reference_sinkhorn(const double *s, const uint8_t *mask, const colt5_sinkhorn_options *options,
                        double *plan, double *index, double *scores, size_t B, size_t R, size_t N,
                        size_t K)
{
    double *q = numbers(K * N), *M = numbers(K * N);
    size_t *token = calloc(N + 1, sizeof(*token));
    for (size_t row = 0; row < B * R; row++) {
        const size_t count = valid_tokens(mask, row / R, N, token);
        draw(options, row, R, N, K, q);
        iterate(s + row * N, q, token, count, N, K, options, M);
        for (size_t i = 0; i < K; i++) {
            size_t best = 0;
            for (size_t n = 0; n < N; n++) plan[(row * K + i) * N + n] = 0;
            for (size_t j = 0; j < count; j++) {
                plan[(row * K + i) * N + token[j]] = exp(M[i * count + j]);
                if (M[i * count + j] > M[i * count + best]) best = j;
            }
            index[row * K + i] = count ? (double)token[best] : 0;
            scores[row * K + i] = count ? exp(M[i * count + best]) : 0;
        }
    }
    free(q), free(M), free(token);
}

/* Potentials a [T][K], b [T+1][count] of a row, from b[0] = f(s) / temperature. */
static void potentials(const double *q, const size_t *token, size_t count, size_t N, size_t K,
                       int T, double *a, double *b)
{
    double *x = numbers(count > K ? count : K);
    for (int t = 0; t < T; t++, a += K, b += count) {
        for (size_t i = 0; i < K; i++) {
            for (size_t j = 0; j < count; j++) x[j] = q[i * N + token[j]] + b[j];
            a[i] = -logsumexp(x, count, 1);
        }
        for (size_t j = 0; j < count; j++) {
            for (size_t i = 0; i < K; i++) x[i] = q[i * N + token[j]] + a[i];
            b[count + j] = -logsumexp(x, K, 1);
        }
    }
    free(x);
}

/* From db after a step and da, what reaches a beside it, to db before the step. */
static void step_backward(const double *q, const size_t *token, size_t count, size_t N, size_t K,
                          const double *a, const double *before, double *da, double *db)
{
    const double *b = before + count;
    for (size_t i = 0; i < K; i++)
        for (size_t j = 0; j < count; j++) da[i] -= db[j] * exp(q[i * N + token[j]] + a[i] + b[j]);
    for (size_t j = 0; j < count; j++) {
        db[j] = 0;
        for (size_t i = 0; i < K; i++) db[j] -= da[i] * exp(q[i * N + token[j]] + a[i] + before[j]);
    }
    for (size_t i = 0; i < K; i++) da[i] = 0;
}

void reference_sinkhorn_backward(const double *s, const uint8_t *mask,
                                 const colt5_sinkhorn_options *options, const double *index,
                                 const double *dscores, double *ds, size_t B, size_t R, size_t N,
                                 size_t K)
{
    const int T = options->n_iters;
    double *q = numbers(K * N), *a = numbers((size_t)T * K), *b = numbers(((size_t)T + 1) * N);
    double *da = numbers(K), *db = numbers(N);
    size_t *token = calloc(N + 1, sizeof(*token));
    for (size_t row = 0; row < B * R; row++) {
        const size_t count = valid_tokens(mask, row / R, N, token);
        const double *end_a = a + (size_t)(T - 1) * K, *end_b = b + (size_t)T * count;
        draw(options, row, R, N, K, q);
        for (size_t j = 0; j < count; j++)
            b[j] = f_of(s[row * N + token[j]], options) / options->temperature;
        potentials(q, token, count, N, K, T, a, b);
        for (size_t j = 0; j < count; j++) db[j] = 0;
        for (size_t i = 0; i < K; i++) {
            da[i] = 0;
            for (size_t j = 0; j < count; j++)
                if ((double)token[j] == index[row * K + i]) {
                    const double M = q[i * N + token[j]] + end_a[i] + end_b[j];
                    da[i] = dscores[row * K + i] * exp(M);
                    db[j] += da[i];
                }
        }
        for (int t = T - 1; t >= 0; t--)
            step_backward(q, token, count, N, K, a + (size_t)t * K, b + (size_t)t * count, da, db);
        for (size_t n = 0; n < N; n++) ds[row * N + n] = 0;
        for (size_t j = 0; j < count; j++) {
            const double score = s[row * N + token[j]];
            const double slope = !options->log_scores ? 1 : score < (double)1e-20F ? 0 : 1 / score;
            ds[row * N + token[j]] = db[j] * slope / options->temperature;
        }
    }
    free(q), free(a), free(b), free(da), free(db), free(token);
}
