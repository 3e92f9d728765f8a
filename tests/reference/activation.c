/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <math.h>

void reference_gelu_forward(const double *x, double *y, size_t count)
{
    for (size_t i = 0; i < count; i++) y[i] = 0.5 * x[i] * (1 + erf(x[i] / sqrt(2.0)));
}
