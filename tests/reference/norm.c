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

void reference_rms_norm_backward(const double *x, const double *gamma, const double *dy, double *dx,
                                 double *dgamma, size_t rows, size_t D)
{
    for (size_t r = 0; r < rows; r++, x += D, dy += D, dx += D) {
        double squares = 0, dot = 0;
        for (size_t d = 0; d < D; d++) squares += x[d] * x[d];
        for (size_t d = 0; d < D; d++) dot += gamma[d] * dy[d] * x[d];
        const double norm = sqrt(squares), s = sqrt((double)D) / (norm < 1e-12 ? 1e-12 : norm);
        for (size_t d = 0; d < D; d++) {
            dx[d] = s * gamma[d] * dy[d];
            if (norm >= 1e-12) dx[d] -= s * x[d] * dot / squares;
            dgamma[d] += dy[d] * x[d] * s;
        }
    }
}

/* dx = J g with g = weight · dy and J = scale · (1 - 1 1ᵀ/D - z zᵀ/D). */
void reference_layer_norm_backward(const double *x, const double *weight, const double *dy,
                                   double *dx, double *dweight, double *dbias, size_t rows,
                                   size_t D)
{
    for (size_t r = 0; r < rows; r++, x += D, dy += D, dx += D) {
        double m = 0, variance = 0, mean_g = 0, mean_gz = 0;
        for (size_t d = 0; d < D; d++) m += x[d] / (double)D;
        for (size_t d = 0; d < D; d++) variance += (x[d] - m) * (x[d] - m) / (double)D;
        const double s = 1 / sqrt(variance + 1e-5);
        for (size_t d = 0; d < D; d++) {
            mean_g += weight[d] * dy[d] / (double)D;
            mean_gz += weight[d] * dy[d] * (x[d] - m) * s / (double)D;
        }
        for (size_t d = 0; d < D; d++) {
            const double z = (x[d] - m) * s;
            dx[d] = s * (weight[d] * dy[d] - mean_g - z * mean_gz);
            dweight[d] += dy[d] * z;
            dbias[d] += dy[d];
        }
    }
}
