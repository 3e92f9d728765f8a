/* SPDX-License-Identifier: MIT */
/*
 * wgmma_gemm, and the kernel that converts its floats, built for this CPU (script/check-emulated),
 * beside the reference in double precision. Built with the defines of the kernels: STORAGE, PAIRS,
 * TRANSPOSE_A, TRANSPOSE_B, C_F32, AROUND, and for floats TRANSPOSED.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "lanes.h"
#include "numbers.h"
#include "reference/reference.h"

#define GROUP  384
#define DEPTH  (STORAGE ? 64 : 32)
#define FLOATS (STORAGE == 0)
#if STORAGE == 0
    #define B_TRANSPOSED (!TRANSPOSED) /* as it is before it is converted */
#else
    #define B_TRANSPOSED TRANSPOSE_B
#endif

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

void wgmma_gemm(TENSOR(const storage, a), TENSOR(const storage, b), TENSOR(int, maps),
                TENSOR(result, c), TENSOR(const storage, bias), TENSOR(const float, row_scale),
                TENSOR(const result, residual), TENSOR(const int, scatter),
                TENSOR(const int, ranges), unsigned M, unsigned N, unsigned K, unsigned b_length,
                unsigned slabs, unsigned parts, unsigned scatter_rows, unsigned c_rows, float alpha,
                int gelu_after);
void convert_operand(TENSOR(const storage, x), TENSOR(const int, ranges), TENSOR(storage, lines),
                     unsigned rows, unsigned length, unsigned line);

/* One product, as the kernels are given it; NULL: absent. */
struct call {
    unsigned M, N, K, line, slabs, parts;
    const storage *a, *b, *bias;
    storage *lines;
    int *maps, *ranges, found[4]; /* ranges: what was found, of pairs */
    result *c, *residual;
};

static void multiply(const void *arguments)
{
    const struct call *p = arguments;
    wgmma_gemm(GIVE(p->a), GIVE(FLOATS ? p->lines : p->b), GIVE(p->maps), GIVE(p->c), GIVE(p->bias),
               GIVE((const float *)NULL), GIVE(p->residual), GIVE((const int *)NULL),
               GIVE(p->ranges), p->M, p->N, p->K, FLOATS ? p->line : p->K, p->slabs, p->parts, 0, 0,
               1, 0);
}

#if STORAGE == 0
static void convert(const void *arguments)
{
    const struct call *p = arguments;
    convert_operand(GIVE(p->b), GIVE(p->ranges), GIVE(p->lines), p->N, p->K, p->line);
}

    #if PAIRS
void split_range(TENSOR(const storage, a), TENSOR(const int, index), TENSOR(const storage, b),
                 TENSOR(int, ranges), unsigned a_lines, unsigned a_length, unsigned b_lines,
                 unsigned b_length, unsigned index_rows, unsigned a_rows);

static void find_ranges(const void *arguments)
{
    const struct call *p = arguments;
    split_range(GIVE(p->a), GIVE((const int *)NULL), GIVE(p->b), GIVE(p->ranges),
                TRANSPOSE_A ? p->K : p->M, TRANSPOSE_A ? p->M : p->K, B_TRANSPOSED ? p->N : p->K,
                B_TRANSPOSED ? p->K : p->N, 0, 0);
}

static size_t blocks_of(size_t lines, size_t length)
{
    return (lines + 31) / 32 * ((length + 127) / 128);
}
    #endif
#endif

static const struct shape {
    unsigned M, N, K, parts, groups;
} shapes[] = {
    {200, 136, 104, 1, 2}, {128, 128, 32, 1, 1}, {72, 264, 328, 1, 3}, {144, 72, 512, 3, 2}};

static void check(const struct shape *s)
{
    const size_t count = (size_t)s->M * s->N;
    struct numbers a = some_numbers((size_t)s->M * s->K), b = some_numbers((size_t)s->N * s->K);
    struct numbers bias = some_numbers(s->N);
    const unsigned line = (s->K + 31) / 32 * 32, all = (s->K + DEPTH - 1) / DEPTH;
    const unsigned slabs = (all + s->parts - 1) / s->parts;
    const bool bare = s->parts > 1, has_bias = !bare && (AROUND & 1) != 0,
               adds = !bare && (AROUND & 8) != 0;
    double *want = allocate(count * sizeof(*want)), *residual = allocate(count * sizeof(*residual));
    struct call call = {.M = s->M,
                        .N = s->N,
                        .K = s->K,
                        .line = line,
                        .slabs = slabs,
                        .parts = s->parts,
                        .a = a.kernel,
                        .b = b.kernel,
                        .bias = has_bias ? bias.kernel : NULL,
                        .lines = allocate((size_t)s->N * line * sizeof(storage)),
                        .maps = allocate(s->groups * 384),
                        .c = allocate(s->parts * count * sizeof(result)),
                        .residual = adds ? allocate(count * sizeof(result)) : NULL};
    for (size_t i = 0; adds && i < count; i++)
        residual[i] = (double)(call.residual[i] = (result)(i % 5));
#if STORAGE == 0
    #if PAIRS
    call.ranges = call.found;
    run_groups(find_ranges, &call, 256,
               (size_t[]){blocks_of(TRANSPOSE_A ? s->K : s->M, TRANSPOSE_A ? s->M : s->K) +
                              blocks_of(B_TRANSPOSED ? s->N : s->K, B_TRANSPOSED ? s->K : s->N),
                          1, 1});
    #endif
    if (B_TRANSPOSED)
        run_grid(convert, &call, (size_t[]){line / 8, s->N, 1});
    else
        run_groups(convert, &call, 256, (size_t[]){(s->N + 63) / 64 * (line / 32), 1, 1});
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
                                            .residual = adds ? residual : NULL},
                   want);
    for (size_t part = 1; part < s->parts; part++)
        for (size_t i = 0; i < count; i++)
            call.c[i] = (result)(call.c[i] + call.c[part * count + i]);
    compare("C", call.c, C_F32, want, count, bound);
    release(&a), release(&b), release(&bias);
    free(call.lines), free(call.maps), free(call.c), free(call.residual), free(want),
        free(residual);
}

int main(void)
{
    for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++)
        if (C_F32 || shapes[i].parts == 1) check(&shapes[i]);
    return failures > 0;
}
