/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/sinkhorn.h>

#include "runtime/context.h"

/* ---- cases ---- */

enum masking { NO_MASK, HOLES, ONE_TOKEN, NOTHING_VALID };

static const struct sinkhorn_case {
    const char *what;
    size_t B, R, N, K;
    double scale;
    enum masking masking;
    colt5_sinkhorn_options options;
} cases[] = {
    {"one token", 2, 1, 1, 1, 1, NO_MASK, {0.7F, 8, 0, 1, 0, 0}},
    {"one slot", 1, 2, 19, 1, 1, NO_MASK, {0.7F, 8, 0, 2, 0, 0}},
    {"one iteration", 2, 2, 17, 5, 1, HOLES, {0.7F, 1, 0, 3, 0, 0}},
    {"the router's options", 2, 3, 31, 7, 1, HOLES, {0.7F, 8, 0, 0x123456789ABCDEFu, 0, 0}},
    {"a wide spread", 1, 2, 32, 9, 20, HOLES, {0.7F, 8, 0, 5, 0, 0}},
    {"rows of a window", 2, 2, 16, 3, 1, NO_MASK, {0.7F, 4, 0, 6, 10, 12}},
    {"more slots than tokens", 1, 1, 6, 13, 1, NO_MASK, {0.7F, 5, 0, 7, 0, 0}},
    {"log scores", 2, 1, 29, 6, 1, HOLES, {0.7F, 8, 1, 8, 0, 0}},
    {"sharp", 1, 1, 33, 8, 1, NO_MASK, {0.05F, 8, 0, 9, 0, 0}},
    {"warm", 1, 1, 30, 8, 1, NO_MASK, {5, 3, 0, 10, 0, 0}},
    {"one valid token", 2, 1, 15, 4, 1, ONE_TOKEN, {0.7F, 8, 0, 11, 0, 0}},
    {"no valid token", 2, 1, 15, 4, 1, NOTHING_VALID, {0.7F, 8, 0, 12, 0, 0}},
    {"many iterations", 1, 1, 21, 5, 1, NO_MASK, {0.7F, 100, 0, 13, 0, 0}},
    {"more slots than a pass takes", 1, 1, 5, 4100, 1, NO_MASK, {0.7F, 4, 0, 15, 0, 0}},
    {"larger than a work-group", 1, 2, 601, 67, 3, HOLES, {0.7F, 8, 0, 14, 0, 0}},
};
#define CASES (sizeof(cases) / sizeof(cases[0]))

static size_t tokens_of(const struct sinkhorn_case *c)
{
    return c->B * c->R * c->N;
}

static size_t slots_of(const struct sinkhorn_case *c)
{
    return c->B * c->R * c->K;
}

static double *values_of(const struct sinkhorn_case *c)
{
    double *s = random_normal(tokens_of(c));
    for (size_t i = 0; i < tokens_of(c); i++) s[i] *= c->scale;
    return rounded_to(COLT5_F32, s, tokens_of(c));
}

static uint8_t *mask_of(const struct sinkhorn_case *c)
{
    if (c->masking == NO_MASK) return NULL;
    uint8_t *mask = random_mask(c->B * c->N, c->masking == HOLES ? 0.7 : 0);
    for (size_t b = 0; b < c->B && c->masking != NOTHING_VALID; b++)
        mask[b * c->N + (b + 3) % c->N] = (uint8_t)(2 + b);
    return mask;
}

/* ---- the reference ---- */

/* Scores of tokens once chosen: what the backward is the gradient of. */
static double loss(const struct sinkhorn_case *c, const double *s, const uint8_t *mask,
                   const double *index, const double *dscores)
{
    double *plan = zeros(slots_of(c) * c->N), *other = zeros(2 * slots_of(c)), sum = 0;
    reference_sinkhorn(s, mask, &c->options, plan, other, other + slots_of(c), c->B, c->R, c->N,
                       c->K);
    for (size_t i = 0; i < slots_of(c); i++) sum += dscores[i] * plan[i * c->N + (size_t)index[i]];
    free(plan), free(other);
    return sum;
}

