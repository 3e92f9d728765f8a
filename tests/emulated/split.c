/* SPDX-License-Identifier: MIT */
/*
 * Float32 products by pairs of f16, or by their high parts alone: the kernels that src/gemm/split.c
 * launches, built for this CPU (script/check-emulated), beside the reference in double precision.
 * Built with the defines of the kernels: STORAGE 0, C_F32 1, TERMS, TRANSPOSE_A, TRANSPOSE_B,
 * VECTOR, TILE.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lanes.h"
#include "numbers.h"
#include "reference/reference.h"

#define PLANES    (TERMS == 3 ? 2 : 1)
#define MMA_ITEMS 128
#define ITEM      8 /* as in tiled_gemm */

#define TENSOR(type, name) type *name, uint64_t name##_offset
#define GIVE(p)            (p), (uint64_t)0
#define ABSENT             NULL, UINT64_MAX

void split_range(TENSOR(const float, a), TENSOR(const int, index), TENSOR(const float, b),
                 TENSOR(int, ranges), unsigned a_lines, unsigned a_length, unsigned b_lines,
                 unsigned b_length, unsigned index_rows, unsigned a_rows);
void split_pairs(TENSOR(const float, x), TENSOR(const int, index), TENSOR(const int, ranges),
                 TENSOR(uint16_t, pairs), unsigned lines, unsigned length, unsigned stride,
                 unsigned planes, unsigned index_rows, unsigned x_rows, unsigned slot);
void mma_gemm(TENSOR(const uint16_t, a), TENSOR(const uint16_t, b), TENSOR(float, c),
              TENSOR(const float, bias), TENSOR(const float, row_scale),
              TENSOR(const float, residual), TENSOR(const int, index), TENSOR(const int, scatter),
              TENSOR(const int, ranges), unsigned M, unsigned N, unsigned K, unsigned part,
              unsigned a_length, unsigned b_length, unsigned index_rows, unsigned a_rows,
              unsigned scatter_rows, unsigned c_rows, float alpha, int extras);
void tiled_gemm(TENSOR(const float, a), TENSOR(const float, b), TENSOR(float, c),
                TENSOR(const float, bias), TENSOR(const float, row_scale),
                TENSOR(const float, residual), TENSOR(const int, index), TENSOR(const int, scatter),
                unsigned M, unsigned N, unsigned K, unsigned part, unsigned index_rows,
                unsigned a_rows, unsigned scatter_rows, unsigned c_rows, float alpha, int extras,
                TENSOR(const int, ranges));

/* An operand as it lies in memory, and its pairs. */
struct operand {
    const float *x;
    unsigned lines, length, stride, slot;
    uint16_t *pairs;
};

struct call {
    unsigned M, N, K;
    struct operand a, b;
    int ranges[4];
    float *c;
};

static const struct call *of_pairs; /* the call that an operand is one of */

static void find_ranges(const void *arguments)
{
    const struct call *p = arguments;
    split_range(GIVE(p->a.x), ABSENT, GIVE(p->b.x), GIVE((int *)p->ranges), p->a.lines, p->a.length,
                p->b.lines, p->b.length, 0, 0);
}

static void make_pairs(const void *arguments)
{
    const struct operand *p = arguments;
    split_pairs(GIVE(p->x), ABSENT, GIVE(of_pairs->ranges), GIVE(p->pairs), p->lines, p->length,
                p->stride, PLANES, 0, 0, p->slot);
}

static void multiply_pairs(const void *arguments)
{
    const struct call *p = arguments;
    mma_gemm(GIVE(p->a.pairs), GIVE(p->b.pairs), GIVE(p->c), ABSENT, ABSENT, ABSENT, ABSENT, ABSENT,
             GIVE(p->ranges), p->M, p->N, p->K, p->K, p->a.stride, p->b.stride, 0, 0, 0, 0, 1, 0);
}

static void multiply_floats(const void *arguments)
{
    const struct call *p = arguments;
    tiled_gemm(GIVE(p->a.x), GIVE(p->b.x), GIVE(p->c), ABSENT, ABSENT, ABSENT, ABSENT, ABSENT, p->M,
               p->N, p->K, p->K, 0, 0, 0, 0, 1, 0, GIVE(p->ranges));
}

