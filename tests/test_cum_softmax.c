/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/cum_softmax.h>

#include "runtime/context.h"

/* ---- cases ---- */

enum masking { NO_MASK, HOLES, ONE_TOKEN, NOTHING_VALID };
enum values { SPREAD, TIES, EQUAL };

static const struct cum_case {
    const char *what;
    size_t B, R, N;
    double scale;
    enum values values;
    enum masking masking;
    float temperature;
} cases[] = {
    {"one token", 2, 1, 1, 1, SPREAD, NO_MASK, 1},
    {"a few tokens", 2, 3, 7, 1, SPREAD, HOLES, 1},
    {"a power of two", 1, 2, 32, 1, SPREAD, NO_MASK, 0.5F},
    {"a prime", 2, 2, 31, 2, SPREAD, HOLES, 3},
    {"ties", 2, 2, 29, 1, TIES, HOLES, 1},
    {"all equal", 1, 1, 30, 1, EQUAL, NO_MASK, 1},
    {"sums below the clamp", 1, 2, 31, 12, SPREAD, HOLES, 1},
    {"vanishing terms", 1, 1, 31, 100, SPREAD, NO_MASK, 1},
    {"one valid token", 2, 1, 17, 1, SPREAD, ONE_TOKEN, 1},
    {"no valid token", 2, 1, 17, 1, SPREAD, NOTHING_VALID, 1},
    {"a chunk", 1, 1, 1024, 1, SPREAD, NO_MASK, 1},
    {"a chunk and a token", 1, 2, 1025, 1, SPREAD, HOLES, 1},
    {"several chunks", 1, 2, 5003, 3, SPREAD, HOLES, 1},
    {"several chunks of ties", 1, 1, 4100, 1, TIES, HOLES, 1},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static size_t count_of(const struct cum_case *c)
{
    return c->B * c->R * c->N;
}

static double *values_of(const struct cum_case *c)
{
    double *s = random_normal(count_of(c));
    for (size_t i = 0; i < count_of(c); i++) {
        s[i] *= c->scale;
        if (c->values == TIES) s[i] = round(2 * s[i]) / 2 * (i % 3 ? 1 : -1); /* -0 too */
        if (c->values == EQUAL) s[i] = 0.75;
    }
    return rounded_to(COLT5_F32, s, count_of(c));
}

static uint8_t *mask_of(const struct cum_case *c)
{
    if (c->masking == NO_MASK) return NULL;
    uint8_t *mask = random_mask(c->B * c->N, c->masking == HOLES ? 0.7 : 0);
    for (size_t b = 0; b < c->B && c->masking != NOTHING_VALID; b++)
        mask[b * c->N + (b + 3) % c->N] = (uint8_t)(2 + b);
    return mask;
}

/* ---- the reference ---- */

struct loss_call {
    const struct cum_case *c;
    const double *s;
    double *scores;
};

static void run_reference(void *arguments)
{
    const struct loss_call *call = arguments;
    reference_cum_softmax(call->s, NULL, call->c->temperature, call->scores, call->c->B, call->c->R,
                          call->c->N);
}

/* Where no sum is clamped the maximum cancels, so that it may move here. */
START_TEST(the_reference_gradient_is_the_difference_quotient)
{
    const struct cum_case c = {"", 1, 2, 9, 1, SPREAD, NO_MASK, 0.7F};
    double *s = values_of(&c), *dscores = random_normal(count_of(&c));
    double *scores = zeros(count_of(&c)), *ds = zeros(count_of(&c));
    struct loss_call call = {&c, s, scores};
    const struct difference_check check = {run_reference, &call, scores, dscores, count_of(&c)};
    reference_cum_softmax_backward(s, NULL, c.temperature, dscores, ds, c.B, c.R, c.N);
    assert_gradient(&check, s, ds, count_of(&c));
    free(s), free(dscores), free(scores), free(ds);
}
END_TEST

/* ---- the kernels ---- */

struct cum_tensors {
    struct device_tensor s, mask, scores, dscores, ds;
};

static struct cum_tensors tensors_of(const struct cum_case *c, const double *s, const uint8_t *mask,
                                     const double *dscores)
{
    struct cum_tensors t = {
        .s = upload(s, COLT5_F32, c->B, c->R, c->N),
        .scores = poisoned_tensor(COLT5_F32, c->B, c->R, c->N),
        .dscores = upload(dscores, COLT5_F32, c->B, c->R, c->N),
        .ds = poisoned_tensor(COLT5_F32, c->B, c->R, c->N),
    };
    if (mask) t.mask = upload_u8(mask, c->B, c->N);
    return t;
}

static void release_all(struct cum_tensors *t)
{
    release(&t->s), release(&t->mask), release(&t->scores), release(&t->dscores), release(&t->ds);
}

static void run_both(const struct cum_case *c, const struct cum_tensors *t)
{
    const colt5_tensor *mask = t->mask.t.buffer ? &t->mask.t : NULL;
    ck_assert_ok(colt5_cum_softmax_forward(ctx, &t->s.t, mask, c->temperature, &t->scores.t));
    ck_assert_ok(
        colt5_cum_softmax_backward(ctx, &t->s.t, mask, c->temperature, &t->dscores.t, &t->ds.t));
}

/* Masked tokens carry NaN. Every other time as on a GPU: many work-items to a chunk. */
START_TEST(scores_and_gradients_are_the_references)
{
    const struct cum_case *c = &cases[_i / 2];
    if (tiny() && c->N > 32) return;
    seed_random((uint64_t)_i / 2);
    const size_t count = count_of(c);
    double *s = values_of(c), *dscores = rounded_to(COLT5_F32, random_normal(count), count);
    double *scores = poisoned(count), *ds = poisoned(count);
    uint8_t *mask = mask_of(c);
    reference_cum_softmax(s, mask, c->temperature, scores, c->B, c->R, c->N);
    reference_cum_softmax_backward(s, mask, c->temperature, dscores, ds, c->B, c->R, c->N);
    for (size_t i = 0; mask && i < count; i++)
        if (!mask[i / c->N / c->R * c->N + i % c->N]) s[i] = dscores[i] = NAN;

    struct cum_tensors t = tensors_of(c, s, mask, dscores);
    const colt5_device_kind kind = ctx->info.kind;
    ctx->info.kind = _i % 2 ? COLT5_DEVICE_CPU : COLT5_DEVICE_DISCRETE_GPU;
    run_both(c, &t);
    ctx->info.kind = kind;
    /* exp's argument is rounded to 2^-24 of itself, and what is far below the maximum vanishes */
    assert_close(&t.scores, scores, 1e-30, 2e-6 + 4 * 0x1p-24 * 4 * c->scale / c->temperature);
    assert_norm(&t.ds, ds, 1e-5);
    assert_unchanged(&t.s), assert_unchanged(&t.dscores);

    release_all(&t);
    free(s), free(dscores), free(scores), free(ds), free(mask);
}
END_TEST

START_TEST(gradients_that_are_compared_are_not_zero)
{
    for (size_t k = 1; k < CASES; k++) { /* of one token the score is 1 */
        const struct cum_case *c = &cases[k];
        if (c->masking == ONE_TOKEN || c->masking == NOTHING_VALID || c->scale > 20) continue;
        double *s = values_of(c), *dscores = random_normal(count_of(c)), *ds = zeros(count_of(c));
        double norm = 0;
        reference_cum_softmax_backward(s, NULL, c->temperature, dscores, ds, c->B, c->R, c->N);
        for (size_t i = 0; i < count_of(c); i++) norm = fmax(norm, fabs(ds[i]));
        ck_assert_msg(norm > 1e-3, "%s: %g", c->what, norm);
        free(s), free(dscores), free(ds);
    }
}
END_TEST

/* ---- properties ---- */

static const struct cum_case plain = {"plain", 2, 2, 21, 1, SPREAD, NO_MASK, 1};

/* Among equal ones the first index is last in the sum, so its score is the smallest. */
START_TEST(ties_are_taken_in_order)
{
    const double s[] = {1, 0.5, 1, 1, -1}, e = exp(-0.5), f = exp(-2);
    const double want[] = {1 / (3 + e + f), e / (e + f), 1 / (2 + e + f), 1 / (1 + e + f), 1};
    const struct cum_case c = {"", 1, 1, 5, 1, TIES, NO_MASK, 1};
    struct cum_tensors t = tensors_of(&c, s, NULL, s);
    run_both(&c, &t);
    assert_close(&t.scores, want, 0, 1e-6);
    release_all(&t);
}
END_TEST

START_TEST(runs_are_equal_bit_by_bit)
{
    const struct cum_case *c = tiny() ? &cases[4] : &cases[12];
    double *s = values_of(c), *dscores = random_normal(count_of(c));
    uint8_t *mask = mask_of(c);
    struct cum_tensors t = tensors_of(c, s, mask, dscores);
    run_both(c, &t);
    double *scores = download(&t.scores), *ds = download(&t.ds);
    run_both(c, &t);
    assert_equal(&t.scores, scores);
    assert_equal(&t.ds, ds);
    release_all(&t);
    free(s), free(dscores), free(mask), free(scores), free(ds);
}
END_TEST

START_TEST(a_nan_stays_in_its_row)
{
    const struct cum_case *c = &plain;
    double *s = values_of(c), *dscores = random_normal(count_of(c));
    double *scores = zeros(count_of(c)), *ds = zeros(count_of(c));
    reference_cum_softmax(s, NULL, 1, scores, c->B, c->R, c->N);
    reference_cum_softmax_backward(s, NULL, 1, dscores, ds, c->B, c->R, c->N);
    s[c->N + 4] = NAN; /* row 1 */
    for (size_t n = 0; n < c->N; n++) scores[c->N + n] = ds[c->N + n] = NAN;
    struct cum_tensors t = tensors_of(c, s, NULL, dscores);
    run_both(c, &t);
    assert_close(&t.scores, scores, 1e-6, 1e-6);
    assert_close(&t.ds, ds, 1e-5, 1e-5);
    release_all(&t);
    free(s), free(dscores), free(scores), free(ds);
}
END_TEST

START_TEST(infinities_are_first_and_last)
{
    const double s[] = {INFINITY, 0, -INFINITY}, want[] = {1, 0, 0};
    const struct cum_case c = {"", 1, 1, 3, 1, SPREAD, NO_MASK, 1};
    struct cum_tensors t = tensors_of(&c, s, NULL, want);
    run_both(&c, &t);
    assert_equal(&t.scores, want);
    release_all(&t);
}
END_TEST

/* ---- bad calls ---- */

/* What differs from a good call; 0 is as it should be. */
static const struct bad_call {
    const char *what;
    colt5_status expected;
    float temperature;
    size_t scores_N, mask_N;
    int s_rank;
    bool half_s, no_s, overlap;
} bad_calls[] = {
    {"temperature of -1", COLT5_ERROR_ARGUMENT, .temperature = -1},
    {"temperature of NaN", COLT5_ERROR_ARGUMENT, .temperature = NAN},
    {"infinite temperature", COLT5_ERROR_ARGUMENT, .temperature = INFINITY},
    {"scores of another N", COLT5_ERROR_SHAPE, .scores_N = 3},
    {"mask of another N", COLT5_ERROR_SHAPE, .mask_N = 3},
    {"s of rank 2", COLT5_ERROR_SHAPE, .s_rank = 2},
    {"s of f16", COLT5_ERROR_TYPE, .half_s = true},
    {"no s", COLT5_ERROR_ARGUMENT, .no_s = true},
    {"scores on s", COLT5_ERROR_ARGUMENT, .overlap = true},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call bad = bad_calls[_i];
    const struct cum_case c = {"", 1, 2, 4, 1, SPREAD, HOLES, 1};
    const double s[8] = {0};
    const uint8_t mask[4] = {1, 1, 1, 1};
    struct cum_tensors t = tensors_of(&c, s, mask, s);
    colt5_tensor ts = t.s.t, tm = t.mask.t, ty = t.scores.t, td = t.ds.t;
    const float temperature = bad.temperature == 0 ? 1 : bad.temperature;
    if (bad.s_rank) ts.rank = bad.s_rank;
    if (bad.half_s) ts.type = COLT5_F16;
    if (bad.mask_N) tm.dims[1] = bad.mask_N;
    if (bad.scores_N) ty.dims[2] = td.dims[2] = bad.scores_N;
    if (bad.overlap) ty.buffer = td.buffer = ts.buffer;
    const colt5_tensor *s_or_none = bad.no_s ? NULL : &ts;
    ck_assert_msg(colt5_cum_softmax_forward(ctx, s_or_none, &tm, temperature, &ty) == bad.expected,
                  "%s", bad.what);
    ck_assert_msg(!strncmp(colt5_message(ctx), "cum_softmax_forward: ", 21), "%s",
                  colt5_message(ctx));
    ck_assert_msg(colt5_cum_softmax_backward(ctx, s_or_none, &tm, temperature, &t.dscores.t, &td) ==
                      bad.expected,
                  "%s", bad.what);
    assert_untouched(&t.scores), assert_untouched(&t.ds);
    if (!tiny() || _i % 4 == 0) run_both(&c, &t);
    release_all(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cum_softmax");
    TCase *tests = tcase_create("cum_softmax");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, the_reference_gradient_is_the_difference_quotient);
    tcase_add_loop_test(tests, scores_and_gradients_are_the_references, 0, 2 * CASES);
    tcase_add_test(tests, gradients_that_are_compared_are_not_zero);
    tcase_add_test(tests, ties_are_taken_in_order);
    tcase_add_test(tests, runs_are_equal_bit_by_bit);
    tcase_add_test(tests, a_nan_stays_in_its_row);
    tcase_add_test(tests, infinities_are_first_and_last);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
