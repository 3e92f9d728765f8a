/* SPDX-License-Identifier: MIT */
/*
 * Matrix units of devices that are not at hand. kernels/mma_gemm.cl runs with the file of each kind
 * of units as it is; only the instruction is emulated (tests/emulated/units.cl), with every
 * element in the lane and register where the maker says that the instruction has it.
 */
#include "support/files.h"
#include "support/testing.h"

#include <stdio.h>

#include <colt5/ops/activation.h>

#include "gemm/backend.h"
#include "runtime/context.h"
#include "runtime/kernels.h"
#include "runtime/launch.h"

static const char *const units[] = {"mfma", "wmma", "dpas8", "dpas16"};
#define UNITS ((int)(sizeof(units) / sizeof(units[0])))

/* A file of tests/emulated at the end of a text. */
static void append_emulated(const char *name, char *text, size_t size)
{
    char path[4096];
    const char *sources = getenv("srcdir");
    snprintf(path, sizeof(path), "%s/tests/emulated/%s", sources ? sources : ".", name);
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file, "%s: cannot be opened", path);
    const size_t used = strlen(text), read = fread(text + used, 1, size - used - 1, file);
    ck_assert_uint_lt(used + read, size - 1);
    text[used + read] = '\0';
    fclose(file);
}

/* All kernel files into the test's folder, those of the emulation in their places among them. */
static void put_kernels(void)
{
    const size_t size = 1 << 18;
    char *text = malloc(size), name[64];
    ck_assert_ptr_nonnull(text);
    for (size_t f = 0; f < KERNEL_FILE_COUNT; f++) {
        text[0] = '\0';
        if (f == KERNEL_FILE_mma_warps) append_emulated("units.cl", text, size);
        for (const char *const *line = kernel_sources[f].lines; *line; line++) {
            ck_assert_uint_lt(strlen(text) + strlen(*line), size);
            strcat(text, *line);
        }
        if (f == KERNEL_FILE_plain_units) append_emulated("names.cl", text, size);
        snprintf(name, sizeof(name), "%s.cl", kernel_sources[f].name);
        put_file(name, text, strlen(text));
    }
    free(text);
}

/* The suite's context, and in its place one whose device has such units. */
static colt5_context *suite_context;

static void begin(const char *name, colt5_log_callback log)
{
    setenv("COLT5_KERNEL_DIR", in_folder(""), 1);
    unsetenv("COLT5_GEMM"); /* which is for the device that is there */
    suite_context = ctx;
    ck_assert_ok(colt5_context_create(NULL, &ctx));
    colt5_context_set_callbacks(ctx, &(colt5_callbacks){.log = log});
    ctx->info.kind = COLT5_DEVICE_DISCRETE_GPU;
    strcpy(ctx->info.vendor, "a maker of units");
    strcpy(ctx->info.matrix_units, name);
}

static void end(void)
{
    colt5_context_destroy(ctx);
    ctx = suite_context;
    unsetenv("COLT5_KERNEL_DIR");
    remove_folder();
}

static double *whole_numbers(size_t count)
{
    double *values = zeros(count);
    for (size_t i = 0; i < count; i++) values[i] = floor(7 * random_uniform()) - 3;
    return values;
}

struct sizes {
    size_t M, N, K;
};

/* Whole numbers, so small that every sum is exact. Before it the door multiplies numbers of its
 * own, gathered and scattered, in another size. */
