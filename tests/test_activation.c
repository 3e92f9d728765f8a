/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include "ops/activation.h"

static const size_t counts[] = {1, 7, 8, 257, 4096};
#define CASES (3 * sizeof(counts) / sizeof(counts[0]))

/* The tensor without its first element: no longer aligned to any vector. */
static colt5_tensor but_the_first(const struct device_tensor *tensor)
{
    return colt5_tensor_wrap(tensor->t.buffer, tensor->t.offset + 1, tensor->t.type,
                             DIMS(tensor->count - 1));
}

START_TEST(gelu_is_exact)
{
    const size_t count = counts[_i / 3];
    const colt5_type type = storage_types[_i % 3];
    double *x = random_normal(count), *want = zeros(count);
    for (size_t i = 0; i < count; i++) x[i] *= 3;
    rounded_to(type, x, count);
    struct device_tensor dx = upload(x, type, count), dy = poisoned_tensor(type, count);

    ck_assert_ok(colt5_gelu_forward(ctx, &dx.t, &dy.t));
    reference_gelu_forward(x, want, count);
    assert_close(&dy, want, 3e-7, rounding(type) + 2e-7);
    assert_unchanged(&dx);

    ck_assert_ok(colt5_gelu_forward(ctx, &dx.t, &dx.t)); /* in place */
    assert_close(&dx, want, 3e-7, rounding(type) + 2e-7);
    release(&dx), release(&dy);
    free(x), free(want);
}
END_TEST

START_TEST(gelu_backward_is_the_slope)
{
    const size_t count = counts[_i / 3];
    const colt5_type type = storage_types[_i % 3];
    double *x = random_normal(count), *want = zeros(count);
    double *g = rounded_to(type, random_normal(count), count);
    for (size_t i = 0; i < count; i++) x[i] *= 3;
    rounded_to(type, x, count);
    struct device_tensor tx = upload(x, type, count), tdy = upload(g, type, count);
    struct device_tensor tdx = poisoned_tensor(type, count);

    ck_assert_ok(colt5_gelu_backward(ctx, &tx.t, &tdy.t, &tdx.t));
    reference_gelu_backward(x, g, want, count);
    assert_close(&tdx, want, 2e-6, rounding(type) + 2e-7);
    assert_unchanged(&tx);
    assert_unchanged(&tdy);
    ck_assert_ok(colt5_gelu_backward(ctx, &tx.t, &tdy.t, &tdy.t)); /* in place */
    assert_close(&tdy, want, 2e-6, rounding(type) + 2e-7);
    release(&tx), release(&tdy), release(&tdx);
    free(x), free(want), free(g);
}
END_TEST

START_TEST(gelu_backward_at_the_ends)
{
    const double x[] = {0, 20, -20, 1e30, -1e30, NAN, NAN, INFINITY, -INFINITY, -9};
    const double g[] = {1, 2, 3, 4, 5, 0, 1, 2, 3, 1e20};
    const double want[] = {0.5, 2, 0, 4, 0, 0, NAN, 2, 0, -913.893737};
    const size_t count = sizeof(x) / sizeof(x[0]);
    struct device_tensor tx = upload(x, COLT5_F32, count), tdy = upload(g, COLT5_F32, count);
    ck_assert_ok(colt5_gelu_backward(ctx, &tx.t, &tdy.t, &tdy.t));
    assert_close(&tdy, want, 1e-30, 1e-6);
    release(&tx), release(&tdy);
}
END_TEST

struct gelu_call {
    double x[9], y[9];
};

static void gelu_of(void *call)
{
    struct gelu_call *c = call;
    reference_gelu_forward(c->x, c->y, 9);
}

START_TEST(the_reference_gradient_is_the_difference_quotient)
{
    struct gelu_call c = {.x = {-6, -2.5, -1, -0.1, 0, 0.2, 1.5, 3, 7}};
    double g[9], gradient[9];
    for (int i = 0; i < 9; i++) g[i] = random_uniform() - 0.5;
    reference_gelu_backward(c.x, g, gradient, 9);
    const struct difference_check check = {gelu_of, &c, c.y, g, 9};
    assert_gradient(&check, c.x, gradient, 9);
}
END_TEST

/* Far out it is x or 0, near 0 it is x/2, and NaN is not lost. */
START_TEST(gelu_at_the_ends)
{
    const double x[] = {0, 1e-30, -1e-30, 20, -20, 1e30, -1e30, INFINITY, -INFINITY, NAN, 13.9};
    const double want[] = {0, 5e-31, -5e-31, 20, 0, 1e30, 0, INFINITY, 0, NAN, 13.9};
    const size_t count = sizeof(x) / sizeof(x[0]);
    struct device_tensor dx = upload(x, COLT5_F32, count), dy = poisoned_tensor(COLT5_F32, count);
    ck_assert_ok(colt5_gelu_forward(ctx, &dx.t, &dy.t));
    assert_close(&dy, want, 1e-37, 2e-7);
    release(&dx), release(&dy);
}
END_TEST

START_TEST(an_odd_offset_is_no_matter)
{
    const size_t count = 1025;
    double *x = rounded_to(COLT5_BF16, random_normal(count), count), *want = zeros(count);
    struct device_tensor dx = upload(x, COLT5_BF16, count);
    struct device_tensor dy = poisoned_tensor(COLT5_BF16, count);
    colt5_tensor tx = but_the_first(&dx), ty = but_the_first(&dy);
    ck_assert_ok(colt5_gelu_forward(ctx, &tx, &ty));
    reference_gelu_forward(x, want, count);
    want[0] = NAN; /* still poisoned */
    assert_close(&dy, want, 3e-7, rounding(COLT5_BF16) + 2e-7);
    release(&dx), release(&dy);
    free(x), free(want);
}
END_TEST

