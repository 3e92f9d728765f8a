// SPDX-License-Identifier: MIT
// Float32 operands as pairs of f16, for units that multiply f16: x·2^e = high + low, rounded twice.
// src/gemm/split.c has the whole way. Plain OpenCL C, but built only where mma_gemm is.
//
// x is [lines][length]; with an index its lines are picked as gemm.h has it. Defines: VECTOR 1 where
// four neighbours may be read at once.

#define ITEMS 256
#define LINES 32  // of a work-group of split_range: a run across lines
#define LANES 32  // work-items along a line, four neighbours each
#define RUN   8   // of them make a run along a line

// Line `line` of x, or -1.
inlined long line_of(__global const int *index, bool by_index, uint line, uint lines, uint index_rows,
                     uint x_rows)
{
    if (line >= lines) return -1;
    return by_index ? picked(index, line, index_rows, x_rows) : (long)line;
}

// Work-groups that look at an operand, one after the other along its lines.
inlined uint blocks_along(uint length) { return (length + 4 * LANES - 1) / (4 * LANES); }
inlined uint blocks_of(uint lines, uint length)
{
    return (lines + LINES - 1) / LINES * blocks_along(length);
}

// Adds to ranges what pairs_hold() asks for, of A and then of B. A work-group looks at 32 lines of 128
// elements: at runs of 32 along lines and across them. The order of the maxima is no matter.
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
split_range(IN(a), IN_I32(index), IN(b), OUT_I32(ranges), const uint a_lines, const uint a_length,
            const uint b_lines, const uint b_length, const uint index_rows, const uint a_rows)
{
    __local uint along[LINES][LANES + 1], across[ITEMS / LANES][4 * LANES], found[2];
    const uint item = get_local_id(0), lane = item % LANES, team = item / LANES;
    const uint blocks_of_a = blocks_of(a_lines, a_length);
    const bool of_a = get_group_id(0) < blocks_of_a;
    const uint block = get_group_id(0) - (of_a ? 0 : blocks_of_a), slot = of_a ? 0 : 1;
    const uint lines = of_a ? a_lines : b_lines, length = of_a ? a_length : b_length;
    __global const storage *x = of_a ? a_buffer + a_offset : b_buffer + b_offset;
    const uint along_line = blocks_along(length);
    const uint first = block / along_line * LINES, n = (block % along_line * LANES + lane) * 4;

    uint4 most = (uint4)(0);
    for (uint line = team; line < LINES; line += ITEMS / LANES) {
        const long from = line_of(index_buffer + index_offset, of_a && present(index), first + line, lines,
                                  index_rows, a_rows);
        const uint4 size = from < 0 ? (uint4)(0) : as_uint4(four(x + from * length, n, length)) & 0x7FFFFFFFu;
        along[line][lane] = max(max(size.x, size.y), max(size.z, size.w));
        most = max(most, size);
    }
    vstore4(most, lane, across[team]);
    if (item < 2) found[item] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);

    uint run = 0;
    if (item < ITEMS / 2)
        for (uint i = 0; i < RUN; i++) run = max(run, along[item / 4][item % 4 * RUN + i]);
    else
        for (uint i = 0; i < ITEMS / LANES; i++) run = max(run, across[i][item - ITEMS / 2]);
    if (run != 0) {
        atomic_max(&found[0], run);
        atomic_max(&found[1], ~run);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    if (item < 2 && found[item] != 0)
        atomic_max((__global uint *)(ranges_buffer + ranges_offset + 2 * slot + item), found[item]);
}

// pairs [planes][lines][stride] f16: the high parts, then, of 2 planes, the low parts, zeros from length
// to stride, a multiple of 8. Nothing where plain tiles make the product.
__kernel void split_pairs(IN(x), IN_I32(index), IN_I32(ranges), __global ushort *restrict pairs_buffer,
                          const ulong pairs_offset, const uint lines, const uint length,
                          const uint stride, const uint planes, const uint index_rows, const uint x_rows,
                          const uint slot)
{
    const uint n = get_global_id(0) * 8, line = grid_row();
    if (n >= stride || line >= lines || !pairs_hold(ranges_buffer + ranges_offset)) return;
    const long from = line_of(index_buffer + index_offset, present(index), line, lines, index_rows, x_rows);
    const float scale = pair_scale(ranges_buffer + ranges_offset, slot, 1);
    uint2 high[2], low[2];
    for (uint i = 0; i < 2; i++) {
        const float4 x = from < 0 ? (float4)(0.0f)
                                  : scale * four(x_buffer + x_offset + from * length, n + 4 * i, length);
        high[i] = halves_of(x);
        low[i] = halves_of(x - floats_of_halves(high[i]));
    }
    __global ushort *to = pairs_buffer + pairs_offset + (size_t)line * stride + n;
    *(__global uint4 *)to = (uint4)(high[0], high[1]);
    if (planes == 2) *(__global uint4 *)(to + (size_t)lines * stride) = (uint4)(low[0], low[1]);
}
