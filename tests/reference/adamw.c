/* SPDX-License-Identifier: MIT */
#include <math.h>

#include "reference/reference.h"

void reference_adamw(const struct reference_adamw *o, const double *gradient, double *weight,
                     double *m, double *v, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        m[i] = o->beta1 * m[i] + (1 - o->beta1) * gradient[i];
        v[i] = o->beta2 * v[i] + (1 - o->beta2) * gradient[i] * gradient[i];
        const double mean = m[i] / (1 - pow(o->beta1, (double)o->step));
        const double square = v[i] / (1 - pow(o->beta2, (double)o->step));
        weight[i] -= o->learning_rate * o->decay * weight[i];
        weight[i] -= o->learning_rate * mean / (sqrt(square) + o->eps);
    }
}
