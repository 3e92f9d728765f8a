/* SPDX-License-Identifier: MIT */
/* Building kernels: failures that name the cause, and the disk cache that may never be one. */
#include "support/files.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <colt5/colt5.h>

#include "runtime/binary_cache.h"
#include "runtime/context.h"
#include "runtime/launch.h"

/* What the callbacks of a test's context heard. */
static struct {
    int builds; /* from source */
    char log[4096];
} heard;

static void hear_progress(void *user, const char *what, size_t done, size_t total)
{
    (void)user, (void)done, (void)total;
    heard.builds += !strcmp(what, "gather");
}

static void hear_log(void *user, const char *text)
{
    (void)user;
    snprintf(heard.log, sizeof(heard.log), "%s", text);
}

static colt5_context *open_context(void)
{
    const colt5_callbacks callbacks = {.log = hear_log, .progress = hear_progress};
    colt5_context *made;
    ck_assert_ok(colt5_context_create(NULL, &made));
    colt5_context_set_callbacks(made, &callbacks);
    memset(&heard, 0, sizeof(heard));
    return made;
}

/* A gather in a context of its own; *builds is how many programs came from source. */
static colt5_status gather(colt5_context *made)
{
    const size_t dims[] = {1, 4, 2}, index_dims[] = {1, 4};
    const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    const int32_t index[4] = {3, 2, 1, 0};
    colt5_tensor x = {0}, i = {0}, y = {0};
    ck_assert_int_eq(colt5_tensor_create(made, COLT5_F32, 3, dims, &x), COLT5_OK);
    ck_assert_int_eq(colt5_tensor_create(made, COLT5_I32, 2, index_dims, &i), COLT5_OK);
    ck_assert_int_eq(colt5_tensor_create(made, COLT5_F32, 3, dims, &y), COLT5_OK);
    ck_assert_int_eq(colt5_tensor_write(made, &x, values), COLT5_OK);
    ck_assert_int_eq(colt5_tensor_write(made, &i, index), COLT5_OK);
    const colt5_status status = colt5_gather(made, &x, &i, &y);
    float back[8] = {0};
    ck_assert_int_eq(colt5_tensor_read(made, &y, back), COLT5_OK);
    if (status == COLT5_OK) ck_assert(back[0] == 7 && back[7] == 2);
    colt5_tensor_free(made, &x);
    colt5_tensor_free(made, &i);
    colt5_tensor_free(made, &y);
    return status;
}

static int builds_of_a_gather(void)
{
    colt5_context *made = open_context();
    ck_assert_msg(gather(made) == COLT5_OK, "%s", colt5_message(made));
    colt5_context_destroy(made);
    return heard.builds;
}

/* ---- sources from a folder ---- */

static void put_text(const char *name, const char *text)
{
    put_file(name, text, strlen(text));
}

static const char simple[] =
    "__kernel void gather(__global const float *x, ulong ox, __global const int *index, ulong oi,\n"
    "                     __global float *y, ulong oy, ulong N, ulong K, ulong D)\n"
    "{\n"
    "    const size_t d = get_global_id(0), k = get_global_id(1);\n"
    "    if (d < D) y[k * D + d] = x[index[k] * D + d];\n"
    "}\n";

START_TEST(kernels_can_come_from_a_folder)
{
    put_text("common.cl", "\n");
    put_text("gather.cl", simple);
    setenv("COLT5_KERNEL_DIR", in_folder(""), 1);
    ck_assert_int_eq(builds_of_a_gather(), 1);
}
END_TEST

START_TEST(a_kernel_that_does_not_build_gives_its_log)
{
    if (tiny()) return; /* a checker of API calls would complain */
    put_text("common.cl", "\n");
    put_text("gather.cl", "__kernel void gather(__global float *x) { x[0] = no_such_name; }\n");
    setenv("COLT5_KERNEL_DIR", in_folder(""), 1);
    colt5_context *made = open_context();
    ck_assert_int_eq(gather(made), COLT5_ERROR_BUILD);
    ck_assert_msg(!strncmp(colt5_message(made), "gather.cl: ", 11), "%s", colt5_message(made));
    ck_assert_msg(strstr(colt5_message(made), "no_such_name"), "%s", colt5_message(made));
    ck_assert_str_eq(heard.log, ""); /* the call's error says it */
    put_text("gather.cl", simple);   /* mended while the program runs */
    ck_assert_int_eq(gather(made), COLT5_OK);
    colt5_context_destroy(made);
}
END_TEST

