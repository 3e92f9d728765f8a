/* SPDX-License-Identifier: MIT */
/*
 * The attention kernels of NVIDIA's matrix units, built for this CPU (script/check-emulated),
 * beside the reference in double precision. Built with the defines of the kernels: STORAGE, EXACT,
 * LOCAL, HEAD, KEYS, and BAND for those of short windows.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lanes.h"
#include "numbers.h"
#include "reference/reference.h"

#define GROUP  128
#define OWN    64
#define LOG2_E 1.44269504088896340736

/* What the arithmetic may be off by, of the norm. */
#if STORAGE == 0
static const double forward_bound = EXACT ? 6e-7 : 1e-3, backward_bound = EXACT ? 2e-6 : 3e-3;
#else
static const double forward_bound = STORAGE == 1 ? 1e-3 : 6e-3;
static const double backward_bound = STORAGE == 1 ? 2e-3 : 1e-2;
#endif

static void spoil(struct numbers *n, size_t from, size_t count)
{
    for (size_t i = from; i < from + count; i++)
        n->exact[i] = value_of(n->kernel[i] = stored(i % 3 ? NAN : INFINITY));
}

/* ---- the kernels ---- */

#define TENSOR(type, name) type *name, uint64_t name##_offset
#define SIZES                                                                                      \
    uint64_t Q, uint64_t M, uint64_t H, uint64_t E, uint64_t R, uint64_t N, uint64_t first_key,    \
        uint64_t first_query, uint64_t window, int causal
#define SIZES_OF(c)                                                                                \
    (c)->Q, (c)->M, (c)->H, (c)->E, (c)->R, (c)->N, (c)->first_key, (c)->first_query, (c)->window, \
        (c)->causal
#define GIVE(p) (p), (p) ? 0 : UINT64_MAX

void attention_mma(TENSOR(const storage, q), TENSOR(const storage, kv),
                   TENSOR(const storage, null_kv), TENSOR(const uint8_t, mask),
                   TENSOR(const float, q_scores), TENSOR(const float, kv_scores), int multiply,
                   TENSOR(storage, y), TENSOR(float, lse), SIZES);
void attention_mma_dq(TENSOR(const storage, q), TENSOR(const storage, kv),
                      TENSOR(const storage, null_kv), TENSOR(const uint8_t, mask),
                      TENSOR(const float, q_scores), TENSOR(const float, kv_scores), int multiply,
                      TENSOR(const storage, dy), TENSOR(const float, terms), uint64_t plane,
                      TENSOR(storage, dq), TENSOR(float, dscores), TENSOR(float, dnull), SIZES);
void attention_mma_dkv(TENSOR(const storage, q), TENSOR(const storage, kv),
                       TENSOR(const uint8_t, mask), TENSOR(const float, q_scores),
                       TENSOR(const float, kv_scores), int multiply, TENSOR(const storage, dy),
                       TENSOR(const float, terms), uint64_t plane, TENSOR(storage, dkv),
                       TENSOR(float, dscores), SIZES);
void attention_band(TENSOR(const storage, qkv), TENSOR(const uint8_t, mask), TENSOR(storage, y),
                    TENSOR(float, lse), SIZES);
void attention_band_dq(TENSOR(const storage, qkv), TENSOR(const uint8_t, mask),
                       TENSOR(const storage, dy), TENSOR(const float, terms), uint64_t plane,
                       TENSOR(storage, dqkv), SIZES);
void attention_band_dkv(TENSOR(const storage, qkv), TENSOR(const uint8_t, mask),
                        TENSOR(const storage, dy), TENSOR(const float, terms), uint64_t plane,
                        TENSOR(storage, dqkv), SIZES);

/* One problem, as the kernels are given it; NULL: absent. */
struct call {
    size_t B, Q, M, H, E, R, N, first_key, first_query, window;
    int causal, multiply;
    const storage *q, *kv, *null_kv, *dy;
    const uint8_t *mask;
    const float *q_scores, *kv_scores, *terms;
    storage *y, *dq, *dkv;
    float *lse, *dq_scores, *dkv_scores, *dnull;
};

static void forward(const void *arguments)
{
    const struct call *c = arguments;
#if BAND
    attention_band(GIVE(c->q), GIVE(c->mask), GIVE(c->y), GIVE(c->lse), SIZES_OF(c));
#else
    attention_mma(GIVE(c->q), GIVE(c->kv), GIVE(c->null_kv), GIVE(c->mask), GIVE(c->q_scores),
                  GIVE(c->kv_scores), c->multiply, GIVE(c->y), GIVE(c->lse), SIZES_OF(c));
#endif
}

