// SPDX-License-Identifier: MIT
// tiled_gemm on NVIDIA's matrix units (mma, compute capability 8.0 on), for f16 and bf16.
//
// Four warps make one TILE×TILE tile of C, each a quarter of it. Slabs of A and B, DEPTH deep, wait
// in local memory as they came, STAGES of them: while one is multiplied the next ones are on their
// way. Group id 0 counts tiles, id 1 parts of K, as in tiled_gemm.
//
// A slab whose k is contiguous is kept as TILE rows of DEPTH, another one as DEPTH lines of TILE. It
// is moved in chunks of 8 elements, 16 bytes. Eight rows (lines) that a warp reads at once lie in
// different banks: the chunks of a row are permuted by its number.
//
// Defines: STORAGE 1|2; C_F32, TRANSPOSE_A, TRANSPOSE_B as in tiled_gemm; VECTOR 1 where a chunk may
// be read at once (offsets and the contiguous sizes are multiples of 8).

#ifndef TILE
    #define TILE 128 // rows and columns of C in a work-group
#endif
#ifndef STAGES
    #define STAGES 3 // 3·2·128·32 elements are the 48 KB there are
#endif

#define DEPTH      32 // k in a slab
#define ITEMS      128
#define WARP_TILE  (TILE / 2)
#define TILES_M    (WARP_TILE / 16) // of the matrix unit, of a warp
#define TILES_N    (WARP_TILE / 8)
#define SLAB       (TILE * DEPTH)
#define CHUNKS     (SLAB / 8 / ITEMS) // that a work-item moves, per operand and slab
#define ROW_CHUNKS (DEPTH / 8)
#define ROW_STEP   (ITEMS / ROW_CHUNKS)
#define LINE_CHUNKS (TILE / 8)
#define LINE_STEP  (ITEMS / LINE_CHUNKS)
#define STRIDE     (WARP_TILE + 8) // of sums in local memory: half a warp writes to different banks
#define LANES_C    (WARP_TILE / 4) // lanes that write a row of C, four columns each
#define ROWS_C     (32 / LANES_C)
#define PASSES     (16 / ROWS_C)

#if STORAGE == 1
    #define multiply_add multiply_add_f16
#else
    #define multiply_add multiply_add_bf16
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
inlined void fetch_chunk(__local ushort *to, __global const storage *from, uint count)
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

// The rows a work-item moves, each TILE/CHUNKS rows further; bit v of `there` says that row v exists.
inlined void fetch_rows(__local ushort *slab, __global const storage *const *rows, uint there, uint k,
                        uint end)
{
    const uint item = get_local_id(0), chunk = item % ROW_CHUNKS;
    const uint count = count_of(k + chunk * 8, end);
#pragma unroll
    for (uint v = 0; v < CHUNKS; v++)
        fetch_chunk(slab + place_in_rows(item / ROW_CHUNKS + v * ROW_STEP, chunk),
                    rows[v] + k + chunk * 8, there >> v & 1 ? count : 0);
}

