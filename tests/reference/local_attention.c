/* SPDX-License-Identifier: MIT */
#include <math.h>
#include <stdlib.h>

#include "reference/reference.h"

/* Element of head h of row p of qkv; part 0 is the queries, 1 the keys, 2 the values. */
static size_t row(const struct reference_local_attention *a, size_t b, size_t p, size_t part,
                  size_t h)
{
    return (((b * a->P + p) * 3 + part) * a->H + h) * a->E;
}

static bool allowed(const struct reference_local_attention *a, size_t b, size_t i, size_t j)
{
    if (a->mask && !a->mask[b * a->N + j]) return false;
    if (!a->causal) return (i > j ? i - j : j - i) <= a->window;
    return j <= i && (j / a->window == i / a->window || j / a->window + 1 == i / a->window);
}

/* The weights of the keys for query i of y, by token; gives back the log of their sum. */
static double weigh(const struct reference_local_attention *a, size_t b, size_t h, size_t i,
                    double *weight)
{
    const double *query = a->qkv + row(a, b, a->first_query + i - a->first_key, 0, h);
    double best = -INFINITY, sum = 0;
    for (size_t j = 0; j < a->N; j++) {
        weight[j] = -INFINITY;
        if (!allowed(a, b, a->first_query + i, j)) continue;
        const double *key = a->qkv + row(a, b, j - a->first_key, 1, h);
        double score = 0;
        for (size_t e = 0; e < a->E; e++) score += query[e] * key[e];
        weight[j] = score / sqrt((double)a->E);
        best = fmax(best, weight[j]);
    }
    if (best == -INFINITY) best = 0;
    for (size_t j = 0; j < a->N; j++) sum += exp(weight[j] - best);
    for (size_t j = 0; j < a->N; j++) weight[j] = sum > 0 ? exp(weight[j] - best) / sum : 0;
    return best + log(sum);
}

void reference_local_attention(const struct reference_local_attention *a, double *y, double *lse)
{
    double *weight = malloc((a->N + 1) * sizeof(*weight));
    for (size_t b = 0; b < a->B; b++)
        for (size_t h = 0; h < a->H; h++)
            for (size_t i = 0; i < a->Q; i++) {
                lse[(b * a->H + h) * a->Q + i] = weigh(a, b, h, i, weight);
                double *out = y + ((b * a->Q + i) * a->H + h) * a->E;
                for (size_t e = 0; e < a->E; e++) out[e] = 0;
                for (size_t j = 0; j < a->N; j++) {
                    if (!allowed(a, b, a->first_query + i, j)) continue;
                    const double *value = a->qkv + row(a, b, j - a->first_key, 2, h);
                    for (size_t e = 0; e < a->E; e++) out[e] += weight[j] * value[e];
                }
            }
    free(weight);
}

/* Adds what query i of y asks of its own row, its keys and its values, given their weights. */
static void add_query_gradient(const struct reference_local_attention *a, size_t b, size_t h,
                               size_t i, const double *weight, const double *dy, double *dqkv)
{
    const size_t token = a->first_query + i, query = row(a, b, token - a->first_key, 0, h);
    double mean = 0; /* of dy · value over the weights */
    for (size_t j = 0; j < a->N; j++) {
        if (!allowed(a, b, token, j)) continue;
        const double *value = a->qkv + row(a, b, j - a->first_key, 2, h);
        for (size_t e = 0; e < a->E; e++) mean += weight[j] * dy[e] * value[e];
    }
    for (size_t j = 0; j < a->N; j++) {
        if (!allowed(a, b, token, j)) continue;
        const size_t key = row(a, b, j - a->first_key, 1, h);
        const size_t value = row(a, b, j - a->first_key, 2, h);
        double slope = -mean;
        for (size_t e = 0; e < a->E; e++) slope += dy[e] * a->qkv[value + e];
        slope *= weight[j] / sqrt((double)a->E);
        for (size_t e = 0; e < a->E; e++) {
            dqkv[query + e] += slope * a->qkv[key + e];
            dqkv[key + e] += slope * a->qkv[query + e];
            dqkv[value + e] += weight[j] * dy[e];
        }
    }
}

static bool asks_nothing(const double *dy, size_t E)
{
    for (size_t e = 0; e < E; e++)
        if (dy[e] != 0) return false;
    return true;
}

void reference_local_attention_backward(const struct reference_local_attention *a, const double *dy,
                                        double *dqkv)
{
    double *weight = malloc((a->N + 1) * sizeof(*weight));
    for (size_t n = 0; n < a->B * a->P * 3 * a->H * a->E; n++) dqkv[n] = 0;
    for (size_t b = 0; b < a->B; b++)
        for (size_t h = 0; h < a->H; h++)
            for (size_t i = 0; i < a->Q; i++) {
                const double *row_dy = dy + ((b * a->Q + i) * a->H + h) * a->E;
                const bool masked = a->mask && !a->mask[b * a->N + a->first_query + i];
                if (masked || asks_nothing(row_dy, a->E)) continue;
                weigh(a, b, h, i, weight);
                add_query_gradient(a, b, h, i, weight, row_dy, dqkv);
            }
    free(weight);
}