START_TEST(the_reference_gradient_is_the_difference_quotient)
{
    const struct sinkhorn_case *c = &cases[_i];
    double *s = values_of(c), *dscores = random_normal(slots_of(c)), *ds = zeros(tokens_of(c));
    double *plan = zeros(slots_of(c) * c->N), *index = zeros(slots_of(c));
    double *scores = zeros(slots_of(c));
    uint8_t *mask = mask_of(c);
    /* Away from the kink of log(max(s, 1e-20)). */
    for (size_t i = 0; c->options.log_scores && i < tokens_of(c); i++) s[i] += s[i] < 0 ? -1 : 1;
    reference_sinkhorn(s, mask, &c->options, plan, index, scores, c->B, c->R, c->N, c->K);
    reference_sinkhorn_backward(s, mask, &c->options, index, dscores, ds, c->B, c->R, c->N, c->K);
    for (size_t i = 0; i < tokens_of(c); i++) {
        const double h = 1e-5, at = s[i];
        s[i] = at + h;
        const double up = loss(c, s, mask, index, dscores);
        s[i] = at - h;
        const double down = loss(c, s, mask, index, dscores);
        s[i] = at;
        ck_assert_msg(fabs((up - down) / (2 * h) - ds[i]) < 1e-7, "%s: ds[%zu] is %g, not %g",
                      c->what, i, ds[i], (up - down) / (2 * h));
    }
    free(s), free(dscores), free(ds), free(plan), free(index), free(scores), free(mask);
}
END_TEST

/* ---- the kernels ---- */

struct sinkhorn_tensors {
    struct device_tensor s, mask, index, scores, state, dscores, ds;
};

static struct sinkhorn_tensors tensors_of(const struct sinkhorn_case *c, const double *s,
                                          const uint8_t *mask, const double *dscores)
{
    struct sinkhorn_tensors t = {
        .s = upload(s, COLT5_F32, c->B, c->R, c->N),
        .index = poisoned_tensor(COLT5_I32, c->B, c->R, c->K),
        .scores = poisoned_tensor(COLT5_F32, c->B, c->R, c->K),
        .state = poisoned_tensor(COLT5_F32, c->B, c->R, (size_t)c->options.n_iters, c->K + c->N),
        .dscores = upload(dscores, COLT5_F32, c->B, c->R, c->K),
        .ds = poisoned_tensor(COLT5_F32, c->B, c->R, c->N),
    };
    if (mask) t.mask = upload_u8(mask, c->B, c->N);
    return t;
}

static void release_all(struct sinkhorn_tensors *t)
{
    release(&t->s), release(&t->mask), release(&t->index), release(&t->scores);
    release(&t->state), release(&t->dscores), release(&t->ds);
}

static const colt5_tensor *mask_tensor(const struct sinkhorn_tensors *t)
{
    return t->mask.t.buffer ? &t->mask.t : NULL;
}

static void run_both(const struct sinkhorn_case *c, const struct sinkhorn_tensors *t)
{
    ck_assert_ok(colt5_sinkhorn_forward(ctx, &t->s.t, mask_tensor(t), &c->options, &t->index.t,
                                        &t->scores.t, &t->state.t));
    ck_assert_ok(colt5_sinkhorn_backward(ctx, &t->s.t, mask_tensor(t), &c->options, &t->index.t,
                                         &t->state.t, &t->dscores.t, &t->ds.t));
}

/*
 * The exponent of a score is a sum of numbers up to 17 / temperature (the noise) rounded to
 * float32, and each iteration rounds potentials as large: so much is allowed.
 */
static double bound_of(const colt5_sinkhorn_options *options)
{
    return 2e-6 + 8 * 0x1p-24 * 17 / (double)options->temperature;
}

/* A slot's token has the largest entry of its row, as far as rounding tells, and that is its score.
 */
