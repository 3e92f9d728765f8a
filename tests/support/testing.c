/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/context.h"
#include "runtime/launch.h"
#include "runtime/memory.h"

#define CANARY 32 /* elements on each side */

colt5_context *ctx;
const colt5_type storage_types[3] = {COLT5_F32, COLT5_F16, COLT5_BF16};

/* ---- suites ---- */

static void close_context(void)
{
    colt5_statistics statistics = {.struct_size = sizeof(statistics)};
    ck_assert_ok(colt5_context_statistics(ctx, &statistics));
    ck_assert_msg(statistics.live_objects == 0, "%llu buffers are still alive",
                  (unsigned long long)statistics.live_objects);
    colt5_context_destroy(ctx);
    ctx = NULL;
    ck_assert_msg(host_live_blocks() == 0, "%zu host blocks are still alive", host_live_blocks());
}

START_TEST(nothing_is_left_alive)
{
    close_context();
}
END_TEST

static int run(Suite *suite, enum fork_status mode)
{
    SRunner *runner = srunner_create(suite);
    srunner_set_fork_status(runner, mode);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What a program returns where there is no device: skipped, or failed when one is required. */
static int no_device(void)
{
    const char *required = getenv("COLT5_TEST_REQUIRE_DEVICE");
    fprintf(stderr, "no device: %s\n", colt5_message(NULL));
    return required && !strcmp(required, "1") ? EXIT_FAILURE : 77;
}

int run_device_suite(Suite *suite)
{
    if (colt5_context_create(NULL, &ctx) != COLT5_OK) return no_device();
    TCase *last = tcase_create("end");
    tcase_add_test(last, nothing_is_left_alive);
    suite_add_tcase(suite, last);
    return run(suite, CK_NOFORK);
}

int run_host_suite(Suite *suite)
{
    return run(suite, CK_FORK_GETENV);
}

int run_forked_device_suite(Suite *suite)
{
    const pid_t child = fork(); /* OpenCL, once used here, would not survive the tests' forks */
    if (child == 0) {
        colt5_context *made;
        _exit(colt5_context_create(NULL, &made) == COLT5_OK ? EXIT_SUCCESS : no_device());
    }
    int outcome = 0;
    if (child < 0 || waitpid(child, &outcome, 0) != child || !WIFEXITED(outcome))
        return EXIT_FAILURE;
    return WEXITSTATUS(outcome) == EXIT_SUCCESS ? run(suite, CK_FORK) : WEXITSTATUS(outcome);
}

static void gpu_kernels(void)
{
    setenv("COLT5_KERNELS", "gpu", 1);
}

static void own_kernels(void)
{
    unsetenv("COLT5_KERNELS");
}

void use_gpu_kernels(TCase *tests)
{
    tcase_add_unchecked_fixture(tests, gpu_kernels, own_kernels);
}

bool has_gpu_kernels(void)
{
    colt5_context *made = ctx;
    if (!made && colt5_context_create(NULL, &made) != COLT5_OK) return false;
    const bool shaped = !device_is_cpu(made);
    if (!ctx) colt5_context_destroy(made);
    return shaped;
}

bool tiny(void)
{
    const char *value = getenv("COLT5_TEST_TINY");
    return value && !strcmp(value, "1");
}

void pretend_gpu(bool gpu)
{
    static colt5_device_kind kind = COLT5_DEVICE_OTHER;
    if (kind == COLT5_DEVICE_OTHER) kind = ctx->info.kind;
    ctx->info.kind = gpu ? COLT5_DEVICE_DISCRETE_GPU : kind;
}

/* ---- host values ---- */

static uint64_t state = 0x9E3779B97F4A7C15u;

void seed_random(uint64_t seed)
{
    state = seed * 0x9E3779B97F4A7C15u + 1;
}

static uint64_t next(void) /* splitmix64 */
{
    uint64_t z = (state += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

double random_uniform(void)
{
    return (double)(next() >> 11) * 0x1p-53;
}

static void *checked(void *memory)
{
    ck_assert_ptr_nonnull(memory);
    return memory;
}

double *random_normal(size_t count)
{
    double *values = checked(malloc((count + 1) * sizeof(*values)));
    for (size_t i = 0; i < count; i++) {
        const double radius = sqrt(-2 * log(1 - random_uniform()));
        values[i] = radius * cos(6.283185307179586 * random_uniform());
    }
    return values;
}

int *random_indices(size_t count, size_t below)
{
    int *values = checked(malloc((count + 1) * sizeof(*values)));
    for (size_t i = 0; i < count; i++) values[i] = (int)(next() % below);
    return values;
}

int *random_routes(size_t rows, size_t count, size_t below)
{
    int *values = checked(malloc((rows * count + 1) * sizeof(*values)));
    for (size_t r = 0; r < rows; r++) {
        size_t taken = 0;
        for (size_t n = 0; n < below && taken < count; n++)
            if (random_uniform() * (double)(below - n) < (double)(count - taken))
                values[r * count + taken++] = (int)n;
    }
    return values;
}

uint8_t *random_mask(size_t count, double share)
{
    uint8_t *values = checked(malloc(count + 1));
    for (size_t i = 0; i < count; i++) values[i] = random_uniform() < share;
    return values;
}

double *poisoned(size_t count)
{
    double *values = checked(malloc((count + 1) * sizeof(*values)));
    for (size_t i = 0; i < count; i++) values[i] = NAN;
    return values;
}

double *zeros(size_t count)
{
    return checked(calloc(count + 1, sizeof(double)));
}

double *rounded_to(colt5_type type, double *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const float single = (float)values[i];
        float back;
        uint32_t stored;
        colt5_convert(COLT5_F32, &single, type, &stored, 1);
        colt5_convert(type, &stored, COLT5_F32, &back, 1);
        values[i] = back;
    }
    return values;
}

/* ---- tensors ---- */

static void poison(colt5_type type, void *memory, size_t count)
{
    for (size_t i = 0; i < count; i++) switch (type) {
        case COLT5_F32:
            ((float *)memory)[i] = NAN;
            break;
        case COLT5_F16:
            ((uint16_t *)memory)[i] = 0x7E55;
            break;
        case COLT5_BF16:
            ((uint16_t *)memory)[i] = 0x7FD5;
            break;
        case COLT5_I32:
            ((int32_t *)memory)[i] = -1234567891;
            break;
        case COLT5_I64:
            ((int64_t *)memory)[i] = -1234567891011;
            break;
        case COLT5_U8:
            ((uint8_t *)memory)[i] = 0xA5;
            break;
        }
}

struct device_tensor upload_raw(const void *values, colt5_type type, int rank, const size_t *dims)
{
    struct device_tensor tensor = {.count = dims_product(dims, rank)};
    const size_t size = colt5_type_size(type), whole[] = {tensor.count + 2 * CANARY};
    uint8_t *host = checked(malloc(whole[0] * size));
    poison(type, host, whole[0]);
    if (values) {
        memcpy(host + CANARY * size, values, tensor.count * size);
        tensor.before = checked(malloc(tensor.count * size + 1));
        memcpy(tensor.before, values, tensor.count * size);
    }
    colt5_tensor all;
    ck_assert_ok(colt5_tensor_create(ctx, type, 1, whole, &all));
    ck_assert_ok(colt5_tensor_write(ctx, &all, host));
    free(host);
    tensor.t = colt5_tensor_wrap(all.buffer, CANARY, type, rank, dims);
    return tensor;
}

struct device_tensor upload_dims(const double *values, colt5_type type, int rank,
                                 const size_t *dims)
{
    const size_t count = dims_product(dims, rank);
    float *single = checked(malloc((count + 1) * sizeof(*single)));
    for (size_t i = 0; i < count; i++) single[i] = (float)values[i];
    void *stored = checked(malloc((count + 1) * sizeof(*single)));
    colt5_convert(COLT5_F32, single, type, stored, count);
    struct device_tensor tensor = upload_raw(stored, type, rank, dims);
    free(stored);
    free(single);
    return tensor;
}

static void *read_whole(const struct device_tensor *tensor, size_t extra)
{
    const size_t dims[] = {tensor->count + 2 * extra};
    const colt5_tensor whole =
        colt5_tensor_wrap(tensor->t.buffer, tensor->t.offset - extra, tensor->t.type, 1, dims);
    void *host = checked(malloc(dims[0] * colt5_type_size(whole.type) + 1));
    ck_assert_ok(colt5_tensor_read(ctx, &whole, host));
    return host;
}

static double as_double(colt5_type type, const void *memory, size_t i)
{
    float single;
    switch (type) {
    case COLT5_I32:
        return ((const int32_t *)memory)[i];
    case COLT5_I64:
        return (double)((const int64_t *)memory)[i];
    case COLT5_U8:
        return ((const uint8_t *)memory)[i];
    default:
        colt5_convert(type, (const uint8_t *)memory + i * colt5_type_size(type), COLT5_F32, &single,
                      1);
        return single;
    }
}

double *download(const struct device_tensor *tensor)
{
    void *host = read_whole(tensor, 0);
    double *values = checked(malloc((tensor->count + 1) * sizeof(*values)));
    for (size_t i = 0; i < tensor->count; i++) values[i] = as_double(tensor->t.type, host, i);
    free(host);
    return values;
}

void release(struct device_tensor *tensor)
{
    if (!tensor->t.buffer) return;
    assert_canaries(tensor);
    const size_t dims[] = {tensor->count + 2 * CANARY};
    colt5_tensor whole = colt5_tensor_wrap(tensor->t.buffer, 0, tensor->t.type, 1, dims);
    colt5_tensor_free(ctx, &whole);
    free(tensor->before);
    memset(tensor, 0, sizeof(*tensor));
}

void assert_canaries(const struct device_tensor *tensor)
{
    const size_t size = colt5_type_size(tensor->t.type);
    uint8_t *host = read_whole(tensor, CANARY), want[CANARY * 8];
    poison(tensor->t.type, want, CANARY);
    ck_assert_msg(!memcmp(host, want, CANARY * size), "written before the tensor");
    ck_assert_msg(!memcmp(host + (CANARY + tensor->count) * size, want, CANARY * size),
                  "written after the tensor");
    free(host);
}

void assert_unchanged(const struct device_tensor *tensor)
{
    void *host = read_whole(tensor, 0);
    ck_assert_msg(!memcmp(host, tensor->before, tensor->count * colt5_type_size(tensor->t.type)),
                  "an input was written to");
    free(host);
}

void assert_untouched(const struct device_tensor *tensor)
{
    const size_t size = colt5_type_size(tensor->t.type);
    uint8_t *host = read_whole(tensor, 0), *want = checked(malloc(tensor->count * size + 1));
    poison(tensor->t.type, want, tensor->count);
    ck_assert_msg(!memcmp(host, want, tensor->count * size), "an output was written to");
    free(want);
    free(host);
}

/* ---- comparisons ---- */

void assert_equal(const struct device_tensor *have, const double *want)
{
    assert_close(have, want, 0, 0);
}

void assert_close(const struct device_tensor *have, const double *want, double absolute,
                  double relative)
{
    double *got = download(have), worst = -1;
    size_t where = 0;
    for (size_t i = 0; i < have->count; i++) {
        double off;
        if (isnan(want[i]) || isnan(got[i]))
            off = isnan(want[i]) && isnan(got[i]) ? 0 : INFINITY;
        else if (got[i] == want[i])
            off = 0;
        else
            off = fabs(got[i] - want[i]) - absolute - relative * fabs(want[i]);
        if (!(off <= worst)) {
            worst = off;
            where = i;
        }
    }
    ck_assert_msg(worst <= 0, "element %zu of %zu: %.9g, not %.9g", where, have->count, got[where],
                  want[where]);
    free(got);
}

double relative_error(const double *have, const double *want, size_t count)
{
    double off = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        off += (have[i] - want[i]) * (have[i] - want[i]);
        norm += want[i] * want[i];
    }
    return norm > 0 ? sqrt(off / norm) : sqrt(off);
}

void assert_norm(const struct device_tensor *have, const double *want, double bound)
{
    double *got = download(have), worst = -1;
    size_t where = 0;
    for (size_t i = 0; i < have->count; i++)
        if (!(fabs(got[i] - want[i]) <= worst)) {
            worst = fabs(got[i] - want[i]);
            where = i;
        }
    const double error = relative_error(got, want, have->count);
    ck_assert_msg(error <= bound,
                  "relative error %.3g > %.3g; worst is element %zu of %zu: %.9g, not %.9g", error,
                  bound, where, have->count, got[where], want[where]);
    free(got);
}

double forward_bound(colt5_type type)
{
    return type == COLT5_F32 ? 2e-6 : 1e-2;
}

double rounding(colt5_type type)
{
    return type == COLT5_F32 ? 0x1p-24 : type == COLT5_F16 ? 0x1p-11 : 0x1p-8;
}

static double weighted_sum(const struct difference_check *check)
{
    double sum = 0;
    check->forward(check->call);
    for (size_t i = 0; i < check->y_count; i++) sum += check->dy[i] * check->y[i];
    return sum;
}

void assert_gradient(const struct difference_check *check, double *v, const double *gradient,
                     size_t count)
{
    const double step = 1e-5;
    for (size_t i = 0; i < count; i++) {
        const double at = v[i];
        v[i] = at + step;
        const double above = weighted_sum(check);
        v[i] = at - step;
        const double quotient = (above - weighted_sum(check)) / (2 * step);
        v[i] = at;
        ck_assert_msg(fabs(quotient - gradient[i]) <= 1e-6 * (1 + fabs(quotient)),
                      "gradient %zu of %zu: %.9g, not %.9g", i, count, gradient[i], quotient);
    }
}
