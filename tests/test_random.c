/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/random.h>

#include "ops/philox.h"

/* The vectors published with Random123: counter, key, output words. */
static const struct known_answer {
    uint32_t counter[4], key[2], words[4];
} known_answers[] = {
    {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
     {0xffffffff, 0xffffffff},
     {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
     {0xa4093822, 0x299f31d0},
     {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

START_TEST(philox_gives_the_published_words)
{
    const struct known_answer *a = &known_answers[_i];
    uint32_t words[4];
    philox(a->counter, a->key, words);
    for (int i = 0; i < 4; i++) ck_assert_uint_eq(words[i], a->words[i]);
    const uint64_t seed = (uint64_t)a->key[1] << 32 | a->key[0];
    ck_assert(philox_uniform(seed, a->counter[0], a->counter[1], a->counter[2], a->counter[3]) ==
              (float)(((a->words[0] >> 9) + 0.5) / 8388608));
}
END_TEST

static const struct shape {
    size_t rows, N;
    uint64_t seed;
    uint32_t stream, slot, first_row;
} shapes[] = {{1, 1, 0, 0, 0, 0},
              {1, 1, 0x299f31d0a4093822, 0x03707344, 0x85a308d3, 0x13198a2e},
              {3, 17, 1, COLT5_STREAM_ROUTES, 0, 5},
              {2, 129, 0xffffffffffffffff, 0xffffffff, 0xffffffff, 0xfffffffe}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

START_TEST(device_and_host_agree_to_the_bit)
{
    const struct shape s = shapes[_i];
    double *want = poisoned(s.rows * s.N);
    struct device_tensor du = poisoned_tensor(COLT5_F32, s.rows, s.N);
    ck_assert_ok(colt5_random_uniform(ctx, s.seed, s.stream, s.slot, s.first_row, &du.t));
    reference_random_uniform(s.seed, s.stream, s.slot, s.first_row, want, s.rows, s.N);
    assert_equal(&du, want);
    release(&du);
    free(want);
}
END_TEST

/* The zero vector, seen from the device: no word of the host's code takes part. */
START_TEST(device_gives_the_published_word)
{
    const double want[] = {((0x6627e8d5 >> 9) + 0.5) / 8388608};
    struct device_tensor du = poisoned_tensor(COLT5_F32, 1, 1, 1);
    ck_assert_ok(colt5_random_uniform(ctx, 0, 0, 0, 0, &du.t));
    assert_equal(&du, want);
    release(&du);
}
END_TEST

START_TEST(rows_of_three_dimensions_count_on)
{
    double flat[30];
    struct device_tensor du = poisoned_tensor(COLT5_F32, 2, 3, 5);
    ck_assert_ok(colt5_random_uniform(ctx, 9, COLT5_STREAM_ROUTES, 0, 7, &du.t));
    reference_random_uniform(9, COLT5_STREAM_ROUTES, 0, 7, flat, 6, 5);
    assert_equal(&du, flat);
    release(&du);
}
END_TEST

/* Moments of many values, within five standard errors; and the first values, pinned. */
START_TEST(initial_values_have_their_distribution)
{
    enum { COUNT = 40001 };
    static float values[COUNT], again[COUNT];
    double mean = 0, square = 0;
    philox_fill_normal(3, 1, values, COUNT);
    for (int i = 0; i < COUNT; i++) {
        mean += values[i] / (double)COUNT;
        square += (double)values[i] * values[i] / COUNT;
    }
    ck_assert(fabs(mean) < 5 / sqrt(COUNT));
    ck_assert(fabs(square - 1) < 5 * sqrt(2.0 / COUNT));

    mean = 0;
    philox_fill_uniform(3, 2, -0.25, 0.75, values, COUNT);
    for (int i = 0; i < COUNT; i++) {
        ck_assert(values[i] > -0.25f && values[i] < 0.75f);
        mean += values[i] / (double)COUNT;
    }
    ck_assert(fabs(mean - 0.25) < 5 / sqrt(12.0 * COUNT));

    philox_fill_uniform(3, 2, -0.25, 0.75, again, 5);
    ck_assert_mem_eq(values, again, 5 * sizeof(float));
    philox_fill_uniform(3, 3, -0.25, 0.75, again, 5);
    ck_assert_mem_ne(values, again, 5 * sizeof(float));
}
END_TEST

START_TEST(initial_values_follow_their_formula)
{
    float values[6];
    uint32_t w[4];
    philox((const uint32_t[]){1, 8, 0, 3}, (const uint32_t[]){5, 6}, w);
    philox_fill_uniform(0x600000005, 8, 2, 6, values, 6);
    for (int i = 4; i < 6; i++)
        ck_assert_float_eq(values[i], (float)(2 + 4 * ((w[i - 4] >> 9) + 0.5) / 8388608));
    philox_fill_normal(0x600000005, 8, values, 6);
    const double radius = sqrt(-2 * log((w[0] + 0.5) / 4294967296));
    const double angle = 2 * acos(-1) * (w[1] + 0.5) / 4294967296;
    ck_assert_double_eq_tol(values[4], radius * cos(angle), 1e-6);
    ck_assert_double_eq_tol(values[5], radius * sin(angle), 1e-6);
}
END_TEST

START_TEST(bad_calls_are_refused)
{
    struct device_tensor du = poisoned_tensor(COLT5_F32, 2, 3);
    colt5_tensor integers = du.t;
    integers.type = COLT5_I32;
    ck_assert_status(colt5_random_uniform(ctx, 0, 2, 0, 0, NULL), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_random_uniform(ctx, 0, 2, 0, 0, &integers), COLT5_ERROR_TYPE);
    ck_assert_status(colt5_random_uniform(ctx, 0, 2, 0, 0xffffffff, &du.t), COLT5_ERROR_SHAPE);
    ck_assert_msg(!strncmp(colt5_message(ctx), "random_uniform: ", 16), "%s", colt5_message(ctx));
    assert_untouched(&du);
    ck_assert_ok(colt5_random_uniform(ctx, 0, 2, 0, 0xfffffffe, &du.t));
    release(&du);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("random");
    TCase *tests = tcase_create("random");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, philox_gives_the_published_words, 0,
                        sizeof(known_answers) / sizeof(known_answers[0]));
    tcase_add_loop_test(tests, device_and_host_agree_to_the_bit, 0, SHAPES);
    tcase_add_test(tests, device_gives_the_published_word);
    tcase_add_test(tests, rows_of_three_dimensions_count_on);
    tcase_add_test(tests, initial_values_have_their_distribution);
    tcase_add_test(tests, initial_values_follow_their_formula);
    tcase_add_test(tests, bad_calls_are_refused);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
