/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/route.h>

static const struct shape {
    size_t B, R, N, K, width;
} shapes[] = {{1, 1, 1, 1, 1},   {2, 3, 7, 3, 7},    {3, 1, 17, 17, 5},
              {1, 2, 257, 8, 1}, {2, 2, 31, 30, 16}, {2, 1, 300, 256, 127}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* Indices of routes, some of them outside. */
static int *make_index(struct shape s)
{
    int *index = random_routes(s.B * s.R, s.K, s.N);
    for (size_t i = 0; i < s.B * s.R * s.K; i++)
        if (random_uniform() < 0.1) index[i] = random_uniform() < 0.5 ? -1 : (int)s.N;
    return index;
}

/* In odd loops without a mask; as bytes, then as floats. */
START_TEST(the_mask_of_routed_tokens)
{
    const struct shape s = shapes[_i / 2];
    uint8_t *mask = random_mask(s.B * s.N, 0.6);
    const bool masked = _i % 2;
    int *index = make_index(s);
    double *want = poisoned(s.B * s.R * s.K);
    struct device_tensor dm = upload_u8(mask, s.B, s.N), di = upload_i32(index, s.B, s.R, s.K);
    struct device_tensor bytes = poisoned_tensor(COLT5_U8, s.B, s.R, s.K);
    struct device_tensor gates = poisoned_tensor(COLT5_F32, s.B, s.R, s.K);

    ck_assert_ok(colt5_route_mask(ctx, masked ? &dm.t : NULL, &di.t, &bytes.t));
    ck_assert_ok(colt5_route_mask(ctx, masked ? &dm.t : NULL, &di.t, &gates.t));
    reference_route_mask(masked ? mask : NULL, index, want, s.B, s.R, s.N, s.K);
    assert_equal(&bytes, want);
    assert_equal(&gates, want);
    assert_unchanged(&dm), assert_unchanged(&di);

    release(&dm), release(&di), release(&bytes), release(&gates);
    free(mask), free(index), free(want);
}
END_TEST

START_TEST(scores_are_picked_and_put_back)
{
    const struct shape s = shapes[_i];
    const size_t rows = s.B * s.R;
    double *scores = rounded_to(COLT5_F32, random_normal(rows * s.N), rows * s.N);
    double *want = poisoned(rows * s.K), *back = poisoned(rows * s.N);
    int *index = make_index(s);
    scores[0] = NAN;
    struct device_tensor ds = upload(scores, COLT5_F32, s.B, s.R, s.N);
    struct device_tensor di = upload_i32(index, s.B, s.R, s.K);
    struct device_tensor dy = poisoned_tensor(COLT5_F32, s.B, s.R, s.K);
    struct device_tensor dscores = poisoned_tensor(COLT5_F32, s.B, s.R, s.N);

    ck_assert_ok(colt5_gather_scores(ctx, &ds.t, &di.t, &dy.t));
    reference_gather_scores(scores, index, want, rows, s.N, s.K);
    assert_equal(&dy, want);
    ck_assert_ok(colt5_gather_scores_backward(ctx, &dy.t, &di.t, &dscores.t));
    reference_gather_scores_backward(want, index, back, rows, s.N, s.K);
    assert_equal(&dscores, back);
    assert_unchanged(&ds), assert_unchanged(&di);

    release(&ds), release(&di), release(&dy), release(&dscores);
    free(scores), free(want), free(back), free(index);
}
END_TEST

START_TEST(rows_are_cut_to_blocks_and_back)
{
    const struct shape s = shapes[_i];
    const size_t rows = s.B * s.R, nb = s.N / s.width, count = rows * nb * s.width;
    double *scores = rounded_to(COLT5_F32, random_normal(rows * s.N), rows * s.N);
    double *want = poisoned(count), *back = poisoned(rows * s.N), *spread = zeros(rows * s.N);
    uint8_t *mask = random_mask(s.B * s.N, 0.5);
    struct device_tensor ds = upload(scores, COLT5_F32, s.B, s.R, s.N);
    struct device_tensor dm = upload_u8(mask, s.B, s.N);
    struct device_tensor blocks = poisoned_tensor(COLT5_F32, rows * nb, 1, s.width);
    struct device_tensor mask_blocks = poisoned_tensor(COLT5_U8, rows * nb, s.width);
    struct device_tensor whole = poisoned_tensor(COLT5_F32, s.B, s.R, s.N);

    ck_assert_ok(colt5_block_rows(ctx, &ds.t, &dm.t, s.width, &blocks.t, &mask_blocks.t));
    reference_block_rows(scores, want, rows, s.N, s.width);
    assert_equal(&blocks, want);
    ck_assert_ok(colt5_block_rows_backward(ctx, &blocks.t, s.width, &whole.t));
    reference_block_rows_backward(want, back, rows, s.N, s.width);
    assert_equal(&whole, back);

    for (size_t i = 0; i < rows * s.N; i++) spread[i] = mask[i / (s.R * s.N) * s.N + i % s.N];
    reference_block_rows(spread, want, rows, s.N, s.width);
    assert_equal(&mask_blocks, want);

    release(&ds), release(&dm), release(&blocks), release(&mask_blocks), release(&whole);
    free(scores), free(want), free(back), free(spread), free(mask);
}
END_TEST

/* A block's j-th token is the sequence's: gathering by both indices picks the same score. */
START_TEST(indices_of_blocks_become_the_sequences)
{
    const struct shape s = shapes[_i];
    const size_t rows = s.B * s.R, nb = s.N / s.width, Kb = (s.width + 1) / 2;
    int *index = random_routes(rows * nb, Kb, s.width);
    double *want = poisoned(rows * nb * Kb);
    for (size_t i = 0; i < rows * nb * Kb; i++)
        want[i] = index[i] + (double)(i / Kb % nb * s.width);
    struct device_tensor di = upload_i32(index, rows * nb, 1, Kb);
    struct device_tensor dp = poisoned_tensor(COLT5_I32, s.B, s.R, nb * Kb);
    ck_assert_ok(colt5_block_index(ctx, &di.t, s.width, &dp.t));
    assert_equal(&dp, want);
    release(&di), release(&dp);
    free(index), free(want);
}
END_TEST

/* What a bad call is made of: 2 samples, 3 rows, 10 tokens, 4 routed, blocks of 5. */
struct tensors {
    colt5_tensor s, mask, index, routed, y, blocks, mask_blocks, block_index, position;
};

static void spoil_routed_type(struct tensors *t)
{
    t->routed.type = COLT5_I32;
}
static void spoil_routed_shape(struct tensors *t)
{
    t->routed.dims[2] = 3;
}
static void spoil_index_type(struct tensors *t)
{
    t->index.type = COLT5_F32;
}
static void spoil_index_rank(struct tensors *t)
{
    t->index.rank = 2;
}
static void spoil_mask_shape(struct tensors *t)
{
    t->mask.dims[0] = 1;
}
static void spoil_mask_type(struct tensors *t)
{
    t->mask.buffer = t->s.buffer;
    t->mask.type = COLT5_F32;
}
static void spoil_s_type(struct tensors *t)
{
    t->s.type = COLT5_F16;
}
static void spoil_y_shape(struct tensors *t)
{
    t->y.dims[1] = 2;
}
static void spoil_blocks_shape(struct tensors *t)
{
    t->blocks.dims[0] = 11;
}
static void spoil_mask_blocks_shape(struct tensors *t)
{
    t->mask_blocks.dims[1] = 4;
}
static void spoil_block_index_shape(struct tensors *t)
{
    t->block_index.dims[1] = 2;
}
static void spoil_position_type(struct tensors *t)
{
    t->position.type = COLT5_F32;
}
static void spoil_nothing(struct tensors *t)
{
    (void)t;
}

enum call { ROUTE_MASK, GATHER, GATHER_BACK, BLOCKS, BLOCKS_BACK, INDEX };

static colt5_status make_call(enum call call, struct tensors *t, size_t width)
{
    switch (call) {
    case ROUTE_MASK:
        return colt5_route_mask(ctx, &t->mask, &t->index, &t->routed);
    case GATHER:
        return colt5_gather_scores(ctx, &t->s, &t->index, &t->y);
    case GATHER_BACK:
        return colt5_gather_scores_backward(ctx, &t->y, &t->index, &t->s);
    case BLOCKS:
        return colt5_block_rows(ctx, &t->s, &t->mask, width, &t->blocks, &t->mask_blocks);
    case BLOCKS_BACK:
        return colt5_block_rows_backward(ctx, &t->blocks, width, &t->s);
    default:
        return colt5_block_index(ctx, &t->block_index, width, &t->position);
    }
}

static const struct bad_call {
    const char *op;
    enum call call;
    void (*spoil)(struct tensors *);
    size_t width;
    colt5_status expected;
} bad_calls[] = {
    {"route_mask: ", ROUTE_MASK, spoil_routed_type, 5, COLT5_ERROR_TYPE},
    {"route_mask: ", ROUTE_MASK, spoil_routed_shape, 5, COLT5_ERROR_SHAPE},
    {"route_mask: ", ROUTE_MASK, spoil_index_type, 5, COLT5_ERROR_TYPE},
    {"route_mask: ", ROUTE_MASK, spoil_mask_shape, 5, COLT5_ERROR_SHAPE},
    {"route_mask: ", ROUTE_MASK, spoil_mask_type, 5, COLT5_ERROR_TYPE},
    {"gather_scores: ", GATHER, spoil_s_type, 5, COLT5_ERROR_TYPE},
    {"gather_scores: ", GATHER, spoil_y_shape, 5, COLT5_ERROR_SHAPE},
    {"gather_scores: ", GATHER, spoil_index_rank, 5, COLT5_ERROR_SHAPE},
    {"gather_scores_backward: ", GATHER_BACK, spoil_y_shape, 5, COLT5_ERROR_SHAPE},
    {"gather_scores_backward: ", GATHER_BACK, spoil_s_type, 5, COLT5_ERROR_TYPE},
    {"block_rows: ", BLOCKS, spoil_blocks_shape, 5, COLT5_ERROR_SHAPE},
    {"block_rows: ", BLOCKS, spoil_mask_blocks_shape, 5, COLT5_ERROR_SHAPE},
    {"block_rows: ", BLOCKS, spoil_nothing, 0, COLT5_ERROR_ARGUMENT},
    {"block_rows: ", BLOCKS, spoil_nothing, 11, COLT5_ERROR_ARGUMENT},
    {"block_rows: ", BLOCKS, spoil_s_type, 5, COLT5_ERROR_TYPE},
    {"block_rows_backward: ", BLOCKS_BACK, spoil_blocks_shape, 5, COLT5_ERROR_SHAPE},
    {"block_rows_backward: ", BLOCKS_BACK, spoil_nothing, 11, COLT5_ERROR_ARGUMENT},
    {"block_index: ", INDEX, spoil_block_index_shape, 5, COLT5_ERROR_SHAPE},
    {"block_index: ", INDEX, spoil_position_type, 5, COLT5_ERROR_TYPE},
    {"block_index: ", INDEX, spoil_nothing, (size_t)1 << 31, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const int indices[24] = {0};
    struct device_tensor s = poisoned_tensor(COLT5_F32, 2, 3, 10);
    struct device_tensor mask = poisoned_tensor(COLT5_U8, 2, 10);
    struct device_tensor index = upload_i32(indices, 2, 3, 4);
    struct device_tensor routed = poisoned_tensor(COLT5_F32, 2, 3, 4);
    struct device_tensor y = poisoned_tensor(COLT5_F32, 2, 3, 4);
    struct device_tensor blocks = poisoned_tensor(COLT5_F32, 12, 1, 5);
    struct device_tensor mask_blocks = poisoned_tensor(COLT5_U8, 12, 5);
    struct device_tensor block_index = upload_i32(indices, 12, 1, 2);
    struct device_tensor position = poisoned_tensor(COLT5_I32, 2, 3, 4);
    struct tensors whole = {s.t,      mask.t,        index.t,       routed.t,  y.t,
                            blocks.t, mask_blocks.t, block_index.t, position.t};
    struct tensors spoiled = whole;
    c.spoil(&spoiled);
    ck_assert_msg(make_call(c.call, &spoiled, c.width) == c.expected, "%s", colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), c.op, strlen(c.op)), "%s", colt5_message(ctx));
    assert_untouched(&s), assert_untouched(&routed), assert_untouched(&y);
    assert_untouched(&blocks), assert_untouched(&mask_blocks), assert_untouched(&position);
    ck_assert_ok(make_call(c.call, &whole, 5));
    release(&s), release(&mask), release(&index), release(&routed), release(&y), release(&blocks);
    release(&mask_blocks), release(&block_index), release(&position);
}
END_TEST

START_TEST(a_mask_needs_its_blocks)
{
    struct device_tensor s = poisoned_tensor(COLT5_F32, 1, 1, 4);
    struct device_tensor mask = poisoned_tensor(COLT5_U8, 1, 4);
    struct device_tensor blocks = poisoned_tensor(COLT5_F32, 2, 1, 2);
    ck_assert_status(colt5_block_rows(ctx, &s.t, &mask.t, 2, &blocks.t, NULL),
                     COLT5_ERROR_ARGUMENT);
    ck_assert_ok(colt5_block_rows(ctx, &s.t, NULL, 2, &blocks.t, NULL));
    release(&s), release(&mask), release(&blocks);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("route");
    TCase *tests = tcase_create("route");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, the_mask_of_routed_tokens, 0, 2 * SHAPES);
    tcase_add_loop_test(tests, scores_are_picked_and_put_back, 0, SHAPES);
    tcase_add_loop_test(tests, rows_are_cut_to_blocks_and_back, 0, SHAPES);
    tcase_add_loop_test(tests, indices_of_blocks_become_the_sequences, 0, SHAPES);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    tcase_add_test(tests, a_mask_needs_its_blocks);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
