/* SPDX-License-Identifier: MIT */
/* Every test runs in a process of its own, so that the loader reads this test's environment. */
#include "support/testing.h"

#include <stdio.h>

#include <colt5/colt5.h>

#include "runtime/memory.h"
#include "runtime/selector.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

/* ---- the selector, on devices that are not there ---- */

#define DEVICE(p, d, k, of, called)                                                                \
    {                                                                                              \
        .platform = p, .device = d, .kind = COLT5_DEVICE_##k, .platform_name = of, .name = called  \
    }
static const colt5_device_info zoo[] = {
    DEVICE(0, 0, CPU, "rusticl", "llvmpipe (LLVM 15.0.6, 256 bits)"),
    DEVICE(0, 1, DISCRETE_GPU, "rusticl", "AMD Radeon RX 580 (polaris10)"),
    DEVICE(1, 0, CPU, "Portable Computing Language", "pthread-skylake-avx512"),
    DEVICE(2, 0, DISCRETE_GPU, "Clover", "AMD Radeon RX 580"),
    DEVICE(4, 0, INTEGRATED_GPU, "Intel(R) OpenCL HD Graphics", "Intel(R) Iris(R) Xe"),
    DEVICE(5, 0, OTHER, "FPGA Emulation", "accelerator"),
    DEVICE(6, 0, DISCRETE_GPU, "NVIDIA CUDA", "NVIDIA H200"),
    DEVICE(6, 1, DISCRETE_GPU, "NVIDIA CUDA", "NVIDIA A100"),
};
enum { LLVMPIPE, RUSTICL_GPU, POCL, CLOVER, IRIS, FPGA, H200, A100, NONE };

static const struct {
    const char *selector;
    int wanted;
} selectors[] = {
    {NULL, H200},
    {"", H200},
    {"gpu", H200},
    {"GPU", H200},
    {"gpu:0", H200},
    {"gpu:1", A100},
    {"gpu:2", RUSTICL_GPU},
    {"gpu:3", IRIS},
    {"gpu:4", NONE},
    {"gpu:x", NONE},
    {"gpu:", NONE},
    {"cpu", POCL},
    {"Cpu", POCL},
    {"0:0", LLVMPIPE},
    {"2:0", CLOVER},
    {"6:1", A100},
    {"6:2", NONE},
    {"3:0", NONE},
    {"99999:0", NONE},
    {"4294967296:0", NONE},
    {"-1:0", NONE},
    {"h200", H200},
    {"A100", A100},
    {"nvidia", H200},
    {"nvidia:a1", A100},
    {"nvidia:", H200},
    {":iris", IRIS},
    {"intel(r):iris", IRIS},
    {"radeon", RUSTICL_GPU},
    {"clover:", CLOVER},
    {"clover:radeon", CLOVER},
    {"llvmpipe", LLVMPIPE},
    {"rusticl:llvm", LLVMPIPE},
    {"accel", FPGA},
    {"portable:", POCL},
    {"nothing like it", NONE},
    {"nvidia:radeon", NONE},
    {"cuda", H200},
    {"clover", CLOVER},
    {"rusticl", RUSTICL_GPU},
    {"Portable", POCL},
};

static void check_pick(const char *selector, const colt5_device_info *list, size_t count,
                       size_t wanted)
{
    const size_t got = selector_pick(selector, list, count);
    ck_assert_msg(got == wanted, "\"%s\" picks %ld, not %ld", selector ? selector : "(NULL)",
                  (ssize_t)got, (ssize_t)wanted);
}

START_TEST(a_selector_picks_what_it_says)
{
    const int wanted = selectors[_i].wanted;
    check_pick(selectors[_i].selector, zoo, COUNT(zoo),
               wanted == NONE ? NO_DEVICE : (size_t)wanted);
}
END_TEST

