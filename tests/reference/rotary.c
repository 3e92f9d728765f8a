/* SPDX-License-Identifier: MIT */
#include "reference/reference.h"

#include <math.h>

static void turn(double *t, double position, double theta, size_t E)
{
    for (size_t i = 0; i < E / 2; i++) {
        const double angle = position * pow(theta, -2.0 * (double)i / (double)E);
        const double t1 = t[i], t2 = t[i + E / 2];
        t[i] = t1 * cos(angle) - t2 * sin(angle);
        t[i + E / 2] = t2 * cos(angle) + t1 * sin(angle);
    }
}

void reference_rotary(double *x, const int *positions, size_t first_position, double theta,
                      size_t first_head, size_t heads, size_t head_step, bool inverse, size_t B,
                      size_t N, size_t H, size_t E)
{
    for (size_t row = 0; row < B * N; row++)
        for (size_t i = 0; i < heads; i++) {
            const double position = positions ? positions[row] : (double)(first_position + row % N);
            turn(x + (row * H + first_head + i * head_step) * E, inverse ? -position : position,
                 theta, E);
        }
}
