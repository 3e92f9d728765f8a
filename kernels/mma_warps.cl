// SPDX-License-Identifier: MIT
// What the warps of mma_gemm do with slabs: they bring them to local memory and multiply them.
//
// The matrix units are NVIDIA's, or what UNITS names: one file each (nvidia_units, amd_cdna, amd_rdna,
// intel_xmx) with what differs.
//
//   WARP_LANES, WARP_SIZE      neighbouring work-items that are a warp; what says so of a kernel
//   UNIT_ROWS, UNIT_COLUMNS    of C that one instruction makes, from 16 k
//   UNIT_SUMS, SUMS_TOGETHER   of these, that a lane has; that are neighbours
//   sum_row(lane, e), sum_column(lane, e)              where the e-th of these lies
//   LEFT_WORDS, RIGHT_WORDS    uints that a lane has of the operands of one instruction
//   RIGHTS                     right operands, side by side, that one load_right brings
//   WARP_ROWS, WARP_COLUMNS    of C that a warp makes
//   STAGES                     slabs of an operand in local memory
//   this_warp(), this_lane()   their numbers in the work-group and in the warp
//   warp_barrier()             its lanes see what the others wrote to local memory before
//   copy_async(to, from, bytes), end_batch(), wait_batches(left)   chunks into local memory
//   load_left(lane, x, slab, in_lines, row, k)         the operands from the slab's row and k on
//   load_right(lane, x, slab, in_lines, column, k)
//   multiply_add(sums, left, right)                    the instruction
//   pack_pair(low, high)                               floats to 16 bits each
//
// Defines: STORAGE, TRANSPOSE_A, TRANSPOSE_B as in tiled_gemm; VECTOR 1 where a chunk may be
// read at once (offsets and the lengths of rows, or lines, are multiples of 8); TERMS, the products of
// slabs that are added, 3 of pairs, else 1.

#define WARPS_ALONG_N (TILE / WARP_COLUMNS)
#define ITEMS         (TILE / WARP_ROWS * WARPS_ALONG_N * WARP_LANES)
#define ABSENT_ROW    0xFFFFFFFFu
#define WARP_TILE     WARP_COLUMNS // columns that a warp finishes at once (mma_epilogue)
#define UNITS_M       (WARP_ROWS / UNIT_ROWS) // instructions that make a warp's part of C
#define UNITS_N       (WARP_COLUMNS / UNIT_COLUMNS)
#define CHUNKS        (SLAB / 8 / ITEMS) // that a work-item moves, per operand and slab
#define ROW_CHUNKS    (DEPTH / 8)
#define ROW_STEP      (ITEMS / ROW_CHUNKS)
#define LINE_CHUNKS   (TILE / 8)
#define LINE_STEP     (ITEMS / LINE_CHUNKS)

#if STORAGE == 0
typedef ushort operand;
#else
typedef storage operand;
#endif

#if TERMS == 3 // the small ones first
    #define A_IS_LOW(t) ((t) == 0)
    #define B_IS_LOW(t) ((t) == 1)
    #define multiply    multiply_apart
#else
    #define A_IS_LOW(t) false
    #define B_IS_LOW(t) false
    #define multiply    multiply_on
#endif

// A chunk of which `count` elements exist, zeros after them.
inlined void fetch_chunk(__local ushort *to, __global const operand *from, uint count)
{
#if VECTOR
    copy_async(to, from, count ? 16 : 0);
#else
    __global const ushort *elements = (__global const ushort *)from;
    for (uint i = 0; i < 8; i++) to[i] = i < count ? elements[i] : 0;
#endif
}

inlined uint count_of(uint begin, uint end)
{
    return begin < end ? min(end - begin, 8u) : 0;
}

