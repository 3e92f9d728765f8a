/* SPDX-License-Identifier: MIT */
/* How products are cut to works for Hopper's matrix units: needs no such device. */
#include "support/testing.h"

#include "gemm/wgmma_plan.h"
#include "runtime/context.h"

#define UNITS 132

static struct wgmma_plan plan_of(size_t M, size_t N, size_t K, colt5_type type, colt5_math math)
{
    static struct colt5_context context;
    const colt5_tensor a = {.type = type};
    const struct gemm product = {.M = M, .N = N, .K = K, .a = &a, .transpose_b = true};
    context.info.compute_units = UNITS;
    context.math = math;
    return wgmma_plan(&context, &product);
}

static size_t depth_of(colt5_type type)
{
    return 128 / colt5_type_size(type);
}

static const size_t lengths[] = {8, 64, 104, 512, 1000, 1096, 2048, 8192, 65536};
#define LENGTHS ((int)(sizeof(lengths) / sizeof(lengths[0])))

START_TEST(parts_cover_the_whole_of_k_and_none_is_empty)
{
    const colt5_type type = _i % 2 ? COLT5_BF16 : COLT5_F32;
    const size_t K = lengths[_i / 2], depth = depth_of(type);
    for (size_t edge = 64; edge <= 4096; edge *= 2) {
        const struct wgmma_plan plan = plan_of(edge, edge + 8, K, type, COLT5_MATH_STRICT);
        const size_t part = plan.slabs * depth;
        ck_assert_uint_ge(plan.parts * part, K);
        ck_assert_uint_lt((plan.parts - 1) * part, K);
        ck_assert(plan.in_parts || plan.parts == 1);
        if (type == COLT5_F32) ck_assert_uint_eq(plan.slabs % 2, 0);
    }
}
END_TEST

START_TEST(few_long_tiles_are_cut_so_that_units_have_work)
{
    const struct wgmma_plan gradient = plan_of(512, 512, 65536, COLT5_BF16, COLT5_MATH_STRICT),
                            small = plan_of(2048, 512, 2048, COLT5_BF16, COLT5_MATH_STRICT),
                            large = plan_of(65536, 512, 512, COLT5_BF16, COLT5_MATH_STRICT);
    ck_assert_uint_gt(gradient.tiles * gradient.parts, UNITS * 3 / 4);
    ck_assert_uint_eq(small.tiles * small.parts, 128);
    ck_assert_uint_eq(large.parts, 1);
    ck_assert(!large.in_parts);
}
END_TEST

START_TEST(consumers_take_turns_where_there_are_several_tiles)
{
    ck_assert(plan_of(65536, 512, 512, COLT5_BF16, COLT5_MATH_STRICT).alternates);
    ck_assert(plan_of(65536, 512, 512, COLT5_F32, COLT5_MATH_FAST).alternates);
    ck_assert(!plan_of(65536, 512, 512, COLT5_F32, COLT5_MATH_STRICT).alternates); /* pairs */
    ck_assert(!plan_of(1024, 1024, 512, COLT5_BF16, COLT5_MATH_STRICT).alternates);
    ck_assert(!plan_of(8192, 8192, 8192, COLT5_BF16, COLT5_MATH_STRICT).alternates); /* wide */
}
END_TEST

START_TEST(a_long_k_has_wide_tiles_but_not_of_pairs)
{
    const size_t n = 8192;
    ck_assert_uint_eq(plan_of(n, n, n, COLT5_F16, COLT5_MATH_STRICT).columns, WGMMA_WIDE);
    ck_assert_uint_eq(plan_of(n, n, n, COLT5_F32, COLT5_MATH_FAST).columns, WGMMA_WIDE);
    ck_assert_uint_eq(plan_of(n, n, n, COLT5_F32, COLT5_MATH_STRICT).columns, WGMMA_NARROW);
    ck_assert_uint_eq(plan_of(n, n, 512, COLT5_BF16, COLT5_MATH_STRICT).columns, WGMMA_NARROW);
}
END_TEST

/* A self-test's product is small, and takes the kernel of the one it is for. */
START_TEST(a_self_test_has_the_plan_of_its_product)
{
    static struct colt5_context context;
    const colt5_tensor a = {.type = _i % 2 ? COLT5_BF16 : COLT5_F32};
    const struct gemm product = {.M = 2048, .N = 512, .K = lengths[_i / 2], .a = &a};
    const struct gemm trial = {.M = 144, .N = 272, .K = 104, .a = &a, .like = &product};
    context.info.compute_units = UNITS;
    const struct wgmma_plan own = wgmma_plan(&context, &product),
                            tried = wgmma_plan(&context, &trial);
    ck_assert_uint_eq(own.columns, tried.columns);
    ck_assert(own.alternates == tried.alternates && own.in_parts == tried.in_parts);
    ck_assert(own.by_pairs == tried.by_pairs && own.converts_b == tried.converts_b);
    ck_assert_uint_eq(tried.parts, own.in_parts ? 2 : 1);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("wgmma plan");
    TCase *plans = tcase_create("plans");
    tcase_add_loop_test(plans, parts_cover_the_whole_of_k_and_none_is_empty, 0, 2 * LENGTHS);
    tcase_add_test(plans, few_long_tiles_are_cut_so_that_units_have_work);
    tcase_add_test(plans, consumers_take_turns_where_there_are_several_tiles);
    tcase_add_test(plans, a_long_k_has_wide_tiles_but_not_of_pairs);
    tcase_add_loop_test(plans, a_self_test_has_the_plan_of_its_product, 0, 2 * LENGTHS);
    suite_add_tcase(suite, plans);
    return run_host_suite(suite);
}
