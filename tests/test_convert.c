/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

/* A 16-bit format: sign, exponent bits, fraction bits. */
static const struct format {
    colt5_type type;
    int exponent_bits, fraction_bits;
} formats[] = {{COLT5_F16, 5, 10}, {COLT5_BF16, 8, 7}};

static uint16_t infinity_of(const struct format *format)
{
    return (uint16_t)(0x7FFFu >> format->fraction_bits << format->fraction_bits);
}

/* What a finite pattern means, by the definition of the format; one past the largest finite
 * pattern gives the power of two that would come next. */
static double meaning(const struct format *format, uint16_t pattern)
{
    const int bias = (1 << (format->exponent_bits - 1)) - 1;
    const int exponent = (pattern & 0x7FFF) >> format->fraction_bits;
    const int fraction = pattern & ((1 << format->fraction_bits) - 1);
    const double size = exponent ? ldexp(fraction + (1 << format->fraction_bits),
                                         exponent - bias - format->fraction_bits)
                                 : ldexp(fraction, 1 - bias - format->fraction_bits);
    return pattern & 0x8000 ? -size : size;
}

static float widened(const struct format *format, uint16_t pattern)
{
    float value;
    colt5_convert(format->type, &pattern, COLT5_F32, &value, 1);
    return value;
}

static uint16_t narrowed(const struct format *format, float value)
{
    uint16_t pattern;
    colt5_convert(COLT5_F32, &value, format->type, &pattern, 1);
    return pattern;
}

START_TEST(every_pattern_means_what_the_format_says)
{
    const struct format *format = &formats[_i];
    const uint16_t infinity = infinity_of(format);
    for (unsigned i = 0; i < 65536; i++) {
        const uint16_t pattern = (uint16_t)i, size = pattern & 0x7FFF;
        const float value = widened(format, pattern);
        if (size > infinity)
            ck_assert_msg(isnan(value), "%04x: %g is not NaN", i, value);
        else if (size == infinity)
            ck_assert_msg(value == (pattern & 0x8000 ? -INFINITY : INFINITY), "%04x: %g", i, value);
        else
            ck_assert_msg(value == meaning(format, pattern) && !signbit(value) == !(i & 0x8000),
                          "%04x: %.9g", i, value);
    }
}
END_TEST

/* NaN may become quiet, but stays NaN with its sign. */
START_TEST(every_pattern_survives_the_way_there_and_back)
{
    const struct format *format = &formats[_i];
    const uint16_t quiet = (uint16_t)(1 << (format->fraction_bits - 1));
    for (unsigned i = 0; i < 65536; i++) {
        const uint16_t pattern = (uint16_t)i;
        const bool nan = (pattern & 0x7FFF) > infinity_of(format);
        const uint16_t back = narrowed(format, widened(format, pattern));
        ck_assert_msg(back == (nan ? pattern | quiet : pattern), "%04x came back as %04x", i, back);
    }
}
END_TEST

/* Between any two neighbours: the middle goes to the even one, all else to the nearer one. */
START_TEST(rounds_to_nearest_even)
{
    const struct format *format = &formats[_i];
    const uint16_t infinity = infinity_of(format);
    for (unsigned i = 0; i < infinity; i++) {
        const uint16_t low = (uint16_t)i, high = (uint16_t)(i + 1), even = i & 1 ? high : low;
        const double middle = (meaning(format, low) + meaning(format, high)) / 2;
        const float tie = (float)middle;
        ck_assert_msg(tie == middle, "%04x: the middle is no float", i);
        const float below = nextafterf(tie, 0), above = nextafterf(tie, INFINITY);
        for (unsigned sign = 0; sign <= 0x8000; sign += 0x8000) {
            const float s = sign ? -1 : 1;
            ck_assert_msg(narrowed(format, s * tie) == (even | sign), "%.9g", s * tie);
            ck_assert_msg(narrowed(format, s * below) == (low | sign), "%.9g", s * below);
            ck_assert_msg(narrowed(format, s * above) == (high | sign), "%.9g", s * above);
        }
    }
}
END_TEST

START_TEST(large_values_become_infinite_and_nan_stays)
{
    const struct format *format = &formats[_i];
    const uint16_t infinity = infinity_of(format);
    ck_assert_uint_eq(narrowed(format, INFINITY), infinity);
    ck_assert_uint_eq(narrowed(format, -INFINITY), infinity | 0x8000);
    ck_assert_uint_eq(narrowed(format, 3.4028234e38f), infinity);
    ck_assert_uint_gt(narrowed(format, NAN) & 0x7FFF, infinity);
    /* A NaN whose payload lies below the bits kept. */
    const uint32_t bits = 0x7F800001;
    float low_payload;
    memcpy(&low_payload, &bits, sizeof(bits));
    ck_assert_uint_gt(narrowed(format, low_payload) & 0x7FFF, infinity);
    ck_assert_uint_eq(narrowed(format, 1e-45f), 0);
}
END_TEST

START_TEST(converts_between_any_two_types)
{
    const float values[] = {0.0f, 1.0f, -2.5f, 65504.0f, INFINITY};
    float back[5];
    uint16_t half[5], brain[5];
    colt5_convert(COLT5_F32, values, COLT5_F16, half, 5);
    colt5_convert(COLT5_F16, half, COLT5_BF16, brain, 5);
    colt5_convert(COLT5_BF16, brain, COLT5_F32, back, 5);
    const float want[] = {0.0f, 1.0f, -2.5f, 65536.0f, INFINITY}; /* 8 bits of 65504 */
    ck_assert_mem_eq(back, want, sizeof(want));
    colt5_convert(COLT5_F32, values, COLT5_F32, back, 5);
    ck_assert_mem_eq(back, values, sizeof(values));
    colt5_convert(COLT5_F16, half, COLT5_F16, half, 5);
    ck_assert_uint_eq(half[1], 0x3C00);
}
END_TEST

START_TEST(types_have_sizes_and_names)
{
    static const struct {
        int type;
        size_t size;
        const char *name;
    } types[] = {{COLT5_F32, 4, "f32"}, {COLT5_F16, 2, "f16"}, {COLT5_BF16, 2, "bf16"},
                 {COLT5_I32, 4, "i32"}, {COLT5_I64, 8, "i64"}, {COLT5_U8, 1, "u8"},
                 {-1, 0, "?"},          {99, 0, "?"}};
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        ck_assert_uint_eq(colt5_type_size((colt5_type)types[i].type), types[i].size);
        ck_assert_str_eq(colt5_type_name((colt5_type)types[i].type), types[i].name);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("convert");
    TCase *tests = tcase_create("convert");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, every_pattern_means_what_the_format_says, 0, 2);
    tcase_add_loop_test(tests, every_pattern_survives_the_way_there_and_back, 0, 2);
    tcase_add_loop_test(tests, rounds_to_nearest_even, 0, 2);
    tcase_add_loop_test(tests, large_values_become_infinite_and_nan_stays, 0, 2);
    tcase_add_test(tests, converts_between_any_two_types);
    tcase_add_test(tests, types_have_sizes_and_names);
    suite_add_tcase(suite, tests);
    return run_host_suite(suite);
}
