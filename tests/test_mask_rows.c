/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <math.h>

#include <colt5/ops/mask_rows.h>

static const struct shape {
    size_t B, N, D;
} shapes[] = {{1, 1, 1}, {2, 7, 5}, {3, 17, 16}, {1, 31, 257}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* Copies move bits: the tolerance is zero, in every storage type; masked rows hold NaN. */
START_TEST(masked_rows_become_zeros)
{
    const struct shape s = shapes[_i / 6];
    const colt5_type type = storage_types[_i % 3];
    const bool in_place = _i / 3 % 2;
    const size_t rows = s.B * s.N;
    double *x = rounded_to(type, random_normal(rows * s.D), rows * s.D);
    double *want = poisoned(rows * s.D);
    unsigned char *mask = calloc(rows, 1);
    for (size_t row = 0; row < rows; row++) {
        mask[row] = row % 3 ? 2 : 0;
        for (size_t d = 0; !mask[row] && d < s.D; d++) x[row * s.D + d] = NAN;
    }
    struct device_tensor dx = upload(x, type, s.B, s.N, s.D);
    struct device_tensor dm = upload_u8(mask, s.B, s.N);
    struct device_tensor dy = poisoned_tensor(type, s.B, s.N, s.D);
    struct device_tensor *y = in_place ? &dx : &dy;

    ck_assert_ok(colt5_mask_rows(ctx, &dx.t, &dm.t, &y->t));
    reference_mask_rows(x, mask, want, rows, s.D);
    assert_equal(y, want);
    assert_unchanged(&dm);

    release(&dx), release(&dm), release(&dy);
    free(x), free(want), free(mask);
}
END_TEST

static const struct bad_call {
    const char *what;
    colt5_type mask_type, y_type;
    size_t mask_rows, y_width;
    bool no_mask;
    colt5_status expected;
} bad_calls[] = {
    {"a mask of floats", COLT5_F32, COLT5_F32, 6, 4, false, COLT5_ERROR_TYPE},
    {"a short mask", COLT5_U8, COLT5_F32, 5, 4, false, COLT5_ERROR_SHAPE},
    {"y of another type", COLT5_U8, COLT5_F16, 6, 4, false, COLT5_ERROR_TYPE},
    {"y of another D", COLT5_U8, COLT5_F32, 6, 3, false, COLT5_ERROR_SHAPE},
    {"no mask", COLT5_U8, COLT5_F32, 6, 4, true, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const double x[24] = {0};
    const unsigned char mask[1024] = {1, 0, 1, 1, 0, 1};
    struct device_tensor dx = upload(x, COLT5_F32, 1, 6, 4);
    struct device_tensor dm = upload_u8(mask, 1, 1024), dy = poisoned_tensor(COLT5_F32, 1, 6, 4);
    colt5_tensor tm = dm.t, ty = dy.t;
    tm.type = c.mask_type;
    tm.dims[1] = c.mask_rows;
    ty.type = c.y_type;
    ty.dims[2] = c.y_width;
    ck_assert_msg(colt5_mask_rows(ctx, &dx.t, c.no_mask ? NULL : &tm, &ty) == c.expected, "%s",
                  c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "mask_rows: ", 11) == 0, "%s", colt5_message(ctx));
    assert_untouched(&dy);
    tm = dm.t;
    tm.dims[1] = 6;
    ck_assert_ok(colt5_mask_rows(ctx, &dx.t, &tm, &dy.t));
    release(&dx), release(&dm), release(&dy);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("mask_rows");
    TCase *tests = tcase_create("mask_rows");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, masked_rows_become_zeros, 0, 6 * SHAPES);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