static void backward_queries(const void *arguments)
{
    const struct call *c = arguments;
#if BAND
    attention_band_dq(GIVE(c->q), GIVE(c->mask), GIVE(c->dy), GIVE(c->terms), c->B * c->H * c->Q,
                      GIVE(c->dq), SIZES_OF(c));
#else
    attention_mma_dq(GIVE(c->q), GIVE(c->kv), GIVE(c->null_kv), GIVE(c->mask), GIVE(c->q_scores),
                     GIVE(c->kv_scores), c->multiply, GIVE(c->dy), GIVE(c->terms),
                     c->B * c->H * c->Q, GIVE(c->dq), GIVE(c->dq_scores), GIVE(c->dnull),
                     SIZES_OF(c));
#endif
}

static void backward_keys(const void *arguments)
{
    const struct call *c = arguments;
#if BAND
    attention_band_dkv(GIVE(c->q), GIVE(c->mask), GIVE(c->dy), GIVE(c->terms), c->B * c->H * c->Q,
                       GIVE(c->dq), SIZES_OF(c));
#else
    attention_mma_dkv(GIVE(c->q), GIVE(c->kv), GIVE(c->mask), GIVE(c->q_scores), GIVE(c->kv_scores),
                      c->multiply, GIVE(c->dy), GIVE(c->terms), c->B * c->H * c->Q, GIVE(c->dkv),
                      GIVE(c->dkv_scores), SIZES_OF(c));
#endif
}

static size_t query_tiles(const struct call *c)
{
    return (c->first_query + c->Q - 1) / OWN - c->first_query / OWN + 1;
}

static void run(void (*kernel)(const void *), const struct call *c, size_t tiles)
{
    const size_t groups[3] = {BAND ? tiles * c->H : tiles, BAND ? 1 : c->H, c->B};
    run_groups(kernel, c, GROUP, groups);
}

/* What queries bring along: kernels/attention_backward.cl. */
static float *terms_of(const struct call *c, const struct numbers *dy, const double *y,
                       const double *lse)
{
    const size_t plane = c->B * c->H * c->Q;
    float *terms = allocate(2 * plane * sizeof(float));
    for (size_t n = 0; n < plane; n++) {
        const size_t b = n / c->Q / c->H, h = n / c->Q % c->H, i = n % c->Q;
        const size_t row = ((b * c->Q + i) * c->H + h) * c->E;
        double sum = 0;
        bool asks = false;
        for (size_t e = 0; e < c->E; e++) {
            sum += dy->exact[row + e] * y[row + e];
            asks = asks || dy->exact[row + e] != 0;
        }
        asks = asks && lse[n] != -INFINITY &&
               !(LOCAL && c->mask && !c->mask[b * c->N + c->first_query + i]);
        terms[n] = asks ? (float)(-lse[n] * LOG2_E) : -INFINITY;
        terms[plane + n] = asks ? (float)-sum : 0;
    }
    return terms;
}

static uint8_t *some_mask(size_t count, double share)
{
    uint8_t *mask = allocate(count);
    for (size_t i = 0; i < count; i++) mask[i] = uniform() < share;
    return mask;
}

static struct numbers some_dy(size_t count, size_t row)
{
    struct numbers dy = some_numbers(count);
    for (size_t i = 0; i < row; i++)
        dy.exact[row * 7 + i] = value_of(dy.kernel[row * 7 + i] = stored(0));
    return dy;
}

/* ---- local attention ---- */

#if LOCAL
static const struct shape {
    size_t B, N, H, E, window, first, queries; /* first and queries: a piece; 0: all */
    bool causal;
    double share; /* of real tokens; 1: no mask */
} shapes[] = {{2, 200, 2, HEAD - 8, 40, 0, 0, false, 0.8}, {1, 200, 2, HEAD, 64, 0, 0, false, 1},
              {1, 150, 1, HEAD, 33, 0, 0, true, 0.9},      {1, 300, 1, HEAD, 64, 70, 150, false, 1},
              {1, 40, 1, HEAD - 16, 7, 0, 0, true, 1},
    #if !BAND
              {1, 260, 1, HEAD, 100, 0, 0, false, 1}
    #endif
};

