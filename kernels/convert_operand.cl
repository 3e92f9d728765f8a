// SPDX-License-Identifier: MIT
// Makes lines of op(B)ᵀ for wgmma_gemm of floats, in either form of tf32_pairs.cl, and finds the ranges
// of pairs. For tf32, which is rounded later, that is to turn what is TRANSPOSED.
//
// x is [rows][length] with k contiguous, or TRANSPOSED [length][rows]; lines [rows][line] words, line
// the length rounded up to 32; ranges [rows][2], of pairs. Rows that pairs do not hold have no lines.
// TRANSPOSED the ranges are found by a kernel of their own, in ranges that are zeros.
//
// Defines: PAIRS, TRANSPOSED; VECTOR 1 where four neighbours may be read at once.

#define ITEMS 256

// Neighbours along k that a work-item makes at once, so that what it writes at once is next to what its
// neighbours write.
#define EACH  (PAIRS ? 8 : 4)

// So many of a line, from k on, scaled where they are pairs.
inlined void store_converted(__global float *line, uint k, const float *x, float scale)
{
    __global uint4 *to = (__global uint4 *)(line + k / 32 * 32);
#if PAIRS
    uint high[4], low[4];
    #pragma unroll
    for (uint i = 0; i < 4; i++) pair_two(&high[i], &low[i], x[i], x[i + 4], scale);
    to[k % 32 / 8] = (uint4)(high[0], high[1], high[2], high[3]);
    to[k % 32 / 8 + 4] = (uint4)(low[0], low[1], low[2], low[3]);
#else
    to[k % 32 / 4] = as_uint4((float4)(x[0], x[1], x[2], x[3]));
#endif
}

inlined __global int2 *range_at(__global int *ranges, size_t row) { return (__global int2 *)ranges + row; }

// The bits of the larger magnitude.
inlined uint larger(uint bits, float x) { return max(bits, as_uint(x) & 0x7FFFFFFFu); }

#if TRANSPOSED

    #define ROWS  64
    #define TEAMS (ITEMS / ROWS)
    #define RUNS  8 // of 32 k, that a work-group looks at

// A work-item looks along k of one row, a run at a time.
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
column_ranges(IN(x), OUT_I32(ranges), const uint rows, const uint length)
{
    __local uint found[ROWS][2];
    const uint item = get_local_id(0), groups = (rows + ROWS - 1) / ROWS;
    const uint row = (uint)get_group_id(0) % groups * ROWS + item % ROWS;
    const uint first = (uint)get_group_id(0) / groups * RUNS;
    if (item < ROWS) found[item][0] = found[item][1] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint run = first + item / ROWS; run < first + RUNS && row < rows; run += TEAMS) {
        uint largest = 0;
    #pragma unroll 8
        for (uint i = 0; i < 32; i++)
            if (run * 32 + i < length) largest = larger(largest, load(x, (size_t)(run * 32 + i) * rows + row));
        if (largest == 0) continue;
        atomic_max(&found[item % ROWS][0], largest);
        atomic_max(&found[item % ROWS][1], ~largest);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint own = row - item % ROWS + item / 2, which = item % 2;
    if (item < 2 * ROWS && own < rows && found[item / 2][which] != 0)
        atomic_max((__global uint *)(ranges_buffer + ranges_offset + 2 * (size_t)own + which),
                   found[item / 2][which]);
}

