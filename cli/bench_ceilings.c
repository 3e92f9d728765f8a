/* SPDX-License-Identifier: MIT */
/* What the device can do at most, measured with the library's own ops. */
#include "bench_ops.h"

OP(add, colt5_add(ctx, &t[0], &t[1], &t[2]))
OP(gather, colt5_gather(ctx, &t[0], &t[1], &t[2]))
OP(linear, colt5_linear_forward(ctx, &t[0], &t[1], NULL, &t[2]))

static const struct op copies[] = {
    {"gather", call_gather, {IN("1ND"), INDEX("1N"), OUT("1ND")}},
    {"add", call_add, {IN("1ND"), IN("1ND"), OUT("1ND")}},
};
static const struct op products[] = {
    {"linear", call_linear, {IN("1ND"), IN("QD"), OUT("1NQ")}},
    {"linear", call_linear, {IN("1KK"), IN("KK"), OUT("1KK")}},
};

/* The op's best rate, in bytes or in operations a second, where it is above *best. */
static int reach(struct bench *bench, const struct op *op, size_t N, size_t K, bool bytes,
                 double *best)
{
    struct bench_row row = {.batch = 1};
    const int code = measure_op(bench, op, N, K, &row);
    if (code != EXIT_FINE) return code;
    const double rate = (double)(bytes ? row.bytes : row.flop) / (row.min_ms * 1e-3);
    if (rate > *best) *best = rate;
    return EXIT_FINE;
}

int bench_ceilings(struct bench *bench)
{
    /* Of its own: at least a few runs of each, whatever --repeat says, and no trace. */
    struct bench own = *bench;
    own.repeat = 5;
    own.trace = NULL;
    struct ceilings *ceilings = &bench->ceilings;
    const size_t rows = bench->cpu ? 32768 : 131072, side = bench->cpu ? 2048 : 8192;
    int code = EXIT_FINE;
    show_progress("the device at its best", bench->steps_done++, bench->steps);
    for (size_t i = 0; i < 2 && code == EXIT_FINE; i++)
        code = reach(&own, &copies[i], rows, rows, true, &ceilings->bytes_per_second);
    for (size_t i = 0; i < 2 && code == EXIT_FINE; i++)
        code = reach(&own, &products[i], rows / 2, side, false, &ceilings->flop_per_second);
    return code;
}
