/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/gather.h>

static const struct shape {
    size_t B, N, K, D;
} shapes[] = {{1, 1, 1, 1}, {2, 7, 3, 5}, {3, 17, 17, 16}, {1, 31, 8, 33}, {2, 5, 9, 257}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* Copies move bits: the tolerance is zero, in every storage type. */
START_TEST(picks_the_rows_it_is_told)
{
    const struct shape s = shapes[_i / 3];
    const colt5_type type = storage_types[_i % 3];
    double *x = rounded_to(type, random_normal(s.B * s.N * s.D), s.B * s.N * s.D);
    double *want = poisoned(s.B * s.K * s.D);
    int *index = random_indices(s.B * s.K, s.N);

    struct device_tensor dx = upload(x, type, s.B, s.N, s.D);
    struct device_tensor di = upload_i32(index, s.B, s.K);
    struct device_tensor dy = poisoned_tensor(type, s.B, s.K, s.D);

    ck_assert_ok(colt5_gather(ctx, &dx.t, &di.t, &dy.t));
    reference_gather(x, index, want, s.B, s.N, s.K, s.D);
    assert_equal(&dy, want);
    assert_unchanged(&dx);
    assert_unchanged(&di);

    release(&dx), release(&di), release(&dy);
    free(x), free(want), free(index);
}
END_TEST

START_TEST(an_index_outside_gives_zeros)
{
    const double x[] = {1, 2, 3, 4}, want[] = {0, 0, 3, 4, 0, 0};
    const int index[] = {-1, 1, 2};
    struct device_tensor dx = upload(x, COLT5_F32, 1, 2, 2);
    struct device_tensor di = upload_i32(index, 1, 3);
    struct device_tensor dy = poisoned_tensor(COLT5_F32, 1, 3, 2);
    ck_assert_ok(colt5_gather(ctx, &dx.t, &di.t, &dy.t));
    assert_equal(&dy, want);
    release(&dx), release(&di), release(&dy);
}
END_TEST

/* Each: the status, y untouched, and the next call works. */
static const struct bad_call {
    const char *what;
    int x_rank, index_rank;
    colt5_type index_type, y_type;
    size_t y_width;
    bool no_x, overlap;
    colt5_status expected;
} bad_calls[] = {
    {"x of rank 2", 2, 2, COLT5_I32, COLT5_F32, 4, false, false, COLT5_ERROR_SHAPE},
    {"index of rank 1", 3, 1, COLT5_I32, COLT5_F32, 4, false, false, COLT5_ERROR_SHAPE},
    {"float index", 3, 2, COLT5_F32, COLT5_F32, 4, false, false, COLT5_ERROR_TYPE},
    {"y of another type", 3, 2, COLT5_I32, COLT5_BF16, 4, false, false, COLT5_ERROR_TYPE},
    {"y of another D", 3, 2, COLT5_I32, COLT5_F32, 3, false, false, COLT5_ERROR_SHAPE},
    {"no x", 3, 2, COLT5_I32, COLT5_F32, 4, true, false, COLT5_ERROR_ARGUMENT},
    {"y on x", 3, 2, COLT5_I32, COLT5_F32, 4, false, true, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const double x[24] = {0};
    const int index[] = {0, 1, 2};
    struct device_tensor dx = upload(x, COLT5_F32, 1, 6, 4);
    struct device_tensor di = upload_i32(index, 1, 3);
    struct device_tensor dy = poisoned_tensor(COLT5_F32, 1, 3, 4);
    colt5_tensor tx = dx.t, ti = di.t, ty = dy.t;
    tx.rank = c.x_rank;
    ti.rank = c.index_rank;
    ti.type = c.index_type;
    ty.type = c.y_type;
    ty.dims[2] = c.y_width;
    if (c.overlap) {
        ty.buffer = tx.buffer;
        ty.offset = tx.offset;
    }
    ck_assert_msg(colt5_gather(ctx, c.no_x ? NULL : &tx, &ti, &ty) == c.expected, "%s", c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "gather: ", 8) == 0, "%s", colt5_message(ctx));
    assert_untouched(&dy);
    ck_assert_ok(colt5_gather(ctx, &dx.t, &di.t, &dy.t));
    release(&dx), release(&di), release(&dy);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gather");
    TCase *tests = tcase_create("gather");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, picks_the_rows_it_is_told, 0, 3 * SHAPES);
    tcase_add_test(tests, an_index_outside_gives_zeros);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
