/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <math.h>

void reference_gelu_forward(const double *x, double *y, size_t count)
{
    for (size_t i = 0; i < count; i++) y[i] = 0.5 * x[i] * (1 + erf(x[i] / sqrt(2.0)));
}

void reference_gelu_backward(const double *x, const double *dy, double *dx, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const double below = 0.5 * (1 + erf(x[i] / sqrt(2.0)));
        const double density = exp(-0.5 * x[i] * x[i]) / sqrt(2 * 3.14159265358979324);
        dx[i] = dy[i] * (below + x[i] * density);
    }
}
