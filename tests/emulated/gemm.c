/* SPDX-License-Identifier: MIT */
/*
 * wgmma_gemm, and the kernel that converts its floats, built for this CPU (script/check-emulated),
 * beside the reference in double precision. Built with the defines of the kernels: STORAGE, PAIRS,
 * TRANSPOSE_A, TRANSPOSE_B, C_F32, COLUMNS, IN_PARTS, AROUND, and for floats TRANSPOSED.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lanes.h"
#include "numbers.h"
#include "reference/reference.h"

#define GROUP   384
#define ODD_ROW 3 /* of pairs: an infinity is in it */
#define DEPTH   (STORAGE ? 64 : 32)
#define FLOATS  (STORAGE == 0)
#if STORAGE == 0
    #define B_TRANSPOSED (!TRANSPOSED) /* as it is before it is converted */
#else
    #define B_TRANSPOSED TRANSPOSE_B
#endif
#define CONVERTS (PAIRS || (FLOATS && !B_TRANSPOSED))

#if C_F32
typedef float result;
#else
typedef storage result;
#endif

/* What the arithmetic may be off by, of the norm. */
static const double bound = PAIRS    ? 3e-7
                            : FLOATS ? 6e-4
                            : C_F32  ? 1e-6
                                     : (STORAGE == 1 ? 6e-4 : 4e-3);

#define TENSOR(type, name) type *name, uint64_t name##_offset
#define GIVE(p)            (p), (p) ? 0 : UINT64_MAX

void wgmma_gemm(TENSOR(const storage, a), TENSOR(const storage, b), TENSOR(const storage, plain_b),
                TENSOR(int, maps), TENSOR(result, c), TENSOR(const storage, bias),
                TENSOR(const float, row_scale), TENSOR(const result, residual),
                TENSOR(const int, scatter), TENSOR(const int, ranges), TENSOR(float, waiting),
                TENSOR(int, arrived), unsigned M, unsigned N, unsigned K, unsigned b_length,
                unsigned slabs, unsigned parts, unsigned scatter_rows, unsigned c_rows, float alpha,
                int extras, int plain_b_transposed);
void column_ranges(TENSOR(const storage, x), TENSOR(int, ranges), unsigned rows, unsigned length);
void convert_operand(TENSOR(const storage, x), TENSOR(int, ranges), TENSOR(storage, lines),
                     unsigned rows, unsigned length, unsigned line);

/* One product, as the kernels are given it; NULL: absent. */
struct call {
    unsigned M, N, K, line, slabs, parts;
    const storage *a, *b, *bias;
    storage *lines;
    int *maps, *ranges, *arrived;
    float *waiting, *row_scale;
    result *c, *residual;
};

/* What AROUND stands for here: GELU and a residual together are GELU's slope, and a row's scale is
 * before the bias. */
#define SLOPES ((AROUND & 10) == 10)
#define ADDS   ((AROUND & 8) && !SLOPES)
#define GELUS  ((AROUND & 2) && !SLOPES)
#define SCALES ((AROUND & 4) != 0)
#define ALPHA  (GELUS ? 0.0625f : 1.0f) /* where GELU bends, sums are of order 1 */
#define EXTRAS ((GELUS ? 1 : 0) | (SLOPES ? 2 : 0) | (SCALES ? 4 : 0))

static void multiply(const void *arguments)
{
    const struct call *p = arguments;
    wgmma_gemm(GIVE(p->a), GIVE(CONVERTS ? p->lines : p->b), GIVE(p->b), GIVE(p->maps), GIVE(p->c),
               GIVE(p->bias), GIVE(p->row_scale), GIVE(p->residual), GIVE((const int *)NULL),
               GIVE(p->ranges), GIVE(p->waiting), GIVE(p->arrived), p->M, p->N, p->K,
               CONVERTS ? p->line : p->K, p->slabs, p->parts, 0, 0, ALPHA, EXTRAS, B_TRANSPOSED);
}

#if CONVERTS
static void convert(const void *arguments)
{
    const struct call *p = arguments;
    convert_operand(GIVE(p->b), GIVE(p->ranges), GIVE(p->lines), p->N, p->K, p->line);
}

static void convert_b(const struct call *call)
{
    const size_t groups =
        B_TRANSPOSED ? (call->N + 3) / 4 : (size_t)(call->N + 63) / 64 * (call->line / 32);
    run_groups(convert, call, 256, (size_t[]){groups, 1, 1});
}

    #if PAIRS && !B_TRANSPOSED
static void find_ranges(const void *arguments)
{
    const struct call *p = arguments;
    column_ranges(GIVE(p->b), GIVE(p->ranges), p->N, p->K);
}
    #endif
#endif

static void scale_number(struct numbers *n, size_t i, double factor)
{
    n->exact[i] *= factor;
    n->kernel[i] = stored(n->exact[i]);
}

/* Pairs hold any row of A, and columns of B whose values are of comparable size: small k of some
 * meet large ones of A, and others are zeros. */
static void spread(struct numbers *a, struct numbers *b, unsigned M, unsigned N, unsigned K)
{
    for (unsigned k = 0; k < K; k++) {
        const double factor = ldexp(1, (int)(k / 64 % 3) * 12 - 12);
        for (unsigned m = 0; m < M; m++)
            scale_number(a, TRANSPOSE_A ? k * M + m : m * K + k, factor);
        for (unsigned n = 0; n < N; n += 7)
            scale_number(b, B_TRANSPOSED ? n * K + k : k * N + n, n % 2 ? 0 : 1 / factor);
    }
}

static const struct shape {
    unsigned M, N, K, parts, groups;
} shapes[] = {{200, 136, 104, 1, 2},
              {128, 128, 32, 1, 1},
              {72, 264, 328, 1, 3},
              {144, 72, 512, 3, 2},
              {136, 264, 200, 2, 5}};

