/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "compare.h"
#include "run.h"

/* Means over the valid rows of each sample, in place: [B][D]; zeros where there are none. */
static void pool_mean(const struct run *run, float *values)
{
    const size_t B = run->y.dims[0], N = run->y.dims[1], D = run->y.dims[2];
    for (size_t b = 0; b < B; b++)
        for (size_t d = 0; d < D; d++) {
            double sum = 0;
            size_t count = 0;
            for (size_t n = 0; n < N; n++) {
                if (!run->valid[b * N + n]) continue;
                sum += values[(b * N + n) * D + d];
                count++;
            }
            values[b * D + d] = (float)(count ? sum / (double)count : 0);
        }
}

static int write_output(const struct run *run, float *values)
{
    colt5_npy array = {.type = COLT5_F32, .rank = 3, .values = values};
    memcpy(array.dims, run->y.dims, sizeof(array.dims));
    if (run->pool) {
        array.rank = 2;
        array.dims[1] = array.dims[2];
    }
    const colt5_status status = colt5_npy_write(run->output, &array);
    if (status != COLT5_OK) return complain_status(NULL, status);
    printf("%s\n", run->output);
    return EXIT_FINE;
}

static double limit_of(const struct run *run)
{
    if (run->rtol > 0) return run->rtol;
    if (run->type != COLT5_F32) return 1e-2;
    return run->math == COLT5_MATH_FAST ? 1e-3 : 2e-6;
}

/* Compares values, [B][N][D] or pooled [B][D], with the expected array. */
static int compare(const struct run *run, const float *values)
{
    colt5_npy want;
    const colt5_status status = colt5_npy_read(run->expect, &want);
    if (status != COLT5_OK) return complain_status(NULL, status);
    const size_t B = run->y.dims[0], N = run->y.dims[1], D = run->y.dims[2];
    const size_t rows = run->pool ? B : B * N;
    const bool same = want.type == COLT5_F32 && want.count == rows * D &&
                      want.rank == (run->pool ? 2 : 3) && want.dims[0] == B;
    if (!same) {
        complain("%s: is not f4 or f8 of the output's shape, %zu x %zu x %zu", run->expect, B, N,
                 D);
        colt5_npy_release(&want);
        return EXIT_BAD_INPUT;
    }
    const struct difference found =
        compare_rows(values, want.values, run->pool ? NULL : run->valid, rows, D);
    colt5_npy_release(&want);
    const double limit = limit_of(run);
    const size_t row = found.worst / D;
    printf("relative error %.3g (limit %.3g); worst element [%zu, %zu, %zu]: %.9g, not %.9g\n",
           found.error, limit, run->pool ? row : row / N, run->pool ? 0 : row % N, found.worst % D,
           found.have, found.want);
    if (found.error <= limit) return EXIT_FINE;
    complain("%s: the result differs", run->expect);
    if (!run->routes && found.rows_off)
        note(
            "%zu rows differ as a whole: tokens with equal scores may have been routed differently "
            "(ties). Inject the routes with --routes to be sure.",
            found.rows_off);
    return EXIT_DIFFERS;
}

int run_deliver(struct run *run)
{
    if (run->chosen) {
        const colt5_status status = colt5_routes_save(run->chosen, run->routes_output);
        if (status != COLT5_OK) return complain_status(run->session.ctx, status);
        printf("%s\n", run->routes_output);
    }
    if (!run->output && !run->expect) {
        if (!run->grad)
            note("done: [%zu, %zu, %zu]; --output FILE keeps it", run->y.dims[0], run->y.dims[1],
                 run->y.dims[2]);
        return EXIT_FINE;
    }
    float *values;
    int code = fetch_floats(run->session.ctx, &run->y, &values);
    if (code != EXIT_FINE) return code;
    if (run->pool) pool_mean(run, values);
    if (run->output) code = write_output(run, values);
    if (code == EXIT_FINE && run->expect) code = compare(run, values);
    free(values);
    return code;
}
