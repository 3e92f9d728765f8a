/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/norm.h>

/* Rows of one vector, of a part of a group, of several vectors a work-item, too long for registers
   in a GPU's geometry; D even and odd. */
static const struct shape {
    size_t rows, D;
} shapes[] = {{1, 1}, {3, 7}, {33, 8}, {65, 64}, {9, 257}, {5, 512}, {2, 8200}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))
#define CASES  (3 * SHAPES * 2)

struct values {
    size_t rows, D;
    colt5_type type;
    double *x, *weight, *bias, *y, *mean, *scale;
    struct device_tensor dx, dweight, dbias, dy, dmean, dscale;
};

/* A shape, a type and a kind of device for each case. */
static struct values make_values(int test_case)
{
    const struct shape s = shapes[test_case / 6];
    struct values v = {.rows = s.rows, .D = s.D, .type = storage_types[test_case % 3]};
    const size_t count = s.rows * s.D;
    pretend_gpu(test_case / 3 % 2);
    v.x = random_normal(count);
    for (size_t i = 0; i < count; i++) v.x[i] += (double)(i / s.D % 5); /* rows of other means */
    rounded_to(v.type, v.x, count);
    v.weight = rounded_to(v.type, random_normal(s.D), s.D);
    v.bias = rounded_to(v.type, random_normal(s.D), s.D);
    v.y = zeros(count), v.mean = zeros(s.rows), v.scale = zeros(s.rows);
    v.dx = upload(v.x, v.type, s.rows, s.D);
    v.dweight = upload(v.weight, v.type, s.D);
    v.dbias = upload(v.bias, v.type, s.D);
    v.dy = poisoned_tensor(v.type, s.rows, s.D);
    v.dmean = poisoned_tensor(COLT5_F32, s.rows);
    v.dscale = poisoned_tensor(COLT5_F32, s.rows);
    return v;
}

static void free_values(struct values *v)
{
    release(&v->dx), release(&v->dweight), release(&v->dbias);
    release(&v->dy), release(&v->dmean), release(&v->dscale);
    free(v->x), free(v->weight), free(v->bias), free(v->y), free(v->mean), free(v->scale);
    pretend_gpu(false);
}

/* What a sum of D float32 values loses, relative: roundings that add up like a random walk. */
static double sum_error(size_t D)
{
    return (4 + 2 * sqrt((double)D)) * 0x1p-24;
}

static void assert_rows(const struct device_tensor *have, const double *want,
                        const struct values *v)
{
    assert_close(have, want, 4 * sum_error(v->D), rounding(v->type) + sum_error(v->D));
}

START_TEST(rms_norm_is_the_formula)
{
    struct values v = make_values(_i);
    reference_rms_norm_forward(v.x, v.weight, v.y, v.scale, v.rows, v.D);

    ck_assert_ok(colt5_rms_norm_forward(ctx, &v.dx.t, &v.dweight.t, &v.dy.t, &v.dscale.t));
    assert_rows(&v.dy, v.y, &v);
    assert_close(&v.dscale, v.scale, 0, sum_error(v.D));
    assert_unchanged(&v.dx);
    assert_unchanged(&v.dweight);
    ck_assert_ok(colt5_rms_norm_forward(ctx, &v.dx.t, &v.dweight.t, &v.dx.t, NULL)); /* in place */
    assert_rows(&v.dx, v.y, &v);
    free_values(&v);
}
END_TEST

START_TEST(layer_norm_is_the_formula)
{
    struct values v = make_values(_i);
    reference_layer_norm_forward(v.x, v.weight, v.bias, v.y, v.mean, v.scale, v.rows, v.D);

    ck_assert_ok(colt5_layer_norm_forward(ctx, &v.dx.t, &v.dweight.t, &v.dbias.t, &v.dy.t,
                                          &v.dmean.t, &v.dscale.t));
    assert_rows(&v.dy, v.y, &v);
    assert_close(&v.dmean, v.mean, sum_error(v.D), sum_error(v.D));
    assert_close(&v.dscale, v.scale, 0, 2 * sum_error(v.D));
    assert_unchanged(&v.dx);
    ck_assert_ok(
        colt5_layer_norm_forward(ctx, &v.dx.t, &v.dweight.t, &v.dbias.t, &v.dx.t, NULL, NULL));
    assert_rows(&v.dx, v.y, &v);
    free_values(&v);
}
END_TEST

