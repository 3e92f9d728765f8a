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

/* Half of the tokens are one id, so that its rows are many pieces'; V of one to three digits; sizes
 * around a piece and a chunk of the sort. */
static const struct backward_shape {
    size_t rows, V, D;
    colt5_type type;
    bool wide; /* ids of 64 bits */
} backward_shapes[] = {
    {1, 1, 1, COLT5_F32, false},      {63, 3, 5, COLT5_F16, true},
    {65, 2, 8, COLT5_BF16, false},    {257, 258, 16, COLT5_F32, true},
    {4097, 1000, 3, COLT5_F16, true}, {300, 300000, 2, COLT5_F32, false},
    {9000, 1, 8, COLT5_F32, false},
};
#define BACKWARD_SHAPES (sizeof(backward_shapes) / sizeof(backward_shapes[0]))

/* Small whole numbers, whose sums are exact in any order; NaN where the id is outside. */
static double *whole_gradients(const int64_t *ids, size_t rows, size_t V, size_t D)
{
    double *dy = zeros(rows * D);
    for (size_t i = 0; i < rows * D; i++)
        dy[i] = ids[i / D] >= 0 && (uint64_t)ids[i / D] < V ? floor(3 * random_uniform()) - 1 : NAN;
    return dy;
}

static void check_whole_sums(const struct backward_shape *s, const int64_t *ids)
{
    double *dy = whole_gradients(ids, s->rows, s->V, s->D), *want = zeros(s->V * s->D);
    for (size_t i = 0; i < s->V * s->D; i++) want[i] = (double)(i % 5); /* added to */
    struct device_tensor di = upload_ids(ids, s->wide, 1, s->rows);
    struct device_tensor ddy = upload(dy, s->type, 1, s->rows, s->D);
    struct device_tensor dw = upload(want, COLT5_F32, s->V, s->D);

    ck_assert_ok(colt5_embedding_backward(ctx, &di.t, &ddy.t, &dw.t));
    reference_embedding_backward(ids, dy, want, s->rows, s->V, s->D);
    assert_equal(&dw, want);
    assert_unchanged(&di);
    assert_unchanged(&ddy);
    release(&di), release(&ddy), release(&dw);
    free(dy), free(want);
}

START_TEST(embedding_backward_sums_by_id)
{
    struct backward_shape s = backward_shapes[_i / 2];
    if (has_gpu_kernels() && _i % 2) return;
    if (tiny() && s.rows > 130) s.rows = 130;
    int64_t *ids = random_ids(s.rows, s.V, s.wide);
    for (size_t i = 0; i < s.rows; i++)
        if (random_uniform() < 0.5) ids[i] = (int64_t)s.V / 2;
    pretend_gpu(_i % 2);
    check_whole_sums(&s, ids);
    pretend_gpu(false);
    free(ids);
}
END_TEST

START_TEST(one_id_may_be_all_tokens)
{
    const struct backward_shape s = {tiny() ? 130 : 65536, 3, 4, COLT5_F32, false};
    if (has_gpu_kernels() && _i % 2) return;
    int64_t *ids = calloc(s.rows, sizeof(*ids));
    ck_assert_ptr_nonnull(ids);
    for (size_t i = 0; i < s.rows; i++) ids[i] = _i / 2 ? 3 : 1; /* or all are outside */
    pretend_gpu(_i % 2);
    check_whole_sums(&s, ids);
    pretend_gpu(false);
    free(ids);
}
END_TEST

START_TEST(embedding_backward_is_repeatable)
{
    enum { V = 7, D = 8, REPEATS = 3 };
    if (has_gpu_kernels() && _i / 3) return;
    const size_t rows = tiny() ? 130 : 5000;
    const colt5_type type = storage_types[_i % 3];
    int64_t *ids = random_ids(rows, V, false);
    double *dy = rounded_to(type, random_normal(rows * D), rows * D), *want = zeros(V * D);
    struct device_tensor di = upload_ids(ids, false, 1, rows);
    struct device_tensor ddy = upload(dy, type, 1, rows, D), dw[REPEATS];
    pretend_gpu(_i / 3);
    for (int i = 0; i < REPEATS; i++) {
        dw[i] = upload(want, COLT5_F32, V, D);
        ck_assert_ok(colt5_embedding_backward(ctx, &di.t, &ddy.t, &dw[i].t));
    }
    pretend_gpu(false);
    reference_embedding_backward(ids, dy, want, rows, V, D);
    double *bits = download(&dw[0]);
    assert_close(&dw[0], want, 2e-5, 1e-6); /* sums of 700 normal numbers, in a tree */
    for (int i = 0; i < REPEATS; i++) {
        assert_equal(&dw[i], bits);
        release(&dw[i]);
    }
    release(&di), release(&ddy);
    free(ids), free(dy), free(want), free(bits);
}
END_TEST

