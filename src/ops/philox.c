/* SPDX-License-Identifier: MIT */
#include "ops/philox.h"

#include <math.h>

#include <colt5/ops/random.h>

void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4])
{
    uint32_t x = counter[0], y = counter[1], z = counter[2], w = counter[3];
    uint32_t key_low = key[0], key_high = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t product_x = (uint64_t)0xD2511F53u * x, product_z = (uint64_t)0xCD9E8D57u * z;
        x = (uint32_t)(product_z >> 32) ^ y ^ key_low;
        y = (uint32_t)product_z;
        z = (uint32_t)(product_x >> 32) ^ w ^ key_high;
        w = (uint32_t)product_x;
        key_low += 0x9E3779B9u;
        key_high += 0xBB67AE85u;
    }
    words[0] = x;
    words[1] = y;
    words[2] = z;
    words[3] = w;
}

static void block(uint64_t seed, const uint32_t counter[4], uint32_t words[4])
{
    const uint32_t key[] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    philox(counter, key, words);
}

static double uniform(uint32_t word)
{
    return ((word >> 9) + 0.5) * 0x1p-23;
}

float philox_uniform(uint64_t seed, uint32_t token, uint32_t slot, uint32_t row, uint32_t stream)
{
    uint32_t words[4];
    block(seed, (const uint32_t[]){token, slot, row, stream}, words);
    return (float)uniform(words[0]);
}

static void initial_block(uint64_t seed, uint32_t slot, uint64_t i, uint32_t words[4])
{
    block(seed,
          (const uint32_t[]){(uint32_t)i, slot, (uint32_t)(i >> 32), COLT5_STREAM_INITIAL_VALUES},
          words);
}

void philox_fill_uniform(uint64_t seed, uint32_t slot, double low, double high, float *values,
                         size_t count)
{
    uint32_t words[4] = {0};
    for (size_t i = 0; i < count; i++) {
        if (i % 4 == 0) initial_block(seed, slot, i / 4, words);
        values[i] = (float)(low + (high - low) * uniform(words[i % 4]));
    }
}

void philox_fill_normal(uint64_t seed, uint32_t slot, float *values, size_t count)
{
    const double two_pi = 6.283185307179586;
    uint32_t words[4] = {0};
    for (size_t i = 0; i < count; i++) {
        if (i % 4 == 0) initial_block(seed, slot, i / 4, words);
        const uint32_t *pair = words + (i % 4 & 2u);
        const double radius = sqrt(-2 * log((pair[0] + 0.5) * 0x1p-32));
        const double angle = two_pi * (pair[1] + 0.5) * 0x1p-32;
        values[i] = (float)(radius * (i % 2 ? sin(angle) : cos(angle)));
    }
}
