// SPDX-License-Identifier: MIT
// What the Sinkhorn kernels begin with: TOKENS floats at a time (-D TOKENS: 1 or 4, or 16 for CPUs),
// the last time of a row fewer, and Gumbel noise for as many tokens. OF(uint) is what uint is called
// for that many: uint, uint4 or uint16.

#ifndef TOKENS
    #define TOKENS 1
#endif

// Sums of noise and potentials are large, their exponentials sum to 1: a sum made again must be the
// same, in whatever kernel.
#pragma OPENCL FP_CONTRACT OFF

#if TOKENS == 1
    #define OF(name)       name
    #define get_some(x)    (*(x))
    #define put_some(v, x) (*(x) = (v))
    #define LANE_NUMBERS   0u
#else
    #define OF(name)       OF_(name, TOKENS)
    #define OF_(a, b)      OF__(a, b)
    #define OF__(a, b)     a##b
    #define get_some(x)    OF(vload)(0, x)
    #define put_some(v, x) OF(vstore)(v, 0, x)
    #if TOKENS == 4
        #define LANE_NUMBERS (uint4)(0, 1, 2, 3)
    #else
        #define LANE_NUMBERS (uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
    #endif
#endif

typedef OF(float) floats;
typedef OF(uint) uints;

inline floats load_some(__global const float *x, size_t count, float filling)
{
    if (count >= TOKENS) return get_some(x);
    float v[TOKENS];
    for (size_t i = 0; i < TOKENS; i++) v[i] = i < count ? x[i] : filling;
    return get_some(v);
}

inline void store_some(__global float *x, floats value, size_t count)
{
    float v[TOKENS];
    put_some(value, v);
    for (size_t i = 0; i < min(count, (size_t)TOKENS); i++) x[i] = v[i];
}

inline float sum_some(floats value)
{
    float v[TOKENS];
    put_some(value, v);
    for (size_t step = TOKENS / 2; step > 0; step /= 2)
        for (size_t i = 0; i < step; i++) v[i] += v[i + step];
    return v[0];
}

inline float max_some(floats value)
{
    float v[TOKENS];
    put_some(value, v);
    for (size_t i = 1; i < TOKENS; i++) v[0] = fmax(v[0], v[i]);
    return v[0];
}

// Products of 64 bits: CPUs do these side by side, but not mul_hi.
inline uints high_product(uints a, uint b)
{
    return OF(convert_uint)((OF(convert_ulong)(a) * (ulong)b) >> 32);
}

// Philox (common.cl) of the counter (token, slot, row, 1), in parts, since its first rounds mix little:
// what the third round takes of the tokens alone, and of the slot alone.
#define PHILOX_X 0xD2511F53u
#define PHILOX_Z 0xCD9E8D57u
#define KEY_X(seed, round) ((uint)(seed) + (round) * 0x9E3779B9u)
#define KEY_Z(seed, round) ((uint)((seed) >> 32) + (round) * 0xBB67AE85u)

typedef struct {
    uints z, y, next_z, next_w;
} token_words;

inline token_words words_of_tokens(ulong seed, size_t n, uint row)
{
    const uints token = (uint)n + LANE_NUMBERS;
    const uints z = high_product(token, PHILOX_X) ^ 1u ^ KEY_Z(seed, 0);
    const uints x = high_product(z, PHILOX_Z) ^ (PHILOX_Z * row) ^ KEY_X(seed, 1);
    token_words words;
    words.z = (PHILOX_X * token) ^ KEY_Z(seed, 1);
    words.y = (PHILOX_Z * z) ^ KEY_X(seed, 2);
    words.next_z = high_product(x, PHILOX_X) ^ KEY_Z(seed, 2);
    words.next_w = PHILOX_X * x;
    return words;
}

inline uint2 words_of_slot(ulong seed, uint slot, uint row)
{
    const uint x = mul_hi(PHILOX_Z, row) ^ slot ^ KEY_X(seed, 0);
    return (uint2)(mul_hi(PHILOX_X, x), PHILOX_X * x);
}

// -log(-log u), u = philox_uniform(seed, n …, slot, row, 1) of the words of n and slot.
inline floats gumbel_of(ulong seed, token_words token, uint2 slot)
{
    uints z = slot.x ^ token.z;
    uints x = high_product(z, PHILOX_Z) ^ token.y, y = PHILOX_Z * z, w = token.next_w;
    z = token.next_z ^ slot.y;
    for (int round = 3; round < 9; round++) {
        const uints low_x = PHILOX_X * x, high_x = high_product(x, PHILOX_X);
        const uints low_z = PHILOX_Z * z, high_z = high_product(z, PHILOX_Z);
        x = high_z ^ y ^ KEY_X(seed, round);
        y = low_z;
        z = high_x ^ w ^ KEY_Z(seed, round);
        w = low_x;
    }
    x = high_product(z, PHILOX_Z) ^ y ^ KEY_X(seed, 9);
    return -log(-log((OF(convert_float)(x >> 9) + 0.5f) * 0x1p-23f));
}

// q: the noise over the temperature.
inline floats noise(ulong seed, size_t n, uint slot, uint row, float temperature)
{
    const uint2 of_slot = words_of_slot(seed, slot, row);
    return gumbel_of(seed, words_of_tokens(seed, n, row), of_slot) * (1.0f / temperature);
}
