/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <math.h>

static double gelu(double x)
{
    return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
}

static double dot(const double *x, const double *weight, size_t I)
{
    double sum = 0;
    for (size_t i = 0; i < I; i++) sum += x[i] * weight[i];
    return sum;
}

void reference_linear(const double *x, const double *weight, const struct reference_linear *with,
                      double *y, size_t rows, size_t I, size_t O)
{
    for (size_t r = 0; r < rows; r++) {
        const size_t sample = with->rows_per_sample ? r / with->rows_per_sample : 0;
        size_t from = r, to = r;
        int picked = 1;
        if (with->index) {
            picked = with->index[r] >= 0 && (size_t)with->index[r] < with->x_rows;
            from = sample * with->x_rows + (size_t)with->index[r];
        }
        if (with->scatter) {
            if (with->scatter[r] < 0 || (size_t)with->scatter[r] >= with->y_rows) continue;
            to = sample * with->y_rows + (size_t)with->scatter[r];
        }
        for (size_t o = 0; o < O; o++) {
            double value = picked ? dot(x + from * I, weight + o * I, I) : 0;
            value *= with->scale != 0 ? with->scale : 1;
            if (with->bias) value += with->bias[o];
            if (with->gelu) value = gelu(value);
            if (with->row_scale) value *= with->row_scale[r];
            if (with->residual) value += with->residual[to * O + o];
            y[to * O + o] = value;
        }
    }
}
