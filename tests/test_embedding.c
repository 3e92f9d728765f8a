/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/embedding.h>

static const struct shape {
    size_t B, N, V, D;
} shapes[] = {{1, 1, 1, 1}, {2, 7, 5, 3}, {3, 17, 258, 16}, {1, 300, 11, 40}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))
#define CASES  (6 * SHAPES)

/* Ids in [0, V), but one in five is outside; some that only a long holds when it is long. */
static int64_t *random_ids(size_t count, size_t V, bool wide)
{
    const int64_t outside[] = {-1, (int64_t)V, INT32_MIN, wide ? (int64_t)1 << 32 : INT32_MAX,
                               wide ? INT64_MIN : -7};
    int64_t *ids = malloc((count + 1) * sizeof(*ids));
    int *inside = random_indices(count, V);
    ck_assert_ptr_nonnull(ids);
    for (size_t i = 0; i < count; i++) ids[i] = i % 5 == 4 ? outside[i / 5 % 5] : inside[i];
    free(inside);
    return ids;
}

static struct device_tensor upload_ids(const int64_t *ids, bool wide, size_t B, size_t N)
{
    if (wide) return upload_raw(ids, COLT5_I64, DIMS(B, N));
    int32_t *narrow = malloc((B * N + 1) * sizeof(*narrow));
    ck_assert_ptr_nonnull(narrow);
    for (size_t i = 0; i < B * N; i++) narrow[i] = (int32_t)ids[i];
    struct device_tensor tensor = upload_raw(narrow, COLT5_I32, DIMS(B, N));
    free(narrow);
    return tensor;
}

/* Copies move bits: the tolerance is zero, in every storage type. */
START_TEST(embedding_picks_rows)
{
    const struct shape s = shapes[_i / 6];
    const colt5_type type = storage_types[_i % 3];
    const bool wide = _i / 3 % 2;
    int64_t *ids = random_ids(s.B * s.N, s.V, wide);
    double *weight = rounded_to(type, random_normal(s.V * s.D), s.V * s.D);
    double *want = poisoned(s.B * s.N * s.D);
    struct device_tensor di = upload_ids(ids, wide, s.B, s.N);
    struct device_tensor dw = upload(weight, type, s.V, s.D);
    struct device_tensor dy = poisoned_tensor(type, s.B, s.N, s.D);

    ck_assert_ok(colt5_embedding_forward(ctx, &di.t, &dw.t, &dy.t));
    reference_embedding_forward(ids, weight, want, s.B * s.N, s.V, s.D);
    assert_equal(&dy, want);
    assert_unchanged(&di);
    assert_unchanged(&dw);
    release(&di), release(&dw), release(&dy);
    free(ids), free(weight), free(want);
}
END_TEST

START_TEST(token_mask_marks_padding)
{
    const int64_t paddings[] = {3, -1, 256, INT64_MIN, (int64_t)1 << 32};
    const int64_t padding = paddings[_i / 2];
    const bool wide = _i % 2;
    int64_t *ids = random_ids(2 * 31, 8, wide);
    double want[2 * 31];
    struct device_tensor di = upload_ids(ids, wide, 2, 31);
    struct device_tensor dm = poisoned_tensor(COLT5_U8, 2, 31);
    ck_assert_ok(colt5_token_mask(ctx, &di.t, NULL, padding, &dm.t));
    reference_token_mask(ids, padding, want, 2 * 31);
    assert_equal(&dm, want);
    assert_unchanged(&di);
    release(&di), release(&dm);
    free(ids);
}
END_TEST

/* Each is a good call but for what it names. */
static const struct bad_call {
    const char *what;
    colt5_status expected;
    bool float_ids, flat_ids, long_y, int_weight, other_y, no_weight, y_on_weight;
} bad_calls[] = {
    {"float ids", COLT5_ERROR_TYPE, .float_ids = true},
    {"ids of rank 1", COLT5_ERROR_SHAPE, .flat_ids = true},
    {"y of more rows", COLT5_ERROR_SHAPE, .long_y = true},
    {"weight of ints", COLT5_ERROR_TYPE, .int_weight = true},
    {"y of another type", COLT5_ERROR_TYPE, .other_y = true},
    {"no weight", COLT5_ERROR_ARGUMENT, .no_weight = true},
    {"y on weight", COLT5_ERROR_ARGUMENT, .y_on_weight = true},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call *c = &bad_calls[_i];
    const double weight[40] = {0};
    const int64_t ids[] = {0, 1, 2};
    struct device_tensor di = upload_ids(ids, false, 1, 3);
    struct device_tensor dw = upload(weight, COLT5_F32, 10, 4);
    struct device_tensor dy = poisoned_tensor(COLT5_F32, 1, 3, 4);
    struct device_tensor dm = poisoned_tensor(COLT5_U8, 1, 3);
    colt5_tensor ti = di.t, tw = dw.t, ty = dy.t;
    if (c->float_ids) ti.type = COLT5_F32;
    if (c->flat_ids) ti.rank = 1;
    if (c->long_y) ty.dims[1] = 4;
    if (c->int_weight) tw.type = COLT5_I32;
    if (c->other_y) ty.type = COLT5_BF16;
    if (c->y_on_weight) ty.buffer = tw.buffer;
    const colt5_status got = colt5_embedding_forward(ctx, &ti, c->no_weight ? NULL : &tw, &ty);
    ck_assert_msg(got == c->expected, "%s: %s", c->what, colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), "embedding: ", 11), "%s", colt5_message(ctx));
    if (c->float_ids || c->flat_ids)
        ck_assert_status(colt5_token_mask(ctx, &ti, NULL, 0, &dm.t), c->expected);
    ck_assert_status(colt5_token_mask(ctx, &di.t, NULL, 0, &dy.t), COLT5_ERROR_TYPE);
    ck_assert_status(colt5_token_mask(ctx, &di.t, NULL, 0, NULL), COLT5_ERROR_ARGUMENT);
    assert_untouched(&dy);
    assert_untouched(&dm);
    ck_assert_ok(colt5_embedding_forward(ctx, &di.t, &dw.t, &dy.t));
    release(&di), release(&dw), release(&dy), release(&dm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("embedding");
    TCase *tests = tcase_create("embedding");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, embedding_picks_rows, 0, CASES);
    tcase_add_loop_test(tests, token_mask_marks_padding, 0, 10);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