START_TEST(a_kernel_that_is_missing_is_named)
{
    if (tiny()) return; /* a checker of API calls would complain */
    put_text("common.cl", "\n");
    put_text("gather.cl", "__kernel void another(__global float *x) { x[0] = 1; }\n");
    setenv("COLT5_KERNEL_DIR", in_folder(""), 1);
    colt5_context *made = open_context();
    ck_assert_int_eq(gather(made), COLT5_ERROR_OPENCL);
    ck_assert_msg(!strncmp(colt5_message(made), "gather: clCreateKernel: ", 24), "%s",
                  colt5_message(made));
    colt5_context_destroy(made);
}
END_TEST

START_TEST(a_kernel_folder_that_is_not_there_is_named)
{
    setenv("COLT5_KERNEL_DIR", in_folder("nowhere"), 1);
    colt5_context *made = open_context();
    ck_assert_int_eq(gather(made), COLT5_ERROR_FILE);
    ck_assert_msg(strstr(colt5_message(made), "nowhere/common.cl"), "%s", colt5_message(made));
    colt5_context_destroy(made);
}
END_TEST

/* ---- programs in memory ---- */

START_TEST(programs_are_kept_by_their_defines)
{
    colt5_context *made = open_context();
    struct built_kernel *kernel;
    const struct define *f16 = DEFINES(STORAGE(COLT5_F16), DEFINE("WIDTH", 1));
    const struct define *f32 = DEFINES(STORAGE(COLT5_F32), DEFINE("WIDTH", 1));
    ck_assert_int_eq(program_kernel(made, KERNEL_GATHER, f16, &kernel), COLT5_OK);
    const cl_kernel first = kernel->kernel;
    ck_assert_uint_ge(kernel->largest_group, 1);
    ck_assert_int_eq(program_kernel(made, KERNEL_GATHER, f32, &kernel), COLT5_OK);
    ck_assert_ptr_ne(kernel->kernel, first);
    ck_assert_int_eq(program_kernel(made, KERNEL_GATHER, f16, &kernel), COLT5_OK);
    ck_assert_ptr_eq(kernel->kernel, first);
    size_t group;
    ck_assert_int_eq(group_size(made, KERNEL_GATHER, f16, 100, &group), COLT5_OK);
    ck_assert_uint_le(group, 64);
    ck_assert_int_eq(group_size(made, KERNEL_GATHER, f16, 1, &group), COLT5_OK);
    ck_assert_uint_eq(group, 1);
    colt5_context_destroy(made);
}
END_TEST

