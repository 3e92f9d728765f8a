/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/rotary.h>

static const struct shape {
    size_t B, N, H, E;
    colt5_rotary_options options; /* theta is always written out */
} shapes[] = {
    {1, 1, 1, 2, {.theta = 10000}},
    {2, 7, 3, 6, {.theta = 10000, .first_position = 1020}},
    {1, 5, 9, 32, {.theta = 10000, .first_head = 1, .heads = 3, .head_step = 3}},
    {2, 9, 6, 64, {.theta = 500, .first_position = 4194000, .heads = 5, .inverse = 1}},
    {1, 33, 2, 40, {.theta = 10000, .first_head = 1}},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))
#define CASES  (3 * SHAPES)

static void turn(double *x, const int *positions, const struct shape *s)
{
    const colt5_rotary_options *o = &s->options;
    const size_t step = o->head_step ? o->head_step : 1;
    const size_t heads = o->heads ? o->heads : (s->H - o->first_head + step - 1) / step;
    reference_rotary(x, positions, o->first_position, o->theta, o->first_head, heads, step,
                     o->inverse, s->B, s->N, s->H, s->E);
}

/* Two roundings of a sine, and a sum of two products. */
static void assert_turned(const struct device_tensor *have, const double *want, colt5_type type)
{
    assert_close(have, want, 1.5e-6, rounding(type));
}

START_TEST(turns_by_position)
{
    const struct shape s = shapes[_i / 3];
    const colt5_type type = storage_types[_i % 3];
    const size_t count = s.B * s.N * s.H * s.E;
    double *x = rounded_to(type, random_normal(count), count);
    struct device_tensor dx = upload(x, type, s.B, s.N, s.H, s.E);
    pretend_gpu(_i % 2);
    ck_assert_ok(colt5_rotary(ctx, &dx.t, NULL, &s.options));
    pretend_gpu(false);
    turn(x, NULL, &s);
    assert_turned(&dx, x, type);
    release(&dx);
    free(x);
}
END_TEST

START_TEST(turns_by_given_positions)
{
    struct shape s = shapes[_i / 3];
    const colt5_type type = storage_types[_i % 3];
    const size_t count = s.B * s.N * s.H * s.E;
    s.options.length = 5000000;
    double *x = rounded_to(type, random_normal(count), count);
    int *positions = random_indices(s.B * s.N, s.options.length);
    struct device_tensor dx = upload(x, type, s.B, s.N, s.H, s.E);
    struct device_tensor dp = upload_i32(positions, s.B, s.N);
    pretend_gpu(_i % 2 == 0);
    ck_assert_ok(colt5_rotary(ctx, &dx.t, &dp.t, &s.options));
    pretend_gpu(false);
    turn(x, positions, &s);
    assert_turned(&dx, x, type);
    assert_unchanged(&dp);
    release(&dx), release(&dp);
    free(x), free(positions);
}
END_TEST

/* The gradient of a rotation is the way back. */
START_TEST(the_inverse_undoes_it)
{
    const size_t count = 2 * 50 * 3 * 64;
    double *x = rounded_to(COLT5_F32, random_normal(count), count);
    struct device_tensor dx = upload(x, COLT5_F32, 2, 50, 3, 64);
    colt5_rotary_options options = {.first_position = 70000};
    ck_assert_ok(colt5_rotary(ctx, &dx.t, NULL, &options));
    options.inverse = 1;
    ck_assert_ok(colt5_rotary(ctx, &dx.t, NULL, &options));
    assert_close(&dx, x, 2e-6, 1e-6);
    release(&dx);
    free(x);
}
END_TEST

/* Position 0 turns by nothing, a position outside is left alone: both to the bit. NaN stays. */
START_TEST(positions_outside_are_left_alone)
{
    double x[6 * 8], want[6 * 8];
    const int positions[] = {-1, 0, 100, INT32_MAX, INT32_MIN, 3};
    for (int i = 0; i < 6 * 8; i++) want[i] = x[i] = i % 7 - 3;
    for (int i = 40; i < 48; i++) want[i] = x[i] = NAN;
    struct device_tensor dx = upload(x, COLT5_BF16, 2, 3, 2, 4), dp = upload_i32(positions, 2, 3);
    const colt5_rotary_options options = {.length = 100};
    ck_assert_ok(colt5_rotary(ctx, &dx.t, &dp.t, &options));
    assert_equal(&dx, want);
    release(&dx), release(&dp);
}
END_TEST

/* Each is a good call but for what it names. */
static const struct bad_call {
    const char *what;
    colt5_status expected;
    colt5_rotary_options options;
    int rank;
    size_t E, positions;
    colt5_type type;
    bool float_positions;
} bad_calls[] = {
    {"x of rank 3", COLT5_ERROR_SHAPE, {0}, .rank = 3},
    {"odd E", COLT5_ERROR_SHAPE, {0}, .E = 3},
    {"x of ints", COLT5_ERROR_TYPE, {0}, .type = COLT5_I32},
    {"float positions", COLT5_ERROR_TYPE, {.length = 9}, .positions = 2, .float_positions = true},
    {"other positions", COLT5_ERROR_SHAPE, {.length = 9}, .positions = 1},
    {"theta below 0", COLT5_ERROR_ARGUMENT, {.theta = -1}},
    {"theta no number", COLT5_ERROR_ARGUMENT, {.theta = NAN}},
    {"too many heads", COLT5_ERROR_ARGUMENT, {.heads = 4}},
    {"heads past the end", COLT5_ERROR_ARGUMENT, {.heads = 2, .first_head = 1, .head_step = 2}},
    {"far positions", COLT5_ERROR_ARGUMENT, {.first_position = (size_t)1 << 31}},
    {"endless positions", COLT5_ERROR_ARGUMENT, {.first_position = SIZE_MAX}},
    {"too long", COLT5_ERROR_ARGUMENT, {.length = ((size_t)1 << 31) + 1}, .positions = 2},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call *c = &bad_calls[_i];
    const double x[24] = {0};
    const int positions[] = {0, 1};
    struct device_tensor dx = upload(x, COLT5_F32, 1, 2, 3, 4), dp = upload_i32(positions, 1, 2);
    colt5_tensor tx = dx.t, tp = dp.t;
    if (c->rank) tx.rank = c->rank;
    if (c->E) tx.dims[3] = c->E;
    tx.type = c->type;
    tp.type = c->float_positions ? COLT5_F32 : COLT5_I32;
    tp.dims[1] = c->positions;
    const colt5_status got = colt5_rotary(ctx, &tx, c->positions ? &tp : NULL, &c->options);
    ck_assert_msg(got == c->expected, "%s: %s", c->what, colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), "rotary: ", 8), "%s", colt5_message(ctx));
    assert_unchanged(&dx);
    ck_assert_status(colt5_rotary(ctx, NULL, NULL, NULL), COLT5_ERROR_ARGUMENT);
    ck_assert_ok(colt5_rotary(ctx, &dx.t, NULL, NULL));
    release(&dx), release(&dp);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("rotary");
    TCase *tests = tcase_create("rotary");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, turns_by_position, 0, CASES);
    tcase_add_loop_test(tests, turns_by_given_positions, 0, CASES);
    tcase_add_test(tests, the_inverse_undoes_it);
    tcase_add_test(tests, positions_outside_are_left_alone);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
