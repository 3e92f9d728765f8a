// SPDX-License-Identifier: MIT
// Stands before mma_warps: the instructions of matrix units in plain OpenCL C, with the elements in the
// lanes and registers where the makers say they are (AMD's matrix instruction calculator for
// v_mfma_f32_16x16x16f16, v_mfma_f32_16x16x16bf16_1k, v_wmma_f32_16x16x16_f16 and
// v_wmma_f32_16x16x16_bf16; Khronos' cl_intel_subgroup_matrix_multiply_accumulate).
//
// No lane can see another's registers. So an operand here is the place it is loaded from, and the
// instruction loads what every lane of the warp would hold, by the function that is under test.

// 16-bit element i of a lane's left operand is (LEFT_ROW, LEFT_K), of its right one (RIGHT_K,
// RIGHT_COLUMN); its e-th sum is (ROW, COLUMN).
#if UNITS == 1
    #define LEFT_ROW(lane, i)     ((lane) & 15)
    #define LEFT_K(lane, i)       (((lane) >> 4) * 4 + (i))
    #define RIGHT_K               LEFT_K
    #define RIGHT_COLUMN          LEFT_ROW
    #define ROW(lane, e)          (((lane) >> 4) * 4 + (e))
    #define COLUMN(lane, e)       ((lane) & 15)
#elif UNITS == 2 // lanes l and l + 16 hold the same
    #define LEFT_ROW(lane, i)     ((lane) & 15)
    #define LEFT_K(lane, i)       (i)
    #define RIGHT_K               LEFT_K
    #define RIGHT_COLUMN          LEFT_ROW
    #define ROW(lane, e)          (2 * (e) + ((lane) >> 4))
    #define COLUMN(lane, e)       ((lane) & 15)
#elif WARP_LANES == 8
    #define LEFT_ROW(lane, i)     ((i) >> 1)
    #define LEFT_K(lane, i)       (2 * (lane) + ((i) & 1))
    #define RIGHT_K(lane, i)      (i)
    #define RIGHT_COLUMN(lane, i) (lane)
    #define ROW(lane, e)          (e)
    #define COLUMN(lane, e)       (lane)
#else
    #define LEFT_ROW(lane, i)     (i)
    #define LEFT_K(lane, i)       (lane)
    #define RIGHT_K(lane, i)      (i)
    #define RIGHT_COLUMN(lane, i) (lane)
    #define ROW(lane, e)          (e)
    #define COLUMN(lane, e)       (lane)
#endif

enum { LEFT_HELD = LEFT_WORDS, RIGHT_HELD = RIGHT_WORDS };
#undef LEFT_WORDS
#undef RIGHT_WORDS
#define LEFT_WORDS  5
#define RIGHT_WORDS 5
#undef WARP_SIZE
#define WARP_SIZE
#undef load_left
#undef load_right
#undef multiply_add

inlined void remember(uint *x, __local const ushort *slab, bool in_lines, uint row, uint k)
{
    const ulong where = (ulong)(size_t)slab;
    x[0] = (uint)where, x[1] = (uint)(where >> 32), x[2] = in_lines, x[3] = row, x[4] = k;
}

#define slab_of(x) ((__local const ushort *)(size_t)((x)[0] | (ulong)(x)[1] << 32))

inlined void load_left(uint lane, uint *x, __local const ushort *slab, bool in_lines, uint row, uint k)
{
    remember(x, slab, in_lines, row, k);
}

inlined void load_right(uint lane, uint *x, __local const ushort *slab, bool in_lines, uint column,
                        uint k)
{
    remember(x, slab, in_lines, column, k);
}

// What was never set, or set to different bits, spoils all it meets.
inlined void set(int *element, uint bits)
{
    *element = *element == -1 || *element == (int)bits ? (int)bits : -2;
}

inlined float float_of(int bits)
{
    const ushort x = (ushort)bits;
#if STORAGE == 1
    return bits < 0 ? NAN : vload_half(0, (const half *)&x);
#else
    return bits < 0 ? NAN : bf16_to_float(x);
#endif
}

inlined void multiply_add(float *sums, const uint *left, const uint *right)
{
    int a[UNIT_ROWS * 16], b[16 * UNIT_COLUMNS];
    uint held[16];
    for (uint i = 0; i < UNIT_ROWS * 16; i++) a[i] = -1;
    for (uint i = 0; i < UNIT_COLUMNS * 16; i++) b[i] = -1;
    for (uint lane = 0; lane < WARP_LANES; lane++) {
        load_left_of_lane(lane, held, slab_of(left), left[2] != 0, left[3], left[4]);
        for (uint i = 0; i < 2 * LEFT_HELD; i++)
            set(&a[LEFT_ROW(lane, i) * 16 + LEFT_K(lane, i)], held[i / 2] >> i % 2 * 16 & 0xFFFF);
        load_right_of_lane(lane, held, slab_of(right), right[2] != 0, right[3], right[4]);
        for (uint i = 0; i < 2 * RIGHT_HELD; i++)
            set(&b[RIGHT_COLUMN(lane, i) * 16 + RIGHT_K(lane, i)], held[i / 2] >> i % 2 * 16 & 0xFFFF);
    }
    const uint lane = this_lane();
    for (uint e = 0; e < UNIT_SUMS; e++)
        for (uint k = 0; k < 16; k++)
            sums[e] += float_of(a[ROW(lane, e) * 16 + k]) * float_of(b[COLUMN(lane, e) * 16 + k]);
}

// A kernel of unrolled emulations would be compiled for minutes.
#pragma clang optimize off
