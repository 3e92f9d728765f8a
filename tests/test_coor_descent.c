/* SPDX-License-Identifier: MIT */
#include "support/golden.h"

#include <stdio.h>
#include <string.h>

#include "ops/coor_descent.h"
#include "runtime/context.h"

/* ---- cases ---- */

enum masking { NO_MASK, HOLES, ONE_TOKEN, FEWER_THAN_K, NOTHING_VALID };

static const struct solver_case {
    const char *what;
    size_t B, R, N;
    double scale, shift; /* s = scale·normal + shift */
    enum masking masking;
    colt5_coor_descent_options options;
} cases[] = {
    {"one token", 2, 1, 1, 1, 0, NO_MASK, {1, 20, 0.03F, 4, 0.7F}},
    {"less than a vector", 1, 3, 7, 1, 0, NO_MASK, {2.25F, 20, 0.1F, 4, 0.7F}},
    {"a vector", 1, 1, 8, 1, 0, NO_MASK, {2, 20, 0.1F, 4, 0.7F}},
    {"a chunk and a bit", 2, 2, 17, 1, 0, HOLES, {3.375F, 20, 0.5F, 4, 0.7F}},
    {"one iteration", 1, 1, 31, 1, 0, NO_MASK, {9, 1, 0.5F, 4, 0.7F}},
    {"two iterations", 2, 1, 32, 1, 0, HOLES, {9, 2, 0.5F, 4, 0.7F}},
    {"k is N", 1, 1, 29, 1, 0, NO_MASK, {29, 20, 0.2F, 4, 0.7F}},
    {"k beyond the valid tokens", 3, 1, 30, 1, 0, FEWER_THAN_K, {20, 20, 0.2F, 4, 0.7F}},
    {"k of zero", 1, 1, 30, 1, 0, NO_MASK, {0, 20, 0.1F, 4, 0.7F}},
    {"a tiny k", 1, 1, 30, 1, 0, NO_MASK, {0.01F, 20, 0.1F, 4, 0.7F}},
    {"one valid token", 2, 2, 23, 1, 0, ONE_TOKEN, {4, 20, 0.2F, 4, 0.7F}},
    {"no valid token", 2, 2, 23, 1, 0, NOTHING_VALID, {4, 20, 0.2F, 4, 0.7F}},
    {"all terms would vanish", 2, 1, 31, 1, -2000, NO_MASK, {3, 20, 0.03F, 4, 0.7F}},
    {"all at the ceiling", 1, 1, 31, 1, 2000, NO_MASK, {3, 20, 0.5F, 4, 0.7F}},
    {"eps alone", 1, 2, 32, 1, 0, HOLES, {8, 50, 0.1F, 0.01F, 0.7F}},
    {"a slow schedule", 1, 1, 32, 1, 0, NO_MASK, {8, 300, 0.1F, 4, 0.99F}},
    {"the sharpest schedule", 1, 1, 32, 1, 0, NO_MASK, {8, 20, 0.1F, 4, 0}},
    {"the router's options", 2, 1, 257, 1, 0, HOLES, {36, 20, 0.03F, 4, 0.7F}},
    {"a wide spread", 2, 2, 1000, 8, 0, HOLES, {72, 20, 0.03F, 4, 0.7F}},
    {"most iterations", 1, 1, 11, 1, 0, NO_MASK, {5, 10000, 0.1F, 4, 0.9F}},
    {"beyond the registers", 1, 1, 33001, 22, 0, HOLES, {1024, 20, 0.03F, 4, 0.7F}},
    {"many chunks", 1, 1, 9000, 22, 0, HOLES, {1024, 20, 0.03F, 4, 0.7F}},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static size_t count_of(const struct solver_case *c)
{
    return c->B * c->R * c->N;
}

static double *values_of(const struct solver_case *c)
{
    double *s = random_normal(count_of(c));
    for (size_t i = 0; i < count_of(c); i++) s[i] = s[i] * c->scale + c->shift;
    return rounded_to(COLT5_F32, s, count_of(c));
}

/* Sample 0 keeps a token at least where the case has one. */
static uint8_t *mask_of(const struct solver_case *c)
{
    static const double share[] = {1, 0.7, 0, 0.3, 0};
    if (c->masking == NO_MASK) return NULL;
    uint8_t *mask = random_mask(c->B * c->N, share[c->masking]);
    for (size_t b = 0; b < c->B && c->masking != NOTHING_VALID; b++)
        mask[b * c->N + b % c->N] = (uint8_t)(1 + b);
    return mask;
}

/*
 * An iteration rounds its step, of size e_t, to a few parts in 2^24, and the score divides the
 * error by the last e: so much is allowed, beside a flat part for exp.
 */
static double bound_of(const colt5_coor_descent_options *options)
{
    const double first = fmax(options->eps_init, options->eps);
    const double last = fmax(first * pow(options->eps_decay, options->n_iters), options->eps);
    return 1e-6 + 2 * 0x1p-24 * first / last;
}

/* ---- the references, against each other and against differences ---- */

START_TEST(the_scalar_form_is_the_definition)
{
    const struct solver_case *c = &cases[_i];
    const size_t count = count_of(c);
    double *s = values_of(c), *want = poisoned(count), *have = poisoned(count);
    uint8_t *mask = mask_of(c);
    reference_coor_descent(s, mask, &c->options, want, c->B, c->R, c->N);
    reference_coor_descent_scalar(s, mask, &c->options, have, c->B, c->R, c->N);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(fabs(have[i] - want[i]) < 1e-11, "%s: %g, not %g", c->what, have[i], want[i]);
    free(s), free(want), free(have), free(mask);
}
END_TEST

static double loss(const struct solver_case *c, const colt5_coor_descent_options *options,
                   const double *s, const uint8_t *mask, const double *dscores)
{
    double *scores = zeros(count_of(c)), sum = 0;
    reference_coor_descent(s, mask, options, scores, c->B, c->R, c->N);
    for (size_t i = 0; i < count_of(c); i++) sum += scores[i] * dscores[i];
    free(scores);
    return sum;
}

/* The options are floats, so k moves by a step that float32 holds exactly. */
static double difference_in_k(const struct solver_case *c, const double *s, const uint8_t *mask,
                              const double *dscores)
{
    const float step = 0x1p-11F;
    colt5_coor_descent_options up = c->options, down = c->options;
    up.k += step;
    down.k -= step;
    return (loss(c, &up, s, mask, dscores) - loss(c, &down, s, mask, dscores)) / (2.0 * step);
}

static const struct solver_case smooth[] = {
    {"soft", 2, 2, 9, 1, 0, NO_MASK, {3, 6, 0.7F, 3, 0.7F}},
    {"masked", 2, 1, 12, 1, 0, HOLES, {2.5F, 9, 0.5F, 2, 0.8F}},
    {"vanishing", 1, 1, 6, 1, -300, NO_MASK, {2, 5, 0.5F, 2, 0.8F}},
    {"k beyond the valid tokens", 2, 1, 10, 1, 0, FEWER_THAN_K, {8, 12, 0.5F, 4, 0.7F}},
    {"one iteration", 1, 1, 8, 1, 0, NO_MASK, {3, 1, 0.5F, 4, 0.7F}},
};

START_TEST(the_reference_gradient_is_the_difference_quotient)
{
    const struct solver_case *c = &smooth[_i];
    const size_t count = count_of(c);
    double *s = values_of(c), *dscores = random_normal(count), *ds = poisoned(count);
    double *dk = poisoned(c->B * c->R), all_dk = 0;
    uint8_t *mask = mask_of(c);
    reference_coor_descent_backward(s, mask, &c->options, dscores, ds, dk, c->B, c->R, c->N);
    for (size_t i = 0; i < count; i++) {
        const double h = 1e-6, at = s[i];
        s[i] = at + h;
        const double up = loss(c, &c->options, s, mask, dscores);
        s[i] = at - h;
        const double down = loss(c, &c->options, s, mask, dscores);
        s[i] = at;
        ck_assert_msg(fabs((up - down) / (2 * h) - ds[i]) < 1e-6, "%s: ds[%zu] is %g, not %g",
                      c->what, i, ds[i], (up - down) / (2 * h));
    }
    for (size_t row = 0; row < c->B * c->R; row++) all_dk += dk[row];
    ck_assert_msg(fabs(difference_in_k(c, s, mask, dscores) - all_dk) < 1e-5,
                  "%s: dk is %g, not %g", c->what, all_dk, difference_in_k(c, s, mask, dscores));
    free(s), free(dscores), free(ds), free(dk), free(mask);
}
END_TEST

/* ---- the kernels ---- */

struct solver_tensors {
    struct device_tensor s, mask, scores, state, dscores, ds, dk;
};

static struct solver_tensors tensors_of(const struct solver_case *c, const double *s,
                                        const uint8_t *mask, const double *dscores)
{
    struct solver_tensors t = {
        .s = upload(s, COLT5_F32, c->B, c->R, c->N),
        .scores = poisoned_tensor(COLT5_F32, c->B, c->R, c->N),
        .state = poisoned_tensor(COLT5_F32, c->B, c->R, (size_t)c->options.n_iters,
                                 COLT5_COOR_DESCENT_STATE),
        .dscores = upload(dscores, COLT5_F32, c->B, c->R, c->N),
        .ds = poisoned_tensor(COLT5_F32, c->B, c->R, c->N),
        .dk = poisoned_tensor(COLT5_F32, c->B, c->R),
    };
    if (mask) t.mask = upload_u8(mask, c->B, c->N);
    return t;
}

static void release_all(struct solver_tensors *t)
{
    release(&t->s), release(&t->mask), release(&t->scores), release(&t->state);
    release(&t->dscores), release(&t->ds), release(&t->dk);
}

static const colt5_tensor *mask_tensor(const struct solver_tensors *t)
{
    return t->mask.t.buffer ? &t->mask.t : NULL;
}

static void run_both(const struct solver_case *c, enum solver_geometry geometry,
                     const struct solver_tensors *t)
{
    ck_assert_ok(coor_descent_forward_as(ctx, geometry, &t->s.t, mask_tensor(t), &c->options,
                                         &t->scores.t, &t->state.t));
    const colt5_device_kind kind = ctx->info.kind;
    if (geometry == SOLVER_ROWS) ctx->info.kind = COLT5_DEVICE_DISCRETE_GPU; /* larger groups */
    ck_assert_ok(coor_descent_backward_as(ctx, geometry, &t->s.t, mask_tensor(t), &c->options,
                                          &t->state.t, &t->dscores.t, &t->ds.t, &t->dk.t));
    ctx->info.kind = kind;
}

/* Masked tokens carry NaN: nothing may come of it. */
START_TEST(scores_and_gradients_are_the_references)
{
    const struct solver_case *c = &cases[_i / 3];
    const enum solver_geometry geometry = (enum solver_geometry)(_i % 3);
    if (tiny() && (c->N > 32 || c->options.n_iters > 50)) return;
    const size_t count = count_of(c), rows = c->B * c->R;
    const double bound = bound_of(&c->options);
    seed_random((uint64_t)_i / 3);
    double *s = values_of(c), *dscores = rounded_to(COLT5_F32, random_normal(count), count);
    double *scores = poisoned(count), *ds = poisoned(count), *dk = poisoned(rows);
    uint8_t *mask = mask_of(c);
    reference_coor_descent(s, mask, &c->options, scores, c->B, c->R, c->N);
    reference_coor_descent_backward(s, mask, &c->options, dscores, ds, dk, c->B, c->R, c->N);
    for (size_t i = 0; mask && i < count; i++)
        if (!mask[i / c->N / c->R * c->N + i % c->N]) s[i] = dscores[i] = NAN;

    struct solver_tensors t = tensors_of(c, s, mask, dscores);
    run_both(c, geometry, &t);
    assert_close(&t.scores, scores, bound, 1e-5);
    assert_norm(&t.ds, ds, 3 * bound);
    assert_norm(&t.dk, dk, 10 * bound);
    assert_unchanged(&t.s), assert_unchanged(&t.dscores);

    release_all(&t);
    free(s), free(dscores), free(scores), free(ds), free(dk), free(mask);
}
END_TEST

static double norm_of(const double *x, size_t count)
{
    double *zero = zeros(count);
    const double norm = relative_error(x, zero, count);
    free(zero);
    return norm;
}

/* A comparison of zeros would prove nothing. */
START_TEST(gradients_that_are_compared_are_not_zero)
{
    size_t zero_cases = 0;
    for (size_t i = 0; i < CASES; i++) {
        const struct solver_case *c = &cases[i];
        seed_random(i);
        double *s = values_of(c), *dscores = random_normal(count_of(c));
        double *ds = poisoned(count_of(c)), *dk = poisoned(c->B * c->R);
        uint8_t *mask = mask_of(c);
        reference_coor_descent_backward(s, mask, &c->options, dscores, ds, dk, c->B, c->R, c->N);
        if (!(norm_of(ds, count_of(c)) > 1e-3 && norm_of(dk, c->B * c->R) > 1e-4)) zero_cases++;
        free(s), free(dscores), free(ds), free(dk), free(mask);
    }
    ck_assert_msg(zero_cases <= 6, "%zu cases have no gradient", zero_cases);
}
END_TEST

/* ---- properties ---- */

static const struct solver_case plain = {"plain", 2, 2, 29, 1, 0, NO_MASK, {5, 8, 0.3F, 2, 0.7F}};

START_TEST(a_forward_alone_keeps_no_state)
{
    const struct solver_case *c = &plain;
    double *s = values_of(c), *want = zeros(count_of(c));
    struct solver_tensors t = tensors_of(c, s, NULL, s);
    reference_coor_descent(s, NULL, &c->options, want, c->B, c->R, c->N);
    ck_assert_ok(colt5_coor_descent_forward(ctx, &t.s.t, NULL, &c->options, &t.scores.t, NULL));
    assert_close(&t.scores, want, bound_of(&c->options), 1e-5);
    assert_untouched(&t.state);
    release_all(&t);
    free(s), free(want);
}
END_TEST

START_TEST(a_nan_stays_in_its_row)
{
    const struct solver_case *c = &plain;
    double *s = values_of(c), *dscores = random_normal(count_of(c));
    double *want = zeros(count_of(c)), *ds = zeros(count_of(c)), *dk = zeros(c->B * c->R);
    reference_coor_descent(s, NULL, &c->options, want, c->B, c->R, c->N);
    reference_coor_descent_backward(s, NULL, &c->options, dscores, ds, dk, c->B, c->R, c->N);
    s[c->N + 3] = NAN; /* row 1 */
    for (size_t n = 0; n < c->N; n++) want[c->N + n] = ds[c->N + n] = NAN;
    struct solver_tensors t = tensors_of(c, s, NULL, dscores);
    run_both(c, _i, &t);
    assert_close(&t.scores, want, bound_of(&c->options), 1e-5);
    assert_close(&t.ds, ds, 1e-5, 1e-5);
    release_all(&t);
    free(s), free(dscores), free(want), free(ds), free(dk);
}
END_TEST

START_TEST(an_infinite_score_is_masked_or_certain)
{
    const struct solver_case c = {"", 1, 1, 4, 1, 0, NO_MASK, {2, 8, 0.3F, 2, 0.7F}};
    const double s[] = {INFINITY, 0.5, -INFINITY, 0.25}, same[] = {100, 0.5, 0.25};
    const struct solver_case three = {"", 1, 1, 3, 1, 0, NO_MASK, c.options};
    double want[4];
    reference_coor_descent(same, NULL, &three.options, want, 1, 1, 3);
    want[3] = want[2];
    want[2] = 0;
    struct solver_tensors t = tensors_of(&c, s, NULL, s);
    ck_assert_ok(coor_descent_forward_as(ctx, _i, &t.s.t, NULL, &c.options, &t.scores.t, NULL));
    assert_close(&t.scores, want, 1e-6, 1e-6);
    release_all(&t);
}
END_TEST

START_TEST(runs_are_equal_bit_by_bit)
{
    const struct solver_case *c = &cases[_i % 2 ? CASES - 1 : 3];
    if (tiny() && c->N > 32) return;
    double *s = values_of(c), *dscores = random_normal(count_of(c));
    uint8_t *mask = mask_of(c);
    struct solver_tensors t = tensors_of(c, s, mask, dscores);
    run_both(c, SOLVER_BEST, &t);
    double *scores = download(&t.scores), *ds = download(&t.ds), *dk = download(&t.dk);
    run_both(c, SOLVER_BEST, &t);
    assert_equal(&t.scores, scores);
    assert_equal(&t.ds, ds);
    assert_equal(&t.dk, dk);
    release_all(&t);
    free(s), free(dscores), free(mask), free(scores), free(ds), free(dk);
}
END_TEST

/* Scores of a few tokens alone, one mask for two lots of samples: as those of all tokens. */
START_TEST(picked_scores_are_those_of_all)
{
    static const struct solver_case lots[] = {
        {"", 4, 2, 29, 1, 0, HOLES, {5, 8, 0.3F, 2, 0.7F}},
        {"", 4, 2, 29, 1, 0, HOLES, {5, 300, 0.3F, 2, 0.99F}}, /* not in one launch */
    };
    const struct solver_case *c = &lots[_i / 2];
    if (tiny() && c->options.n_iters > 50) return;
    const size_t count = count_of(c), rows = c->B * c->R, K = 7, half = c->B / 2 * c->N;
    int *index = random_indices(rows * K, 1);
    double *s = values_of(c), *dpicked = random_normal(rows * K);
    double *dscores = zeros(count), *picked = zeros(rows * K);
    uint8_t *mask = mask_of(c);
    memcpy(mask + half, mask, half);
    for (size_t i = 0; i < rows * K; i++) {
        index[i] = (int)(i % K * 4 + i / K % 3);
        dscores[i / K * c->N + (size_t)index[i]] = dpicked[i] = (float)dpicked[i];
    }
    struct solver_tensors t = tensors_of(c, s, mask, dscores);
    struct device_tensor at = upload_i32(index, c->B, c->R, K);
    struct device_tensor some = poisoned_tensor(COLT5_F32, c->B, c->R, K);
    struct device_tensor dsome = upload(dpicked, COLT5_F32, c->B, c->R, K);
    struct device_tensor shared = upload_u8(mask, c->B / 2, c->N);
    run_both(c, SOLVER_BEST, &t);
    double *scores = download(&t.scores), *state = download(&t.state), *ds = download(&t.ds);
    for (size_t i = 0; i < rows * K; i++) picked[i] = scores[i / K * c->N + (size_t)index[i]];

    const colt5_device_kind kind = ctx->info.kind;
    if (_i % 2) ctx->info.kind = COLT5_DEVICE_DISCRETE_GPU;
    ck_assert_ok(coor_descent_forward_picked(ctx, &t.s.t, &shared.t, &c->options, &at.t, &some.t,
                                             &t.state.t));
    ck_assert_ok(coor_descent_backward_picked(ctx, &t.s.t, &shared.t, &c->options, &at.t,
                                              &t.state.t, &dsome.t, &t.ds.t));
    ctx->info.kind = kind;
    assert_close(&some, picked, 1e-6, 1e-5);
    assert_norm(&t.state, state, 1e-5);
    assert_norm(&t.ds, ds, 1e-5);

    release_all(&t), release(&at), release(&some), release(&dsome), release(&shared);
    free(s), free(index), free(dpicked), free(dscores), free(picked), free(mask), free(scores);
    free(state), free(ds);
}
END_TEST

START_TEST(empty_rows_are_nothing_to_do)
{
    const struct solver_case c = {"", 2, 1, 0, 1, 0, NO_MASK, {2, 3, 0.3F, 2, 0.7F}};
    struct solver_tensors t = tensors_of(&c, NULL, NULL, NULL);
    ck_assert_ok(colt5_coor_descent_forward(ctx, &t.s.t, NULL, &c.options, &t.scores.t, NULL));
    release_all(&t);
}
END_TEST

/* ---- golden ---- */

static const char *const golden[] = {
    "coor_descent_default",    "coor_descent_k_is_n",     "coor_descent_k_one",
    "coor_descent_long",       "coor_descent_many_steps", "coor_descent_mask",
    "coor_descent_no_scaling", "coor_descent_one_step",   "coor_descent_soft",
    "coor_descent_spread",     "coor_descent_two_steps"};
#define GOLDEN (sizeof(golden) / sizeof(golden[0]))

static void assert_golden(const char *name, const char *what, const struct device_tensor *have,
                          double bound)
{
    char file[32];
    size_t count;
    snprintf(file, sizeof(file), "%s.npy", what);
    double *want = golden_values(name, file, &count);
    ck_assert_uint_eq(count, have->count);
    assert_norm(have, want, fmax(bound, 1.5 * golden_number(name, "tolerance.json", what, 0)));
    free(want);
}

START_TEST(golden_cases_are_met)
{
    const char *name = golden[_i / 3], *file = "case.json";
    const double eps = golden_number(name, file, "eps", 0);
    struct solver_case c = {name, .R = 1};
    struct device_tensor s = golden_tensor(name, "s.npy", COLT5_F32), mask = {.count = 0};
    if (golden_has(name, "mask.npy")) mask = golden_tensor(name, "mask.npy", COLT5_U8);
    c.B = s.t.dims[0];
    c.N = s.t.dims[1];
    c.options.k = (float)golden_number(name, file, "k", 0);
    c.options.n_iters = (int)golden_number(name, file, "n_iters", 20);
    c.options.eps = (float)eps;
    c.options.eps_init = (float)golden_number(name, file, "eps_init", eps);
    c.options.eps_decay = (float)golden_number(name, file, "eps_decay", 1);
    double *values = download(&s), *dscores = golden_values(name, "dscores.npy", &(size_t){0});
    double *bytes = mask.count ? download(&mask) : NULL;
    uint8_t *valid = bytes ? random_mask(mask.count, 0) : NULL;
    for (size_t i = 0; i < mask.count; i++) valid[i] = (uint8_t)bytes[i];

    struct solver_tensors t = tensors_of(&c, values, valid, dscores);
    run_both(&c, _i % 3, &t);
    assert_golden(name, "scores", &t.scores, 2e-6);
    assert_golden(name, "ds", &t.ds, 1e-5);
    assert_golden(name, "dk", &t.dk, 1e-5);
    release_all(&t), release(&s), release(&mask);
    free(values), free(dscores), free(bytes), free(valid);
}
END_TEST

/* ---- bad calls ---- */

/* What differs from a good call; 0 is as it should be. */
static const struct bad_call {
    const char *what;
    colt5_status expected;
    colt5_coor_descent_options options;
    size_t scores_N, mask_N, state_T, state_width;
    bool half_s, float_mask, no_s, no_options, overlap;
} bad_calls[] = {
    {"k of -1", COLT5_ERROR_ARGUMENT, .options = {-1, 3, 0.3F, 2, 0.7F}},
    {"k of NaN", COLT5_ERROR_ARGUMENT, .options = {NAN, 3, 0.3F, 2, 0.7F}},
    {"no iteration", COLT5_ERROR_ARGUMENT, .options = {1, 0, 0.3F, 2, 0.7F}},
    {"10001 iterations", COLT5_ERROR_ARGUMENT, .options = {1, 10001, 0.3F, 2, 0.7F}},
    {"eps of 0", COLT5_ERROR_ARGUMENT, .options = {1, 3, 0, 2, 0.7F}},
    {"infinite eps_init", COLT5_ERROR_ARGUMENT, .options = {1, 3, 0.3F, INFINITY, 0.7F}},
    {"growing eps", COLT5_ERROR_ARGUMENT, .options = {1, 3, 0.3F, 2, 1.5F}},
    {"scores of another N", COLT5_ERROR_SHAPE, .scores_N = 3},
    {"mask of another N", COLT5_ERROR_SHAPE, .mask_N = 3},
    {"state of another T", COLT5_ERROR_SHAPE, .state_T = 2},
    {"a narrow state", COLT5_ERROR_SHAPE, .state_width = 2},
    {"s of f16", COLT5_ERROR_TYPE, .half_s = true},
    {"a float mask", COLT5_ERROR_TYPE, .float_mask = true},
    {"no s", COLT5_ERROR_ARGUMENT, .no_s = true},
    {"no options", COLT5_ERROR_ARGUMENT, .no_options = true},
    {"scores on s", COLT5_ERROR_ARGUMENT, .overlap = true},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call bad = bad_calls[_i];
    const struct solver_case c = {"", 1, 2, 4, 1, 0, HOLES, {1, 3, 0.3F, 2, 0.7F}};
    const double s[8] = {0};
    const uint8_t mask[4] = {1, 1, 1, 1};
    struct solver_tensors t = tensors_of(&c, s, mask, s);
    colt5_tensor ts = t.s.t, tm = t.mask.t, ty = t.scores.t, tz = t.state.t, td = t.ds.t;
    const colt5_coor_descent_options *options =
        bad.options.n_iters || bad.options.k > 0 ? &bad.options : &c.options;
    if (bad.no_options) options = NULL;
    if (bad.half_s) ts.type = COLT5_F16;
    if (bad.mask_N) tm.dims[1] = bad.mask_N;
    if (bad.scores_N) ty.dims[2] = td.dims[2] = bad.scores_N;
    if (bad.state_T) tz.dims[2] = bad.state_T;
    if (bad.state_width) tz.dims[3] = bad.state_width;
    if (bad.overlap) ty.buffer = td.buffer = ts.buffer;
    if (bad.float_mask) {
        tm = t.s.t;
        tm.rank = 2;
    }
    const colt5_tensor *s_or_none = bad.no_s ? NULL : &ts;
    ck_assert_msg(colt5_coor_descent_forward(ctx, s_or_none, &tm, options, &ty, &tz) ==
                      bad.expected,
                  "%s", bad.what);
    ck_assert_msg(!strncmp(colt5_message(ctx), "coor_descent_forward: ", 22), "%s",
                  colt5_message(ctx));
    ck_assert_msg(colt5_coor_descent_backward(ctx, s_or_none, &tm, options, &tz, &t.dscores.t, &td,
                                              &t.dk.t) == bad.expected,
                  "%s", bad.what);
    assert_untouched(&t.scores), assert_untouched(&t.ds), assert_untouched(&t.dk);
    run_both(&c, SOLVER_BEST, &t);
    release_all(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("coor_descent");
    TCase *tests = tcase_create("coor_descent");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, the_scalar_form_is_the_definition, 0, CASES);
    tcase_add_loop_test(tests, the_reference_gradient_is_the_difference_quotient, 0,
                        sizeof(smooth) / sizeof(smooth[0]));
    tcase_add_loop_test(tests, scores_and_gradients_are_the_references, 0, 3 * CASES);
    tcase_add_test(tests, gradients_that_are_compared_are_not_zero);
    tcase_add_test(tests, a_forward_alone_keeps_no_state);
    tcase_add_loop_test(tests, a_nan_stays_in_its_row, 0, 3);
    tcase_add_loop_test(tests, an_infinite_score_is_masked_or_certain, 0, 3);
    tcase_add_loop_test(tests, runs_are_equal_bit_by_bit, 0, 2);
    tcase_add_loop_test(tests, picked_scores_are_those_of_all, 0, 4);
    tcase_add_test(tests, empty_rows_are_nothing_to_do);
    tcase_add_loop_test(tests, golden_cases_are_met, 0, tiny() ? 0 : 3 * GOLDEN);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
