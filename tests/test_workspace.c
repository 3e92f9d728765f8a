/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/colt5.h>

#include "runtime/context.h"
#include "runtime/launch.h"

/* Contexts of each test's own: these tests change what a context believes of its device. */
static colt5_context *made;

static void make_context(void)
{
    ck_assert_ok(colt5_context_create(NULL, &made));
}

static void destroy_context(void)
{
    ck_assert_int_eq(made->workspace.running, false);
    ck_assert_uint_eq(made->workspace.scratch.single_count, 0);
    colt5_context_destroy(made);
}

static colt5_statistics statistics_of(colt5_context *of)
{
    colt5_statistics statistics = {.struct_size = sizeof(statistics)};
    ck_assert_int_eq(colt5_context_statistics(of, &statistics), COLT5_OK);
    return statistics;
}

/* A call that works on rows of `width` floats, chunk rows at a time, with a call within it. */
struct walk {
    size_t rows, width, chunk, inner_chunk;
    int plans, runs;
    size_t seen_chunk, seen_inner_chunk; /* in the real run */
    size_t extra;                        /* floats the real run takes more: a fault */
};

static colt5_status take_floats(colt5_context *of, size_t count, colt5_tensor *tensor)
{
    const size_t dims[] = {count};
    return scratch(of, COLT5_F32, 1, dims, tensor);
}

static colt5_status inner(colt5_context *of, void *call)
{
    struct walk *walk = call;
    const struct stack_mark mark = workspace_mark(of);
    colt5_tensor a;
    const colt5_status status = take_floats(of, walk->inner_chunk * walk->width, &a);
    workspace_rewind(of, mark);
    if (!of->planning) walk->seen_inner_chunk = walk->inner_chunk;
    return status;
}

/* Each chunk: two tensors, one cleared and copied to the other. */
static colt5_status outer(colt5_context *of, void *call)
{
    struct walk *walk = call;
    walk->plans += of->planning;
    walk->runs += !of->planning;
    if (!of->planning) walk->seen_chunk = walk->chunk;
    colt5_status status = COLT5_OK;
    for (size_t row = 0; row < walk->rows && status == COLT5_OK; row += walk->chunk) {
        const struct stack_mark mark = workspace_mark(of);
        const size_t extra = of->planning ? 0 : walk->extra;
        colt5_tensor a, b;
        status = take_floats(of, walk->chunk * walk->width + extra, &a);
        if (status == COLT5_OK) status = take_floats(of, walk->chunk * walk->width, &b);
        if (status == COLT5_OK && !tiny()) status = clear_tensor(of, &a);
        if (status == COLT5_OK && !tiny()) status = copy_tensor(of, &a, &b);
        walk->inner_chunk = walk->rows;
        if (status == COLT5_OK)
            status = workspace_call(of, "inner", inner, walk, &walk->inner_chunk, 8);
        workspace_rewind(of, mark);
    }
    return status;
}

static colt5_status run(struct walk *walk, size_t smallest)
{
    return workspace_call(made, "walk", outer, walk, &walk->chunk, smallest);
}

#define WALK(r, w)                                                                                 \
    {                                                                                              \
        .rows = (r), .width = (w), .chunk = (r)                                                    \
    }