/* Each column by itself: its values may be far from those of others. */
static void compare_columns(const result *have, const double *want, size_t M, size_t N)
{
    result *own = allocate(M * sizeof(*own));
    double *wanted = allocate(M * sizeof(*wanted));
    for (size_t n = 0; n < N; n++) {
        char name[32];
        for (size_t m = 0; m < M; m++) own[m] = have[m * N + n], wanted[m] = want[m * N + n];
        snprintf(name, sizeof(name), "column %zu", n);
        compare(name, own, C_F32, wanted, M, 1e-6);
    }
    free(own), free(wanted);
}

/* A row with an infinity comes to infinities, and NaN where it meets a zero. Then it is taken for
 * as it must be, so that norms are numbers. */
static void check_infinite_row(result *have, double *want, size_t N)
{
    for (size_t n = 0; n < N; n++) {
        if (have[n] != (result)want[n] && !(isnan((double)have[n]) && isnan(want[n])))
            failures++, printf("FAILED column %zu of an infinite row\n", n);
        have[n] = 0, want[n] = 0;
    }
}

/* in_place: the residual is C. */
static void check(const struct shape *s, bool in_place)
{
    const size_t count = (size_t)s->M * s->N;
    struct numbers a = some_numbers((size_t)s->M * s->K), b = some_numbers((size_t)s->N * s->K);
    struct numbers bias = some_numbers(s->N);
    const unsigned line = (s->K + 31) / 32 * 32, together = FLOATS ? 2 : 1;
    const unsigned all = (s->K + DEPTH * together - 1) / (DEPTH * together);
    const unsigned each = (all + s->parts - 1) / s->parts, parts = (all + each - 1) / each;
    const unsigned tiles = (s->M + 127) / 128 * ((s->N + COLUMNS - 1) / COLUMNS);
    const bool has_bias = (AROUND & 1) != 0, beside = (AROUND & 8) != 0;
    if (PAIRS) {
        spread(&a, &b, s->M, s->N, s->K);
        scale_number(&a, TRANSPOSE_A ? 5 * s->M + ODD_ROW : ODD_ROW * s->K + 5, INFINITY);
    }
    double *want = allocate(count * sizeof(*want)), *residual = allocate(count * sizeof(*residual));
    double *scale = allocate(s->M * sizeof(*scale));
    result *c = allocate(count * sizeof(*c));
    struct call call = {.M = s->M,
                        .N = s->N,
                        .K = s->K,
                        .line = line,
                        .slabs = each * together,
                        .parts = parts,
                        .a = a.kernel,
                        .b = b.kernel,
                        .bias = has_bias ? bias.kernel : NULL,
                        .lines = allocate((size_t)s->N * line * sizeof(storage)),
                        .ranges = PAIRS ? allocate(s->N * 2 * sizeof(int)) : NULL,
                        .maps = allocate(s->groups * 512),
                        .arrived = allocate((size_t)tiles * 8 * parts * sizeof(int)),
                        .waiting = allocate((size_t)parts * tiles * 128 * COLUMNS * sizeof(float)),
                        .c = c,
                        .row_scale = SCALES ? allocate(s->M * sizeof(float)) : NULL,
                        .residual = in_place ? c
                                    : beside ? allocate(count * sizeof(result))
                                             : NULL};
    for (size_t i = 0; beside && i < count; i++)
        residual[i] = i % 5,
        call.residual[i] = C_F32 ? (result)(i % 5) : (result)stored((double)(i % 5));
    for (unsigned m = 0; SCALES && m < s->M; m++)
        scale[m] = call.row_scale[m] = 0.5f + (float)(m % 7);
    memset(call.arrived, 0, (size_t)tiles * 8 * parts * sizeof(int));
#if CONVERTS
    #if PAIRS && !B_TRANSPOSED
    memset(call.ranges, 0, s->N * 2 * sizeof(int));
    run_groups(find_ranges, &call, 256, (size_t[]){(s->N + 63) / 64 * ((s->K + 255) / 256), 1, 1});
    #endif
    convert_b(&call);
#endif
    run_groups(multiply, &call, GROUP, (size_t[]){s->groups, 1, 1});
    reference_gemm(&(struct reference_gemm){.M = s->M,
                                            .N = s->N,
                                            .K = s->K,
                                            .transpose_a = TRANSPOSE_A,
                                            .transpose_b = B_TRANSPOSED,
                                            .a = a.exact,
                                            .b = b.exact,
                                            .bias = has_bias ? bias.exact : NULL,
                                            .alpha = ALPHA,
                                            .gelu = GELUS,
                                            .row_scale = SCALES ? scale : NULL,
                                            .scale_first = SCALES,
                                            .residual = ADDS ? residual : NULL,
                                            .gelu_input = SLOPES ? residual : NULL},
                   want);
    if (PAIRS) check_infinite_row(call.c + ODD_ROW * s->N, want + ODD_ROW * s->N, s->N);
    compare("C", call.c, C_F32, want, count, bound);
    if (PAIRS) compare_columns(call.c, want, s->M, s->N);
    for (size_t i = 0; i < (size_t)tiles * 8 * parts; i++)
        if (call.arrived[i]) failures++, printf("counter %zu is left at %d\n", i, call.arrived[i]);
    release(&a), release(&b), release(&bias);
    free(call.lines), free(call.ranges), free(call.maps), free(call.arrived), free(call.waiting);
    if (!in_place) free(call.residual);
    free(c), free(call.row_scale);
    free(want), free(residual), free(scale);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        if (IN_PARTS || shapes[i].parts == 1) {
            check(&shapes[i], false);
            if (ADDS) check(&shapes[i], true);
        }
    return failures > 0;
}
