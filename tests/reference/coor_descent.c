/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <math.h>
#include <stdlib.h>

/* The valid tokens of row `row`, one after the other; gives back how many. */
static size_t compact(const double *s, const uint8_t *mask, size_t row, size_t R, size_t N,
                      double *kept)
{
    size_t count = 0;
    for (size_t n = 0; n < N; n++)
        if (!mask || mask[row / R * N + n]) kept[count++] = s[row * N + n];
    return count;
}

/* The reverse; masked tokens become 0. */
static void spread(const double *kept, const uint8_t *mask, size_t row, size_t R, size_t N,
                   double *out)
{
    for (size_t n = 0; n < N; n++) out[row * N + n] = !mask || mask[row / R * N + n] ? *kept++ : 0;
}

static double logsumexp(const double *x, size_t count)
{
    double largest = -INFINITY, sum = 0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, x[i]);
    for (size_t i = 0; i < count; i++) sum += exp(x[i] - largest);
    return largest + log(sum);
}

void reference_coor_descent(const double *s, const uint8_t *mask,
                            const colt5_coor_descent_options *options, double *scores, size_t B,
                            size_t R, size_t N)
{
    double *v = calloc(N, sizeof(*v)), *b = calloc(N, sizeof(*b)), *x = calloc(N, sizeof(*x));
    for (size_t row = 0; row < B * R; row++) {
        const size_t count = compact(s, mask, row, R, N, v);
        double e = fmax(options->eps_init, options->eps), a = 0;
        for (size_t i = 0; i < count; i++) b[i] = -v[i];
        for (int t = 0; t < options->n_iters && count; t++) {
            for (size_t i = 0; i < count; i++) x[i] = (v[i] + b[i]) / e;
            a = e * (log(fmax(options->k, 1e-20)) - logsumexp(x, count));
            for (size_t i = 0; i < count; i++) b[i] = -fmax(v[i] + a, 0);
            e = fmax(e * options->eps_decay, options->eps);
        }
        for (size_t i = 0; i < count; i++) x[i] = exp((v[i] + a + b[i]) / e);
        spread(x, mask, row, R, N, scores);
    }
    free(v), free(b), free(x);
}

/* a_t (first) and e_t (second) of each iteration, in the scalar form; gives back e'. */
static double iterate(const double *v, size_t count, const colt5_coor_descent_options *options,
                      double (*steps)[2])
{
    const double log_k = log(fmax(options->k, 1e-20));
    double e = fmax(options->eps_init, options->eps), a = 0;
    double *x = calloc(count + 1, sizeof(*x));
    for (int t = 0; t < options->n_iters; t++) {
        for (size_t i = 0; i < count; i++) x[i] = t == 0 ? 0 : fmin(v[i] + a, 0) / e;
        a = (t == 0 ? 0 : a) + e * (log_k - logsumexp(x, count));
        steps[t][0] = a;
        steps[t][1] = e;
        e = fmax(e * options->eps_decay, options->eps);
    }
    free(x);
    return e;
}

void reference_coor_descent_scalar(const double *s, const uint8_t *mask,
                                   const colt5_coor_descent_options *options, double *scores,
                                   size_t B, size_t R, size_t N)
{
    const int T = options->n_iters;
    double *v = calloc(N, sizeof(*v)), (*steps)[2] = calloc((size_t)T, sizeof(*steps));
    for (size_t row = 0; row < B * R; row++) {
        const size_t count = compact(s, mask, row, R, N, v);
        const double e = iterate(v, count, options, steps);
        for (size_t i = 0; i < count; i++) v[i] = fmin(1, exp((v[i] + steps[T - 1][0]) / e));
        spread(v, mask, row, R, N, scores);
    }
    free(v), free(steps);
}

/* D_t of a row, from the direct gradients dv of its tokens; gives back dk. */
static double recur(const double *v, size_t count, const colt5_coor_descent_options *options,
                    double (*steps)[2], const double *dv, double *D)
{
    const int T = options->n_iters;
    const double k = fmax(options->k, 1e-20);
    double dk = 0;
    D[T - 1] = 0;
    for (size_t i = 0; i < count; i++) D[T - 1] += dv[i];
    for (int t = T - 1; t > 0; t--) {
        size_t above = 0;
        for (size_t i = 0; i < count; i++) above += v[i] + steps[t - 1][0] > 0;
        const double change = steps[t][0] - steps[t - 1][0];
        D[t - 1] = above ? D[t] * (double)above / k * exp(change / steps[t][1]) : 0;
    }
    for (int t = 0; t < T; t++) dk += D[t] * steps[t][1] / k;
    return options->k < 1e-20f || !count ? 0 : dk;
}

void reference_coor_descent_backward(const double *s, const uint8_t *mask,
                                     const colt5_coor_descent_options *options,
                                     const double *dscores, double *ds, double *dk, size_t B,
                                     size_t R, size_t N)
{
    const int T = options->n_iters;
    const double k = fmax(options->k, 1e-20);
    double *v = calloc(N, sizeof(*v)), *dv = calloc(N, sizeof(*dv));
    double(*steps)[2] = calloc((size_t)T, sizeof(*steps)), *D = calloc((size_t)T, sizeof(*D));
    for (size_t row = 0; row < B * R; row++) {
        const size_t count = compact(s, mask, row, R, N, v);
        const double e = iterate(v, count, options, steps), a = steps[T - 1][0];
        compact(dscores, mask, row, R, N, dv);
        for (size_t i = 0; i < count; i++)
            dv[i] = v[i] + a <= 0 ? dv[i] * exp((v[i] + a) / e) / e : 0;
        dk[row] = recur(v, count, options, steps, dv, D);
        for (size_t i = 0; i < count; i++)
            for (int t = 1; t < T; t++)
                if (v[i] <= -steps[t - 1][0])
                    dv[i] -= D[t] / k * exp((v[i] + steps[t][0]) / steps[t][1]);
        spread(dv, mask, row, R, N, ds);
    }
    free(v), free(dv), free(steps), free(D);
}