struct embedding_call {
    int64_t ids[6];
    double weight[4 * 3], y[6 * 3];
};

static void embedding_of(void *call)
{
    struct embedding_call *c = call;
    reference_embedding_forward(c->ids, c->weight, c->y, 6, 4, 3);
}

START_TEST(the_reference_gradient_is_the_difference_quotient)
{
    struct embedding_call c = {.ids = {2, 0, 2, -1, 3, 4}};
    double dy[18], dweight[12] = {0};
    for (int i = 0; i < 18; i++) dy[i] = random_uniform() - 0.5;
    const struct difference_check check = {embedding_of, &c, c.y, dy, 18};
    reference_embedding_backward(c.ids, dy, dweight, 6, 4, 3);
    assert_gradient(&check, c.weight, dweight, 12);
}
END_TEST

/* Each is a good call but for what it names. */
static const struct bad_backward_call {
    const char *what;
    colt5_status expected;
    bool float_ids, flat_ids, no_ids, long_dy, int_dy, narrow_weight, half_weight, no_weight,
        shared;
} bad_backward_calls[] = {
    {"float ids", COLT5_ERROR_TYPE, .float_ids = true},
    {"ids of rank 1", COLT5_ERROR_SHAPE, .flat_ids = true},
    {"no ids", COLT5_ERROR_ARGUMENT, .no_ids = true},
    {"dy of more rows", COLT5_ERROR_SHAPE, .long_dy = true},
    {"dy of ints", COLT5_ERROR_TYPE, .int_dy = true},
    {"dweight of another D", COLT5_ERROR_SHAPE, .narrow_weight = true},
    {"dweight of halves", COLT5_ERROR_TYPE, .half_weight = true},
    {"no dweight", COLT5_ERROR_ARGUMENT, .no_weight = true},
    {"dweight on dy", COLT5_ERROR_ARGUMENT, .shared = true},
};

#define BAD_BACKWARD_CALLS (sizeof(bad_backward_calls) / sizeof(bad_backward_calls[0]))

START_TEST(bad_backward_calls_are_refused)
{
    const struct bad_backward_call *c = &bad_backward_calls[_i];
    const double values[40] = {0};
    const int64_t ids[] = {0, 1, 2};
    struct device_tensor di = upload_ids(ids, false, 1, 3);
    struct device_tensor ddy = upload(values, COLT5_F32, 1, 3, 4);
    struct device_tensor dw = upload(values, COLT5_F32, 10, 4);
    colt5_tensor ti = di.t, tdy = ddy.t, tw = dw.t;
    if (c->float_ids) ti.type = COLT5_F32;
    if (c->flat_ids) ti.rank = 1;
    if (c->long_dy) tdy.dims[1] = 4;
    if (c->int_dy) tdy.type = COLT5_I32;
    if (c->narrow_weight) tw.dims[1] = 3;
    if (c->half_weight) tw.type = COLT5_F16;
    if (c->shared) tdy.buffer = tw.buffer;
    const colt5_status got =
        colt5_embedding_backward(ctx, c->no_ids ? NULL : &ti, &tdy, c->no_weight ? NULL : &tw);
    ck_assert_msg(got == c->expected, "%s: %s", c->what, colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), "embedding: ", 11), "%s", colt5_message(ctx));
    assert_unchanged(&dw);
    if (!tiny() || _i % 4 == 0) ck_assert_ok(colt5_embedding_backward(ctx, &di.t, &ddy.t, &dw.t));
    release(&di), release(&ddy), release(&dw);
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
    tcase_add_loop_test(tests, embedding_backward_sums_by_id, 0, 2 * BACKWARD_SHAPES);
    tcase_add_loop_test(tests, one_id_may_be_all_tokens, 0, 4);
    tcase_add_loop_test(tests, embedding_backward_is_repeatable, 0, 6);
    tcase_add_test(tests, the_reference_gradient_is_the_difference_quotient);
    tcase_add_loop_test(tests, bad_backward_calls_are_refused, 0, BAD_BACKWARD_CALLS);
    tcase_add_loop_test(tests, token_mask_marks_padding, 0, 10);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
