// SPDX-License-Identifier: MIT
// The matrix units of mma_warps on AMD's RDNA 3, gfx11 (UNITS 2): wmma, by a wave of 32 lanes. Of an
// operand lane l holds all 16 k of the row (or column) l % 16, so every row is held twice. Of the sums
// it holds column l % 16 and every second row, from l / 16 on.
//
// Built, but not run: there was no such device. tests/test_units.c runs all but the instruction.
//
// Defines: STORAGE 1|2, WARP_LANES 32.

#if UNITS == 2 && STORAGE == 2
    #define WMMA(a, b, sums)                                                                   \
        __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(as_short16(a), as_short16(b), sums)
#elif UNITS == 2
    #pragma OPENCL EXTENSION cl_khr_fp16 : enable
    #define WMMA(a, b, sums)                                                                   \
        __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(as_half16(a), as_half16(b), sums)
#endif

#if UNITS == 2
    #define UNIT_ROWS           16
    #define UNIT_COLUMNS        16
    #define UNIT_SUMS           8
    #define SUMS_TOGETHER       1
    #define LEFT_WORDS          8
    #define RIGHT_WORDS         8
    #define RIGHTS              1
    #define WARP_ROWS           (TILE / 4) // 64 sums a lane: with twice as many registers would not do
    #define WARP_COLUMNS        (TILE / 2)
    #define STAGES              2
    #define WARP_SIZE
    #define this_warp()         ((uint)get_local_id(0) / WARP_LANES)
    #define this_lane()         ((uint)get_local_id(0) % WARP_LANES)
    #define sum_row(lane, e)    ((lane) / 16 + (e) * 2)
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
    for (uint p = 0; p < 8; p++) x[p] = two_of(slab, in_lines, row + lane % 16, k + p * 2);
}

// Columns are held as rows are.
inlined void load_right(uint lane, uint *x, __local const ushort *slab, const bool in_lines,
                        uint column, uint k)
{
    load_left(lane, x, slab, in_lines, column, k);
}

inlined void multiply_add(float *sums, const uint *left, const uint *right)
{
    vstore8(WMMA(vload8(0, left), vload8(0, right), vload8(0, sums)), 0, sums);
}
#endif
