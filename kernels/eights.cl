// SPDX-License-Identifier: MIT
// What coordinate descent begins with: rows of floats, eight at a time, and their sums. WARPS as in
// row_warps.cl.

// From element i of a mask on, as a pointer; 0 where the mask is absent.
#define mask_at(mask, i) (present(mask) ? &at(mask, i) : 0)

inline float joined(float a, float b, bool largest)
{
    return largest ? fmax(a, b) : a + b;
}

// Over the work-group, in a fixed order, for loops that wait on each: x the sum or the largest, y
// the sum of whole numbers. The group's size is a power of two, scratch holds 33 more than it. Calls
// have turns, even and odd, so that one may begin while the last is still read.
#if WARPS
inline float2 group_pair(float2 value, bool largest, int turn, __local float2 *scratch)
{
    const uint item = get_local_id(0), lane = item % 32, warps = get_local_size(0) / 32;
    __local float2 *of_warps = scratch + turn % 2 * 32;
    for (uint bits = 16; bits > 0; bits /= 2)
        value.x = joined(value.x, lane_across(value.x, bits), largest);
    value.y = warp_count((uint)value.y);
    if (lane == 0) of_warps[item / 32] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    value = of_warps[lane % warps];
    for (uint bits = warps / 2; bits > 0; bits /= 2)
        value.x = joined(value.x, lane_across(value.x, bits), largest);
    value.y = warp_count(lane < warps ? (uint)value.y : 0);
    return value;
}
#else
inline float2 group_pair(float2 value, bool largest, int turn, __local float2 *scratch)
{
    const size_t i = get_local_id(0), items = get_local_size(0);
    const size_t width = min(items, (size_t)32);
    __local float2 *partial = scratch + items, *all = partial + 32;
    scratch[i] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (i < width) {
        for (size_t j = i + width; j < items; j += width) {
            const float2 other = scratch[j];
            value = (float2)(joined(value.x, other.x, largest), value.y + other.y);
        }
        partial[i] = value;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (i == 0) {
        for (size_t j = 1; j < width; j++)
            value = (float2)(joined(value.x, partial[j].x, largest), value.y + partial[j].y);
        *all = value;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    return *all;
}
#endif

// Eight floats at a time, the last time fewer: the first count of x (any count from 1 on), those
// beyond it -infinity, and so are masked ones; mask may be 0.
inline float8 load8_valid(__global const float *x, __global const uchar *mask, size_t count)
{
    if (count >= 8) {
        const float8 v = vload8(0, x);
        return mask ? select((float8)-INFINITY, v, convert_int8(vload8(0, mask)) != 0) : v;
    }
    float v[8];
    for (size_t i = 0; i < 8; i++) v[i] = i < count && (!mask || mask[i]) ? x[i] : -INFINITY;
    return vload8(0, v);
}

inline void store8(__global float *x, float8 value, size_t count)
{
    if (count >= 8) {
        vstore8(value, 0, x);
        return;
    }
    float v[8];
    vstore8(value, 0, v);
    for (size_t i = 0; i < count; i++) x[i] = v[i];
}

// Through an array: Oclgrind's check of uninitialised values falls over the shuffles that sums of
// a vector's elements become.
inline float sum8(float8 value)
{
    float v[8];
    vstore8(value, 0, v);
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
}

inline float max8(float8 value)
{
    float v[8];
    vstore8(value, 0, v);
    return fmax(fmax(fmax(v[0], v[1]), fmax(v[2], v[3])),
                fmax(fmax(v[4], v[5]), fmax(v[6], v[7])));
}

// Adds to a sum and keeps what rounding took from it (Kahan).
inline void accumulate8(float8 *sum, float8 *lost, float8 value)
{
    const float8 wanted = value - *lost, next = *sum + wanted;
    *lost = (next - *sum) - wanted;
    *sum = next;
}

// exp2, but 2^-126 for what is smaller: CPUs take a hundred times longer over subnormal numbers.
inline float8 exp2_normal(float8 x)
{
    return exp2(select(x, (float8)-126.0f, x < -126.0f));
}