static void assert_chosen(const struct sinkhorn_case *c, const struct sinkhorn_tensors *t,
                          const double *plan, const double *want)
{
    double *index = download(&t->index), *scores = download(&t->scores);
    for (size_t i = 0; i < slots_of(c); i++) {
        const double bound = bound_of(&c->options);
        ck_assert_msg(index[i] >= 0 && index[i] < (double)c->N, "%s: index %g", c->what, index[i]);
        const double entry = plan[i * c->N + (size_t)index[i]];
        ck_assert_msg(entry >= want[i] * (1 - bound), "%s: slot %zu has token %g of %g, not %g",
                      c->what, i, index[i], entry, want[i]);
        ck_assert_msg(fabs(scores[i] - entry) <= bound * entry, "%s: score %zu is %.9g, not %.9g",
                      c->what, i, scores[i], entry);
    }
    free(index), free(scores);
}

static double norm_of(const double *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += x[i] * x[i];
    return sqrt(sum);
}

/*
 * Iterations forget s, so ds is often far smaller than the gradient D = dscores·scores that enters:
 * a share of D is allowed too, more where a low temperature keeps rounding from dying out.
 */
static void assert_ds(const struct sinkhorn_case *c, const struct sinkhorn_tensors *t,
                      const double *ds, const double *scores, const double *dscores)
{
    const size_t tokens = tokens_of(c), slots = slots_of(c);
    const double cold = fmax(1, 0.7 / c->options.temperature);
    double *have = download(&t->ds), *D = zeros(slots), off = 0;
    for (size_t i = 0; i < slots; i++) D[i] = dscores[i] * scores[i];
    for (size_t i = 0; i < tokens; i++) off += (have[i] - ds[i]) * (have[i] - ds[i]);
    ck_assert_msg(sqrt(off) <= 2e-5 * norm_of(ds, tokens) + 1e-7 * cold * cold * norm_of(D, slots),
                  "%s: ds is off by %g of %g", c->what, sqrt(off), norm_of(ds, tokens));
    free(have), free(D);
}

/* Masked tokens carry NaN: nothing may come of it. The kernels take vectors on CPUs, not on GPUs.
 */
START_TEST(choices_scores_and_gradients_are_the_references)
{
    const struct sinkhorn_case *c = &cases[_i / 2];
    if (tiny() && (c->N > 40 || c->K > 100 || c->options.n_iters > 10)) return;
    seed_random((uint64_t)_i / 2);
    double *s = values_of(c);
    double *dscores = rounded_to(COLT5_F32, random_normal(slots_of(c)), slots_of(c));
    double *plan = zeros(slots_of(c) * c->N), *index = zeros(slots_of(c));
    double *scores = zeros(slots_of(c)), *ds = zeros(tokens_of(c));
    uint8_t *mask = mask_of(c);
    reference_sinkhorn(s, mask, &c->options, plan, index, scores, c->B, c->R, c->N, c->K);
    double *hidden = random_normal(tokens_of(c));
    for (size_t i = 0; i < tokens_of(c); i++) {
        const bool masked = mask && !mask[i / c->N / c->R * c->N + i % c->N];
        hidden[i] = masked ? NAN : s[i];
    }

    struct sinkhorn_tensors t = tensors_of(c, hidden, mask, dscores);
    const colt5_device_kind kind = ctx->info.kind;
    ctx->info.kind = _i % 2 ? COLT5_DEVICE_CPU : COLT5_DEVICE_DISCRETE_GPU;
    run_both(c, &t);
    ctx->info.kind = kind;
    assert_chosen(c, &t, plan, scores);
    free(index);
    index = download(&t.index);
    reference_sinkhorn_backward(s, mask, &c->options, index, dscores, ds, c->B, c->R, c->N, c->K);
    assert_ds(c, &t, ds, scores, dscores);
    assert_unchanged(&t.s), assert_unchanged(&t.dscores);

    release_all(&t);
    free(s), free(dscores), free(plan), free(index), free(scores), free(ds), free(mask);
    free(hidden);
}
END_TEST

static const struct sinkhorn_case plain = {"plain", 2, 2,       19,
                                           5,       1, NO_MASK, {0.7F, 3, 0, 77, 0, 0}};