/* One float32 sum, rounded once: exact. */
/* Rows that vectors divide, and rows that they do not; in place. */
START_TEST(columns_are_scaled)
{
    const size_t D = _i / 3 ? 24 : 7, count = 5 * D;
    const colt5_type type = storage_types[_i % 3];
    double *x = rounded_to(type, random_normal(count), count), *want = zeros(count);
    double *scale = rounded_to(type, random_normal(D), D);
    for (size_t i = 0; i < count; i++) want[i] = x[i] * scale[i % D];
    struct device_tensor tx = upload(x, type, 5, D), ts = upload(scale, type, D);
    struct device_tensor ty = poisoned_tensor(type, 5, D);
    ck_assert_ok(scale_columns(ctx, &tx.t, &ts.t, &ty.t));
    assert_close(&ty, want, 0, rounding(type) + 1e-7);
    ck_assert_ok(scale_columns(ctx, &tx.t, &ts.t, &tx.t));
    assert_close(&tx, want, 0, rounding(type) + 1e-7);
    release(&tx), release(&ts), release(&ty);
    free(x), free(want), free(scale);
}
END_TEST

START_TEST(add_adds)
{
    const size_t count = counts[_i / 3];
    const colt5_type type = storage_types[_i % 3];
    double *a = rounded_to(type, random_normal(count), count);
    double *b = rounded_to(type, random_normal(count), count);
    double *want = zeros(count), *twice = zeros(count);
    struct device_tensor da = upload(a, type, count), db = upload(b, type, count);
    struct device_tensor dy = poisoned_tensor(type, count);
    for (size_t i = 0; i < count; i++) want[i] = (float)a[i] + (float)b[i];
    rounded_to(type, want, count);
    for (size_t i = 0; i < count; i++) twice[i] = (float)want[i] + (float)want[i];

    ck_assert_ok(colt5_add(ctx, &da.t, &db.t, &dy.t));
    assert_equal(&dy, want);
    assert_unchanged(&da);
    assert_unchanged(&db);
    ck_assert_ok(colt5_add(ctx, &da.t, &db.t, &da.t));
    assert_equal(&da, want);
    ck_assert_ok(colt5_add(ctx, &da.t, &da.t, &da.t));
    assert_equal(&da, twice);
    release(&da), release(&db), release(&dy);
    free(a), free(b), free(want), free(twice);
}
END_TEST

static const struct bad_call {
    const char *what;
    colt5_type x_type, y_type;
    size_t y_count;
    int y_rank;
    bool no_x, overlap;
    colt5_status expected;
} bad_calls[] = {
    {"x of ints", COLT5_I32, COLT5_I32, 8, 1, false, false, COLT5_ERROR_TYPE},
    {"y of another type", COLT5_F32, COLT5_BF16, 8, 1, false, false, COLT5_ERROR_TYPE},
    {"y of another size", COLT5_F32, COLT5_F32, 7, 1, false, false, COLT5_ERROR_SHAPE},
    {"y of rank 0", COLT5_F32, COLT5_F32, 8, 0, false, false, COLT5_ERROR_SHAPE},
    {"y beyond its buffer", COLT5_F32, COLT5_F32, 1000, 1, false, false, COLT5_ERROR_SHAPE},
    {"no x", COLT5_F32, COLT5_F32, 8, 1, true, false, COLT5_ERROR_ARGUMENT},
    {"y beside x", COLT5_F32, COLT5_F32, 8, 1, false, true, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const double x[8] = {0};
    struct device_tensor dx = upload(x, COLT5_F32, 8), dy = poisoned_tensor(COLT5_F32, 8);
    colt5_tensor tx = dx.t, ty = dy.t;
    tx.type = c.x_type;
    ty.type = c.y_type;
    ty.dims[0] = c.y_count;
    ty.rank = c.y_rank;
    if (c.overlap) {
        ty.buffer = tx.buffer;
        ty.offset = tx.offset + 1;
    }
    const colt5_tensor *in = c.no_x ? NULL : &tx;
    ck_assert_msg(colt5_gelu_forward(ctx, in, &ty) == c.expected, "gelu: %s", c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "gelu: ", 6) == 0, "%s", colt5_message(ctx));
    ck_assert_msg(colt5_gelu_backward(ctx, in, in, &ty) == c.expected, "gelu: %s", c.what);
    ck_assert_msg(colt5_add(ctx, in, in, &ty) == c.expected, "add: %s", c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "add: ", 5) == 0, "%s", colt5_message(ctx));
    assert_untouched(&dy);
    ck_assert_ok(colt5_gelu_forward(ctx, &dx.t, &dy.t));
    release(&dx), release(&dy);
}
END_TEST

START_TEST(nothing_is_nothing)
{
    struct device_tensor dx = poisoned_tensor(COLT5_F32, 0);
    ck_assert_ok(colt5_gelu_forward(ctx, &dx.t, &dx.t));
    release(&dx);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("activation");
    TCase *tests = tcase_create("activation");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, gelu_is_exact, 0, CASES);
    tcase_add_test(tests, gelu_at_the_ends);
    tcase_add_loop_test(tests, gelu_backward_is_the_slope, 0, CASES);
    tcase_add_test(tests, gelu_backward_at_the_ends);
    tcase_add_test(tests, the_reference_gradient_is_the_difference_quotient);
    tcase_add_test(tests, an_odd_offset_is_no_matter);
    tcase_add_loop_test(tests, columns_are_scaled, 0, 6);
    tcase_add_loop_test(tests, add_adds, 0, CASES);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    tcase_add_test(tests, nothing_is_nothing);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