// The rows a work-item moves, by their numbers in x, `length` apart; ABSENT_ROW is one of zeros.
inlined void fetch_rows(__local ushort *slab, __global const operand *x, const uint *rows, uint length,
                        uint k, uint end)
{
    const uint item = get_local_id(0), chunk = item % ROW_CHUNKS;
    const uint count = count_of(k + chunk * 8, end);
#pragma unroll
    for (uint v = 0; v < CHUNKS; v++)
        fetch_chunk(slab + place_in_rows(item / ROW_CHUNKS + v * ROW_STEP, chunk),
                    x + (rows[v] == ABSENT_ROW ? 0 : (size_t)rows[v] * length + k + chunk * 8),
                    rows[v] == ABSENT_ROW ? 0 : count);
}

// The lines a work-item moves, `length` apart, R elements each; the tile's rows begin at r.
inlined void fetch_lines(__local ushort *slab, __global const operand *x, uint length, uint r, uint R,
                         uint k, uint end)
{
    const uint item = get_local_id(0), chunk = item % LINE_CHUNKS;
    const uint count = count_of(r + chunk * 8, R);
#pragma unroll
    for (uint v = 0; v < CHUNKS; v++) {
        const uint line = item / LINE_CHUNKS + v * LINE_STEP;
        fetch_chunk(slab + place_in_lines(line, chunk), x + (size_t)(k + line) * length + r + chunk * 8,
                    k + line < end ? count : 0);
    }
}

// Adds the product of two slabs to a warp's sums.
inlined void multiply_on(float sums[UNITS_M][UNITS_N][UNIT_SUMS], __local const ushort *a,
                         __local const ushort *b, uint lane, uint row, uint column)
{
#pragma unroll
    for (uint k = 0; k < DEPTH; k += 16) {
        uint left[UNITS_M][LEFT_WORDS], right[UNITS_N / RIGHTS][RIGHTS * RIGHT_WORDS];
#pragma unroll
        for (uint i = 0; i < UNITS_M; i++)
            load_left(lane, left[i], a, TRANSPOSE_A, row + i * UNIT_ROWS, k);
#pragma unroll
        for (uint j = 0; j < UNITS_N / RIGHTS; j++)
            load_right(lane, right[j], b, !TRANSPOSE_B, column + j * RIGHTS * UNIT_COLUMNS, k);
#pragma unroll
        for (uint j = 0; j < UNITS_N; j++)
#pragma unroll
            for (uint i = 0; i < UNITS_M; i++)
                multiply_add(sums[i][j], left[i], right[j / RIGHTS] + j % RIGHTS * RIGHT_WORDS);
    }
}

// The same, the slab's sums made apart and added as floats. The unit cuts off what lies below a sum's
// last digit, always towards zero: along all of K that would add up to more than float32 loses.
inlined void multiply_apart(float sums[UNITS_M][UNITS_N][UNIT_SUMS], __local const ushort *a,
                            __local const ushort *b, uint lane, uint row, uint column)
{
    uint left[DEPTH / 16][UNITS_M][LEFT_WORDS];
#pragma unroll
    for (uint s = 0; s < DEPTH / 16; s++)
#pragma unroll
        for (uint i = 0; i < UNITS_M; i++)
            load_left(lane, left[s][i], a, TRANSPOSE_A, row + i * UNIT_ROWS, s * 16);
#pragma unroll
    for (uint j = 0; j < UNITS_N; j += RIGHTS) {
        uint right[DEPTH / 16][RIGHTS * RIGHT_WORDS];
#pragma unroll
        for (uint s = 0; s < DEPTH / 16; s++)
            load_right(lane, right[s], b, !TRANSPOSE_B, column + j * UNIT_COLUMNS, s * 16);
#pragma unroll
        for (uint i = 0; i < RIGHTS * UNITS_M; i++) {
            float fresh[UNIT_SUMS] = {0.0f};
#pragma unroll
            for (uint s = 0; s < DEPTH / 16; s++)
                multiply_add(fresh, left[s][i / RIGHTS], right[s] + i % RIGHTS * RIGHT_WORDS);
#pragma unroll
            for (uint e = 0; e < UNIT_SUMS; e++) sums[i / RIGHTS][j + i % RIGHTS][e] += fresh[e];
        }
    }
}
