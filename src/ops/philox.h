/* SPDX-License-Identifier: MIT */
/*
 * Random numbers on the host: Philox4x32-10, the twin of the functions of that name in
 * kernels/philox.cl (SPEC section 2, "Random numbers"). A pure function of key and counter.
 */
#ifndef COLT5_OPS_PHILOX_H
#define COLT5_OPS_PHILOX_H

#include <stddef.h>
#include <stdint.h>

/* The four output words of a counter; words may be counter. */
void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

/* The number inside (0, 1) of a counter (token, slot, row, stream): ((w >> 9) + 0.5) · 2^-23. */
float philox_uniform(uint64_t seed, uint32_t token, uint32_t slot, uint32_t row, uint32_t stream);

/*
 * Initial values of parameter number `slot` of a model. Values 4i … 4i + 3 come from the words
 * w0 … w3 of the counter (i mod 2^32, slot, i div 2^32, stream 3), computed in double, then
 * rounded:
 *
 *     uniform   low + (high - low) · ((w >> 9) + 0.5) · 2^-23
 *     normal    r cos φ, r sin φ of (w0, w1), then of (w2, w3), by Box and Muller:
 *               r = sqrt(-2 log((w0 + 0.5) · 2^-32)),  φ = 2π (w1 + 0.5) · 2^-32
 */
void philox_fill_uniform(uint64_t seed, uint32_t slot, double low, double high, float *values,
                         size_t count);
void philox_fill_normal(uint64_t seed, uint32_t slot, float *values, size_t count);

#endif
