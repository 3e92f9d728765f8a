// SPDX-License-Identifier: MIT
// What every kernel file begins with: arguments, storage types, reductions.
//
// The host builds a file as this one followed by the file, with -D STORAGE=0|1|2 (f32, f16, bf16)
// where the file uses IN or OUT. Arithmetic is float; 16-bit types are storage only.
//
// A tensor argument is two kernel arguments, its buffer and its offset in elements. An absent
// tensor has the offset ABSENT and must not be read.

#ifndef STORAGE
    #define STORAGE 0
#endif

#if STORAGE == 0
typedef float storage;
#elif STORAGE == 1
typedef half storage;
#else
typedef ushort storage;
#endif

#define ABSENT        0xFFFFFFFFFFFFFFFFul
#define present(x)    (x##_offset != ABSENT)

#define IN(x)         __global const storage *restrict x##_buffer, const ulong x##_offset
#define OUT(x)        __global storage *restrict x##_buffer, const ulong x##_offset
#define INOUT(x)      __global storage *x##_buffer, const ulong x##_offset
#define IN_F32(x)     __global const float *restrict x##_buffer, const ulong x##_offset
#define OUT_F32(x)    __global float *restrict x##_buffer, const ulong x##_offset
#define INOUT_F32(x)  __global float *x##_buffer, const ulong x##_offset
#define IN_I32(x)     __global const int *restrict x##_buffer, const ulong x##_offset
#define OUT_I32(x)    __global int *restrict x##_buffer, const ulong x##_offset
#define IN_U8(x)      __global const uchar *restrict x##_buffer, const ulong x##_offset
#define OUT_U8(x)     __global uchar *restrict x##_buffer, const ulong x##_offset
#define INOUT_U8(x)   __global uchar *x##_buffer, const ulong x##_offset

// Element i of a tensor of floats, ints or bytes, as it lies in memory.
#define at(x, i)      x##_buffer[x##_offset + (i)]

// Element i of a storage tensor, as float.
#define load(x, i)     load_storage(x##_buffer, x##_offset + (i))
#define store(x, i, v) store_storage(x##_buffer, x##_offset + (i), v)

// A mask that is absent lets everything through.
#define valid(mask, i) (!present(mask) || at(mask, i) != 0)

// The row of this work-item in a ROW_GRID (launch.h); it may lie past the last.
inline size_t grid_row(void)
{
    return get_global_id(1) + get_global_id(2) * get_global_size(1);
}

// An index in [0, N). An int, not a long: rusticl 22.3 takes a negative int widened to long for
// not negative.
inline bool inside(int n, ulong N)
{
    return n >= 0 && (ulong)n < N;
}

inline float bf16_to_float(ushort bits)
{
    return as_float((uint)bits << 16);
}

// Rounds to nearest even; NaN stays NaN.
inline ushort float_to_bf16(float value)
{
    const uint bits = as_uint(value);
    const uint rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    return (ushort)(isnan(value) ? ((bits >> 16) | 0x40u) : rounded);
}

#if STORAGE == 0
inline float load_storage(__global const float *p, size_t i) { return p[i]; }
inline void store_storage(__global float *p, size_t i, float v) { p[i] = v; }
#elif STORAGE == 1
inline float load_storage(__global const half *p, size_t i) { return vload_half(i, p); }
inline void store_storage(__global half *p, size_t i, float v) { vstore_half_rte(v, i, p); }
#else
inline float load_storage(__global const ushort *p, size_t i) { return bf16_to_float(p[i]); }
inline void store_storage(__global ushort *p, size_t i, float v) { p[i] = float_to_bf16(v); }
#endif

// Neighbouring elements at once, where a file is built with -D WIDTH=1|4|8|16: a `wide` is that many
// floats. Element i and the tensor's offset must be multiples of WIDTH (vector_width() of launch.h
// chooses it so): a GPU moves 16 bytes an instruction only where it knows them to be aligned.
#ifdef WIDTH
    #define load_wide(x, i)     load_wide_storage(x##_buffer, x##_offset + (i))
    #define store_wide(x, i, v) store_wide_storage(x##_buffer, x##_offset + (i), v)
    #define at_wide(x, i)       (*(__global wide *)(x##_buffer + x##_offset + (i))) // of floats
    #define TYPE_OF(base, n)    TYPE_OF_(base, n)
    #define TYPE_OF_(base, n)   base##n
