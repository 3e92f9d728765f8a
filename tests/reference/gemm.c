/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

/* The row that entry r of an index names, among samples of `rows` each; -1: outside. */
static long named_row(const int *index, size_t r, size_t per_sample, size_t rows)
{
    if (!index) return (long)r;
    if (index[r] < 0 || (size_t)index[r] >= rows) return -1;
    return (long)(r / per_sample * rows) + index[r];
}

static double product(const struct reference_gemm *p, long row, size_t n)
{
    double sum = 0;
    for (size_t k = 0; k < p->K && row >= 0; k++)
        sum += p->a[p->transpose_a ? k * p->M + (size_t)row : (size_t)row * p->K + k] *
               p->b[p->transpose_b ? n * p->K + k : k * p->N + n];
    return sum;
}

void reference_gemm(const struct reference_gemm *p, double *c)
{
    for (size_t m = 0; m < p->M; m++) {
        const long from = named_row(p->index, m, p->index_rows, p->a_rows);
        const long to = named_row(p->scatter, m, p->scatter_rows, p->c_rows);
        for (size_t n = 0; n < p->N && to >= 0; n++) {
            const size_t i = (size_t)to * p->N + n;
            double value = (p->alpha != 0 ? p->alpha : 1) * product(p, from, n);
            if (p->bias) value += p->bias[n];
            if (p->gelu) reference_gelu_forward(&value, &value, 1);
            if (p->row_scale) value *= p->row_scale[m];
            if (p->residual) value += p->residual[i];
            c[i] = value;
        }
    }
}