static void multiply(struct sizes s, colt5_type type, unsigned transposes, unsigned tile,
                     const char *backend)
{
    double *a = whole_numbers(s.M * s.K), *b = whole_numbers(s.K * s.N);
    double *bias = whole_numbers(s.N), *scale = whole_numbers(s.M);
    double *residual = whole_numbers(s.M * s.N), *want = poisoned(s.M * s.N);
    struct device_tensor A = upload(a, type, s.M, s.K), B = upload(b, type, s.K, s.N);
    struct device_tensor offset = upload(bias, type, s.N), factor = upload(scale, COLT5_F32, s.M);
    struct device_tensor add = upload(residual, COLT5_F32, s.M, s.N);
    struct device_tensor C = poisoned_tensor(COLT5_F32, s.M, s.N);
    const bool transpose_a = transposes & 1, transpose_b = transposes & 2;
    const struct gemm product = {.op = "test",
                                 .M = s.M,
                                 .N = s.N,
                                 .K = s.K,
                                 .transpose_a = transpose_a,
                                 .transpose_b = transpose_b,
                                 .a = &A.t,
                                 .b = &B.t,
                                 .c = &C.t,
                                 .bias = &offset.t,
                                 .row_scale = &factor.t,
                                 .residual = &add.t,
                                 .tile = tile};
    ck_assert_ok(gemm(ctx, &product));
    ck_assert_str_eq(gemm_backend_name(ctx, &product), backend);
    reference_gemm(&(struct reference_gemm){.M = s.M,
                                            .N = s.N,
                                            .K = s.K,
                                            .transpose_a = transpose_a,
                                            .transpose_b = transpose_b,
                                            .a = a,
                                            .b = b,
                                            .bias = bias,
                                            .row_scale = scale,
                                            .residual = residual},
                   want);
    assert_equal(&C, want);
    release(&A), release(&B), release(&C), release(&offset), release(&factor), release(&add);
    free(a), free(b), free(bias), free(scale), free(residual), free(want);
}

/* Both operands in rows and both in lines; chunks that are read at once and such that are not. */
START_TEST(units_multiply_as_their_makers_say)
{
    if (tiny()) return;
    make_folder();
    put_kernels();
    begin(units[_i / 2], NULL);
    if (_i % 2)
        multiply((struct sizes){72, 136, 48}, COLT5_F16, 2, 2, "mma");
    else
        multiply((struct sizes){67, 131, 37}, COLT5_BF16, 1, 1, "mma");
    end();
}
END_TEST

static int said;

static void hear(void *user, const char *text)
{
    (void)user;
    if (strstr(text, "left out")) said++;
}

/* A compiler that has never heard of the instructions: one notice, and others multiply. */
START_TEST(units_the_compiler_does_not_know_are_left_out)
{
    if (tiny()) return; /* a checker of API calls would complain */
    said = 0;
    make_folder();
    begin(units[_i], hear);
    unsetenv("COLT5_KERNEL_DIR");
    for (unsigned transposes = 0; transposes < 2; transposes++)
        multiply((struct sizes){24, 32, 16}, COLT5_F16, transposes, 0, "tiled");
    ck_assert_int_eq(said, 1);
    end();
}
END_TEST

/* Rows by NVIDIA's instructions (kernels/warps.cl), likewise; NVIDIA's own compiler says nothing.
 */
START_TEST(instructions_the_compiler_does_not_know_are_left_out)
{
    const size_t rows = 5, D = 40;
    if (tiny()) return;
    said = 0;
    make_folder();
    begin("mma", hear);
    unsetenv("COLT5_KERNEL_DIR");
    double *x = random_normal(rows * D), *want = poisoned(rows * D);
    rounded_to(COLT5_F32, x, rows * D);
    struct device_tensor dx = upload(x, COLT5_F32, rows, D);
    struct device_tensor y = poisoned_tensor(COLT5_F32, rows, D);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_ok(colt5_gelu_forward(ctx, &dx.t, &y.t));
        reference_gelu_forward(x, want, rows * D);
        assert_norm(&y, want, 1e-6);
    }
    ck_assert_int_eq(said, strstr(suite_context->info.vendor, "NVIDIA") ? 0 : 1);
    release(&dx), release(&y);
    free(x), free(want);
    end();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("units");
    TCase *tests = tcase_create("units");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, units_multiply_as_their_makers_say, 0, 2 * UNITS);
    tcase_add_loop_test(tests, units_the_compiler_does_not_know_are_left_out, 0, UNITS);
    tcase_add_test(tests, instructions_the_compiler_does_not_know_are_left_out);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
