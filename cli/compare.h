/* SPDX-License-Identifier: MIT */
/* Comparing a result with an expected one, rows of masked tokens left out. */
#ifndef CLI_COMPARE_H
#define CLI_COMPARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct difference {
    double error; /* ‖have - want‖ / ‖want‖; infinite where one is NaN and the other is not */
    double norm;       /* ‖want‖; where it is 0, error is ‖have‖ */
    size_t worst;      /* the element farthest off */
    double have, want; /* there */
    size_t rows_off;   /* rows whose own error passes 0.1: routed differently, most likely */
};

/* rows·width values; valid[row] is 0 for rows that do not count, NULL: all count. */
struct difference compare_rows(const float *have, const float *want, const uint8_t *valid,
                               size_t rows, size_t width);

#endif
