/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include "ops/select.h"

/* Rows of both shapes of the kernels: one work-group a row, and (the longest) several. */
static const struct shape {
    size_t B, R, N, K;
    bool gpu;
} shapes[] = {
    {1, 1, 1, 1, false},     {3, 2, 7, 3, false},       {2, 1, 33, 33, false},
    {2, 2, 257, 100, false}, {1, 2, 3001, 64, false},   {1, 1, 20000, 19999, false},
    {2, 1, 70001, 1, false}, {1, 1, 1, 1, true},        {3, 2, 31, 8, true},
    {2, 2, 511, 200, true},  {2, 1, 4099, 4099, true},  {1, 2, 17001, 100, true},
    {2, 2, 32769, 77, true}, {1, 1, 50000, 9999, true}, {1, 1, 32768, 1024, true},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

enum content { NORMAL, TIES, EQUAL, SPECIAL, CONTENTS };

/* Values a float can hold. */
static double value(enum content content)
{
    static const double special[] = {0.0,      -0.0,      INFINITY, -INFINITY, NAN, -NAN,
                                     0x1p-149, -0x1p-149, 3.4e38f,  -3.4e38f,  1,   -1};
    const double u = random_uniform();
    switch (content) {
    case NORMAL:
        return (float)(tan(3 * (u - 0.5)) * 30);
    case TIES:
        return (int)(u * 5) - 2;
    case EQUAL:
        return -3.5;
    default:
        return special[(size_t)(u * 12)];
    }
}

static struct shape shape_of(int i)
{
    struct shape s = shapes[i];
    if (tiny() && s.N > 31) s.N = 31;
    if (s.K > s.N) s.K = s.N;
    return s;
}

static void assert_selects(struct shape s, enum content content, bool masked)
{
    const size_t count = s.B * s.R * s.N, picked = s.B * s.R * s.K;
    double *scores = zeros(count), *want = poisoned(picked);
    uint8_t *mask = random_mask(s.B * s.N, (double)s.K / (double)s.N); /* K, or fewer */
    int *index = random_indices(picked, 1);
    for (size_t i = 0; i < count; i++) scores[i] = value(content);
    struct device_tensor ds = upload(scores, COLT5_F32, s.B, s.R, s.N);
    struct device_tensor dm = upload_u8(mask, s.B, s.N);
    struct device_tensor di = poisoned_tensor(COLT5_I32, s.B, s.R, s.K);

    pretend_gpu(s.gpu);
    ck_assert_ok(colt5_select(ctx, &ds.t, masked ? &dm.t : NULL, &di.t));
    pretend_gpu(false);
    ck_assert(reference_select(scores, masked ? mask : NULL, index, s.B, s.R, s.N, s.K));
    for (size_t i = 0; i < picked; i++) want[i] = index[i];
    assert_equal(&di, want);
    assert_unchanged(&ds), assert_unchanged(&dm);

    release(&ds), release(&dm), release(&di);
    free(scores), free(want), free(mask), free(index);
}

START_TEST(the_first_of_the_order_are_picked)
{
    const struct shape s = shape_of(_i);
    for (int content = 0; content < CONTENTS; content++)
        for (int masked = 0; masked < 2; masked++) assert_selects(s, content, masked);
}
END_TEST

/* Masks serve two lots of samples; each pick's token is real or not. */
START_TEST(picks_are_told_to_be_real)
{
    enum { B = 2, R = 2, N = 67, K = 40 };
    double *scores = zeros(2 * B * R * N), *real = zeros(2 * B * R * K);
    uint8_t *mask = random_mask(2 * B * N, 0.5);
    int *want = random_indices(2 * B * R * K, 1);
    for (size_t i = 0; i < 2 * B * R * N; i++) scores[i] = value(NORMAL);
    for (size_t i = 0; i < B * N; i++) mask[B * N + i] = mask[i];
    ck_assert(reference_select(scores, mask, want, 2 * B, R, N, K));
    for (size_t i = 0; i < 2 * B * R * K; i++)
        real[i] = mask[i / K / R % B * N + (size_t)want[i]] != 0;
    double *index = zeros(2 * B * R * K);
    for (size_t i = 0; i < 2 * B * R * K; i++) index[i] = want[i];
    struct device_tensor ds = upload(scores, COLT5_F32, 2 * B, R, N), dm = upload_u8(mask, B, N);
    struct device_tensor di = poisoned_tensor(COLT5_I32, 2 * B, R, K);
    struct device_tensor gates = poisoned_tensor(COLT5_F32, 2 * B, R, K);
    struct device_tensor routed = poisoned_tensor(COLT5_U8, 2 * B, R, K);

    pretend_gpu(_i % 2);
    ck_assert_ok(select_tokens(ctx, &ds.t, &dm.t, &di.t, &gates.t, &routed.t));
    pretend_gpu(false);
    assert_equal(&di, index);
    assert_equal(&gates, real);
    assert_equal(&routed, real);

    release(&ds), release(&dm), release(&di), release(&gates), release(&routed);
    free(scores), free(real), free(mask), free(want), free(index);
}
END_TEST

START_TEST(a_row_of_nothing_valid_gives_its_largest)
{
    const double s[] = {1, NAN, 3, INFINITY, 2, 3};
    const uint8_t mask[6] = {0};
    const double want[] = {2, 3, 5};
    struct device_tensor ds = upload(s, COLT5_F32, 1, 1, 6), dm = upload_u8(mask, 1, 6);
    struct device_tensor di = poisoned_tensor(COLT5_I32, 1, 1, 3);
    ck_assert_ok(colt5_select(ctx, &ds.t, &dm.t, &di.t));
    assert_equal(&di, want);
    release(&ds), release(&dm), release(&di);
}
END_TEST

/* Valid NaN is token 1; the masked ones are never before it. */
START_TEST(nan_comes_after_numbers_and_before_masked)
{
    const double s[] = {-INFINITY, NAN, 9, 9};
    const uint8_t mask[] = {1, 1, 0, 0};
    const double want[] = {0, 1, 2};
    struct device_tensor ds = upload(s, COLT5_F32, 1, 1, 4), dm = upload_u8(mask, 1, 4);
    for (size_t K = 1; K <= 3; K++) {
        struct device_tensor di = poisoned_tensor(COLT5_I32, 1, 1, K);
        ck_assert_ok(colt5_select(ctx, &ds.t, &dm.t, &di.t));
        assert_equal(&di, want);
        release(&di);
    }
    release(&ds), release(&dm);
}
END_TEST

static const struct bad_call {
    const char *what;
    int s_rank;
    colt5_type s_type, index_type, mask_type;
    size_t mask_length, K, R;
    colt5_status expected;
} bad_calls[] = {
    {"s of rank 2", 2, COLT5_F32, COLT5_I32, COLT5_U8, 5, 3, 2, COLT5_ERROR_SHAPE},
    {"integer s", 3, COLT5_I32, COLT5_I32, COLT5_U8, 5, 3, 2, COLT5_ERROR_TYPE},
    {"float index", 3, COLT5_F32, COLT5_F32, COLT5_U8, 5, 3, 2, COLT5_ERROR_TYPE},
    {"16-bit mask", 3, COLT5_F32, COLT5_I32, COLT5_F16, 5, 3, 2, COLT5_ERROR_TYPE},
    {"mask of another N", 3, COLT5_F32, COLT5_I32, COLT5_U8, 4, 3, 2, COLT5_ERROR_SHAPE},
    {"K = 0", 3, COLT5_F32, COLT5_I32, COLT5_U8, 5, 0, 2, COLT5_ERROR_SHAPE},
    {"K > N", 3, COLT5_F32, COLT5_I32, COLT5_U8, 5, 6, 2, COLT5_ERROR_SHAPE},
    {"index of another R", 3, COLT5_F32, COLT5_I32, COLT5_U8, 5, 3, 1, COLT5_ERROR_SHAPE},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const double s[20] = {0};
    const uint8_t mask[10] = {1};
    struct device_tensor ds = upload(s, COLT5_F32, 2, 2, 5), dm = upload_u8(mask, 2, 5);
    struct device_tensor di = poisoned_tensor(COLT5_I32, 2, 2, 3);
    colt5_tensor ts = ds.t, tm = dm.t, ti = di.t;
    ts.rank = c.s_rank;
    ts.type = c.s_type;
    ti.type = c.index_type;
    ti.dims[1] = c.R;
    ti.dims[2] = c.K;
    tm.type = c.mask_type;
    tm.dims[1] = c.mask_length;
    if (c.mask_type != COLT5_U8) tm.buffer = ds.t.buffer;
    ck_assert_msg(colt5_select(ctx, &ts, &tm, &ti) == c.expected, "%s: %s", c.what,
                  colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), "select: ", 8), "%s", colt5_message(ctx));
    assert_untouched(&di);
    ck_assert_ok(colt5_select(ctx, &ds.t, &dm.t, &di.t));
    release(&ds), release(&dm), release(&di);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("select");
    TCase *tests = tcase_create("select");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, the_first_of_the_order_are_picked, 0, SHAPES);
    tcase_add_loop_test(tests, picks_are_told_to_be_real, 0, 2);
    tcase_add_test(tests, a_row_of_nothing_valid_gives_its_largest);
    tcase_add_test(tests, nan_comes_after_numbers_and_before_masked);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