START_TEST(what_is_planned_is_what_is_used)
{
    struct walk plan = WALK(100, 33), real = WALK(100, 33);
    struct planned planned;
    ck_assert_int_eq(workspace_plan(made, "walk", outer, &plan, &plan.chunk, 1, NULL, &planned),
                     COLT5_OK);
    const size_t bytes = planned.scratch;
    ck_assert_int_eq(plan.plans, 1);
    ck_assert_int_eq(plan.runs, 0);
    ck_assert_uint_eq(statistics_of(made).workspace, 0);
    ck_assert_uint_eq(statistics_of(made).workspace_peak, 0);
    ck_assert_int_eq(run(&real, 1), COLT5_OK);
    ck_assert_int_eq(real.plans, 1);
    ck_assert_int_eq(real.runs, 1);
    ck_assert_uint_eq(real.seen_chunk, 100);
    ck_assert_uint_eq(real.seen_inner_chunk, 100);
    const size_t tensor = (100 * 33 * 4 + 255) / 256 * 256;
    ck_assert_uint_eq(bytes, 3 * tensor);
    ck_assert_uint_eq(statistics_of(made).workspace_peak, bytes);
    ck_assert_uint_eq(statistics_of(made).workspace, made->workspace.separate ? 0 : bytes);
    colt5_context_reset_statistics(made);
    struct walk small = WALK(10, 33);
    ck_assert_int_eq(run(&small, 1), COLT5_OK);
    ck_assert_uint_lt(statistics_of(made).workspace_peak, bytes);
    ck_assert_uint_eq(statistics_of(made).live_objects, 0);
}
END_TEST

/* Launches of the plan are not counted by a call, nor by a plan. */
static colt5_status launches_twice(colt5_context *of, void *call)
{
    const colt5_tensor *t = call;
    count_work(of, 10, 20);
    const colt5_status status = colt5_gather(of, &t[0], &t[1], &t[2]);
    return status == COLT5_OK ? colt5_gather(of, &t[0], &t[1], &t[2]) : status;
}

START_TEST(work_is_counted_once)
{
    const size_t dims[] = {1, 4, 2}, index_dims[] = {1, 4};
    const int32_t index[4] = {3, 2, 1, 0};
    colt5_tensor t[3];
    ck_assert_int_eq(colt5_tensor_create(made, COLT5_F32, 3, dims, &t[0]), COLT5_OK);
    ck_assert_int_eq(colt5_tensor_create(made, COLT5_I32, 2, index_dims, &t[1]), COLT5_OK);
    ck_assert_int_eq(colt5_tensor_create(made, COLT5_F32, 3, dims, &t[2]), COLT5_OK);
    ck_assert_int_eq(colt5_tensor_write(made, &t[1], index), COLT5_OK);
    struct planned planned;
    ck_assert_int_eq(workspace_plan(made, "two", launches_twice, t, NULL, 0, NULL, &planned),
                     COLT5_OK);
    ck_assert_uint_eq(planned.scratch, 0);
    ck_assert_uint_eq(planned.launches, 2);
    ck_assert_uint_eq(planned.flop, 10);
    ck_assert_uint_eq(statistics_of(made).launches, 0);
    colt5_context_reset_statistics(made);
    ck_assert_int_eq(workspace_call(made, "two", launches_twice, t, NULL, 0), COLT5_OK);
    const colt5_statistics real = statistics_of(made);
    ck_assert_uint_eq(real.launches, planned.launches);
    ck_assert_uint_eq(real.flop, planned.flop);
    ck_assert_uint_eq(real.bytes, 20 + 2 * 64);
    for (int i = 0; i < 3; i++) colt5_tensor_free(made, &t[i]);
}
END_TEST

START_TEST(too_much_is_refused_before_any_launch_with_both_numbers)
{
    struct walk walk = WALK(100, 64);
    colt5_context_limit_workspace(made, 4097);
    ck_assert_int_eq(workspace_call(made, "walk", outer, &walk, NULL, 0), COLT5_ERROR_MEMORY);
    ck_assert_str_eq(colt5_message(made),
                     "walk: 54272 bytes of scratch are needed, 4097 are available");
    ck_assert_int_eq(walk.runs, 0); /* and the chunk of the call within was cut as far as it goes */
    ck_assert_uint_eq(statistics_of(made).launches, 0);
    ck_assert_uint_eq(statistics_of(made).workspace, 0);
    struct planned planned;
    ck_assert_int_eq(workspace_plan(made, "walk", outer, &walk, NULL, 0, NULL, &planned),
                     COLT5_ERROR_MEMORY);
    ck_assert_uint_eq(planned.scratch, 54272);
    colt5_context_limit_workspace(made, 0);
    ck_assert_int_eq(workspace_call(made, "walk", outer, &walk, NULL, 0), COLT5_OK);
}
END_TEST

