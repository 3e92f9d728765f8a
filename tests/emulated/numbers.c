/* SPDX-License-Identifier: MIT */
#include "numbers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

storage stored(double x)
{
#if STORAGE == 2
    const float single = (float)x;
    uint32_t bits;
    memcpy(&bits, &single, sizeof(bits));
    return isnan(x) ? 0x7FC0 : (storage)((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
#else
    return (storage)x;
#endif
}

double value_of(storage x)
{
#if STORAGE == 2
    const uint32_t bits = (uint32_t)x << 16;
    float y;
    memcpy(&y, &bits, sizeof(y));
    return y;
#else
    return (double)x;
#endif
}

double uniform(void)
{
    static uint64_t state = 0x9E3779B97F4A7C15u;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (double)(state >> 11) / (double)((uint64_t)1 << 53);
}

void *allocate(size_t bytes)
{
    void *p = aligned_alloc(256, (bytes + 511) / 256 * 256);
    if (!p) exit(1);
    memset(p, 0xFF, (bytes + 511) / 256 * 256); /* NaN of every type */
    return p;
}

struct numbers some_numbers(size_t count)
{
    struct numbers n = {count, allocate(count * sizeof(storage)), allocate(count * sizeof(double))};
    for (size_t i = 0; i < count; i++) {
        n.kernel[i] = stored(2.4 * (uniform() + uniform() + uniform()) - 3.6);
        n.exact[i] = value_of(n.kernel[i]);
    }
    return n;
}

void release(struct numbers *n)
{
    free(n->kernel), free(n->exact);
}

int failures;

void compare(const char *what, const void *have, bool floats, const double *want, size_t count,
             double bound)
{
    double off = 0, all = 0;
    for (size_t i = 0; i < count; i++) {
        const double x =
            floats ? (double)((const float *)have)[i] : value_of(((const storage *)have)[i]);
        off += pow(x - want[i], 2);
        all += pow(want[i], 2);
    }
    /* What is 0 is so because terms, some tens, cancel. */
    const double error = all > 0 ? sqrt(off / all) : sqrt(off) / 10;
    if (error < bound) return;
    printf("FAILED %s is off by %.2g, more than %.2g\n", what, error, bound);
    failures++;
}