START_TEST(the_default_goes_down_from_discrete_to_cpu)
{
    const colt5_device_info small[] = {zoo[LLVMPIPE], zoo[POCL], zoo[CLOVER], zoo[FPGA], zoo[IRIS]};
    check_pick(NULL, small, 5, 4);
    check_pick(NULL, small, 4, 1);
    check_pick("gpu", small, 4, NO_DEVICE);
    check_pick(NULL, small, 1, 0);
    check_pick("cpu", small, 1, 0);
    check_pick(NULL, small + 2, 2, NO_DEVICE); /* Clover and the accelerator are only named */
    check_pick("clover:", small + 2, 2, 0);
    check_pick(NULL, small, 0, NO_DEVICE);
    check_pick("0:0", small, 0, NO_DEVICE);
}
END_TEST

/* ---- the devices that are there ---- */

/* The devices of this machine; none skips the test, unless the run requires a device. */
static size_t real_devices(colt5_device_info *devices, size_t capacity)
{
    size_t count = 0;
    const colt5_status status = colt5_devices(devices, capacity, &count);
    const char *required = getenv("COLT5_TEST_REQUIRE_DEVICE");
    ck_assert_msg(count > 0 || !required || strcmp(required, "1"), "no device: %s: %s",
                  colt5_status_text(status), colt5_message(NULL));
    return count < capacity ? count : capacity;
}

START_TEST(devices_are_listed_with_what_they_have)
{
    unsetenv("COLT5_DEVICE");
    colt5_device_info devices[32];
    const size_t count = real_devices(devices, 32);
    int defaults = 0;
    for (size_t i = 0; i < count; i++) {
        const colt5_device_info *d = &devices[i];
        ck_assert_msg(d->name[0] && d->platform_name[0] && d->driver[0] && d->opencl[0], "%zu", i);
        ck_assert_uint_gt(d->memory, 0);
        ck_assert_uint_gt(d->largest_buffer, 0);
        ck_assert_uint_le(d->largest_buffer, d->memory);
        ck_assert_uint_gt(d->local_memory, 0);
        ck_assert_uint_gt(d->compute_units, 0);
        ck_assert_uint_gt(d->largest_group, 0);
        ck_assert_ptr_nonnull(d->platform_id);
        ck_assert_ptr_nonnull(d->device_id);
        if (strstr(d->name, "llvmpipe") || strstr(d->name, "pthread"))
            ck_assert_int_eq(d->kind, COLT5_DEVICE_CPU);
        defaults += d->is_default;
    }
    ck_assert_int_eq(defaults, count > 0);
    ck_assert_uint_eq(host_live_blocks(), 0);
}
END_TEST

START_TEST(the_list_is_cut_to_its_room)
{
    size_t all = 0, again = 0;
    if (colt5_devices(NULL, 0, &all) != COLT5_OK || all == 0) return;
    colt5_device_info first[2];
    memset(first, 0x5A, sizeof(first));
    ck_assert_ok(colt5_devices(first, 1, &again));
    ck_assert_uint_eq(again, all);
    ck_assert_int_eq(((unsigned char *)&first[1])[0], 0x5A);
    ck_assert_status(colt5_devices(NULL, 1, &again), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_devices(first, 1, NULL), COLT5_ERROR_ARGUMENT);
}
END_TEST

START_TEST(a_context_is_on_the_device_its_selector_names)
{
    unsetenv("COLT5_DEVICE");
    colt5_device_info devices[32];
    const size_t count = real_devices(devices, 32);
    for (size_t i = 0; i < count; i++) {
        if (strstr(devices[i].platform_name, "Clover")) continue;
        char selector[32];
        snprintf(selector, sizeof(selector), "%d:%d", devices[i].platform, devices[i].device);
        colt5_context *made;
        ck_assert_ok(colt5_context_create(selector, &made));
        ck_assert_ptr_eq(colt5_context_device(made), devices[i].device_id);
        ck_assert_mem_eq(colt5_context_device_info(made), &devices[i], sizeof(devices[i]));
        colt5_context_destroy(made);
    }
}
END_TEST

