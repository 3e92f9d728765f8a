/* SPDX-License-Identifier: MIT */
/* The allocator hooks, and what happens when memory runs out at every place in turn. */
#include "support/testing.h"

#include <colt5/colt5.h>

#include "runtime/memory.h"

/* ---- an allocator that counts, and fails on demand ---- */

static struct {
    size_t live, calls;
    size_t fail_at; /* this call and all after it fail; 0: none */
    bool once;      /* only this call fails */
} heap;

static bool fails(void)
{
    heap.calls++;
    return heap.fail_at && (heap.once ? heap.calls == heap.fail_at : heap.calls >= heap.fail_at);
}

static void *take(void *user, size_t bytes)
{
    ck_assert_ptr_eq(user, &heap);
    ck_assert_uint_gt(bytes, 0);
    void *memory = fails() ? NULL : malloc(bytes);
    if (memory) memset(memory, 0xA5, bytes); /* nothing may count on zeros */
    heap.live += memory != NULL;
    return memory;
}

static void *take_again(void *user, void *memory, size_t bytes)
{
    ck_assert_ptr_eq(user, &heap);
    ck_assert_ptr_nonnull(memory);
    return fails() ? NULL : realloc(memory, bytes);
}

static void give_back(void *user, void *memory)
{
    ck_assert_ptr_eq(user, &heap);
    ck_assert_ptr_nonnull(memory);
    heap.live--;
    free(memory);
}

static const colt5_allocator counting = {take, take_again, give_back, &heap};

/* ---- a small life ---- */

static colt5_status gather(colt5_context *made)
{
    const size_t dims[] = {1, 4, 2}, index_dims[] = {1, 4};
    const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int32_t index[4] = {3, 2, 1, 0};
    colt5_tensor x = {0}, i = {0}, y = {0};
    colt5_status status = colt5_tensor_create(made, COLT5_F32, 3, dims, &x);
    if (status == COLT5_OK) status = colt5_tensor_create(made, COLT5_I32, 2, index_dims, &i);
    if (status == COLT5_OK) status = colt5_tensor_create(made, COLT5_F32, 3, dims, &y);
    if (status == COLT5_OK) status = colt5_tensor_write(made, &x, values);
    if (status == COLT5_OK) status = colt5_tensor_write(made, &i, index);
    if (status == COLT5_OK) status = colt5_gather(made, &x, &i, &y);
    float back[8] = {0};
    if (status == COLT5_OK) status = colt5_tensor_read(made, &y, back);
    if (status == COLT5_OK) ck_assert(back[0] == 7 && back[7] == 2);
    colt5_tensor_free(made, &x);
    colt5_tensor_free(made, &i);
    colt5_tensor_free(made, &y);
    return status;
}

/* The first failure's status; a call that failed is made again once there is memory. */
static colt5_status live(bool profiled)
{
    colt5_context *made = NULL;
    colt5_status status = colt5_context_create(NULL, &made);
    if (status != COLT5_OK) {
        ck_assert_ptr_null(made);
        return status;
    }
    if (profiled) status = colt5_context_set_profiling(made, 1);
    if (status == COLT5_OK) status = gather(made);
    colt5_profile_row row;
    size_t count;
    if (status == COLT5_OK && profiled) status = colt5_context_profile(made, &row, 1, &count);
    if (status != COLT5_OK) {
        ck_assert_msg(strlen(colt5_message(made)) > 0, "a failure without a text");
        heap.fail_at = 0;
        ck_assert_int_eq(gather(made), COLT5_OK);
    }
    colt5_statistics statistics = {.struct_size = sizeof(statistics)};
    ck_assert_int_eq(colt5_context_statistics(made, &statistics), COLT5_OK);
    ck_assert_uint_eq(statistics.live_objects, 0);
    colt5_context_destroy(made);
    return status;
}

/* Without profile and disk cache no allocation can be done without: each gives MEMORY. */
START_TEST(every_allocation_may_fail)
{
    const bool profiled = _i & 1;
    const bool once = _i & 2;
    setenv("COLT5_CACHE", profiled ? "on" : "off", 1);
    ck_assert_int_eq(colt5_set_allocator(&counting), COLT5_OK);
    memset(&heap, 0, sizeof(heap));
    ck_assert_int_eq(live(profiled), COLT5_OK);
    const size_t calls = heap.calls;
    ck_assert_uint_gt(calls, 5);
    for (size_t at = 1; at <= calls; at += tiny() ? 7 : 1) {
        heap.calls = 0;
        heap.fail_at = at;
        heap.once = once;
        const colt5_status status = live(profiled);
        ck_assert_msg(status == COLT5_ERROR_MEMORY || (profiled && status == COLT5_OK),
                      "allocation %zu of %zu: %s: %s", at, calls, colt5_status_text(status),
                      colt5_message(NULL));
        ck_assert_msg(heap.live == 0 && host_live_blocks() == 0,
                      "allocation %zu of %zu: %zu blocks are left", at, calls, heap.live);
    }
}
END_TEST

START_TEST(hooks_come_all_or_none_and_before_anything_is_held)
{
    colt5_allocator part = counting;
    part.reallocate = NULL;
    ck_assert_int_eq(colt5_set_allocator(&part), COLT5_ERROR_ARGUMENT);
    ck_assert_int_eq(colt5_set_allocator(NULL), COLT5_OK);
    void *held = host_allocate(1);
    ck_assert_int_eq(colt5_set_allocator(&counting), COLT5_ERROR_ARGUMENT);
    host_release(held);
    ck_assert_int_eq(colt5_set_allocator(&counting), COLT5_OK);
    held = host_allocate(1);
    ck_assert_uint_eq(heap.live, 1);
    host_release(held);
    ck_assert_uint_eq(heap.live, 0);
}
END_TEST

START_TEST(sizes_do_not_wrap)
{
    size_t result;
    ck_assert(size_multiply(1 << 20, 1 << 20, &result) && result == (size_t)1 << 40);
    ck_assert(!size_multiply(SIZE_MAX / 2 + 1, 2, &result) && result == SIZE_MAX);
    ck_assert(size_add(SIZE_MAX - 1, 1, &result) && result == SIZE_MAX);
    ck_assert(!size_add(SIZE_MAX, 1, &result) && result == SIZE_MAX);
    ck_assert_uint_eq(dims_product((const size_t[]){3, 4, 5}, 3), 60);
    ck_assert_uint_eq(dims_product((const size_t[]){SIZE_MAX, 2, 0}, 3), 0);
    ck_assert_uint_eq(dims_product((const size_t[]){SIZE_MAX, 2}, 2), SIZE_MAX);
    ck_assert_ptr_null(host_allocate_zeroed(SIZE_MAX, 2));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("allocator");
    TCase *tests = tcase_create("allocator");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, every_allocation_may_fail, 0, 4);
    tcase_add_test(tests, hooks_come_all_or_none_and_before_anything_is_held);
    tcase_add_test(tests, sizes_do_not_wrap);
    suite_add_tcase(suite, tests);
    return run_forked_device_suite(suite);
}