/* y left out: the numbers of a row alone, for products that scale rows themselves. */
START_TEST(y_may_be_left_out)
{
    struct values v = make_values(30 + _i);
    reference_rms_norm_forward(v.x, v.weight, v.y, v.scale, v.rows, v.D);
    ck_assert_ok(colt5_rms_norm_forward(ctx, &v.dx.t, NULL, NULL, &v.dscale.t));
    assert_close(&v.dscale, v.scale, 0, sum_error(v.D));

    reference_layer_norm_forward(v.x, v.weight, v.bias, v.y, v.mean, v.scale, v.rows, v.D);
    ck_assert_ok(colt5_layer_norm_forward(ctx, &v.dx.t, NULL, NULL, NULL, &v.dmean.t, &v.dscale.t));
    assert_close(&v.dmean, v.mean, sum_error(v.D), sum_error(v.D));
    assert_close(&v.dscale, v.scale, 0, 2 * sum_error(v.D));
    assert_untouched(&v.dy);
    free_values(&v);
}
END_TEST

/* The variance of a row far from 0 is not lost to the mean. */
START_TEST(layer_norm_of_a_far_row)
{
    pretend_gpu(_i);
    double x[64], one[64], none[64], want[64];
    for (int d = 0; d < 64; d++) {
        x[d] = 4096 + d % 4;
        one[d] = 1;
        none[d] = 0;
    }
    struct device_tensor dx = upload(x, COLT5_F32, 1, 64), dw = upload(one, COLT5_F32, 64);
    struct device_tensor db = upload(none, COLT5_F32, 64), dy = poisoned_tensor(COLT5_F32, 1, 64);
    reference_layer_norm_forward(x, one, none, want, NULL, NULL, 1, 64);
    ck_assert_ok(colt5_layer_norm_forward(ctx, &dx.t, &dw.t, &db.t, &dy.t, NULL, NULL));
    assert_close(&dy, want, 1e-6, 1e-6);
    release(&dx), release(&dw), release(&db), release(&dy);
    pretend_gpu(false);
}
END_TEST

/* A row of zeros is 0 (or the bias); one row's NaN or infinity stays there. */
START_TEST(rows_do_not_touch)
{
    pretend_gpu(_i);
    enum { ROWS = 11, D = 40 };
    double x[ROWS * D], weight[D], bias[D], rms[ROWS * D], layer[ROWS * D];
    for (int i = 0; i < ROWS * D; i++) x[i] = random_uniform() - 0.5;
    for (int d = 0; d < D; d++) {
        weight[d] = 1 + d;
        bias[d] = -d;
        x[2 * D + d] = 0;
        x[5 * D + d] = d % 2 ? NAN : INFINITY;
        x[7 * D + d] = 1e-15 * d; /* below the least norm */
    }
    struct device_tensor dx = upload(x, COLT5_F32, ROWS, D), dw = upload(weight, COLT5_F32, D);
    struct device_tensor db = upload(bias, COLT5_F32, D), dy = poisoned_tensor(COLT5_F32, ROWS, D);
    reference_rms_norm_forward(x, weight, rms, NULL, ROWS, D);
    reference_layer_norm_forward(x, weight, bias, layer, NULL, NULL, ROWS, D);
    for (int d = 0; d < D; d++) rms[5 * D + d] = layer[5 * D + d] = NAN;

    ck_assert_ok(colt5_rms_norm_forward(ctx, &dx.t, &dw.t, &dy.t, NULL));
    assert_close(&dy, rms, 1e-12, 2e-6);
    ck_assert_ok(colt5_layer_norm_forward(ctx, &dx.t, &dw.t, &db.t, &dy.t, NULL, NULL));
    assert_close(&dy, layer, 1e-4, 2e-6);
    release(&dx), release(&dw), release(&db), release(&dy);
    pretend_gpu(false);
}
END_TEST