START_TEST(the_environment_is_the_selector_where_there_is_none)
{
    unsetenv("COLT5_DEVICE");
    colt5_device_info devices[32];
    const size_t count = real_devices(devices, 32);
    if (count == 0) return;
    char last[32];
    snprintf(last, sizeof(last), "%d:%d", devices[count - 1].platform, devices[count - 1].device);
    setenv("COLT5_DEVICE", last, 1);
    colt5_context *made;
    ck_assert_ok(colt5_context_create("", &made));
    ck_assert_ptr_eq(colt5_context_device(made), devices[count - 1].device_id);
    ck_assert_int_eq(colt5_context_device_info(made)->is_default, 1);
    colt5_context_destroy(made);
    char first[32]; /* what is asked for goes before the environment */
    snprintf(first, sizeof(first), "%d:%d", devices[0].platform, devices[0].device);
    ck_assert_ok(colt5_context_create(first, &made));
    ck_assert_ptr_eq(colt5_context_device(made), devices[0].device_id);
    colt5_context_destroy(made);
}
END_TEST

START_TEST(a_selector_that_means_nothing_names_what_there_is)
{
    colt5_device_info devices[32];
    if (real_devices(devices, 32) == 0) return;
    colt5_context *made = (colt5_context *)&made;
    ck_assert_status(colt5_context_create("no such thing", &made), COLT5_ERROR_DEVICE);
    ck_assert_ptr_null(made);
    ck_assert_ptr_nonnull(strstr(colt5_message(NULL), "no such thing"));
    ck_assert_ptr_nonnull(strstr(colt5_message(NULL), devices[0].name));
    setenv("COLT5_DEVICE", "nor this", 1);
    ck_assert_status(colt5_context_create(NULL, &made), COLT5_ERROR_DEVICE);
    ck_assert_ptr_nonnull(strstr(colt5_message(NULL), "\"nor this\" (from COLT5_DEVICE)"));
    size_t count;
    ck_assert_ok(colt5_devices(devices, 32, &count));
    for (size_t i = 0; i < count && i < 32; i++) ck_assert_int_eq(devices[i].is_default, 0);
    ck_assert_uint_eq(host_live_blocks(), 0);
}
END_TEST

/* ---- no driver ---- */

static void see_no_driver(void)
{
    size_t count = 7;
    ck_assert_status(colt5_devices(NULL, 0, &count), COLT5_ERROR_OPENCL);
    ck_assert_uint_eq(count, 0);
    colt5_context *made = (colt5_context *)&made;
    ck_assert_status(colt5_context_create(NULL, &made), COLT5_ERROR_DEVICE);
    ck_assert_ptr_null(made);
    ck_assert_msg(strstr(colt5_message(NULL), "OCL_ICD_VENDORS=") &&
                      strstr(colt5_message(NULL), "install"),
                  "%s", colt5_message(NULL));
}

START_TEST(without_a_driver_the_text_says_what_to_install)
{
    if (tiny()) return; /* a checker that is itself the driver */
    setenv("OCL_ICD_VENDORS", "/nonexistent", 1);
    see_no_driver();
}
END_TEST

START_TEST(a_broken_driver_is_passed_over)
{
    if (tiny()) return;
    char folder[] = "/tmp/colt5-icd-XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/broken.icd", folder);
    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    if (_i == 1) fputs("/nonexistent/libOpenCL.so\n", file);
    fclose(file); /* _i 0: an empty file */
    setenv("OCL_ICD_VENDORS", folder, 1);
    see_no_driver();
    remove(path);
    remove(folder);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("device");
    TCase *tests = tcase_create("device");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, a_selector_picks_what_it_says, 0, COUNT(selectors));
    tcase_add_test(tests, the_default_goes_down_from_discrete_to_cpu);
    tcase_add_test(tests, devices_are_listed_with_what_they_have);
    tcase_add_test(tests, the_list_is_cut_to_its_room);
    tcase_add_test(tests, a_context_is_on_the_device_its_selector_names);
    tcase_add_test(tests, the_environment_is_the_selector_where_there_is_none);
    tcase_add_test(tests, a_selector_that_means_nothing_names_what_there_is);
    tcase_add_test(tests, without_a_driver_the_text_says_what_to_install);
    tcase_add_loop_test(tests, a_broken_driver_is_passed_over, 0, 2);
    suite_add_tcase(suite, tests);
    return run_host_suite(suite);
}
