/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <math.h>

#include "ops/score.h"

/* Two routers, of R0 and R1 routing tokens, the second with tokens of each sample. */
static const struct shape {
    size_t B, N, D, R0, R1;
    colt5_type type;
    bool cosine, gpu;
} shapes[] = {
    {1, 1, 1, 1, 4, COLT5_F32, false, false},   {2, 33, 8, 1, 4, COLT5_F32, false, false},
    {2, 65, 24, 4, 1, COLT5_F16, false, false}, {1, 131, 520, 2, 3, COLT5_BF16, false, false},
    {2, 67, 40, 1, 1, COLT5_F32, false, false}, {1, 7, 13, 1, 2, COLT5_F32, false, true},
    {2, 131, 16, 4, 1, COLT5_F32, false, true}, {1, 33, 256, 1, 4, COLT5_F32, false, true},
    {2, 37, 520, 1, 4, COLT5_F16, false, true}, {2, 17, 136, 4, 1, COLT5_BF16, false, true},
    {2, 33, 24, 1, 4, COLT5_F32, true, false},  {3, 31, 64, 4, 1, COLT5_BF16, true, true},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static struct shape shape_of(int i)
{
    struct shape s = shapes[i];
    if (tiny() && s.N > 31) s.N = 31;
    return s;
}

static const colt5_score_options cosine_options = {1, 8};

/* Σ |x·token|, of which a sum in float32 may lose two parts in 2^24. */
static double *magnitudes(const double *x, const double *token, bool per_sample, struct shape s,
                          size_t R)
{
    double *sizes = zeros(s.B * R * s.N);
    for (size_t i = 0; i < s.B * R * s.N; i++) {
        const size_t b = i / (R * s.N), r = i / s.N % R, n = i % s.N;
        for (size_t d = 0; d < s.D; d++)
            sizes[i] +=
                fabs(x[(b * s.N + n) * s.D + d] * token[((per_sample ? b * R : 0) + r) * s.D + d]);
    }
    return sizes;
}

static void assert_scores(const struct device_tensor *have, const double *x, const double *token,
                          bool per_sample, struct shape s, size_t R)
{
    double *want = poisoned(have->count), *got = download(have);
    double *size = magnitudes(x, token, per_sample, s, R);
    reference_score(x, token, per_sample, s.cosine, 8, want, s.B, s.N, s.D, R);
    for (size_t i = 0; i < have->count; i++) {
        const double bound = s.cosine ? 8 * 0x1p-22 : size[i] * 0x1p-23;
        ck_assert_msg(fabs(got[i] - want[i]) <= bound, "score %zu: %.9g, not %.9g (± %.2g)", i,
                      got[i], want[i], bound);
    }
    free(want), free(got), free(size);
}

START_TEST(scores_are_products_with_the_tokens)
{
    const struct shape s = shape_of(_i);
    double *x = rounded_to(s.type, random_normal(s.B * s.N * s.D), s.B * s.N * s.D);
    double *t0 = rounded_to(s.type, random_normal(s.R0 * s.D), s.R0 * s.D);
    double *t1 = rounded_to(s.type, random_normal(s.B * s.R1 * s.D), s.B * s.R1 * s.D);
    struct device_tensor dx = upload(x, s.type, s.B, s.N, s.D);
    struct device_tensor d0 = upload(t0, s.type, s.R0, s.D);
    struct device_tensor d1 = upload(t1, s.type, s.B, s.R1, s.D);
    struct device_tensor s0 = poisoned_tensor(COLT5_F32, s.B, s.R0, s.N);
    struct device_tensor s1 = poisoned_tensor(COLT5_F32, s.B, s.R1, s.N);
    const colt5_score_target targets[] = {{&d0.t, &s0.t}, {&d1.t, &s1.t}};

    pretend_gpu(s.gpu);
    ck_assert_ok(colt5_score_forward(ctx, &dx.t, 2, targets, s.cosine ? &cosine_options : NULL));
    pretend_gpu(false);
    assert_scores(&s0, x, t0, false, s, s.R0);
    assert_scores(&s1, x, t1, true, s, s.R1);
    assert_unchanged(&dx), assert_unchanged(&d0), assert_unchanged(&d1);

    release(&dx), release(&d0), release(&d1), release(&s0), release(&s1);
    free(x), free(t0), free(t1);
}
END_TEST

/* 1 / ‖x‖ of every row beside its scores, of one pass or, with more tokens than it takes, of two.
 */
START_TEST(norms_come_with_the_scores)
{
    const struct shape s = shape_of(_i);
    const size_t rows = s.B * s.N, R = s.R0 + s.R1;
    double *x = rounded_to(s.type, random_normal(rows * s.D), rows * s.D), *want = zeros(rows);
    double *token = rounded_to(s.type, random_normal(R * s.D), R * s.D);
    for (size_t d = 0; d < s.D; d++) x[(rows - 1) * s.D + d] = 0;
    for (size_t n = 0; n < rows; n++) {
        for (size_t d = 0; d < s.D; d++) want[n] += x[n * s.D + d] * x[n * s.D + d];
        want[n] = 1 / fmax(sqrt(want[n]), 1e-12);
    }
    struct device_tensor dx = upload(x, s.type, s.B, s.N, s.D), dt = upload(token, s.type, R, s.D);
    struct device_tensor ds = poisoned_tensor(COLT5_F32, s.B, R, s.N);
    struct device_tensor inverses = poisoned_tensor(COLT5_F32, s.B, s.N);
    const colt5_score_target target = {&dt.t, &ds.t};

    pretend_gpu(s.gpu);
    ck_assert_ok(
        score_and_norms(ctx, &dx.t, 1, &target, s.cosine ? &cosine_options : NULL, &inverses.t));
    pretend_gpu(false);
    assert_scores(&ds, x, token, false, s, R);
    assert_close(&inverses, want, 0, 0x1p-20);
    release(&dx), release(&dt), release(&ds), release(&inverses);
    free(x), free(token), free(want);
}
END_TEST

/* Sums of small integers are exact, however they are joined. */
START_TEST(integers_are_exact)
{
    enum { N = 30, D = 72 };
    double x[N * D], token[D], want[N];
    for (int i = 0; i < N * D; i++) x[i] = (i * 7 + i / 5) % 11 - 5;
    for (int d = 0; d < D; d++) token[d] = d % 9 - 4;
    struct device_tensor dx = upload(x, COLT5_F32, 1, N, D), dt = upload(token, COLT5_F32, 1, D);
    struct device_tensor ds = poisoned_tensor(COLT5_F32, 1, 1, N);
    const colt5_score_target target = {&dt.t, &ds.t};
    const colt5_score_options plain = {0, 8};

    pretend_gpu(_i);
    ck_assert_ok(colt5_score_forward(ctx, &dx.t, 1, &target, &plain));
    pretend_gpu(false);
    reference_score(x, token, false, false, 8, want, 1, N, D, 1);
    assert_equal(&ds, want);
    release(&dx), release(&dt), release(&ds);
}
END_TEST

/* The root mean square error of one running sum in float32 is at least twice ours. */
START_TEST(sums_are_better_than_running_ones)
{
    enum { N = 30, D = 2048 };
    double *x = rounded_to(COLT5_F32, random_normal(N * D), N * D), want[N], naive = 0, ours = 0;
    double *token = rounded_to(COLT5_F32, random_normal(D), D);
    struct device_tensor dx = upload(x, COLT5_F32, 1, N, D), dt = upload(token, COLT5_F32, 1, D);
    struct device_tensor ds = poisoned_tensor(COLT5_F32, 1, 1, N);
    const colt5_score_target target = {&dt.t, &ds.t};

    pretend_gpu(_i);
    ck_assert_ok(colt5_score_forward(ctx, &dx.t, 1, &target, NULL));
    pretend_gpu(false);
    reference_score(x, token, false, false, 8, want, 1, N, D, 1);
    double *got = download(&ds);
    for (int n = 0; n < N; n++) {
        float sum = 0;
        for (int d = 0; d < D; d++) sum += (float)x[n * D + d] * (float)token[d];
        naive += (sum - want[n]) * (sum - want[n]);
        ours += (got[n] - want[n]) * (got[n] - want[n]);
    }
    ck_assert_msg(sqrt(ours) < sqrt(naive) / 2, "%g against %g", sqrt(ours / N), sqrt(naive / N));
    release(&dx), release(&dt), release(&ds);
    free(x), free(token), free(got);
}
END_TEST

/* What stands in a row reaches its own scores only. */
START_TEST(a_row_of_nan_stays_alone)
{
    enum { N = 30, D = 72 };
    double *x = random_normal(N * D), token[D];
    for (int d = 0; d < D; d++) token[d] = 1;
    for (int d = 0; d < D; d++) x[7 * D + d] = d % 2 ? NAN : INFINITY;
    struct device_tensor dx = upload(x, COLT5_F32, 1, N, D), dt = upload(token, COLT5_F32, 1, D);
    struct device_tensor ds = poisoned_tensor(COLT5_F32, 1, 1, N);
    const colt5_score_target target = {&dt.t, &ds.t};

    pretend_gpu(_i % 2);
    ck_assert_ok(colt5_score_forward(ctx, &dx.t, 1, &target, _i < 2 ? NULL : &cosine_options));
    pretend_gpu(false);
    double *got = download(&ds);
    for (int n = 0; n < N; n++) ck_assert_msg(isnan(got[n]) == (n == 7), "row %d: %g", n, got[n]);
    release(&dx), release(&dt), release(&ds);
    free(x), free(got);
}
END_TEST

/* Their norm counts as 1e-12. */
START_TEST(rows_of_zeros_have_no_direction)
{
    const double x[] = {0, 0, 3, 4}, token[] = {0, 0, 4, 3}, want[] = {0, 0, 0, 8 * 24. / 25};
    struct device_tensor dx = upload(x, COLT5_F32, 1, 2, 2), dt = upload(token, COLT5_F32, 2, 2);
    struct device_tensor ds = poisoned_tensor(COLT5_F32, 1, 2, 2);
    const colt5_score_target target = {&dt.t, &ds.t};
    ck_assert_ok(colt5_score_forward(ctx, &dx.t, 1, &target, &cosine_options));
    assert_close(&ds, want, 0, 1e-6);
    release(&dx), release(&dt), release(&ds);
}
END_TEST

/* ---- backward ---- */

/* The reference's gradient against central differences of the reference's score. */
START_TEST(the_reference_differentiates_itself)
{
    enum { B = 2, N = 3, D = 4, R = 2 };
    const bool cosine = _i % 2, per_sample = _i / 2;
    const size_t tokens = (per_sample ? B : 1) * R * D;
    double *x = random_normal(B * N * D), *token = random_normal(tokens), s[B * R * N];
    double *ds = random_normal(B * R * N), *dx = zeros(B * N * D), *dtoken = zeros(tokens);
    reference_score_backward(x, token, per_sample, cosine, 8, ds, dx, dtoken, B, N, D, R);
    for (size_t i = 0; i < B * N * D + tokens; i++) {
        double *place = i < B * N * D ? x + i : token + (i - B * N * D), slope = 0;
        const double kept = *place, have = i < B * N * D ? dx[i] : dtoken[i - B * N * D];
        for (int side = -1; side <= 1; side += 2) {
            *place = kept + side * 1e-5;
            reference_score(x, token, per_sample, cosine, 8, s, B, N, D, R);
            for (size_t j = 0; j < B * R * N; j++) slope += side * ds[j] * s[j] / 2e-5;
        }
        *place = kept;
        ck_assert_double_eq_tol(have, slope, 1e-7 * (1 + fabs(slope)));
    }
    free(x), free(token), free(ds), free(dx), free(dtoken);
}
END_TEST

/* Gradients of s, of which some are 0: not routed. */
static double *sparse_normal(size_t count)
{
    double *values = random_normal(count);
    for (size_t i = 0; i < count; i++)
        if (random_uniform() < 0.3) values[i] = 0;
    return values;
}

/* dx written and then added to once more; dtoken, f32 and then as x, added to what was there. */
START_TEST(gradients_of_rows_and_tokens)
{
    const struct shape s = shape_of(_i);
    const size_t rows = s.B * s.N * s.D, c0 = s.R0 * s.D, c1 = s.B * s.R1 * s.D;
    double *x = rounded_to(s.type, random_normal(rows), rows), *dx = zeros(rows);
    double *t0 = rounded_to(s.type, random_normal(c0), c0);
    double *t1 = rounded_to(s.type, random_normal(c1), c1);
    double *g0 = sparse_normal(s.B * s.R0 * s.N), *g1 = sparse_normal(s.B * s.R1 * s.N);
    double *dt0 = rounded_to(COLT5_F32, random_normal(c0), c0);
    double *dt1 = rounded_to(s.type, random_normal(c1), c1);
    struct device_tensor x_ = upload(x, s.type, s.B, s.N, s.D);
    struct device_tensor t0_ = upload(t0, s.type, s.R0, s.D);
    struct device_tensor t1_ = upload(t1, s.type, s.B, s.R1, s.D);
    struct device_tensor g0_ =
        upload(rounded_to(COLT5_F32, g0, s.B * s.R0 * s.N), COLT5_F32, s.B, s.R0, s.N);
    struct device_tensor g1_ =
        upload(rounded_to(COLT5_F32, g1, s.B * s.R1 * s.N), COLT5_F32, s.B, s.R1, s.N);
    struct device_tensor dt0_ = upload(dt0, COLT5_F32, s.R0, s.D);
    struct device_tensor dt1_ = upload(dt1, s.type, s.B, s.R1, s.D);
    struct device_tensor dx_ = poisoned_tensor(s.type, s.B, s.N, s.D);
    const colt5_score_gradient gradients[] = {{&t0_.t, &g0_.t, &dt0_.t}, {&t1_.t, &g1_.t, &dt1_.t}};
    const colt5_score_options *options = s.cosine ? &cosine_options : NULL;

    pretend_gpu(s.gpu);
    ck_assert_ok(colt5_score_backward(ctx, &x_.t, 2, gradients, options, &dx_.t, 0));
    reference_score_backward(x, t0, false, s.cosine, 8, g0, dx, dt0, s.B, s.N, s.D, s.R0);
    reference_score_backward(x, t1, true, s.cosine, 8, g1, dx, dt1, s.B, s.N, s.D, s.R1);
    const double bound = s.type == COLT5_F32 ? 2e-6 : 1e-2;
    assert_norm(&dx_, dx, bound);
    assert_norm(&dt0_, dt0, 2e-6);
    assert_norm(&dt1_, dt1, bound);

    ck_assert_ok(colt5_score_backward(ctx, &x_.t, 1, gradients, options, &dx_.t, 1));
    pretend_gpu(false);
    reference_score_backward(x, t0, false, s.cosine, 8, g0, dx, dt0, s.B, s.N, s.D, s.R0);
    assert_norm(&dx_, dx, bound);
    assert_norm(&dt0_, dt0, 2e-6);
    assert_unchanged(&x_), assert_unchanged(&t0_), assert_unchanged(&t1_);
    assert_unchanged(&g0_), assert_unchanged(&g1_);

    release(&x_), release(&t0_), release(&t1_), release(&g0_), release(&g1_);
    release(&dt0_), release(&dt1_), release(&dx_);
    free(x), free(dx), free(t0), free(t1), free(g0), free(g1), free(dt0), free(dt1);
}
END_TEST

/* Small integers, more rows than one work-item sums up: no tolerance. */
START_TEST(integer_gradients_are_exact)
{
    enum { N = 70, D = 24 };
    double x[N * D], token[D], ds[N], dx[N * D] = {0}, dtoken[D] = {0};
    for (int i = 0; i < N * D; i++) x[i] = (i * 7 + i / 5) % 11 - 5;
    for (int d = 0; d < D; d++) token[d] = d % 9 - 4;
    for (int n = 0; n < N; n++) ds[n] = n % 7 - 3;
    struct device_tensor x_ = upload(x, COLT5_F32, 1, N, D),
                         token_ = upload(token, COLT5_F32, 1, D);
    struct device_tensor ds_ = upload(ds, COLT5_F32, 1, 1, N),
                         dx_ = poisoned_tensor(COLT5_F32, 1, N, D);
    struct device_tensor dtoken_ = upload(dtoken, COLT5_F32, 1, D);
    const colt5_score_gradient gradient = {&token_.t, &ds_.t, &dtoken_.t};

    pretend_gpu(_i);
    ck_assert_ok(colt5_score_backward(ctx, &x_.t, 1, &gradient, NULL, &dx_.t, 0));
    pretend_gpu(false);
    reference_score_backward(x, token, false, false, 8, ds, dx, dtoken, 1, N, D, 1);
    assert_equal(&dx_, dx);
    assert_equal(&dtoken_, dtoken);
    release(&x_), release(&token_), release(&ds_), release(&dx_), release(&dtoken_);
}
END_TEST

/* Rows without a gradient may hold anything; each output may be left out. */
START_TEST(rows_without_gradient_are_not_looked_at)
{
    enum { N = 20, D = 24 };
    const colt5_score_options *options = _i % 2 ? &cosine_options : NULL;
    double *x = rounded_to(COLT5_F32, random_normal(N * D), N * D), dx[N * D] = {0},
           dtoken[D] = {0};
    double *token = rounded_to(COLT5_F32, random_normal(D), D);
    double *ds = rounded_to(COLT5_F32, random_normal(N), N);
    for (int d = 0; d < D; d++) x[3 * D + d] = x[19 * D + d] = d % 2 ? NAN : INFINITY;
    ds[3] = ds[19] = 0;
    struct device_tensor x_ = upload(x, COLT5_F32, 1, N, D),
                         token_ = upload(token, COLT5_F32, 1, D);
    struct device_tensor ds_ = upload(ds, COLT5_F32, 1, 1, N),
                         dx_ = poisoned_tensor(COLT5_F32, 1, N, D);
    struct device_tensor dtoken_ = upload(dtoken, COLT5_F32, 1, D);
    const colt5_score_gradient both = {&token_.t, &ds_.t, &dtoken_.t},
                               one = {&token_.t, &ds_.t, NULL};

    pretend_gpu(_i / 2);
    ck_assert_ok(colt5_score_backward(ctx, &x_.t, 1, &one, options, &dx_.t, 0));
    ck_assert_ok(colt5_score_backward(ctx, &x_.t, 1, &both, options, NULL, 0));
    pretend_gpu(false);
    reference_score_backward(x, token, false, options, 8, ds, dx, dtoken, 1, N, D, 1);
    assert_norm(&dx_, dx, 2e-6);
    assert_norm(&dtoken_, dtoken, 2e-6);
    release(&x_), release(&token_), release(&ds_), release(&dx_), release(&dtoken_);
    free(x), free(token), free(ds);
}
END_TEST

/* A norm of 1e-12 or less is a constant. */
START_TEST(zeros_have_a_gradient)
{
    const double x[] = {0, 0, 3, 4}, token[] = {0, 0, 4, 3}, ds[] = {1e-9, 1e-9, 1e-9, 1};
    double dx[4] = {0}, dtoken[4] = {0};
    struct device_tensor x_ = upload(x, COLT5_F32, 1, 2, 2),
                         token_ = upload(token, COLT5_F32, 2, 2);
    struct device_tensor ds_ = upload(ds, COLT5_F32, 1, 2, 2),
                         dx_ = poisoned_tensor(COLT5_F32, 1, 2, 2);
    struct device_tensor dtoken_ = upload(dtoken, COLT5_F32, 2, 2);
    const colt5_score_gradient gradient = {&token_.t, &ds_.t, &dtoken_.t};
    ck_assert_ok(colt5_score_backward(ctx, &x_.t, 1, &gradient, &cosine_options, &dx_.t, 0));
    reference_score_backward(x, token, false, true, 8, (double[]){1e-9f, 1e-9f, 1e-9f, 1}, dx,
                             dtoken, 1, 2, 2, 2);
    assert_close(&dx_, dx, 1e-6, 1e-6);
    assert_close(&dtoken_, dtoken, 1e-6, 1e-6);
    release(&x_), release(&token_), release(&ds_), release(&dx_), release(&dtoken_);
}
END_TEST

static const struct bad_call {
    const char *what;
    size_t count;
    int x_rank, token_rank;
    colt5_type token_type, s_type;
    size_t token_width, s_length;
    bool overlap;
    colt5_status expected;
} bad_calls[] = {
    {"no targets", 0, 3, 2, COLT5_F16, COLT5_F32, 4, 5, false, COLT5_ERROR_ARGUMENT},
    {"x of rank 2", 1, 2, 2, COLT5_F16, COLT5_F32, 4, 5, false, COLT5_ERROR_SHAPE},
    {"token of rank 1", 1, 3, 1, COLT5_F16, COLT5_F32, 4, 5, false, COLT5_ERROR_SHAPE},
    {"token of another type", 1, 3, 2, COLT5_BF16, COLT5_F32, 4, 5, false, COLT5_ERROR_TYPE},
    {"token of another D", 1, 3, 2, COLT5_F16, COLT5_F32, 3, 5, false, COLT5_ERROR_SHAPE},
    {"s of 16 bits", 1, 3, 2, COLT5_F16, COLT5_F16, 4, 5, false, COLT5_ERROR_TYPE},
    {"s of another N", 1, 3, 2, COLT5_F16, COLT5_F32, 4, 4, false, COLT5_ERROR_SHAPE},
    {"s on x", 1, 3, 2, COLT5_F16, COLT5_F32, 4, 5, true, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const double x[40] = {0}, token[8] = {0};
    struct device_tensor dx = upload(x, COLT5_F16, 2, 5, 4), dt = upload(token, COLT5_F16, 2, 4);
    struct device_tensor ds = poisoned_tensor(COLT5_F32, 2, 2, 5);
    colt5_tensor tx = dx.t, tt = dt.t, ts = ds.t;
    tx.rank = c.x_rank;
    tt.rank = c.token_rank;
    tt.type = c.token_type;
    tt.dims[1] = c.token_width;
    ts.type = c.s_type;
    ts.dims[2] = c.s_length;
    if (c.overlap) {
        ts.buffer = tx.buffer;
        ts.offset = tx.offset / 2;
    }
    const colt5_score_target good = {&dt.t, &ds.t}, bad[] = {{&tt, &ts}};
    ck_assert_msg(colt5_score_forward(ctx, &tx, c.count, bad, &cosine_options) == c.expected, "%s",
                  c.what);
    ck_assert_msg(!strncmp(colt5_message(ctx), "score_forward: ", 15), "%s", colt5_message(ctx));
    assert_untouched(&ds);
    ck_assert_ok(colt5_score_forward(ctx, &dx.t, 1, &good, &cosine_options));
    release(&dx), release(&dt), release(&ds);
}
END_TEST

static const struct bad_gradient {
    const char *what;
    size_t count;
    colt5_type ds_type, dtoken_type;
    size_t ds_length, dtoken_width, dx_width;
    bool overlap;
    colt5_status expected;
} bad_gradients[] = {
    {"no gradients", 0, COLT5_F32, COLT5_F32, 5, 4, 4, false, COLT5_ERROR_ARGUMENT},
    {"integer ds", 1, COLT5_I32, COLT5_F32, 5, 4, 4, false, COLT5_ERROR_TYPE},
    {"ds of another N", 1, COLT5_F32, COLT5_F32, 4, 4, 4, false, COLT5_ERROR_SHAPE},
    {"integer dtoken", 1, COLT5_F32, COLT5_I32, 5, 4, 4, false, COLT5_ERROR_TYPE},
    {"dtoken of another D", 1, COLT5_F32, COLT5_F32, 5, 3, 4, false, COLT5_ERROR_SHAPE},
    {"dx of another D", 1, COLT5_F32, COLT5_F32, 5, 4, 3, false, COLT5_ERROR_SHAPE},
    {"dx on x", 1, COLT5_F32, COLT5_F32, 5, 4, 4, true, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_gradients_are_refused)
{
    const struct bad_gradient c = bad_gradients[_i];
    const double x[40] = {0}, token[8] = {0}, ds[20] = {1}, dtoken[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    struct device_tensor x_ = upload(x, COLT5_F16, 2, 5, 4),
                         token_ = upload(token, COLT5_F16, 2, 4);
    struct device_tensor ds_ = upload(ds, COLT5_F32, 2, 2, 5),
                         dx_ = poisoned_tensor(COLT5_F16, 2, 5, 4);
    struct device_tensor dtoken_ = upload(dtoken, COLT5_F32, 2, 4);
    colt5_tensor tds = ds_.t, tdtoken = dtoken_.t, tdx = c.overlap ? x_.t : dx_.t;
    tds.type = c.ds_type;
    tds.dims[2] = c.ds_length;
    tdtoken.type = c.dtoken_type;
    tdtoken.dims[1] = c.dtoken_width;
    tdx.dims[2] = c.dx_width;
    const colt5_score_gradient good = {&token_.t, &ds_.t, &dtoken_.t},
                               bad = {&token_.t, &tds, &tdtoken};
    ck_assert_msg(colt5_score_backward(ctx, &x_.t, c.count, &bad, NULL, &tdx, 0) == c.expected,
                  "%s: %s", c.what, colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), "score_backward: ", 16), "%s", colt5_message(ctx));
    assert_untouched(&dx_);
    assert_unchanged(&dtoken_);
    ck_assert_ok(colt5_score_backward(ctx, &x_.t, 1, &good, NULL, &dx_.t, 0));
    release(&x_), release(&token_), release(&ds_), release(&dx_), release(&dtoken_);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("score");
    TCase *forward = tcase_create("forward"), *backward = tcase_create("backward");
    tcase_set_timeout(forward, 120);
    tcase_set_timeout(backward, 120);
    tcase_add_loop_test(forward, scores_are_products_with_the_tokens, 0, SHAPES);
    tcase_add_loop_test(forward, norms_come_with_the_scores, 0, SHAPES);
    tcase_add_loop_test(forward, integers_are_exact, 0, 2);
    tcase_add_loop_test(forward, sums_are_better_than_running_ones, 0, 2);
    tcase_add_loop_test(forward, a_row_of_nan_stays_alone, 0, 4);
    tcase_add_test(forward, rows_of_zeros_have_no_direction);
    tcase_add_loop_test(forward, bad_calls_are_refused, 0,
                        sizeof(bad_calls) / sizeof(bad_calls[0]));
    tcase_add_loop_test(backward, the_reference_differentiates_itself, 0, 4);
    tcase_add_loop_test(backward, gradients_of_rows_and_tokens, 0, SHAPES);
    tcase_add_loop_test(backward, integer_gradients_are_exact, 0, 2);
    tcase_add_loop_test(backward, rows_without_gradient_are_not_looked_at, 0, 4);
    tcase_add_test(backward, zeros_have_a_gradient);
    tcase_add_loop_test(backward, bad_gradients_are_refused, 0,
                        sizeof(bad_gradients) / sizeof(bad_gradients[0]));
    suite_add_tcase(suite, forward);
    suite_add_tcase(suite, backward);
    return run_device_suite(suite);
}
