/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

void reference_linear_backward(const double *x, const double *weight, const double *dy,
                               double scale, double *dx, double *dweight, double *dbias,
                               size_t rows, size_t I, size_t O)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < I; i++) {
            dx[r * I + i] = 0;
            for (size_t o = 0; o < O; o++)
                dx[r * I + i] += scale * dy[r * O + o] * weight[o * I + i];
        }
    for (size_t r = 0; r < rows; r++)
        for (size_t o = 0; o < O; o++) {
            for (size_t i = 0; i < I; i++)
                dweight[o * I + i] += scale * dy[r * O + o] * x[r * I + i];
            dbias[o] += dy[r * O + o];
        }
}
