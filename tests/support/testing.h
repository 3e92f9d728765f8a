/* SPDX-License-Identifier: MIT */
/*
 * What every test program uses: a context, tensors with canaries, random values, comparisons.
 *
 * Device tests run without fork (OpenCL does not survive it): `run_device_suite(suite)` in main
 * makes the context once, skips with 77 where there is no device (fails with
 * COLT5_TEST_REQUIRE_DEVICE=1), and checks at the end that nothing is still alive.
 */
#ifndef TESTS_SUPPORT_TESTING_H
#define TESTS_SUPPORT_TESTING_H

#include <check.h>
#undef fail /* an old name of Check; the library has one of its own */
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <colt5/device.h>
#include <colt5/tensor.h>

#include "reference/reference.h"

extern colt5_context *ctx; /* the suite's */

int run_device_suite(Suite *suite);
int run_host_suite(Suite *suite); /* fork mode, no device */

/* As run_device_suite, but each test runs in a process of its own and makes its own contexts: for
 * tests of what OpenCL and this library read from the environment. */
int run_forked_device_suite(Suite *suite);

/* The tests of this case run GPU-shaped kernels, whatever the device (COLT5_KERNELS). */
void use_gpu_kernels(TCase *tests);

/* Whether the device's own kernels are GPU-shaped: to ask for them, or to pretend, only repeats. */
bool has_gpu_kernels(void);

/* True under a slow checker (COLT5_TEST_TINY=1): sizes should stay at 32 tokens or fewer. */
bool tiny(void);

/*
 * From now on the context takes its device for a GPU, or for what it is again: launches then have
 * the geometry, and kernels the defines, of GPUs, wherever the test runs.
 */
void pretend_gpu(bool gpu);

/* The types values are stored in, for loop tests: storage_types[_i % 3]. */
extern const colt5_type storage_types[3];

#define ck_assert_status(call, expected)                                                           \
    do {                                                                                           \
        const colt5_status got_ = (call);                                                          \
        ck_assert_msg(got_ == (expected), "%s: %s: %s", #call, colt5_status_text(got_),            \
                      colt5_message(ctx));                                                         \
    } while (0)
#define ck_assert_ok(call) ck_assert_status(call, COLT5_OK)

/* ---- host values; the caller frees with free() ---- */
void seed_random(uint64_t seed);
double random_uniform(void); /* [0, 1) */
double *random_normal(size_t count);
int *random_indices(size_t count, size_t below);             /* may repeat */
int *random_routes(size_t rows, size_t count, size_t below); /* per row: unique, ascending */
uint8_t *random_mask(size_t count, double share);            /* 1 with this probability */
double *poisoned(size_t count);                              /* NaN */
double *zeros(size_t count);

/* In place: what the storage type would keep of the values. Returns values. */
double *rounded_to(colt5_type type, double *values, size_t count);

/* ---- tensors between canaries ---- */
struct device_tensor {
    colt5_tensor t; /* offset > 0: between the canaries */
    size_t count;
    void *before; /* what was uploaded, for assert_unchanged; NULL for outputs */
};

/* upload(x, COLT5_F16, B, N, D): the values rounded to the type. */
#define upload(values, type, ...) upload_dims(values, type, DIMS(__VA_ARGS__))
#define upload_i32(values, ...)   upload_raw(values, COLT5_I32, DIMS(__VA_ARGS__))
#define upload_u8(values, ...)    upload_raw(values, COLT5_U8, DIMS(__VA_ARGS__))
/* An output, filled with NaN (integers: a large negative number; bytes: 0xA5). */
#define poisoned_tensor(type, ...) upload_raw(NULL, type, DIMS(__VA_ARGS__))
#define DIMS(...)                                                                                  \
    (int)(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)), (size_t[])                            \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
struct device_tensor upload_dims(const double *values, colt5_type type, int rank,
                                 const size_t *dims);
struct device_tensor upload_raw(const void *values, colt5_type type, int rank, const size_t *dims);
double *download(const struct device_tensor *tensor); /* as doubles */
void release(struct device_tensor *tensor);           /* checks the canaries first */

/* The elements around the tensor are as they were made. */
void assert_canaries(const struct device_tensor *tensor);
/* An input has not changed by a bit. */
void assert_unchanged(const struct device_tensor *tensor);
/* An output nothing was written to. */
void assert_untouched(const struct device_tensor *tensor);

/* Bitwise the same values (NaN equals NaN); the worst element is named. */
void assert_equal(const struct device_tensor *have, const double *want);
/* Every element: |have - want| <= absolute + relative·|want|; NaN only where want has NaN. */
void assert_close(const struct device_tensor *have, const double *want, double absolute,
                  double relative);
/* ‖have - want‖ / ‖want‖ <= bound over all elements (‖have‖ <= bound where want is zero). */
void assert_norm(const struct device_tensor *have, const double *want, double bound);
/* The bounds of SPEC §6 for a forward of this storage type. */
double forward_bound(colt5_type type);

/* Half a unit in the last place, relative: what rounding to the type may add. */
double rounding(colt5_type type);

/* ‖have - want‖ / ‖want‖, or ‖have‖ where want is zero. */
double relative_error(const double *have, const double *want, size_t count);

/*
 * A reference's gradient against its own forward: gradient[i] is Σ dy·∂y/∂v[i], by central
 * differences. forward(call) computes y from v, both within call; v is as it was in the end.
 */
struct difference_check {
    void (*forward)(void *call);
    void *call;
    const double *y, *dy; /* of y_count */
    size_t y_count;
};
void assert_gradient(const struct difference_check *check, double *v, const double *gradient,
                     size_t count);

#endif