START_TEST(a_forward_alone_gives_the_same)
{
    const struct sinkhorn_case *c = &plain;
    double *s = values_of(c);
    struct sinkhorn_tensors t = tensors_of(c, s, NULL, s);
    run_both(c, &t);
    double *index = download(&t.index), *scores = download(&t.scores), *ds = download(&t.ds);
    run_both(c, &t);
    assert_equal(&t.ds, ds);
    ck_assert_ok(
        colt5_sinkhorn_forward(ctx, &t.s.t, NULL, &c->options, &t.index.t, &t.scores.t, NULL));
    assert_equal(&t.index, index);
    assert_equal(&t.scores, scores);
    release_all(&t);
    free(s), free(index), free(scores), free(ds);
}
END_TEST

/* Row 1's alone; its choice is anything inside the row. */
START_TEST(a_nan_stays_in_its_row)
{
    const struct sinkhorn_case *c = &plain;
    double *s = values_of(c), *dscores = random_normal(slots_of(c));
    struct sinkhorn_tensors t = tensors_of(c, s, NULL, dscores);
    run_both(c, &t);
    double *index = download(&t.index), *scores = download(&t.scores), *ds = download(&t.ds);
    release_all(&t);
    s[c->N + 4] = NAN;
    t = tensors_of(c, s, NULL, dscores);
    run_both(c, &t);
    double *have = download(&t.index);
    for (size_t i = c->K; i < 2 * c->K; i++) {
        ck_assert(have[i] >= 0 && have[i] < (double)c->N);
        index[i] = have[i];
        scores[i] = NAN;
    }
    for (size_t n = c->N; n < 2 * c->N; n++) ds[n] = NAN;
    assert_equal(&t.index, index);
    assert_equal(&t.scores, scores);
    assert_equal(&t.ds, ds);
    release_all(&t);
    free(s), free(dscores), free(index), free(scores), free(ds), free(have);
}
END_TEST

START_TEST(an_empty_mask_gives_index_zero_and_score_zero)
{
    const struct sinkhorn_case *c = &cases[11];
    double *s = values_of(c), *dscores = random_normal(slots_of(c));
    double *nothing = zeros(tokens_of(c));
    uint8_t *mask = mask_of(c);
    struct sinkhorn_tensors t = tensors_of(c, s, mask, dscores);
    run_both(c, &t);
    assert_equal(&t.index, nothing);
    assert_equal(&t.scores, nothing);
    assert_equal(&t.ds, nothing);
    release_all(&t);
    free(s), free(dscores), free(nothing), free(mask);
}
END_TEST

START_TEST(gradients_that_are_compared_are_not_zero)
{
    static const size_t forgetful[] = {0,  1,  6,
                                       10, 11, 12}; /* whose iterations forget s, or have one */
    size_t next = 0;
    for (size_t k = 0; k < CASES; k++) {
        const struct sinkhorn_case *c = &cases[k];
        if (next < 6 && forgetful[next] == k) {
            next++;
            continue;
        }
        seed_random(k);
        double *s = values_of(c), *dscores = random_normal(slots_of(c)), *ds = zeros(tokens_of(c));
        double *plan = zeros(slots_of(c) * c->N), *index = zeros(slots_of(c));
        double *scores = zeros(slots_of(c));
        uint8_t *mask = mask_of(c);
        reference_sinkhorn(s, mask, &c->options, plan, index, scores, c->B, c->R, c->N, c->K);
        reference_sinkhorn_backward(s, mask, &c->options, index, dscores, ds, c->B, c->R, c->N,
                                    c->K);
        ck_assert_msg(norm_of(ds, tokens_of(c)) > 1e-6, "%s: %g", c->what,
                      norm_of(ds, tokens_of(c)));
        free(s), free(dscores), free(ds), free(plan), free(index), free(scores), free(mask);
    }
}
END_TEST

/* ---- bad calls ---- */