static const struct bad_call {
    const char *what;
    colt5_type weight_type, scale_type;
    size_t y_rows, weight_width, scale_rows, D;
    bool no_x, no_weight, beside;
    colt5_status expected;
} bad_calls[] = {
    {"weight of another type", COLT5_F16, COLT5_F32, 3, 4, 3, 4, 0, 0, 0, COLT5_ERROR_TYPE},
    {"scale of 16 bits", COLT5_F32, COLT5_BF16, 3, 4, 3, 4, 0, 0, 0, COLT5_ERROR_TYPE},
    {"y of other rows", COLT5_F32, COLT5_F32, 2, 4, 3, 4, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"weight of another D", COLT5_F32, COLT5_F32, 3, 3, 3, 4, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"scale of other rows", COLT5_F32, COLT5_F32, 3, 4, 2, 4, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"rows of nothing", COLT5_F32, COLT5_F32, 3, 0, 3, 0, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"no x", COLT5_F32, COLT5_F32, 3, 4, 3, 4, 1, 0, 0, COLT5_ERROR_ARGUMENT},
    {"no weight", COLT5_F32, COLT5_F32, 3, 4, 3, 4, 0, 1, 0, COLT5_ERROR_ARGUMENT},
    {"y beside x", COLT5_F32, COLT5_F32, 3, 4, 3, 4, 0, 0, 1, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const double x[12] = {0};
    struct device_tensor dx = upload(x, COLT5_F32, 3, 4), dw = upload(x, COLT5_F32, 4);
    struct device_tensor dy = poisoned_tensor(COLT5_F32, 3, 4);
    struct device_tensor ds = poisoned_tensor(COLT5_F32, 3);
    colt5_tensor tx = dx.t, tw = dw.t, ty = dy.t, ts = ds.t;
    tx.dims[1] = ty.dims[1] = c.D;
    tw.type = c.weight_type;
    tw.dims[0] = c.weight_width;
    ts.type = c.scale_type;
    ts.dims[0] = c.scale_rows;
    ty.dims[0] = c.y_rows;
    if (c.beside) {
        ty.buffer = tx.buffer;
        ty.offset = tx.offset + 4;
    }
    const colt5_tensor *in = c.no_x ? NULL : &tx, *weight = c.no_weight ? NULL : &tw;
    ck_assert_msg(colt5_rms_norm_forward(ctx, in, weight, &ty, &ts) == c.expected, "%s", c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "rms_norm: ", 10) == 0, "%s", colt5_message(ctx));
    ck_assert_msg(colt5_layer_norm_forward(ctx, in, weight, weight, &ty, NULL, &ts) == c.expected,
                  "%s", c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "layer_norm: ", 12) == 0, "%s", colt5_message(ctx));
    assert_untouched(&dy);
    assert_untouched(&ds);
    ck_assert_ok(colt5_rms_norm_forward(ctx, &dx.t, &dw.t, &dy.t, &ds.t));
    release(&dx), release(&dw), release(&dy), release(&ds);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("norm");
    TCase *tests = tcase_create("norm");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, rms_norm_is_the_formula, 0, CASES);
    tcase_add_loop_test(tests, layer_norm_is_the_formula, 0, CASES);
    tcase_add_loop_test(tests, y_may_be_left_out, 0, 6);
    tcase_add_loop_test(tests, layer_norm_of_a_far_row, 0, 2);
    tcase_add_loop_test(tests, rows_do_not_touch, 0, 2);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
