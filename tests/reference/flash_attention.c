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