/* What differs from a good call; 0 is as it should be. */
static const struct bad_call {
    const char *what;
    colt5_status expected;
    colt5_sinkhorn_options options;
    size_t index_rows, scores_K, mask_N, state_T;
    bool half_s, float_index, no_s, no_options, no_index;
} bad_calls[] = {
    {"temperature of 0", COLT5_ERROR_ARGUMENT, .options = {0, 3, 0, 0, 0, 0}},
    {"temperature of NaN", COLT5_ERROR_ARGUMENT, .options = {NAN, 3, 0, 0, 0, 0}},
    {"no iteration", COLT5_ERROR_ARGUMENT, .options = {0.7F, -1, 0, 0, 0, 0}},
    {"10001 iterations", COLT5_ERROR_ARGUMENT, .options = {0.7F, 10001, 0, 0, 0, 0}},
    {"index of another R", COLT5_ERROR_SHAPE, .index_rows = 1},
    {"scores of another K", COLT5_ERROR_SHAPE, .scores_K = 2},
    {"mask of another N", COLT5_ERROR_SHAPE, .mask_N = 3},
    {"state of another T", COLT5_ERROR_SHAPE, .state_T = 2},
    {"s of f16", COLT5_ERROR_TYPE, .half_s = true},
    {"index of f32", COLT5_ERROR_TYPE, .float_index = true},
    {"no s", COLT5_ERROR_ARGUMENT, .no_s = true},
    {"no options", COLT5_ERROR_ARGUMENT, .no_options = true},
    {"no index", COLT5_ERROR_ARGUMENT, .no_index = true},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call bad = bad_calls[_i];
    const struct sinkhorn_case c = {"", 1, 2, 4, 3, 1, HOLES, {0.7F, 3, 0, 1, 0, 0}};
    const double s[8] = {0};
    const uint8_t mask[4] = {1, 1, 1, 1};
    struct sinkhorn_tensors t = tensors_of(&c, s, mask, s);
    colt5_tensor ts = t.s.t, tm = t.mask.t, ti = t.index.t, ty = t.scores.t, tz = t.state.t;
    colt5_tensor tg = t.dscores.t;
    const colt5_sinkhorn_options *options = bad.options.n_iters ? &bad.options : &c.options;
    if (bad.no_options) options = NULL;
    if (bad.half_s) ts.type = COLT5_F16;
    if (bad.float_index) ti.type = COLT5_F32;
    if (bad.index_rows) ti.dims[1] = bad.index_rows;
    if (bad.scores_K) ty.dims[2] = tg.dims[2] = bad.scores_K;
    if (bad.mask_N) tm.dims[1] = bad.mask_N;
    if (bad.state_T) tz.dims[2] = bad.state_T;
    const colt5_tensor *s_or_none = bad.no_s ? NULL : &ts, *index = bad.no_index ? NULL : &ti;
    ck_assert_msg(colt5_sinkhorn_forward(ctx, s_or_none, &tm, options, index, &ty, &tz) ==
                      bad.expected,
                  "%s", bad.what);
    ck_assert_msg(!strncmp(colt5_message(ctx), "sinkhorn_forward: ", 18), "%s", colt5_message(ctx));
    ck_assert_msg(colt5_sinkhorn_backward(ctx, s_or_none, &tm, options, index, &tz, &tg, &t.ds.t) ==
                      bad.expected,
                  "%s", bad.what);
    assert_untouched(&t.index), assert_untouched(&t.scores), assert_untouched(&t.ds);
    if (!tiny() || _i % 4 == 0) run_both(&c, &t);
    release_all(&t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sinkhorn");
    TCase *tests = tcase_create("sinkhorn");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, the_reference_gradient_is_the_difference_quotient, 0, 10);
    tcase_add_loop_test(tests, choices_scores_and_gradients_are_the_references, 0, 2 * CASES);
    tcase_add_test(tests, a_forward_alone_gives_the_same);
    tcase_add_test(tests, a_nan_stays_in_its_row);
    tcase_add_test(tests, an_empty_mask_gives_index_zero_and_score_zero);
    tcase_add_test(tests, gradients_that_are_compared_are_not_zero);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