/* A call that keeps a tensor for its caller and another for itself. */
static colt5_status keeps_one(colt5_context *of, void *call)
{
    colt5_tensor *kept = call, own;
    const size_t dims[] = {1000};
    const struct stack_mark mark = workspace_mark(of);
    const colt5_status status = scratch(of, COLT5_F32, 1, dims, &own);
    if (status != COLT5_OK) return status;
    const colt5_status kept_status = keep(of, COLT5_F32, 1, dims, kept);
    workspace_rewind(of, mark);
    return kept_status;
}

START_TEST(what_is_saved_outlives_the_call)
{
    struct stack saved = {.slab = 0};
    colt5_tensor kept;
    ck_assert_int_eq(workspace_call_saving(made, "keep", keeps_one, &kept, NULL, 0, &saved, 0),
                     COLT5_OK);
    ck_assert_uint_eq(stack_peak(&saved), 4096);
    ck_assert_ptr_nonnull(kept.buffer);
    float values[1000] = {0};
    ck_assert_int_eq(colt5_tensor_write(made, &kept, values), COLT5_OK);
    const cl_mem buffer = kept.buffer;
    ck_assert_int_eq(workspace_call_saving(made, "keep", keeps_one, &kept, NULL, 0, &saved, 0),
                     COLT5_OK);
    if (!made->workspace.separate) ck_assert_ptr_eq(kept.buffer, buffer);
    workspace_release_saved(made, &saved);
    ck_assert_uint_eq(statistics_of(made).buffers, 0);
    /* What another call will need beside it counts from the start. */
    ck_assert_int_eq(
        workspace_call_saving(made, "keep", keeps_one, &kept, NULL, 0, &saved, SIZE_MAX / 4),
        COLT5_ERROR_MEMORY);
    ck_assert_uint_eq(stack_held(&saved), 0);
}
END_TEST

START_TEST(chunks_are_halved_until_they_fit)
{
    struct walk walk = WALK(1024, 64);
    ck_assert_int_eq(fail(made, COLT5_ERROR_SHAPE, "an older failure"), COLT5_ERROR_SHAPE);
    colt5_context_limit_workspace(made, 3 * 128 * 64 * 4);
    ck_assert_int_eq(run(&walk, 1), COLT5_OK);
    ck_assert_str_eq(colt5_message(made), "an older failure");
    ck_assert_int_eq(walk.plans, 4);
    ck_assert_int_eq(walk.runs, 1);
    ck_assert_uint_eq(walk.seen_chunk, 128);
    ck_assert_uint_eq(walk.seen_inner_chunk, 128);
    ck_assert_uint_eq(statistics_of(made).workspace_peak, 3 * 128 * 64 * 4);
    /* The outer chunk may not go below 512: only the inner one does, and that is not enough. */
    struct walk stuck = WALK(1024, 64);
    ck_assert_int_eq(run(&stuck, 512), COLT5_ERROR_MEMORY);
    ck_assert_int_eq(stuck.runs, 0);
    ck_assert_uint_ge(stuck.inner_chunk, 8);
    ck_assert_ptr_nonnull(strstr(colt5_message(made), "98304 are available"));
    struct walk enough = WALK(1024, 64);
    colt5_context_limit_workspace(made, (2 * 512 + 16) * 64 * 4);
    ck_assert_int_eq(run(&enough, 512), COLT5_OK);
    ck_assert_uint_eq(enough.seen_chunk, 512);
    ck_assert_uint_eq(enough.seen_inner_chunk, 16);
}
END_TEST

