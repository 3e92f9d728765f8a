// SPDX-License-Identifier: MIT
// What the products of tiles have in common (tiled_gemm, mma_gemm, split): elements by four, the
// order of the tiles, what becomes of a sum.
//
// Defines: STORAGE; C_F32 as in common.cl; VECTOR 1 where four neighbours of an operand may be read
// at once.

#ifndef BAND
    #define BAND 8 // tiles along M that share columns of B while these are in the cache
#endif

inline float4 floats_of_halves(uint2 x) { return vload_half4(0, (const half *)&x); }
inline uint2 halves_of(float4 x)
{
    uint2 bits;
    vstore_half4_rte(x, 0, (half *)&bits);
    return bits;
}

// Four elements at once, as they lie in memory (two words for 16-bit types: half the registers); i
// and the buffer's address are multiples of four elements.
#if STORAGE == 0
typedef float4 storage4;
inline float4 floats_of(float4 x) { return x; }
inline float4 storage_of(float4 x) { return x; }
#elif STORAGE == 1
typedef uint2 storage4;
    #define floats_of  floats_of_halves
    #define storage_of halves_of
#else
typedef uint2 storage4;
inline float4 floats_of(uint2 x)
{
#ifdef __ENDIAN_LITTLE__
    return as_float4((uint4)(x.x << 16, x.x & 0xFFFF0000u, x.y << 16, x.y & 0xFFFF0000u));
#else
    return as_float4(convert_uint4(as_ushort4(x)) << 16);
#endif
}
inline uint2 storage_of(float4 x)
{
    return as_uint2((ushort4)(float_to_bf16(x.x), float_to_bf16(x.y), float_to_bf16(x.z),
                              float_to_bf16(x.w)));
}
#endif

#if C_F32
typedef float4 c_storage4;
    #define floats_of_c(x)  (x)
    #define c_storage_of(x) (x)
#else
typedef storage4 c_storage4;
    #define floats_of_c     floats_of
    #define c_storage_of    storage_of
#endif

GELU_FUNCTIONS(float4, gelu4, gelu4_slope)
RESIDUAL_FUNCTION(float4, with_residual, gelu4_slope)

// Sums in registers live only in a body that is inlined.
#define inlined inline __attribute__((always_inline))

// Elements i … i+3 of a line one by one, zeros from end on.
inlined float4 four_of(__global const storage *line, uint i, uint end)
{
    return (float4)(i < end ? load_storage(line, i) : 0.0f,
                    i + 1 < end ? load_storage(line, i + 1) : 0.0f,
                    i + 2 < end ? load_storage(line, i + 2) : 0.0f,
                    i + 3 < end ? load_storage(line, i + 3) : 0.0f);
}

// Elements i … i+3 of a line of an operand, zeros from end on; with VECTOR they may be read at once.
inlined storage4 four(__global const storage *line, uint i, uint end)
{
#if VECTOR
    return i < end ? *(__global const storage4 *)(line + i) : (storage4)(0);
#else
    return storage_of(four_of(line, i, end));
#endif
}

// Float32 products from pairs of f16 (split.cl, convert_operand.cl): whether pairs hold what was looked
// at. Of that there are the bits of the largest magnitude, and of the least among the largest of its
// runs of 32 neighbours. With the largest brought to 2^14 a pair, rounded twice to 11 bits, is off by 2^-23 of its
// number at most, or, where the low part is subnormal, by 2^-25, which is about the last digit that float32 has
// of the largest of its run. The high part alone is the number rounded to 11 bits, as tf32 has it, or, below 2^-14,
// off by 2^-25 at most.
inlined bool pairs_hold_range(uint largest, uint least)
{
    return largest == 0 ||
           (largest >= 67u << 23 && largest < 187u << 23 && least + (16u << 23) >= largest);
}

// Of both operands of a product, ranges being the largest and the complement of the least of each.
inlined bool pairs_hold(__global const int *ranges)
{
    return pairs_hold_range((uint)ranges[0], ~(uint)ranges[1]) &&
           pairs_hold_range((uint)ranges[2], ~(uint)ranges[3]);
}

// 2^e that brings the largest magnitude, given by its bits, to 2^14 … 2^15, for sign 1; 2^-e for -1.
inlined float scale_of_largest(int largest, int sign)
{
    return largest == 0 ? 1.0f : as_float((uint)(127 + sign * (141 - (largest >> 23))) << 23);
}

// Of operand i.
inlined float pair_scale(__global const int *ranges, uint i, int sign)
{
    return scale_of_largest(ranges[2 * i], sign);
}

// The tile that a work-group makes, along M and along N: BAND tiles of M, then the next columns.
inlined uint2 tile_of_group(uint group, uint tiles_m, uint tiles_n)
{
    const uint band = group / (BAND * tiles_n), in_band = group - band * BAND * tiles_n;
    const uint height = min(tiles_m - band * BAND, (uint)BAND), along_n = in_band / height;
    return (uint2)(band * BAND + in_band - along_n * height, along_n);
}

// Columns n … n+3 of a row of C or of its residual, of N.
inlined float4 c_four(__global const c_storage *row, uint n, uint N, bool wide)
{
    if (wide) return floats_of_c(*(__global const c_storage4 *)(row + n));
    return (float4)(n < N ? load_c_storage(row, n) : 0.0f, n + 1 < N ? load_c_storage(row, n + 1) : 0.0f,
                    n + 2 < N ? load_c_storage(row, n + 2) : 0.0f,
                    n + 3 < N ? load_c_storage(row, n + 3) : 0.0f);
}

// They are stored.
inlined void put_c_four(__global c_storage *row, uint n, uint N, bool wide, float4 value)
{
    if (wide) {
        *(__global c_storage4 *)(row + n) = c_storage_of(value);
        return;
    }
    const float values[4] = {value.x, value.y, value.z, value.w};
#pragma unroll
    for (uint j = 0; j < 4; j++)
        if (n + j < N) store_c_storage(row, n + j, values[j]);
}
