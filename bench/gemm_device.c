/* SPDX-License-Identifier: MIT */
/*
 * Matrix products by every backend, at the shapes of the layers: time, speed, error.
 *
 *     gemm_device [device] [backend] [rows in out]
 *
 * backend: wgmma, tf32 (wgmma with fast math), mma, split, split_fast (with fast math), tiled,
 * packed, clblast, cblas or all. Three numbers replace the list of shapes. A time is the mean of a
 * run of calls with one wait at the end, the best of five such runs. Behind it is what each kernel
 * of one more call took.
 */
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <colt5/device.h>
#include <colt5/ops/linear.h>
#include <colt5/tensor.h>

#define CHECKED_ROWS 16

struct shape {
    size_t rows, in, out;
};

static const struct shape shapes[] = {{8192, 8192, 8192}, {65536, 512, 1536}, {65536, 512, 512},
                                      {65536, 512, 256},  {65536, 256, 512},  {2048, 512, 2048},
                                      {2048, 2048, 512},  {0, 0, 0}};
static const struct backend {
    const char *name, *way; /* way: as COLT5_GEMM has it */
    colt5_math math;
    colt5_type first, last; /* types it multiplies */
} backends[] = {{"wgmma", "wgmma", COLT5_MATH_STRICT, COLT5_F32, COLT5_BF16},
                {"tf32", "wgmma", COLT5_MATH_FAST, COLT5_F32, COLT5_F32},
                {"mma", "mma", COLT5_MATH_STRICT, COLT5_F16, COLT5_BF16},
                {"split", "split", COLT5_MATH_STRICT, COLT5_F32, COLT5_F32},
                {"split_fast", "split", COLT5_MATH_FAST, COLT5_F32, COLT5_F32},
                {"tiled", "tiled", COLT5_MATH_STRICT, COLT5_F32, COLT5_BF16},
                {"packed", "packed", COLT5_MATH_STRICT, COLT5_F32, COLT5_BF16},
                {"clblast", "clblast", COLT5_MATH_STRICT, COLT5_F32, COLT5_F32},
                {"cblas", "cblas", COLT5_MATH_STRICT, COLT5_F32, COLT5_F32}};

static bool left_out; /* the library said that this backend will not do */

/* What one measurement works on. */
struct work {
    colt5_context *ctx;
    struct shape shape;
    colt5_tensor x, weight, y;
    float *x_values, *weight_values;
};

static void stop(const colt5_context *ctx, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, colt5_message(ctx));
    exit(EXIT_FAILURE);
}

static void hear(void *user, const char *text)
{
    (void)user;
    left_out = left_out || strstr(text, "left out") != NULL;
    fprintf(stderr, "%s\n", text);
}

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Sums of four uniform numbers: near enough to normal, variance 1. */
static float random_value(uint64_t *state)
{
    float sum = 0;
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    const uint64_t bits = (*state ^ (*state >> 29)) * 0xBF58476D1CE4E5B9u;
    for (int i = 0; i < 4; i++) sum += (float)((bits >> (16 * i)) & 0xFFFF) / 65536.0f - 0.5f;
    return sum * 1.7320508f;
}

/* A tensor of random values and, as the device has them, the values themselves. */
static float *random_tensor(colt5_context *ctx, colt5_type type, size_t rows, size_t columns,
                            colt5_tensor *tensor)
{
    const size_t count = rows * columns, dims[] = {rows, columns};
    uint64_t state = count;
    float *values = malloc(count * sizeof(*values));
    void *stored = malloc(count * sizeof(*values));
    if (!values || !stored) stop(NULL, "no memory");
    for (size_t i = 0; i < count; i++) values[i] = random_value(&state);
    colt5_convert(COLT5_F32, values, type, stored, count);
    colt5_convert(type, stored, COLT5_F32, values, count);
    if (colt5_tensor_create(ctx, type, 2, dims, tensor) != COLT5_OK) stop(ctx, "a tensor");
    if (colt5_tensor_write(ctx, tensor, stored) != COLT5_OK) stop(ctx, "a tensor");
    free(stored);
    return values;
}

/* ‖y - x Wᵀ‖ / ‖x Wᵀ‖ of some elements of some rows, the last row among them. */
static double error_of(const struct work *work)
{
    const size_t rows = work->shape.rows, in = work->shape.in, out = work->shape.out;
    const size_t step = rows < CHECKED_ROWS ? 1 : rows / CHECKED_ROWS, dims[] = {1, out};
    float *have = malloc(out * sizeof(*have));
    void *stored = malloc(out * sizeof(*have));
    double off = 0, norm = 0;
    if (!have || !stored) stop(NULL, "no memory");
    for (size_t r = (rows - 1) % step; r < rows; r += step) {
        const colt5_tensor row = colt5_tensor_wrap(work->y.buffer, r * out, work->y.type, 2, dims);
        if (colt5_tensor_read(work->ctx, &row, stored) != COLT5_OK) stop(work->ctx, "reading");
        colt5_convert(row.type, stored, COLT5_F32, have, out);
        for (size_t o = 0; o < out; o += 7) {
            double sum = 0;
            for (size_t k = 0; k < in; k++)
                sum += (double)work->x_values[r * in + k] * (double)work->weight_values[o * in + k];
            off += (have[o] - sum) * (have[o] - sum);
            norm += sum * sum;
        }
    }
    free(have);
    free(stored);
    return sqrt(off / norm);
}