START_TEST(a_later_call_within_a_smaller_limit_lets_the_slabs_go)
{
    struct walk walk = WALK(100, 64), small = WALK(10, 64);
    ck_assert_int_eq(run(&walk, 1), COLT5_OK);
    const uint64_t large = statistics_of(made).workspace;
    ck_assert_int_eq(run(&small, 1), COLT5_OK);
    ck_assert_uint_eq(statistics_of(made).workspace, large); /* kept: no harm */
    colt5_context_limit_workspace(made, 8192);
    ck_assert_int_eq(run(&small, 1), COLT5_OK);
    ck_assert_uint_le(statistics_of(made).workspace, 8192);
}
END_TEST

/* The device refuses the slabs though the plan fits what it claims to have. */
START_TEST(slabs_the_device_refuses_are_planned_again)
{
    if (tiny() || made->workspace.separate) return; /* such a buffer is too much for a simulator */
    const size_t largest = (size_t)made->info.largest_buffer;
    made->info.memory *= 8;
    made->info.largest_buffer *= 4;
    struct walk walk = {.width = largest / 64, .inner_chunk = 64}; /* four largest buffers */
    ck_assert_int_eq(workspace_call(made, "walk", inner, &walk, NULL, 0), COLT5_ERROR_MEMORY);
    ck_assert_msg(strstr(colt5_message(made), "the device refused"), "%s", colt5_message(made));
    ck_assert_uint_eq(walk.seen_inner_chunk, 0);
    ck_assert_uint_eq(statistics_of(made).workspace, 0);
    ck_assert_int_eq(workspace_call(made, "walk", inner, &walk, &walk.inner_chunk, 1), COLT5_OK);
    ck_assert_uint_lt(walk.seen_inner_chunk, 64);
    ck_assert_uint_gt(walk.seen_inner_chunk, 1);
}
END_TEST

START_TEST(tensors_spread_over_several_buffers)
{
    made->info.largest_buffer = 1000; /* 768 bytes of slab each */
    static const size_t floats[] = {64, 64, 65, 128, 1, 192};
    static const int slabs[] = {0, 0, 1, 2, 2, 3};
    colt5_tensor t[6];
    made->planning = true;
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(take_floats(made, floats[i], &t[i]), COLT5_OK);
        ck_assert_int_eq(made->workspace.scratch.slab, slabs[i]);
    }
    const struct stack_mark start = {0, 0, 0};
    workspace_rewind(made, start);
    colt5_tensor one;
    ck_assert_int_eq(take_floats(made, 193, &one), COLT5_ERROR_MEMORY);
    ck_assert_str_eq(colt5_message(made), "workspace: a tensor of 1024 bytes is needed, the "
                                          "device's largest buffer has 768");
    for (int i = 0; i < STACK_SLABS; i++) ck_assert_int_eq(take_floats(made, 192, &one), COLT5_OK);
    ck_assert_int_eq(take_floats(made, 1, &one), COLT5_ERROR_MEMORY);
    workspace_rewind(made, start);
    made->planning = false;
}
END_TEST

/* Values written to every tensor of a call are still there when all are taken. */
static colt5_status writes_all(colt5_context *of, void *call)
{
    colt5_tensor t[5];
    (void)call;
    for (int i = 0; i < 5; i++) {
        const float values[60] = {(float)i + 1};
        const colt5_status status = take_floats(of, 60, &t[i]);
        if (status != COLT5_OK) return status;
        if (!of->planning) ck_assert_int_eq(colt5_tensor_write(of, &t[i], values), COLT5_OK);
    }
    for (int i = 0; i < 5 && !of->planning; i++) {
        float values[60] = {0};
        ck_assert_int_eq(colt5_tensor_read(of, &t[i], values), COLT5_OK);
        ck_assert(values[0] == (float)i + 1);
        for (int j = 0; j < i; j++)
            ck_assert(t[j].buffer != t[i].buffer || t[j].offset + 60 <= t[i].offset);
    }
    return COLT5_OK;
}

