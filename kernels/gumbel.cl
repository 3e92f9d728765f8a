// SPDX-License-Identifier: MIT
// What the Sinkhorn kernels begin with: TOKENS floats at a time (-D TOKENS: 1, or 16 for CPUs), the
// last time of a row fewer, and Gumbel noise for as many tokens. OF(uint) is what uint is called
// for that many: uint or uint16.

#ifndef TOKENS
    #define TOKENS 1
#endif

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
    #define LANE_NUMBERS   (uint16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
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

// -log(-log u), u = philox_uniform(seed, n …, slot, row, 1).
inline floats gumbel(ulong seed, size_t n, uint slot, uint row)
{
    uints x = (uint)n + LANE_NUMBERS, y = slot, z = row, w = 1u;
    uint2 key = (uint2)((uint)seed, (uint)(seed >> 32));
    for (int round = 0; round < 10; round++) {
        const uints low_x = 0xD2511F53u * x, high_x = high_product(x, 0xD2511F53u);
        const uints low_z = 0xCD9E8D57u * z, high_z = high_product(z, 0xCD9E8D57u);
        x = high_z ^ y ^ key.x;
        y = low_z;
        z = high_x ^ w ^ key.y;
        w = low_x;
        key += (uint2)(0x9E3779B9u, 0xBB67AE85u);
    }
    return -log(-log((OF(convert_float)(x >> 9) + 0.5f) * 0x1p-23f));
}
