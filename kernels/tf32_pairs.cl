// SPDX-License-Identifier: MIT
// Floats as Hopper's matrix unit multiplies them: rounded to tf32 (tf32.cl); or, PAIRS 1, as pairs
// of f16, x · scale = high + low, of which high · low + low · high + high · high is made. src/gemm/split.c says when that is as exact as float32.
//
// 32 k of a row are a line of 128 bytes in either form: 32 floats, or 32 high parts and then their low
// parts, of each eight the first beside the fifth and so on (wgmma_slabs.cl says why). convert_operand makes
// lines of B before wgmma_gemm runs, which itself converts A.
//
// x is [rows][length] with k contiguous, or TRANSPOSED [length][rows]; lines [rows][line] words, line
// the length rounded up to 32. A work-item makes eight k of a row.
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
__kernel void convert_operand(IN(x), IN_I32(ranges), OUT(lines), const uint rows, const uint length,
                              const uint line)
{
    #if TRANSPOSED // neighbours read neighbours
    const uint row = get_global_id(0), k = (uint)grid_row() * 8;
    #else
    const uint k = get_global_id(0) * 8, row = (uint)grid_row();
    #endif
    if (row >= rows || k >= line) return;
    const bool scaled = present(ranges);
    if (scaled && !pairs_hold(ranges_buffer + ranges_offset)) return;
    float eight[8];
    #pragma unroll
    for (uint i = 0; i < 8; i++) {
        const size_t at_i = TRANSPOSED ? (size_t)(k + i) * rows + row : (size_t)row * length + k + i;
        eight[i] = k + i < length ? load(x, at_i) : 0.0f;
    }
    __global uint4 *to = (__global uint4 *)(lines_buffer + lines_offset + (size_t)row * line + k / 32 * 32);
    #if PAIRS
    const float scale = scaled ? pair_scale(ranges_buffer + ranges_offset, 1, 1) : 1.0f;
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
#endif
