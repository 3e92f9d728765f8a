/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <stdio.h>

#include "ops/registers.h"
#include "runtime/context.h"

/* A context of each test's own: its verdicts are made up. */
static colt5_context *made;
static int notices, trials;
static size_t refused;    /* a group */
static colt5_status why;  /* it is: COLT5_OK for wrong results */
static size_t tried_last; /* the N of a trial */

static void count_notice(void *user, const char *text)
{
    (void)user, (void)text;
    notices++;
}

static void make_context(void)
{
    notices = trials = 0;
    ck_assert_ok(colt5_context_create(NULL, &made));
    made->info.largest_group = 1024;
    made->info.matrix_units[0] = '\0';
    colt5_context_set_callbacks(made, &(colt5_callbacks){.log = count_notice});
}

static void destroy_context(void)
{
    colt5_context_destroy(made);
}

static colt5_status pretend(colt5_context *of, const struct register_plan *plan, size_t N,
                            bool *works)
{
    trials++;
    tried_last = N;
    *works = plan->group != refused;
    return *works || why == COLT5_OK ? COLT5_OK : fail(of, why, "made up");
}

static const struct register_kernel pretended = {REGISTERS_OF_SOLVER, "made up", pretend, true};
static const struct register_kernel whole = {REGISTERS_OF_SELECT, "made up", pretend, false};

static void assert_planned(size_t N, size_t group, size_t values)
{
    struct register_plan plan;
    ck_assert_ok(plan_registers(made, &pretended, N, &plan));
    ck_assert_uint_eq(plan.group, group);
    if (group) ck_assert_uint_eq(plan.values, values);
}

START_TEST(a_refused_shape_is_tried_once_and_another_taken)
{
    static const colt5_status reasons[] = {COLT5_OK, COLT5_ERROR_OPENCL, COLT5_ERROR_BUILD};
    const char *units[] = {"", "mma"};
    for (int nvidia = 0; nvidia < 2; nvidia++)
        for (int i = 0; i < 3; i++) {
            make_context();
            snprintf(made->info.matrix_units, sizeof(made->info.matrix_units), "%s", units[nvidia]);
            refused = nvidia ? 512 : 1024;
            why = reasons[i];
            for (int call = 0; call < 2; call++)
                assert_planned(30000, nvidia ? 1024 : 512, nvidia ? 32 : 64);
            ck_assert_int_eq(trials, 2);
            ck_assert_int_eq(notices, 1);
            ck_assert_uint_eq(tried_last, 32768 - 37);
            destroy_context();
        }
}
END_TEST

START_TEST(a_kernel_says_which_shape_is_first)
{
    struct register_plan plan;
    make_context();
    snprintf(made->info.matrix_units, sizeof(made->info.matrix_units), "mma");
    refused = 0;
    assert_planned(30000, 512, 64);
    ck_assert_ok(plan_registers(made, &whole, 30000, &plan));
    ck_assert_uint_eq(plan.group, 1024);
    destroy_context();
}
END_TEST

START_TEST(short_rows_have_one_shape)
{
    make_context();
    refused = 256;
    why = COLT5_ERROR_OPENCL;
    assert_planned(512, 64, 8);
    assert_planned(2048, 0, 0);
    ck_assert_int_eq(trials, 2);
    assert_planned(32769, 0, 0);
    ck_assert_int_eq(trials, 2);
    destroy_context();
}
END_TEST

START_TEST(a_stopped_trial_is_the_calls_failure_and_made_again)
{
    static const colt5_status reasons[] = {COLT5_CANCELLED, COLT5_ERROR_MEMORY, COLT5_ERROR_LOST};
    struct register_plan plan;
    make_context();
    for (int i = 0; i < 3; i++) {
        refused = 1024;
        why = reasons[i];
        ck_assert_int_eq(plan_registers(made, &pretended, 30000, &plan), reasons[i]);
        ck_assert_str_eq(colt5_message(made), "made up");
    }
    ck_assert_int_eq(trials, 3);
    ck_assert_int_eq(notices, 0);
    refused = 0;
    assert_planned(30000, 1024, 32);
    ck_assert_int_eq(trials, 4);
    destroy_context();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("registers");
    TCase *tests = tcase_create("registers");
    tcase_add_test(tests, a_refused_shape_is_tried_once_and_another_taken);
    tcase_add_test(tests, a_kernel_says_which_shape_is_first);
    tcase_add_test(tests, short_rows_have_one_shape);
    tcase_add_test(tests, a_stopped_trial_is_the_calls_failure_and_made_again);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
