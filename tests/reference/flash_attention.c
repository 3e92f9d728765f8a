/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "reference/reference.h"

/* One key and its value for one head: where they are, and what multiplies them. */
struct pair {
    const double *key, *value;
    double key_factor, value_factor;
};

/* Pair m of head h of sample b, m = M being the null key; false where there is none. */
static bool find_pair(const struct reference_flash_attention *a, size_t b, size_t h, size_t m,
                      struct pair *pair)
{
    if (m == a->M) {
        if (!a->null_kv) return false;
        *pair = (struct pair){a->null_kv + h * a->E, a->null_kv + (a->H + h) * a->E, 1, 1};
        return true;
    }
    const size_t heads = a->H / a->R, r = h / heads, row = (b * a->R + r) * a->M + m;
    if (a->mask && !a->mask[row]) return false;
    const double *key = a->kv + (row * heads + h % heads) * 2 * a->E;
    const double score = a->kv_scores ? a->kv_scores[row] : 1;
    *pair = (struct pair){key, key + a->E, a->multiply_keys ? score : 1, score};
    return true;
}

static double dot(const double *x, const double *y, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * y[i];
    return sum;
}

/* The weights of the M + 1 pairs for query i; gives back the log of their sum. */
static double weigh(const struct reference_flash_attention *a, size_t b, size_t h, size_t i,
                    double *weight)
{
    const double *query = a->q + ((b * a->Q + i) * a->H + h) * a->E;
    const double factor = (a->q_scores ? a->q_scores[b * a->Q + i] : 1) / sqrt((double)a->E);
    double best = -INFINITY, sum = 0;
    struct pair pair;
    for (size_t m = 0; m <= a->M; m++) {
        weight[m] = -INFINITY;
        if (!find_pair(a, b, h, m, &pair)) continue;
        weight[m] = factor * pair.key_factor * dot(query, pair.key, a->E);
        best = fmax(best, weight[m]);
    }
    if (best == -INFINITY) best = 0;
    for (size_t m = 0; m <= a->M; m++) sum += exp(weight[m] - best);
    for (size_t m = 0; m <= a->M; m++) weight[m] = sum > 0 ? exp(weight[m] - best) / sum : 0;
    return best + log(sum);
}

void reference_flash_attention(const struct reference_flash_attention *a, double *y, double *lse)
{
    double *weight = malloc((a->M + 1) * sizeof(*weight));
    struct pair pair;
    for (size_t b = 0; b < a->B; b++)
        for (size_t h = 0; h < a->H; h++)
            for (size_t i = 0; i < a->Q; i++) {
                lse[(b * a->H + h) * a->Q + i] = weigh(a, b, h, i, weight);
                double *out = y + ((b * a->Q + i) * a->H + h) * a->E;
                for (size_t e = 0; e < a->E; e++) out[e] = 0;
                for (size_t m = 0; m <= a->M; m++)
                    if (find_pair(a, b, h, m, &pair))
                        for (size_t e = 0; e < a->E; e++)
                            out[e] += weight[m] * pair.value_factor * pair.value[e];
            }
    free(weight);
}

/* Where the gradient of pair m of head h goes. */
struct pair_gradient {
    double *dkey, *dvalue, *dscore;
};

static struct pair_gradient find_gradient(const struct reference_flash_attention *a, size_t b,
                                          size_t h, size_t m,
                                          const struct reference_flash_attention_gradients *d)
{
    if (m == a->M)
        return (struct pair_gradient){d->dnull_kv + h * a->E, d->dnull_kv + (a->H + h) * a->E,
                                      NULL};
    const size_t heads = a->H / a->R, r = h / heads, row = (b * a->R + r) * a->M + m;
    double *dkey = d->dkv + (row * heads + h % heads) * 2 * a->E;
    return (struct pair_gradient){dkey, dkey + a->E, d->dkv_scores + row};
}

/* Adds what query i asks of itself and of all pairs, given their weights. */
static void add_query_gradient(const struct reference_flash_attention *a, size_t b, size_t h,
                               size_t i, const double *weight, const double *dy,
                               const struct reference_flash_attention_gradients *d)
{
    const size_t at = ((b * a->Q + i) * a->H + h) * a->E, E = a->E;
    const double *query = a->q + at;
    const double root = 1 / sqrt((double)E);
    const double q_score = a->q_scores ? a->q_scores[b * a->Q + i] : 1;
    double mean = 0; /* of dy · value over the weights */
    struct pair pair;
    for (size_t m = 0; m <= a->M; m++)
        if (find_pair(a, b, h, m, &pair))
            mean += weight[m] * pair.value_factor * dot(dy + at, pair.value, E);
    for (size_t m = 0; m <= a->M; m++) {
        if (!find_pair(a, b, h, m, &pair)) continue;
        const struct pair_gradient to = find_gradient(a, b, h, m, d);
        const double through = dot(dy + at, pair.value, E);
        const double slope = weight[m] * (pair.value_factor * through - mean) * root;
        const double product = dot(query, pair.key, E);
        for (size_t e = 0; e < E; e++) {
            d->dq[at + e] += slope * q_score * pair.key_factor * pair.key[e];
            to.dkey[e] += slope * q_score * pair.key_factor * query[e];
            to.dvalue[e] += weight[m] * pair.value_factor * dy[at + e];
        }
        d->dq_scores[b * a->Q + i] += slope * pair.key_factor * product;
        if (!to.dscore) continue;
        *to.dscore += weight[m] * through + (a->multiply_keys ? slope * q_score * product : 0);
    }
}

void reference_flash_attention_backward(const struct reference_flash_attention *a, const double *dy,
                                        const struct reference_flash_attention_gradients *d)
{
    double *weight = malloc((a->M + 1) * sizeof(*weight));
    for (size_t n = 0; n < a->B * a->Q * a->H * a->E; n++) d->dq[n] = 0;
    for (size_t n = 0; n < 2 * a->B * a->M * a->H * a->E; n++) d->dkv[n] = 0;
    for (size_t n = 0; n < a->B * a->Q; n++) d->dq_scores[n] = 0;
    for (size_t n = 0; n < a->B * a->R * a->M; n++) d->dkv_scores[n] = 0;
    for (size_t b = 0; b < a->B; b++)
        for (size_t h = 0; h < a->H; h++)
            for (size_t i = 0; i < a->Q; i++) {
                const double *row = dy + ((b * a->Q + i) * a->H + h) * a->E;
                bool asks = false;
                for (size_t e = 0; e < a->E; e++) asks = asks || row[e] != 0;
                if (!asks) continue;
                weigh(a, b, h, i, weight);
                add_query_gradient(a, b, h, i, weight, dy, d);
            }
    free(weight);
}