// The lines a work-item moves, of R elements each; the tile's rows begin at r.
inlined void fetch_lines(__local ushort *slab, __global const storage *x, uint r, uint R, uint k,
                         uint end)
{
    const uint item = get_local_id(0), chunk = item % LINE_CHUNKS;
    const uint count = count_of(r + chunk * 8, R);
#pragma unroll
    for (uint v = 0; v < CHUNKS; v++) {
        const uint line = item / LINE_CHUNKS + v * LINE_STEP;
        fetch_chunk(slab + place_in_lines(line, chunk), x + (size_t)(k + line) * R + r + chunk * 8,
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
inlined void multiply(float sums[TILES_M][TILES_N][4], __local const ushort *a,
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

// What stands around the product.
struct around {
    __global c_storage *c;
    __global const c_storage *residual; // only if add
    __global const float *row_scale;    // only if scaled
    __global const int *scatter;        // only if scattered
    bool add, scaled, scattered, gelu, wide;
    uint M, N, scatter_rows, c_rows;
    float alpha;
};

// Writes 16 rows of a warp's sums. They go through local memory (`stage`, the warp's own), whence
// each lane takes four neighbours of a row: whole lines of C are written at once.
inlined void finish_rows(const struct around *to, float sums[TILES_N][4], __local float *stage,
                         uint first_m, uint n, float4 bias)
{
    const uint lane = get_local_id(0) % 32, from = lane % LANES_C * 4;
    long rows[PASSES];
    c_storage4 residuals[PASSES];
#pragma unroll
    for (uint p = 0; p < PASSES; p++) { // first, because C may be the residual: nothing passes a store
        const uint m = first_m + p * ROWS_C + lane / LANES_C;
        rows[p] = m >= to->M || n >= to->N ? -1
                  : to->scattered ? picked(to->scatter, m, to->scatter_rows, to->c_rows)
                                  : (long)get_group_id(1) * to->M + m;
        if (to->wide && to->add && rows[p] >= 0)
            residuals[p] = *(__global const c_storage4 *)(to->residual + rows[p] * to->N + n);
    }
    warp_barrier();
#pragma unroll
    for (uint j = 0; j < TILES_N; j++) {
        __local float *pair = stage + lane / 4 * STRIDE + j * 8 + lane % 4 * 2;
        *(__local float2 *)pair = (float2)(sums[j][0], sums[j][1]);
        *(__local float2 *)(pair + 8 * STRIDE) = (float2)(sums[j][2], sums[j][3]);
    }
    warp_barrier();
#pragma unroll
    for (uint p = 0; p < PASSES; p++) {
        const uint row = p * ROWS_C + lane / LANES_C;
        if (rows[p] < 0) continue;
        float4 value = to->alpha * *(__local const float4 *)(stage + row * STRIDE + from) + bias;
        if (to->gelu) value = gelu4(value);
        if (to->scaled) value *= to->row_scale[first_m + row];
        if (to->wide && to->add) value += floats_of_c(residuals[p]);
        finish(to->c + rows[p] * to->N, to->residual + rows[p] * to->N, n, to->N,
               to->add && !to->wide, to->wide, value);
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
mma_gemm(IN(a), IN(b), C_INOUT(c), IN(bias), IN_F32(row_scale), C_IN(residual), IN_I32(index),
         IN_I32(scatter), const uint M, const uint N, const uint K, const uint part,
         const uint index_rows, const uint a_rows, const uint scatter_rows, const uint c_rows,
         const float alpha, const int gelu_after)
{
    __local ushort slabs[STAGES][2][SLAB] __attribute__((aligned(256)));
    const uint item = get_local_id(0);
    const uint2 place = tile_of_group(get_group_id(0), (M + TILE - 1) / TILE, (N + TILE - 1) / TILE);
    const uint tile_m = place.x * TILE, tile_n = place.y * TILE;
    const uint k_begin = get_group_id(1) * part, k_end = min(K, k_begin + part);

#if TRANSPOSE_A
    #define FETCH_A(slab, k) fetch_lines(slab, a_buffer + a_offset, tile_m, M, k, k_end)
#else
    __global const storage *a_line[CHUNKS];
    uint a_there = 0;
    #pragma unroll
    for (uint v = 0; v < CHUNKS; v++) {
        const uint m = tile_m + item / ROW_CHUNKS + v * ROW_STEP;
        long row = m < M ? (long)m : -1;
        if (present(index) && m < M) row = picked(index_buffer + index_offset, m, index_rows, a_rows);
        a_line[v] = a_buffer + a_offset + (row < 0 ? 0 : (size_t)row * K);
        a_there |= (uint)(row >= 0) << v;
    }
    #define FETCH_A(slab, k) fetch_rows(slab, a_line, a_there, k, k_end)
#endif
#if TRANSPOSE_B
    __global const storage *b_line[CHUNKS];
    uint b_there = 0;
    #pragma unroll
    for (uint v = 0; v < CHUNKS; v++) {
        const uint n = tile_n + item / ROW_CHUNKS + v * ROW_STEP;
        b_line[v] = b_buffer + b_offset + (n < N ? (size_t)n * K : 0);
        b_there |= (uint)(n < N) << v;
    }
    #define FETCH_B(slab, k) fetch_rows(slab, b_line, b_there, k, k_end)
#else
    #define FETCH_B(slab, k) fetch_lines(slab, b_buffer + b_offset, tile_n, N, k, k_end)
#endif

    const uint warp = item / 32, row = warp / 2 * WARP_TILE, column = warp % 2 * WARP_TILE;
    float sums[TILES_M][TILES_N][4];
#pragma unroll
    for (uint i = 0; i < TILES_M; i++)
#pragma unroll
        for (uint j = 0; j < TILES_N; j++)
#pragma unroll
            for (uint e = 0; e < 4; e++) sums[i][j][e] = 0.0f;

#pragma unroll
    for (uint s = 0; s < STAGES - 1; s++) {
        if (k_begin + s * DEPTH < k_end) {
            FETCH_A(slabs[s][0], k_begin + s * DEPTH);
            FETCH_B(slabs[s][1], k_begin + s * DEPTH);
        }
        end_batch();
    }
    uint now = 0, free = STAGES - 1;
    for (uint k = k_begin; k < k_end; k += DEPTH) {
        wait_batches(STAGES - 2);
        barrier(CLK_LOCAL_MEM_FENCE); // this slab is there for all, and all are done with the last
        const uint next = k + (STAGES - 1) * DEPTH;
        if (next < k_end) {
            FETCH_A(slabs[free][0], next);
            FETCH_B(slabs[free][1], next);
        }
        end_batch();
        multiply(sums, slabs[now][0], slabs[now][1], row, column);
        now = now + 1 == STAGES ? 0 : now + 1;
        free = free + 1 == STAGES ? 0 : free + 1;
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    const uint n = tile_n + column + item % LANES_C * 4;
    const struct around around = {
        c_buffer + c_offset, residual_buffer + residual_offset, row_scale_buffer + row_scale_offset,
        scatter_buffer + scatter_offset, present(residual), present(row_scale), present(scatter),
        gelu_after != 0,
        N % 4 == 0 && c_offset % 4 == 0 && (!present(residual) || residual_offset % 4 == 0),
        M, N, scatter_rows, c_rows, alpha};
    const float4 biases = present(bias) ? four_of(bias_buffer + bias_offset, n, N) : (float4)(0.0f);
    __local float *stage = (__local float *)&slabs[0][0][0] + warp * 16 * STRIDE;
#pragma unroll
    for (uint i = 0; i < TILES_M; i++)
        finish_rows(&around, sums[i], stage, tile_m + row + i * 16, n, biases);
}