static struct operand operand_of(const float *x, unsigned lines, unsigned length, unsigned slot)
{
    const unsigned stride = (length + 7) / 8 * 8;
    return (struct operand){x,      lines, length,
                            stride, slot,  allocate((size_t)PLANES * lines * stride * 2)};
}

static size_t blocks_of(const struct operand *operand)
{
    return (size_t)((operand->lines + 31) / 32) * ((operand->length + 127) / 128);
}

/* True where pairs made it. */
static bool run(struct call *call)
{
    const size_t tiles = (size_t)((call->M + TILE - 1) / TILE) * ((call->N + TILE - 1) / TILE);
    of_pairs = call;
    run_groups(find_ranges, call, 256, (size_t[]){blocks_of(&call->a) + blocks_of(&call->b), 1, 1});
    run_groups(make_pairs, &call->a, call->a.stride / 8, (size_t[]){1, call->a.lines, 1});
    run_groups(make_pairs, &call->b, call->b.stride / 8, (size_t[]){1, call->b.lines, 1});
    run_groups(multiply_pairs, call, MMA_ITEMS, (size_t[]){tiles, 1, 1});
    const bool made = !isnan(call->c[0]);
    run_groups(multiply_floats, call, TILE / ITEM * (TILE / ITEM), (size_t[]){tiles, 1, 1});
    return made;
}

/* To the 11 bits that tf32 holds. */
static void round_all(struct numbers *n)
{
    int power;
    for (size_t i = 0; i < n->count; i++) {
        const double fraction = frexp(n->exact[i], &power);
        n->exact[i] = ldexp(rint(ldexp(fraction, 11)), power - 11);
    }
}

static void check_product(const struct call *call, const struct numbers *a, const struct numbers *b,
                          double bound)
{
    const size_t count = (size_t)call->M * call->N;
    double *want = allocate(count * sizeof(*want));
    reference_gemm(&(struct reference_gemm){.M = call->M,
                                            .N = call->N,
                                            .K = call->K,
                                            .transpose_a = TRANSPOSE_A,
                                            .transpose_b = TRANSPOSE_B,
                                            .a = a->exact,
                                            .b = b->exact},
                   want);
    compare("C", call->c, true, want, count, bound);
    free(want);
}

/* Large k of A meet small k of B, `bits` apart. */
static void spread(struct numbers *a, struct numbers *b, const struct call *call, int bits)
{
    for (unsigned k = 0; k < call->K; k++) {
        const int power = bits * (int)k / (int)call->K - bits / 2;
        for (unsigned m = 0; m < call->M; m++) {
            const size_t i = TRANSPOSE_A ? k * call->M + m : m * call->K + k;
            a->exact[i] = a->kernel[i] = (float)ldexp(a->exact[i], power);
        }
        for (unsigned n = 0; n < call->N; n++) {
            const size_t i = TRANSPOSE_B ? n * call->K + k : k * call->N + n;
            b->exact[i] = b->kernel[i] = (float)ldexp(b->exact[i], -power);
        }
    }
}

static void check(unsigned M, unsigned N, unsigned K, int bits)
{
    struct numbers a = some_numbers((size_t)M * K), b = some_numbers((size_t)N * K);
    struct call call = {.M = M, .N = N, .K = K, .c = allocate((size_t)M * N * sizeof(float))};
    call.a = operand_of(a.kernel, TRANSPOSE_A ? K : M, TRANSPOSE_A ? M : K, 0);
    call.b = operand_of(b.kernel, TRANSPOSE_B ? N : K, TRANSPOSE_B ? K : N, 1);
    spread(&a, &b, &call, bits);
    const bool by_pairs = run(&call);
    if (by_pairs != (bits < 16))
        failures++, printf("FAILED: %d bits apart, %s pairs\n", bits, by_pairs ? "by" : "not by");
    if (by_pairs && TERMS == 1) round_all(&a), round_all(&b);
    check_product(&call, &a, &b, by_pairs && TERMS == 1 ? 5e-6 : 5e-7);
    release(&a), release(&b);
    free(call.a.pairs), free(call.b.pairs), free(call.c);
}

int main(void)
{
    static const int apart[] = {0, 14, 40};
    for (size_t i = 0; i < sizeof(apart) / sizeof(apart[0]); i++) {
        check(72, 136, 328, apart[i]);
        if (!VECTOR) check(67, 70, 37, apart[i]);
    }
    return failures > 0;
}
