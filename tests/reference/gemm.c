/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <stdlib.h>

/* At least a byte; a test without memory has failed. */
static double *allocate(size_t bytes)
{
    double *memory = malloc(bytes + 1);
    if (!memory) abort();
    return memory;
}

/* The row that entry r of an index names, among samples of `rows` each; -1: outside. */
static long named_row(const int *index, size_t r, size_t per_sample, size_t rows)
{
    if (!index) return (long)r;
    if (index[r] < 0 || (size_t)index[r] >= rows) return -1;
    return (long)(r / per_sample * rows) + index[r];
}

/* Row `row` of op(A), or of op(B)ᵀ, of which `count` are next to each other where by_k. */
static void copy_line(const double *x, bool by_k, size_t row, size_t count, size_t K, double *line)
{
    for (size_t k = 0; k < K; k++) line[k] = by_k ? x[row * K + k] : x[k * count + row];
}

/* In four sums, which a processor adds to side by side. */
static double product(const double *a, const double *b, size_t K)
{
    double sums[4] = {0};
    for (size_t k = 0; k < K; k++) sums[k % 4] += a[k] * b[k];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

void reference_gemm(const struct reference_gemm *p, double *c)
{
    const size_t K = p->K;
    double *a = allocate(K * sizeof(*a)), *b = allocate(p->N * K * sizeof(*b));
    for (size_t n = 0; n < p->N; n++) copy_line(p->b, p->transpose_b, n, p->N, K, b + n * K);
    for (size_t m = 0; m < p->M; m++) {
        const long from = named_row(p->index, m, p->index_rows, p->a_rows);
        const long to = named_row(p->scatter, m, p->scatter_rows, p->c_rows);
        for (size_t k = 0; k < K; k++) a[k] = 0;
        if (from >= 0) copy_line(p->a, !p->transpose_a, (size_t)from, p->M, K, a);
        for (size_t n = 0; n < p->N && to >= 0; n++) {
            const size_t i = (size_t)to * p->N + n;
            double value = (p->alpha != 0 ? p->alpha : 1) * product(a, b + n * K, K);
            if (p->row_scale && p->scale_first) value *= p->row_scale[m];
            if (p->bias) value += p->bias[n];
            if (p->gelu) reference_gelu_forward(&value, &value, 1);
            if (p->row_scale && !p->scale_first) value *= p->row_scale[m];
            if (p->residual) value += p->residual[i];
            if (p->gelu_input) reference_gelu_backward(&p->gelu_input[i], &value, &value, 1);
            c[i] = value;
        }
    }
    free(a), free(b);
}