#endif

#if !defined(WIDTH)
#elif WIDTH == 1
typedef float wide;
    #define load_wide_storage  load_storage
    #define store_wide_storage store_storage
inline float sum_wide(wide v) { return v; }
#else
typedef TYPE_OF(float, WIDTH) wide;
// Not (x + z) + (y + w): what compilers make of that, Oclgrind 21.10 does not survive.
inline float sum_four(float4 v) { return dot(v, (float4)1.0f); }
#endif

#if !defined(WIDTH) || WIDTH == 1
#elif WIDTH == 4
inline float sum_wide(wide v) { return sum_four(v); }
#elif WIDTH == 8
inline float sum_wide(wide v) { return sum_four(v.lo) + sum_four(v.hi); }
#else
inline float sum_wide(wide v) { return sum_four(v.lo.lo + v.hi.lo) + sum_four(v.lo.hi + v.hi.hi); }
#endif

#if !defined(WIDTH) || WIDTH == 1
#elif STORAGE == 0
inline wide load_wide_storage(__global const float *p, size_t i)
{
    return *(__global const wide *)(p + i);
}
inline void store_wide_storage(__global float *p, size_t i, wide v)
{
    *(__global wide *)(p + i) = v;
}
#elif STORAGE == 1
inline wide load_wide_storage(__global const half *p, size_t i)
{
    return TYPE_OF(vloada_half, WIDTH)(i / WIDTH, p);
}
inline void store_wide_storage(__global half *p, size_t i, wide v)
{
    TYPE_OF(TYPE_OF(vstorea_half, WIDTH), _rte)(v, i / WIDTH, p);
}
#else
typedef TYPE_OF(ushort, WIDTH) wide_ushort;
typedef TYPE_OF(uint, WIDTH) wide_uint;
inline wide load_wide_storage(__global const ushort *p, size_t i)
{
    const wide_ushort v = *(__global const wide_ushort *)(p + i);
    return TYPE_OF(as_float, WIDTH)(TYPE_OF(convert_uint, WIDTH)(v) << 16);
}
inline void store_wide_storage(__global ushort *p, size_t i, wide v)
{
    const wide_uint bits = TYPE_OF(as_uint, WIDTH)(v);
    const wide_uint rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    const wide_uint kept = select(rounded, (bits >> 16) | 0x40u, isnan(v));
    *(__global wide_ushort *)(p + i) = TYPE_OF(convert_ushort, WIDTH)(kept);
}
#endif

// What a matrix product puts out, where a file is built with -D C_F32: storage, or with C_F32 1 float
// whatever STORAGE is. Residuals may be the output itself, so neither is restrict.
#ifdef C_F32
    #define C_IN(x)    __global const c_storage *x##_buffer, const ulong x##_offset
    #define C_INOUT(x) __global c_storage *x##_buffer, const ulong x##_offset
// Bits of `extras`: what else stands around it, as src/gemm/backend.h has them.
    #define GELU_AFTER  1 // GELU of what the bias gives
    #define GELU_SLOPE  2 // residual is what GELU was taken of: not added, its slope there multiplies
    #define SCALE_FIRST 4 // row_scale multiplies the sums, before the bias
#endif

#if !defined(C_F32)
#elif C_F32
typedef float c_storage;
inline float load_c_storage(__global const float *p, size_t i) { return p[i]; }
inline void store_c_storage(__global float *p, size_t i, float v) { p[i] = v; }
#else
typedef storage c_storage;
    #define load_c_storage  load_storage
    #define store_c_storage store_storage
#endif

// Where row r lies among samples of `rows` rows each, by the index of each sample's per_sample rows;
// -1 where it is outside.
inline long picked(__global const int *index, size_t r, uint per_sample, uint rows)
{
    const int i = index[r];
    return i >= 0 && (uint)i < rows ? (long)(r / per_sample * rows + i) : -1;
}