START_TEST(defines_that_do_not_fit_are_refused)
{
    char name[600];
    memset(name, 'A', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct built_kernel *kernel;
    colt5_context *made = open_context();
    ck_assert_int_eq(program_kernel(made, KERNEL_GATHER, DEFINES(DEFINE(name, 1)), &kernel),
                     COLT5_ERROR_INTERNAL);
    colt5_context_destroy(made);
}
END_TEST

/* ---- the disk cache ---- */

/* Its folder under the test's, on also where it was found to gain nothing; the one file in it. */
static const char *cache_file(void)
{
    FILE *list = popen("ls \"$XDG_CACHE_HOME\"/colt5/*.bin 2>/dev/null", "r");
    static char path[1000];
    if (!fgets(path, sizeof(path), list)) path[0] = '\0';
    path[strcspn(path, "\n")] = '\0';
    char more[1000];
    ck_assert_msg(!fgets(more, sizeof(more), list), "more than one file");
    pclose(list);
    return path[0] ? path : NULL;
}

static void use_cache(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char pocl[1000]; /* PoCL's own cache stays where it is, warm */
    snprintf(pocl, sizeof(pocl), "%s%s/pocl/kcache",
             cache  ? cache
             : home ? home
                    : "/tmp",
             cache ? "" : "/.cache");
    setenv("POCL_CACHE_DIR", pocl, 0);
    setenv("XDG_CACHE_HOME", in_folder(""), 1);
    setenv("COLT5_CACHE", "on", 1);
}

static mode_t mode_of(const char *path)
{
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    return status.st_mode & 07777;
}

START_TEST(the_second_context_finds_the_firsts_binary)
{
    use_cache();
    ck_assert_int_eq(builds_of_a_gather(), 1);
    const char *file = cache_file();
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(mode_of(in_folder("colt5")), 0700);
    ck_assert_uint_eq(mode_of(file), 0600);
    ck_assert_int_eq(builds_of_a_gather(), 0);
    setenv("COLT5_CACHE", "off", 1);
    ck_assert_int_eq(builds_of_a_gather(), 1);
}
END_TEST

START_TEST(another_source_is_another_binary)
{
    use_cache();
    put_text("common.cl", "\n");
    put_text("gather.cl", simple);
    setenv("COLT5_KERNEL_DIR", in_folder(""), 1);
    ck_assert_int_eq(builds_of_a_gather(), 1);
    put_text("common.cl", "// changed\n");
    ck_assert_int_eq(builds_of_a_gather(), 1);
    ck_assert_int_eq(builds_of_a_gather(), 0);
}
END_TEST

/* Ways to spoil a file: each is met by building again, silently, and mended. */
enum { EMPTY, SHORT, LONG, MAGIC, KEY, LENGTH, HEADER_ONLY, FIRST_BYTE, LAST_BYTE, SPOILS };

static void spoil(const char *path, int how)
{
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    static unsigned char bytes[8 << 20];
    size_t count = fread(bytes, 1, sizeof(bytes) - 1, file);
    fclose(file);
    const size_t header = 48;
    ck_assert_uint_gt(count, header);
    switch (how) {
    case EMPTY:
        count = 0;
        break;
    case SHORT:
        count--;
        break;
    case LONG:
        bytes[count++] = 0;
        break;
    case HEADER_ONLY:
        count = header;
        break;
    case LAST_BYTE:
        bytes[count - 1] ^= 1;
        break;
    default:
        bytes[how == MAGIC ? 0 : how == KEY ? 16 : how == LENGTH ? 32 : header] ^= 1;
    }
    file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    fclose(file);
}

START_TEST(a_spoilt_file_is_built_again_and_mended)
{
    use_cache();
    ck_assert_int_eq(builds_of_a_gather(), 1);
    spoil(cache_file(), _i);
    ck_assert_int_eq(builds_of_a_gather(), 1);
    ck_assert_str_eq(heard.log, "");
    ck_assert_int_eq(builds_of_a_gather(), 0);
}
END_TEST

START_TEST(a_folder_others_may_write_is_not_used)
{
    use_cache();
    ck_assert_int_eq(mkdir(in_folder("colt5"), 0700), 0);
    ck_assert_int_eq(chmod(in_folder("colt5"), 0777), 0);
    ck_assert_int_eq(builds_of_a_gather(), 1);
    ck_assert_ptr_null(cache_file());
}
END_TEST

START_TEST(a_folder_that_is_a_link_is_not_used)
{
    use_cache();
    ck_assert_int_eq(mkdir(in_folder("elsewhere"), 0700), 0);
    ck_assert_int_eq(symlink(in_folder("elsewhere"), in_folder("colt5")), 0);
    ck_assert_int_eq(builds_of_a_gather(), 1);
    ck_assert_ptr_null(cache_file());
    remove(in_folder("colt5"));
}
END_TEST

START_TEST(a_folder_that_cannot_be_made_is_no_error)
{
    use_cache();
    put_text("file", "");
    setenv("XDG_CACHE_HOME", in_folder("file/below"), 1);
    ck_assert_int_eq(builds_of_a_gather(), 1);
    ck_assert_str_eq(heard.log, "");
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    ck_assert_int_eq(builds_of_a_gather(), 1);
}
END_TEST

/* A limit on file sizes stands for the disk; the driver has written its own files before. */
START_TEST(a_full_disk_leaves_no_half_file)
{
    use_cache();
    colt5_context *made = open_context();
    ck_assert_int_eq(gather(made), COLT5_OK);
    cl_program program = made->programs.programs[0].program;
    ck_assert_int_eq(unlink(cache_file()), 0);
    limit_file_size(1000);
    binary_cache_store(made, "another source", "", program);
    ck_assert_int_eq(rmdir(in_folder("colt5")), 0); /* it is empty */
    colt5_context_destroy(made);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("program");
    TCase *tests = tcase_create("program");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, kernels_can_come_from_a_folder);
    tcase_add_test(tests, a_kernel_that_does_not_build_gives_its_log);
    tcase_add_test(tests, a_kernel_that_is_missing_is_named);
    tcase_add_test(tests, a_kernel_folder_that_is_not_there_is_named);
    tcase_add_test(tests, programs_are_kept_by_their_defines);
    tcase_add_test(tests, defines_that_do_not_fit_are_refused);
    tcase_add_test(tests, the_second_context_finds_the_firsts_binary);
    tcase_add_test(tests, another_source_is_another_binary);
    tcase_add_loop_test(tests, a_spoilt_file_is_built_again_and_mended, 0, SPOILS);
    tcase_add_test(tests, a_folder_others_may_write_is_not_used);
    tcase_add_test(tests, a_folder_that_is_a_link_is_not_used);
    tcase_add_test(tests, a_folder_that_cannot_be_made_is_no_error);
    tcase_add_test(tests, a_full_disk_leaves_no_half_file);
    suite_add_tcase(suite, tests);
    return run_forked_device_suite(suite);
}