static void check(const struct shape *s)
{
    const size_t Q = s->queries ? s->queries : s->N, row = s->H * s->E;
    const size_t first = s->first > s->window ? s->first - s->window : 0;
    const size_t end = s->first + Q + s->window < s->N ? s->first + Q + s->window : s->N;
    const size_t P = end - first, y_count = s->B * Q * row, count = s->B * P * 3 * row;
    struct numbers qkv = some_numbers(count), dy = some_dy(y_count, row);
    uint8_t *mask = s->share < 1 ? some_mask(s->B * s->N, s->share) : NULL;
    for (size_t n = 0; mask && n < s->B * P; n++)
        if (!mask[n / P * s->N + first + n % P]) spoil(&qkv, (n * 3 + 1) * row, 2 * row);
    const struct reference_local_attention a = {
        s->B, P, Q, s->H, s->E, s->N, s->window, first, s->first, s->causal, qkv.exact, mask};
    double *y = allocate(y_count * sizeof(*y)), *lse = allocate(s->B * s->H * Q * sizeof(*lse));
    double *want = allocate(count * sizeof(*want));
    struct call c = {.B = s->B,
                     .Q = Q,
                     .M = P,
                     .H = s->H,
                     .E = s->E,
                     .R = 1,
                     .N = s->N,
                     .first_key = first,
                     .first_query = s->first,
                     .window = s->window,
                     .causal = s->causal,
                     .q = qkv.kernel,
                     .kv = qkv.kernel,
                     .mask = mask,
                     .dy = dy.kernel,
                     .y = allocate(y_count * sizeof(storage)),
                     .lse = allocate(s->B * s->H * Q * sizeof(float))};
    reference_local_attention(&a, y, lse);
    run(forward, &c, query_tiles(&c));
    compare("y", c.y, false, y, y_count, forward_bound);
    for (size_t i = 0; i < s->B * s->H * Q; i++) /* equal infinities are no difference */
        if (lse[i] == c.lse[i]) lse[i] = c.lse[i] = 0;
    compare("lse", c.lse, true, lse, s->B * s->H * Q, STORAGE ? 1e-3 : forward_bound);
    reference_local_attention(&a, y, lse);
    c.terms = terms_of(&c, &dy, y, lse);
    c.dq = c.dkv = allocate(count * sizeof(storage));
    if (Q < P) memset(c.dq, 0, count * sizeof(storage));
    for (size_t n = 0; mask && n < s->B * P; n++) /* nor must the queries matter */
        if (!mask[n / P * s->N + first + n % P]) spoil(&qkv, n * 3 * row, row);
    reference_local_attention_backward(&a, dy.exact, want);
    run(backward_queries, &c, query_tiles(&c));
    run(backward_keys, &c, (P + OWN - 1) / OWN);
    compare("dqkv", c.dq, false, want, count, backward_bound);
    free((void *)c.terms), free(c.dq);
    release(&qkv), release(&dy);
    free(mask), free(y), free(lse), free(want), free(c.y), free(c.lse);
}

#else /* ---- flash attention ---- */

struct floats {
    float *kernel;
    double *exact;
};

static struct floats some_floats(size_t count)
{
    struct floats n = {allocate(count * sizeof(float)), allocate(count * sizeof(double))};
    for (size_t i = 0; i < count; i++) n.exact[i] = n.kernel[i] = (float)(0.2 + uniform());
    return n;
}

static const struct shape {
    size_t B, Q, M, H, E, R;
    double share; /* of real keys; 1: no mask */
    bool null_kv, scores, multiply;
} shapes[] = {{1, 19, 90, 4, HEAD - 8, 2, 0.8, true, true, false},
              {1, 19, 90, 4, HEAD, 2, 0.8, true, true, true},
              {2, 130, 161, 2, HEAD, 1, 1, true, false, false},
              {1, 64, 128, 2, HEAD, 1, 1, false, false, false},
              {1, 70, 129, 4, HEAD - 16, 2, 1, true, true, true},
              {1, 5, 0, 2, HEAD, 1, 1, true, true, true}};

/* Of [outer][heads][count], in place: [outer][count]. */
static void sum_heads(float *x, size_t outer, size_t heads, size_t count)
{
    for (size_t n = 0; x && n < outer * count; n++) {
        const float *of_heads = x + n / count * heads * count + n % count;
        float sum = 0;
        for (size_t h = 0; h < heads; h++) sum += of_heads[h * count];
        x[n] = sum;
    }
}