START_TEST(tensors_lie_apart)
{
    if (_i == 1) made->info.largest_buffer = 600;
    ck_assert_int_eq(workspace_call(made, "writes", writes_all, NULL, NULL, 0), COLT5_OK);
    ck_assert_int_eq(workspace_call(made, "writes", writes_all, NULL, NULL, 0), COLT5_OK);
}
END_TEST

START_TEST(a_run_that_takes_more_than_its_plan_is_stopped)
{
    if (made->workspace.separate) return;
    struct walk walk = WALK(10, 64);
    walk.extra = 64;
    ck_assert_int_eq(run(&walk, 10), COLT5_ERROR_INTERNAL);
    ck_assert_msg(strstr(colt5_message(made), "were planned"), "%s", colt5_message(made));
    walk.extra = 0;
    ck_assert_int_eq(run(&walk, 10), COLT5_OK);
}
END_TEST

static colt5_status fails_in_the_plan(colt5_context *of, void *call)
{
    ++*(int *)call;
    return fail(of, COLT5_ERROR_SHAPE, "inner: x is wrong");
}

START_TEST(a_plan_that_fails_is_the_calls_failure)
{
    int calls = 0;
    ck_assert_int_eq(workspace_call(made, "bad", fails_in_the_plan, &calls, NULL, 0),
                     COLT5_ERROR_SHAPE);
    ck_assert_int_eq(calls, 1);
    ck_assert_str_eq(colt5_message(made), "inner: x is wrong");
}
END_TEST

/* COLT5_WORKSPACE=separate: a buffer of its own, of its size to the byte, for every tensor. */
static colt5_status takes_separate(colt5_context *of, void *call)
{
    colt5_tensor a, b;
    (void)call;
    colt5_status status = take_floats(of, 3, &a);
    const struct stack_mark mark = workspace_mark(of);
    if (status == COLT5_OK) status = take_floats(of, 5, &b);
    if (status != COLT5_OK || of->planning) return status;
    ck_assert_ptr_ne(a.buffer, b.buffer);
    ck_assert_uint_eq(a.offset + b.offset, 0);
    ck_assert_uint_eq(buffer_size(a.buffer), 12);
    ck_assert_uint_eq(buffer_size(b.buffer), 20);
    workspace_rewind(of, mark);
    ck_assert_uint_eq(of->workspace.scratch.single_count, 1);
    return COLT5_OK;
}

START_TEST(a_switch_gives_every_tensor_its_buffer)
{
    colt5_context_destroy(made);
    const char *before = getenv("COLT5_WORKSPACE");
    setenv("COLT5_WORKSPACE", "separate", 1);
    ck_assert_ok(colt5_context_create(NULL, &made));
    if (!before) unsetenv("COLT5_WORKSPACE");
    ck_assert_int_eq(workspace_call(made, "apart", takes_separate, NULL, NULL, 0), COLT5_OK);
    ck_assert_uint_eq(statistics_of(made).workspace, 0);
    ck_assert_uint_eq(statistics_of(made).workspace_peak, 512);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("workspace");
    TCase *tests = tcase_create("workspace");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_context, destroy_context);
    tcase_add_test(tests, what_is_planned_is_what_is_used);
    tcase_add_test(tests, work_is_counted_once);
    tcase_add_test(tests, too_much_is_refused_before_any_launch_with_both_numbers);
    tcase_add_test(tests, chunks_are_halved_until_they_fit);
    tcase_add_test(tests, what_is_saved_outlives_the_call);
    tcase_add_test(tests, a_later_call_within_a_smaller_limit_lets_the_slabs_go);
    tcase_add_test(tests, slabs_the_device_refuses_are_planned_again);
    tcase_add_test(tests, tensors_spread_over_several_buffers);
    tcase_add_loop_test(tests, tensors_lie_apart, 0, 2);
    tcase_add_test(tests, a_run_that_takes_more_than_its_plan_is_stopped);
    tcase_add_test(tests, a_plan_that_fails_is_the_calls_failure);
    tcase_add_test(tests, a_switch_gives_every_tensor_its_buffer);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
