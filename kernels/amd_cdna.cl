// SPDX-License-Identifier: MIT
// The matrix units of mma_warps on AMD's CDNA, from gfx90a on (UNITS 1): mfma, by a wave of 64 lanes.
// Of an operand lane l holds the row (or column) l % 16 and the k from 4(l / 16) on, four of them. Of
// the sums it holds column l % 16 and the rows from 4(l / 16) on.
//
// Built, but not run: there was no such device. tests/test_units.c runs all but the instruction.
//
// Defines: STORAGE 1|2, WARP_LANES 64.

#if UNITS == 1 && STORAGE == 2
    #define MFMA(a, b, sums)                                                                   \
        __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(as_short4(a), as_short4(b), sums, 0, 0, 0)
#elif UNITS == 1
    #pragma OPENCL EXTENSION cl_khr_fp16 : enable
    #define MFMA(a, b, sums)                                                                   \
        __builtin_amdgcn_mfma_f32_16x16x16f16(as_half4(a), as_half4(b), sums, 0, 0, 0)
#endif

#if UNITS == 1
    #define UNIT_ROWS           16
    #define UNIT_COLUMNS        16
    #define UNIT_SUMS           4
    #define SUMS_TOGETHER       1
    #define LEFT_WORDS          2
    #define RIGHT_WORDS         2
    #define RIGHTS              1
    #define WARP_ROWS           (TILE / 2)
    #define WARP_COLUMNS        (TILE / 2)
    #define STAGES              2
    #define WARP_SIZE
    #define this_warp()         ((uint)get_local_id(0) / WARP_LANES)
    #define this_lane()         ((uint)get_local_id(0) % WARP_LANES)
    #define sum_row(lane, e)    ((lane) / 16 * 4 + (e))
    #define sum_column(lane, e) ((lane) % 16)

inlined void warp_barrier(void)
{
    __builtin_amdgcn_fence(__ATOMIC_RELEASE, "wavefront");
    __builtin_amdgcn_wave_barrier();
    __builtin_amdgcn_fence(__ATOMIC_ACQUIRE, "wavefront");
}

inlined void load_left(uint lane, uint *x, __local const ushort *slab, const bool in_lines, uint row,
                       uint k)
{
#pragma unroll
    for (uint p = 0; p < 2; p++)
        x[p] = two_of(slab, in_lines, row + lane % 16, k + lane / 16 * 4 + p * 2);
}

// Columns are held as rows are.
inlined void load_right(uint lane, uint *x, __local const ushort *slab, const bool in_lines,
                        uint column, uint k)
{
    load_left(lane, x, slab, in_lines, column, k);
}

inlined void multiply_add(float *sums, const uint *left, const uint *right)
{
    vstore4(MFMA(vload2(0, left), vload2(0, right), vload4(0, sums)), 0, sums);
}
#endif