// A work-group makes 32 k of 64 rows, which pass through local memory so that both sides are whole lines.
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
convert_operand(IN(x), OUT_I32(ranges), OUT(lines), const uint rows, const uint length, const uint line)
{
    __local float tile[ROWS][33];
    const uint item = get_local_id(0), groups = (rows + ROWS - 1) / ROWS;
    const uint first = (uint)get_group_id(0) % groups * ROWS, k = (uint)get_group_id(0) / groups * 32;
    #pragma unroll
    for (uint i = 0; i < 8; i++) {
        const uint own_k = item / ROWS + i * TEAMS, row = first + item % ROWS;
        const bool there = row < rows && k + own_k < length;
        tile[item % ROWS][own_k] = there ? load(x, (size_t)(k + own_k) * rows + row) : 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    #pragma unroll
    for (uint i = item; i < ROWS * 32 / EACH; i += ITEMS) {
        const uint own = i * EACH / 32, own_k = i * EACH % 32;
        float scale = 1.0f, some[EACH];
        if (first + own >= rows) return;
    #if PAIRS
        const int2 range = *range_at(ranges_buffer + ranges_offset, first + own);
        if (!pairs_hold_column(range)) return;
        scale = scale_of_largest(range.x, 1);
    #endif
    #pragma unroll
        for (uint j = 0; j < EACH; j++) some[j] = tile[own][own_k + j];
        store_converted(lines_buffer + lines_offset + (size_t)(first + own) * line, k + own_k, some, scale);
    }
}

#elif PAIRS

    #define TEAM 64 // work-items of a row
    #define ROWS (ITEMS / TEAM)

inlined void load_some(float *some, __global const float *x, uint k, uint length)
{
    #pragma unroll
    for (uint i = 0; i < EACH; i += 4) {
        const float4 values = four(x, k + i, length);
        some[i] = values.x, some[i + 1] = values.y, some[i + 2] = values.z, some[i + 3] = values.w;
    }
}

// Over lanes whose numbers differ by these bits.
inlined uint largest_of_lanes(uint x, uint first_bit, uint end)
{
    #pragma unroll
    for (uint bit = first_bit; bit < end; bit *= 2) x = max(x, as_uint(from_lane(as_float(x), bit)));
    return x;
}

// The range of a row, by all its work-items; it has `length` k, none if it is not there.
inlined int2 range_of_row(__local int2 *of_warps, __global const float *x, uint length, uint all)
{
    const uint own = get_local_id(0) % TEAM * EACH, warp = this_warp();
    uint largest = 0, least = 0; // its complement
    for (uint k = 0; k < all; k += TEAM * EACH) {
        float some[EACH];
        uint run = 0;
        load_some(some, x, k + own, length);
    #pragma unroll
        for (uint i = 0; i < EACH; i++) run = larger(run, some[i]);
        run = largest_of_lanes(run, 1, 4);
        if (run != 0) least = max(least, ~run);
        largest = max(largest, run);
    }
    largest = largest_of_lanes(largest, 4, WARP_LANES);
    least = largest_of_lanes(least, 4, WARP_LANES);
    if (this_lane() == 0) of_warps[warp] = (int2)((int)largest, (int)least);
    barrier(CLK_LOCAL_MEM_FENCE);
    const int2 a = of_warps[warp], b = of_warps[warp ^ 1];
    return (int2)((int)max((uint)a.x, (uint)b.x), (int)max((uint)a.y, (uint)b.y));
}

// A work-group takes four rows.
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
convert_operand(IN(x), OUT_I32(ranges), OUT(lines), const uint rows, const uint length, const uint line)
{
    const uint item = get_local_id(0), row = get_group_id(0) * ROWS + item / TEAM;
    __global const float *from = x_buffer + x_offset + (size_t)row * length;
    const uint own_length = row < rows ? length : 0;
    __local int2 of_warps[ITEMS / WARP_LANES];
    const int2 range = range_of_row(of_warps, from, own_length, length);
    if (item % TEAM == 0 && row < rows) *range_at(ranges_buffer + ranges_offset, row) = range;
    if (!pairs_hold_column(range)) return;
    for (uint k = item % TEAM * EACH; k < line && row < rows; k += TEAM * EACH) {
        float some[EACH];
        load_some(some, from, k, length);
        store_converted(lines_buffer + lines_offset + (size_t)row * line, k, some,
                        scale_of_largest(range.x, 1));
    }
}

#endif