static double time_of(const struct work *work, int calls)
{
    const double start = seconds();
    for (int i = 0; i < calls; i++)
        if (colt5_linear_forward(work->ctx, &work->x, &work->weight, NULL, &work->y) != COLT5_OK)
            stop(work->ctx, "linear");
    if (colt5_context_finish(work->ctx) != COLT5_OK) stop(work->ctx, "finish");
    return (seconds() - start) / calls;
}

/* Of one call, in microseconds. */
static void print_kernels(const struct work *work)
{
    colt5_profile_row rows[8];
    size_t count = 0;
    if (colt5_context_set_profiling(work->ctx, true) != COLT5_OK) stop(work->ctx, "profiling");
    time_of(work, 1);
    if (colt5_context_profile(work->ctx, rows, sizeof(rows) / sizeof(rows[0]), &count) != COLT5_OK)
        stop(work->ctx, "the profile");
    for (size_t i = 0; i < count && i < sizeof(rows) / sizeof(rows[0]); i++)
        printf("%s%s %.1f", i ? ", " : "  ", rows[i].kernel, (double)rows[i].nanoseconds * 1e-3);
    printf("\n");
}

static void measure(const struct work *work, const char *backend)
{
    time_of(work, 1); /* builds, and tries the backend out */
    if (left_out) return;
    const struct shape s = work->shape;
    const double first = time_of(work, 2), wanted = 0.05 / first;
    const int calls = wanted < 1 ? 1 : wanted > 500 ? 500 : (int)wanted;
    double best = INFINITY;
    for (int run = 0; run < 5; run++) best = fmin(best, time_of(work, calls));
    const double flop = 2 * (double)s.rows * (double)s.in * (double)s.out;
    printf("%-10s %-4s %6zu x %4zu -> %4zu %10.1f us %8.3f TFLOP/s  error %.2e", backend,
           colt5_type_name(work->x.type), s.rows, s.in, s.out, best * 1e6, flop / best * 1e-12,
           error_of(work));
    print_kernels(work);
    fflush(stdout);
}

static void run_case(const char *device, const struct backend *backend, colt5_type type,
                     struct shape s)
{
    struct work work = {.shape = s};
    const size_t dims[] = {s.rows, s.out};
    const colt5_callbacks callbacks = {.log = hear};
    if (colt5_context_create(device, &work.ctx) != COLT5_OK) stop(NULL, "no device");
    colt5_context_set_callbacks(work.ctx, &callbacks);
    colt5_context_set_math(work.ctx, backend->math);
    work.x_values = random_tensor(work.ctx, type, s.rows, s.in, &work.x);
    work.weight_values = random_tensor(work.ctx, type, s.out, s.in, &work.weight);
    if (colt5_tensor_create(work.ctx, type, 2, dims, &work.y) != COLT5_OK)
        stop(work.ctx, "a tensor");
    measure(&work, backend->name);
    free(work.x_values);
    free(work.weight_values);
    colt5_tensor_free(work.ctx, &work.x);
    colt5_tensor_free(work.ctx, &work.weight);
    colt5_tensor_free(work.ctx, &work.y);
    colt5_context_destroy(work.ctx);
}

int main(int count, char **arguments)
{
    const char *device = count > 1 ? arguments[1] : NULL;
    const char *only = count > 2 && strcmp(arguments[2], "all") != 0 ? arguments[2] : NULL;
    const struct shape asked[2] = {{count > 5 ? strtoul(arguments[3], NULL, 10) : 0,
                                    count > 5 ? strtoul(arguments[4], NULL, 10) : 0,
                                    count > 5 ? strtoul(arguments[5], NULL, 10) : 0}};
    for (size_t b = 0; b < sizeof(backends) / sizeof(backends[0]); b++) {
        const struct backend *backend = &backends[b];
        if (only && strcmp(only, backend->name) != 0) continue;
        setenv("COLT5_GEMM", backend->way, 1);
        left_out = false;
        for (colt5_type type = backend->first; type <= backend->last; type++)
            for (const struct shape *s = count > 5 ? asked : shapes; s->rows && !left_out; s++)
                run_case(device, backend, type, *s);
    }
    return EXIT_SUCCESS;
}
