// SPDX-License-Identifier: MIT
// The matrix units of mma_warps on NVIDIA's GPUs, by the instructions of nvidia.cl. One load brings two
// right operands, 8 columns each.
//
// Defines: STORAGE; UNITS where the units are others'.

#if !defined(UNITS) && STORAGE == 2
    #define multiply_add multiply_add_bf16
#elif !defined(UNITS)
    #define multiply_add multiply_add_f16
#endif

#ifndef UNITS
    #define LEFT_WORDS   4
    #define RIGHT_WORDS  2
    #define RIGHTS       2
    #define WARP_ROWS    (TILE / 2)
    #define WARP_COLUMNS (TILE / 2)
    #ifndef STAGES
        #define STAGES   3 // 3·2·128·32 elements are the 48 KB there are
    #endif
    #define WARP_SIZE

// 16 rows and 16 k of a slab. Matrices 0 to 3 are A's quarters (row, k) in the order 00 10 01 11, B's in
// the order 00 01 10 11: so `row_half` and `k_half` of a lane are given.
inlined void load_quarters(uint *x, __local const ushort *slab, const bool in_lines, uint row,
                           uint k, uint eighth, uint row_half, uint k_half)
{
    if (in_lines)
        load_transposed(x, slab + place_in_lines(k + k_half * 8 + eighth, row / 8 + row_half));
    else
        load_matrices(x, slab + place_in_rows(row + row_half * 8 + eighth, k / 8 + k_half));
}

inlined void load_left(uint lane, uint *x, __local const ushort *slab, const bool in_lines, uint row,
                       uint k)
{
    load_quarters(x, slab, in_lines, row, k, lane % 8, lane / 8 % 2, lane / 16);
}

inlined void load_right(uint lane, uint *x, __local const ushort *slab, const bool in_lines,
                        uint column, uint k)
{
    load_quarters(x, slab, in_lines, column, k, lane % 8, lane / 16, lane / 8 % 2);
}
#endif
