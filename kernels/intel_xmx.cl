// SPDX-License-Identifier: MIT
// The matrix units of mma_warps on Intel's GPUs (UNITS 3): XMX, through
// cl_intel_subgroup_matrix_multiply_accumulate, by a sub-group of WARP_LANES, 8 or 16, whichever is the
// device's smallest. Of a right operand lane l holds all 16 k of column l; of a left one, for each of
// 8 rows, the k 2l and 2l + 1 where there are 8 lanes, k l where there are 16. Of the sums it holds
// column l.
//
// Built, but not run: there was no such device. tests/test_units.c runs all but the instruction.
//
// Defines: STORAGE 1|2, WARP_LANES.

#if UNITS == 3 && STORAGE == 2
    #define XMX intel_sub_group_bf16_bf16_matrix_mad_k16
#elif UNITS == 3
    #define XMX intel_sub_group_f16_f16_matrix_mad_k16
#endif

#if UNITS == 3 && WARP_LANES == 8
    #define LEFT_OPERAND(x) as_int8(vload8(0, x))
    #define left_word(slab, in_lines, row, k, r, lane)                                              \
        two_of(slab, in_lines, (row) + (r), (k) + (lane) * 2)
#elif UNITS == 3
    #define LEFT_OPERAND(x) as_short8(vload4(0, x))
    #define left_word(slab, in_lines, row, k, r, lane)                                              \
        (one_of(slab, in_lines, (row) + (r) * 2, (k) + (lane)) |                                    \
         one_of(slab, in_lines, (row) + (r) * 2 + 1, (k) + (lane)) << 16)
#endif

#if UNITS == 3
    #define UNIT_ROWS           8
    #define UNIT_COLUMNS        WARP_LANES
    #define UNIT_SUMS           8
    #define SUMS_TOGETHER       1
    #define LEFT_WORDS          (64 / WARP_LANES)
    #define RIGHT_WORDS         8
    #define RIGHTS              1
    #define WARP_ROWS           16 // 32 sums a lane: with twice as many registers would not do
    #define WARP_COLUMNS        (2 * WARP_LANES)
    #define STAGES              2
    #define WARP_SIZE           __attribute__((intel_reqd_sub_group_size(WARP_LANES)))
    #define this_warp()         get_sub_group_id()
    #define this_lane()         get_sub_group_local_id()
    #define sum_row(lane, e)    (e)
    #define sum_column(lane, e) (lane)
    #define warp_barrier()      sub_group_barrier(CLK_LOCAL_MEM_FENCE)

inlined void load_left(uint lane, uint *x, __local const ushort *slab, const bool in_lines, uint row,
                       uint k)
{
#pragma unroll
    for (uint r = 0; r < LEFT_WORDS; r++) x[r] = left_word(slab, in_lines, row, k, r, lane);
}

inlined void load_right(uint lane, uint *x, __local const ushort *slab, const bool in_lines,
                        uint column, uint k)
{
#pragma unroll
    for (uint p = 0; p < 8; p++) x[p] = two_of(slab, in_lines, column + lane, k + p * 2);
}

inlined void multiply_add(float *sums, const uint *left, const uint *right)
{
    vstore8(XMX(LEFT_OPERAND(left), as_int8(vload8(0, right)), vload8(0, sums)), 0, sums);
}
#endif
