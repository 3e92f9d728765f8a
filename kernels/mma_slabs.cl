// SPDX-License-Identifier: MIT
// Slabs of the operands of mma_gemm: how they come to local memory and how a warp multiplies them.
//
// A slab whose k is contiguous is kept as TILE rows of DEPTH, another one as DEPTH lines of TILE. It
// is moved in chunks of 8 elements, 16 bytes. Eight rows (lines) that a warp reads at once lie in
// different banks: the chunks of a row are permuted by its number.
//
// Defines: STORAGE, TRANSPOSE_A, TRANSPOSE_B as in tiled_gemm; VECTOR 1 where a chunk may be
// read at once (offsets and the lengths of rows, or lines, are multiples of 8).

#ifndef TILE
    #define TILE 128 // rows and columns of C in a work-group
#endif
#ifndef STAGES
    #define STAGES 3 // 3·2·128·32 elements are the 48 KB there are
#endif

#define DEPTH       32 // k in a slab
#define ITEMS       128
#define ABSENT_ROW  0xFFFFFFFFu
#define WARP_TILE   (TILE / 2)
#define TILES_M     (WARP_TILE / 16) // of the matrix unit, of a warp
#define TILES_N     (WARP_TILE / 8)
#define SLAB        (TILE * DEPTH)
#define CHUNKS      (SLAB / 8 / ITEMS) // that a work-item moves, per operand and slab
#define ROW_CHUNKS  (DEPTH / 8)
#define ROW_STEP    (ITEMS / ROW_CHUNKS)
#define LINE_CHUNKS (TILE / 8)
#define LINE_STEP   (ITEMS / LINE_CHUNKS)

#if STORAGE == 2
    #define multiply_add multiply_add_bf16
#else
    #define multiply_add multiply_add_f16
#endif

#if STORAGE == 0
typedef ushort operand;
    #define TERMS       3 // the small ones first
    #define A_IS_LOW(t) ((t) == 0)
    #define B_IS_LOW(t) ((t) == 1)
    #define multiply    multiply_apart
#else
typedef storage operand;
    #define TERMS       1
    #define A_IS_LOW(t) false
    #define B_IS_LOW(t) false
    #define multiply    multiply_on
#endif

// Where chunk `chunk` of a row, or of a line, lies in its slab.
inlined uint place_in_rows(uint row, uint chunk)
{
    return row * DEPTH + (chunk ^ (row / 2 % 4)) * 8;
}

inlined uint place_in_lines(uint line, uint chunk)
{
    return line * TILE + (chunk ^ (line % 8)) * 8;
}

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

// 16 rows and 16 k of a slab for the matrix unit. Matrices 0 to 3 are A's quarters (row, k) in the
// order 00 10 01 11, B's in the order 00 01 10 11: so `row_half` and `k_half` of a lane are given.
inlined void load_quarters(uint *x, __local const ushort *slab, const bool in_lines, uint row,
                           uint k, uint row_half, uint k_half)
{
    const uint lane = get_local_id(0) % 8;
    if (in_lines)
        load_transposed(x, slab + place_in_lines(k + k_half * 8 + lane, row / 8 + row_half));
    else
        load_matrices(x, slab + place_in_rows(row + row_half * 8 + lane, k / 8 + k_half));
}

// Adds the product of two slabs to a warp's sums.
inlined void multiply_on(float sums[TILES_M][TILES_N][4], __local const ushort *a,
                      __local const ushort *b, uint row, uint column)
{
    const uint low = get_local_id(0) / 8 % 2, high = get_local_id(0) / 16 % 2;
#pragma unroll
    for (uint k = 0; k < DEPTH; k += 16) {
        uint left[TILES_M][4], right[TILES_N / 2][4];
#pragma unroll
        for (uint i = 0; i < TILES_M; i++)
            load_quarters(left[i], a, TRANSPOSE_A, row + i * 16, k, low, high);
#pragma unroll
        for (uint j = 0; j < TILES_N / 2; j++)
            load_quarters(right[j], b, !TRANSPOSE_B, column + j * 16, k, high, low);
#pragma unroll
        for (uint j = 0; j < TILES_N; j++)
#pragma unroll
            for (uint i = 0; i < TILES_M; i++)
                multiply_add(sums[i][j], left[i], right[j / 2] + j % 2 * 2);
    }
}

// The same, the slab's sums made apart and added as floats. The unit cuts off what lies below a sum's
// last digit, always towards zero: along all of K that would add up to more than float32 loses.
inlined void multiply_apart(float sums[TILES_M][TILES_N][4], __local const ushort *a,
                            __local const ushort *b, uint row, uint column)
{
    const uint low = get_local_id(0) / 8 % 2, high = get_local_id(0) / 16 % 2;
    uint left[DEPTH / 16][TILES_M][4];
#pragma unroll
    for (uint s = 0; s < DEPTH / 16; s++)
#pragma unroll
        for (uint i = 0; i < TILES_M; i++)
            load_quarters(left[s][i], a, TRANSPOSE_A, row + i * 16, s * 16, low, high);
#pragma unroll
    for (uint j = 0; j < TILES_N; j += 2) {
        uint right[DEPTH / 16][4];
#pragma unroll
        for (uint s = 0; s < DEPTH / 16; s++)
            load_quarters(right[s], b, !TRANSPOSE_B, column + j * 8, s * 16, high, low);
#pragma unroll
        for (uint i = 0; i < 2 * TILES_M; i++) {
            float fresh[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
            for (uint s = 0; s < DEPTH / 16; s++)
                multiply_add(fresh, left[s][i / 2], right[s] + i % 2 * 2);
#pragma unroll
            for (uint e = 0; e < 4; e++) sums[i / 2][j + i % 2][e] += fresh[e];
        }
    }
}
