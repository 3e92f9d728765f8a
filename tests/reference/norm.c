/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <math.h>

void reference_rms_norm_forward(const double *x, const double *gamma, double *y, double *scale,
                                size_t rows, size_t D)
{
    for (size_t r = 0; r < rows; r++, x += D, y += D) {
        double squares = 0;
        for (size_t d = 0; d < D; d++) squares += x[d] * x[d];
        const double norm = sqrt(squares), s = sqrt((double)D) / (norm < 1e-12 ? 1e-12 : norm);
        for (size_t d = 0; d < D; d++) y[d] = x[d] * s * gamma[d];
        if (scale) scale[r] = s;
    }
}

void reference_layer_norm_forward(const double *x, const double *weight, const double *bias,
                                  double *y, double *mean, double *scale, size_t rows, size_t D)
{
    for (size_t r = 0; r < rows; r++, x += D, y += D) {
        double m = 0, variance = 0;
        for (size_t d = 0; d < D; d++) m += x[d] / (double)D;
        for (size_t d = 0; d < D; d++) variance += (x[d] - m) * (x[d] - m) / (double)D;
        const double s = 1 / sqrt(variance + 1e-5);
        for (size_t d = 0; d < D; d++) y[d] = (x[d] - m) * s * weight[d] + bias[d];
        if (mean) mean[r] = m;
        if (scale) scale[r] = s;
    }
}