// Sums one value per work-item over the work-group, in a fixed order. The group's size is a power
// of two, scratch holds as many floats. Every work-item gets the sum; all must call it.
inline float group_sum(float value, __local float *scratch)
{
    const size_t i = get_local_id(0);
    scratch[i] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (size_t step = get_local_size(0) / 2; step > 0; step /= 2) {
        if (i < step) scratch[i] += scratch[i + step];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const float sum = scratch[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return sum;
}

// The largest value of a work-group, as group_sum. NaN is passed over unless all are NaN.
inline float group_max(float value, __local float *scratch)
{
    const size_t i = get_local_id(0);
    scratch[i] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (size_t step = get_local_size(0) / 2; step > 0; step /= 2) {
        if (i < step) scratch[i] = fmax(scratch[i], scratch[i + step]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const float largest = scratch[0];
    barrier(CLK_LOCAL_MEM_FENCE);
    return largest;
}

// Sums one value per work-item over LANES neighbours (-D LANES, 1 or 8 and more, a power of two that
// divides the work-group), in a fixed order; scratch holds a float per work-item. Every work-item
// gets its neighbours' sum; all of the work-group must call it.
#ifdef LANES
inline float lanes_sum(float value, __local float *scratch)
{
    if (LANES == 1) return value;
    const size_t i = get_local_id(0), lane = i % LANES;
    barrier(CLK_LOCAL_MEM_FENCE);
    scratch[i] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (size_t step = LANES / 2; step >= 32; step /= 2) {
        if (lane < step) scratch[i] += scratch[i + step];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    float4 sums = 0.0f;
    for (size_t n = 0; n < (LANES < 32 ? LANES : 32) / 4; n++)
        sums += vload4(n, scratch + (i - lane));
    return dot(sums, (float4)1.0f);
}
#endif

// The exact GELU and its slope for a type T (float, float4, wide). Half of erfc(|x|/√2) is
// exp(-x²/2)·t·Q(t) with t = 1/(1 + 0.35|x|), a fit of relative error 4e-8 on [0, 14], beyond which
// it is 0. Being added to x or 0, it keeps the digits that 1 + erf(x/√2) loses in the tail.
#define GELU_FUNCTIONS(T, gelu, gelu_slope) GELU_FUNCTIONS_BY(T, gelu, gelu_slope, exp, 1.0f /)
#define GELU_FUNCTIONS_BY(T, gelu, gelu_slope, exp, recip)                                          \
    inline T gelu##_tail(T a, T bell)                                                               \
    {                                                                                               \
        const T t = recip(1.0f + 0.35f * a);                                                        \
        T q = -0.02914603f;                                                                         \
        q = q * t + 0.14397217f;                                                                    \
        q = q * t - 0.2557152f;                                                                     \
        q = q * t + 0.15917519f;                                                                    \
        q = q * t - 0.023110501f;                                                                   \
        q = q * t + 0.10550827f;                                                                    \
        q = q * t + 0.11983281f;                                                                    \
        q = q * t + 0.13986188f;                                                                    \
        q = q * t + 0.1396214f;                                                                     \
        return bell * t * q;                                                                        \
    }                                                                                               \
    inline T gelu(T x)                                                                              \
    {                                                                                               \
        const T a = fabs(x) > 14.0f ? (T)14.0f : fabs(x);                                           \
        return (x > 0.0f ? x : (T)0.0f) - a * gelu##_tail(a, exp(-0.5f * a * a));                   \
    }                                                                                               \
    inline T gelu_slope(T x)                                                                        \
    {                                                                                               \
        const T a = fabs(x) > 14.0f ? (T)14.0f : fabs(x);                                           \
        const T bell = exp(-0.5f * a * a);                                                          \
        const T left = gelu##_tail(a, bell) - 0.39894228f * a * bell;                               \
        return x > 0.0f ? 1.0f - left : left;                                                       \
    }

// A product's sum with what is beside it, for such a type: the residual is added, or, that being what GELU was
// taken of, the sum becomes its gradient, and 0 · NaN is 0.
#define RESIDUAL_FUNCTION(T, with_residual, gelu_slope)                                             \
    inline T with_residual(T value, T residual, int extras)                                         \
    {                                                                                               \
        if (!(extras & GELU_SLOPE)) return value + residual;                                        \
        return value == 0.0f ? (T)0.0f : value * gelu_slope(residual);                              \
    }
