// SPDX-License-Identifier: MIT
// Floats as Hopper's matrix unit multiplies them: rounded to tf32 (tf32.cl); or, PAIRS 1, as pairs
// of f16, x · scale = high + low, of which high · low + low · high + high · high is made. src/gemm/split.c says when that is as exact as float32.
//
// 32 k of a row are a line of 128 bytes in either form: 32 floats, or 32 high parts and then their low
// parts, of each eight the first beside the fifth and so on (wgmma_slabs.cl says why). convert_operand makes
// lines of B before wgmma_gemm runs, which itself converts A.
//
// x is [rows][length] with k contiguous, or TRANSPOSED [length][rows]; lines [rows][line] words, line
// the length rounded up to 32. A work-item makes eight k of a row; TRANSPOSED a work-group makes 32 k of 64
// rows, which pass through local memory so that both sides are whole lines.
//
// Defines: PAIRS, TRANSPOSED.

// High and low parts of two numbers times scale.
inlined void pair_two(uint *high, uint *low, float a, float b, float scale)
{
    const float a_high = high_of(a * scale), b_high = high_of(b * scale);
    *high = pack_pair_f16(a_high, b_high);
    *low = pack_pair_f16(a * scale - a_high, b * scale - b_high);
}

#ifdef TRANSPOSED

// Eight k of a line, from k on, scaled where they are pairs.
inlined void store_converted(__global float *line, uint k, const float *eight, float scale)
{
    __global uint4 *to = (__global uint4 *)(line + k / 32 * 32);
    #if PAIRS
    uint high[4], low[4];
        #pragma unroll
    for (uint i = 0; i < 4; i++) pair_two(&high[i], &low[i], eight[i], eight[i + 4], scale);
    to[k % 32 / 8] = (uint4)(high[0], high[1], high[2], high[3]);
    to[k % 32 / 8 + 4] = (uint4)(low[0], low[1], low[2], low[3]);
    #else
        #pragma unroll
    for (uint i = 0; i < 2; i++)
        to[k % 32 / 4 + i] = (uint4)(tf32_of(eight[4 * i]), tf32_of(eight[4 * i + 1]), tf32_of(eight[4 * i + 2]),
                                     tf32_of(eight[4 * i + 3]));
    #endif
}

// The scale of B's pairs; 0: there are none, tiled_gemm makes the product.
inlined float scale_of_b(__global const int *ranges)
{
    return !ranges ? 1.0f : pairs_hold(ranges) ? pair_scale(ranges, 1, 1) : 0.0f;
}

    #if TRANSPOSED
        #define ROWS 64
__kernel __attribute__((reqd_work_group_size(256, 1, 1))) void
convert_operand(IN(x), IN_I32(ranges), OUT(lines), const uint rows, const uint length, const uint line)
{
    __local float tile[ROWS][33];
    const uint item = get_local_id(0), groups = (rows + ROWS - 1) / ROWS;
    const uint first = (uint)get_group_id(0) % groups * ROWS, k = (uint)get_group_id(0) / groups * 32;
    const float scale = scale_of_b(present(ranges) ? ranges_buffer + ranges_offset : 0);
    if (scale == 0.0f) return;
        #pragma unroll
    for (uint i = 0; i < 8; i++) {
        const uint own_k = item / ROWS + i * 4, row = first + item % ROWS;
        const bool there = row < rows && k + own_k < length;
        tile[item % ROWS][own_k] = there ? load(x, (size_t)(k + own_k) * rows + row) : 0.0f;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint row = item / 4, own_k = item % 4 * 8;
    float eight[8];
        #pragma unroll
    for (uint i = 0; i < 8; i++) eight[i] = tile[row][own_k + i];
    if (first + row < rows)
        store_converted(lines_buffer + lines_offset + (size_t)(first + row) * line, k + own_k, eight, scale);
}
    #else
__kernel void convert_operand(IN(x), IN_I32(ranges), OUT(lines), const uint rows, const uint length,
                              const uint line)
{
    const uint k = get_global_id(0) * 8, row = (uint)grid_row();
    const float scale = scale_of_b(present(ranges) ? ranges_buffer + ranges_offset : 0);
    if (row >= rows || k >= line || scale == 0.0f) return;
    float eight[8];
        #pragma unroll
    for (uint i = 0; i < 8; i++) eight[i] = k + i < length ? load(x, (size_t)row * length + k + i) : 0.0f;
    store_converted(lines_buffer + lines_offset + (size_t)row * line, k, eight, scale);
}
    #endif
#endif
