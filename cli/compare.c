/* SPDX-License-Identifier: MIT */
#include "compare.h"

#include <math.h>

static double off_of(float have, float want)
{
    if (isnan(have) && isnan(want)) return 0;
    if (have == want) return 0;
    const double off = fabs((double)have - (double)want);
    return isnan(off) ? INFINITY : off;
}

struct difference compare_rows(const float *have, const float *want, const uint8_t *valid,
                               size_t rows, size_t width)
{
    struct difference result = {.error = 0};
    double off_sum = 0, want_sum = 0, worst = -1;
    for (size_t row = 0; row < rows; row++) {
        if (valid && !valid[row]) continue;
        double row_off = 0, row_want = 0;
        for (size_t i = row * width; i < (row + 1) * width; i++) {
            const double off = off_of(have[i], want[i]);
            row_off += off * off;
            row_want += isnan(want[i]) ? 0 : (double)want[i] * want[i];
            if (off > worst) {
                worst = off;
                result.worst = i;
            }
        }
        if (row_off > 0.01 * row_want) result.rows_off++;
        off_sum += row_off;
        want_sum += row_want;
    }
    result.norm = sqrt(want_sum);
    result.error = want_sum > 0 ? sqrt(off_sum / want_sum) : sqrt(off_sum);
    if (worst >= 0) {
        result.have = have[result.worst];
        result.want = want[result.worst];
    }
    return result;
}