static void check(const struct shape *s)
{
    const size_t q_count = s->B * s->Q * s->H * s->E, kv_count = 2 * s->B * s->M * s->H * s->E;
    const size_t rows = s->B * s->R * s->M, width = 2 * s->H / s->R * s->E, null = 2 * s->H * s->E;
    struct numbers q = some_numbers(q_count), kv = some_numbers(kv_count),
                   null_kv = some_numbers(null);
    struct numbers dy = s->Q > 7 ? some_dy(q_count, s->H * s->E) : some_numbers(q_count);
    struct floats q_scores = some_floats(s->B * s->Q), kv_scores = some_floats(rows);
    uint8_t *mask = s->share < 1 ? some_mask(rows, s->share) : NULL;
    for (size_t n = 0; mask && n < rows; n++)
        if (!mask[n]) spoil(&kv, n * width, width), kv_scores.exact[n] = kv_scores.kernel[n] = NAN;
    const struct reference_flash_attention a = {s->B,
                                                s->Q,
                                                s->M,
                                                s->H,
                                                s->E,
                                                s->R,
                                                q.exact,
                                                kv.exact,
                                                s->null_kv ? null_kv.exact : NULL,
                                                s->scores ? q_scores.exact : NULL,
                                                s->scores ? kv_scores.exact : NULL,
                                                mask,
                                                s->multiply};
    const size_t lses = s->B * s->H * s->Q;
    double *y = allocate(q_count * sizeof(*y)), *lse = allocate(lses * sizeof(*lse));
    struct call c = {.B = s->B,
                     .Q = s->Q,
                     .M = s->M,
                     .H = s->H,
                     .E = s->E,
                     .R = s->R,
                     .N = s->M,
                     .window = 1,
                     .multiply = s->multiply,
                     .q = q.kernel,
                     .kv = kv.kernel,
                     .null_kv = s->null_kv ? null_kv.kernel : NULL,
                     .mask = mask,
                     .q_scores = s->scores ? q_scores.kernel : NULL,
                     .kv_scores = s->scores ? kv_scores.kernel : NULL,
                     .dy = dy.kernel,
                     .y = allocate(q_count * sizeof(storage)),
                     .lse = allocate(lses * sizeof(float))};
    reference_flash_attention(&a, y, lse);
    run(forward, &c, query_tiles(&c));
    compare("y", c.y, false, y, q_count, forward_bound);
    compare("lse", c.lse, true, lse, lses, STORAGE ? 1e-3 : forward_bound);
    struct reference_flash_attention_gradients want = {
        allocate(q_count * sizeof(double)), allocate(kv_count * sizeof(double)),
        calloc(null, sizeof(double)), allocate(s->B * s->Q * sizeof(double)),
        allocate(rows * sizeof(double))};
    const size_t tiles = query_tiles(&c);
    c.terms = terms_of(&c, &dy, y, lse);
    c.dq = allocate(q_count * sizeof(storage)), c.dkv = allocate(kv_count * sizeof(storage));
    c.dq_scores = s->scores ? allocate(lses * sizeof(float)) : NULL;
    c.dkv_scores = s->scores ? allocate(s->B * s->H * s->M * sizeof(float)) : NULL;
    c.dnull = s->null_kv ? allocate(s->B * tiles * null * sizeof(float)) : NULL;
    reference_flash_attention_backward(&a, dy.exact, &want);
    run(backward_queries, &c, tiles);
    run(backward_keys, &c, (s->M + OWN - 1) / OWN);
    compare("dq", c.dq, false, want.dq, q_count, backward_bound);
    compare("dkv", c.dkv, false, want.dkv, kv_count, backward_bound);
    /* Heads and tiles have summed each for itself. */
    for (size_t n = tiles * s->B; c.dnull && n > 1; n--)
        for (size_t i = 0; i < null; i++) c.dnull[i] += c.dnull[(n - 1) * null + i];
    if (c.dnull) compare("dnull", c.dnull, true, want.dnull_kv, null, backward_bound);
    sum_heads(c.dq_scores, s->B, s->H, s->Q);
    if (s->scores)
        compare("dq_scores", c.dq_scores, true, want.dq_scores, s->B * s->Q, 2 * backward_bound);
    sum_heads(c.dkv_scores, s->B * s->R, s->H / s->R, s->M);
    if (s->scores)
        compare("dkv_scores", c.dkv_scores, true, want.dkv_scores, rows, 2 * backward_bound);
    free(want.dq), free(want.dkv), free(want.dnull_kv), free(want.dq_scores), free(want.dkv_scores);
    free((void *)c.terms), free(c.dq), free(c.dkv), free(c.dq_scores), free(c.dkv_scores),
        free(c.dnull);
    release(&q), release(&kv), release(&null_kv), release(&dy);
    free(q_scores.kernel), free(q_scores.exact), free(kv_scores.kernel), free(kv_scores.exact);
    free(mask), free(y), free(lse), free(c.y), free(c.lse);
}
#endif

int main(void)
{
    const size_t count = sizeof(shapes) / sizeof(shapes[0]);
    for (size_t i = 0; i < count; i++) check(&shapes[i]);
    return failures > 0;
}
