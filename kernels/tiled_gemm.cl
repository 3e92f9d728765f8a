// SPDX-License-Identifier: MIT
// Matrix products on any device: C = residual + row_scale · gelu(alpha · op(A) op(B) + bias), and what else
// src/gemm/gemm.h has around a product.
//
// op(A) [M][K], op(B) [K][N], C [M][N]. A work-group makes one TILE×TILE tile of C: slabs of A and B,
// DEPTH deep, go through local memory as float, two at a time, the next being fetched while one is
// multiplied; a work-item keeps ITEM×ITEM sums in registers. Group id 0 counts tiles, id 1 parts of K:
// with several parts each leaves its bare sums in its own [M][N] of C, to be added by gemm_epilogue.
//
// Defines: STORAGE the type of A, B and bias; C_F32 1 where C and residual are float whatever
// STORAGE; TRANSPOSE_A, TRANSPOSE_B; VECTOR 1 where four neighbours of A and of B may be read at
// once (offsets and the contiguous sizes are multiples of 4).

#ifndef TILE
    #define TILE 128 // rows and columns of C in a work-group: reads fall with 1/TILE
#endif
#ifndef ITEM
    #define ITEM 8 // rows and columns in a work-item: 64 sums, 8+8 local reads for 64 fma
#endif
#ifndef RANGES
    #define RANGES 0 // 1: for the split backend, ranges is there
#endif
#ifndef DEPTH
    #define DEPTH 16 // k in a slab: 2·2·16·132 floats are 33 KB
#endif

#define SIDE      (TILE / ITEM)                 // work-items along an edge of the tile
#define ITEMS     (SIDE * SIDE)
#define QUADS     (ITEM / 4)                    // groups of four rows, or columns, of a work-item
#define VECTORS   (TILE * DEPTH / 4 / ITEMS)    // groups of four a work-item fetches per operand
#define STRIDE    (TILE + 4)                    // of a line of local memory: fewer bank conflicts
#define K_LANES   (DEPTH / 4)                   // work-items along k, where k is contiguous
#define ROW_STEP  (ITEMS / K_LANES)
#define R_LANES   (TILE / 4)                    // work-items along rows, where these are contiguous
#define LINE_STEP (ITEMS / R_LANES)

// An operand whose k is contiguous ([R][K]): start[v] is where the row of vector v begins, end[v]
// how many of its k exist (0: a row of zeros).
inlined void fetch_rows(storage4 *next, __global const storage *x, const size_t *start,
                       const uint *end, uint k)
{
#pragma unroll
    for (uint v = 0; v < VECTORS; v++) next[v] = four(x + start[v], k, end[v]);
}

inlined void put_rows(__local float *slab, const storage4 *next, uint item)
{
    __local float *to = slab + item % K_LANES * 4 * STRIDE + item / K_LANES;
#pragma unroll
    for (uint v = 0; v < VECTORS; v++) {
        const float4 value = floats_of(next[v]);
        to[0 * STRIDE + v * ROW_STEP] = value.x;
        to[1 * STRIDE + v * ROW_STEP] = value.y;
        to[2 * STRIDE + v * ROW_STEP] = value.z;
        to[3 * STRIDE + v * ROW_STEP] = value.w;
    }
}

// An operand whose rows are contiguous ([K][R]): four of its R rows from r on, of lines k ….
inlined void fetch_lines(storage4 *next, __global const storage *x, uint r, uint R, uint k, uint end)
{
#pragma unroll
    for (uint v = 0; v < VECTORS; v++) {
        const uint line = k + v * LINE_STEP;
        next[v] = four(x + (size_t)line * R, r, line < end ? R : 0);
    }
}

inlined void put_lines(__local float *slab, const storage4 *next, uint item)
{
    __local float *to = slab + item / R_LANES * STRIDE + item % R_LANES * 4;
#pragma unroll
    for (uint v = 0; v < VECTORS; v++) {
        const float4 value = floats_of(next[v]);
#if VECTOR
        *(__local float4 *)(to + v * LINE_STEP * STRIDE) = value;
#else // Oclgrind takes a store of a vector made of parts for one of nothing first
        to[v * LINE_STEP * STRIDE + 0] = value.x;
        to[v * LINE_STEP * STRIDE + 1] = value.y;
        to[v * LINE_STEP * STRIDE + 2] = value.z;
        to[v * LINE_STEP * STRIDE + 3] = value.w;
#endif
    }
}

// Adds the product of two slabs to the sums: a row of the work-item is one of four neighbours, the
// next four lie SIDE·4 further.
inlined void multiply(float4 sums[ITEM][QUADS], __local const float *a, __local const float *b)
{
#pragma unroll
    for (uint k = 0; k < DEPTH; k++) {
        float4 rows[QUADS], columns[QUADS];
#pragma unroll
        for (uint q = 0; q < QUADS; q++) {
            rows[q] = *(__local const float4 *)(a + k * STRIDE + q * SIDE * 4);
            columns[q] = *(__local const float4 *)(b + k * STRIDE + q * SIDE * 4);
        }
#pragma unroll
        for (uint q = 0; q < QUADS; q++) {
            const float4 r = rows[q];
#pragma unroll
            for (uint p = 0; p < QUADS; p++) {
                sums[q * 4 + 0][p] = fma((float4)(r.x), columns[p], sums[q * 4 + 0][p]);
                sums[q * 4 + 1][p] = fma((float4)(r.y), columns[p], sums[q * 4 + 1][p]);
                sums[q * 4 + 2][p] = fma((float4)(r.z), columns[p], sums[q * 4 + 2][p]);
                sums[q * 4 + 3][p] = fma((float4)(r.w), columns[p], sums[q * 4 + 3][p]);
            }
        }
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
tiled_gemm(IN(a), IN(b), C_INOUT(c), IN(bias),
           IN_F32(row_scale), C_IN(residual), IN_I32(index), IN_I32(scatter), const uint M, const uint N,
           const uint K, const uint part, const uint index_rows, const uint a_rows,
           const uint scatter_rows, const uint c_rows, const float alpha, const int extras,
           IN_I32(ranges))
{
    __local float slab_a[2][DEPTH * STRIDE] __attribute__((aligned(16)));
    __local float slab_b[2][DEPTH * STRIDE] __attribute__((aligned(16)));
    const uint item = get_local_id(0);
    const uint2 place = tile_of_group(get_group_id(0), (M + TILE - 1) / TILE, (N + TILE - 1) / TILE);
    const uint tile_m = place.x * TILE, tile_n = place.y * TILE;
#if RANGES // where pairs make the product nothing is left here
    if (pairs_hold(ranges_buffer + ranges_offset)) return;
#endif
    const uint k_begin = get_group_id(1) * part, k_end = min(K, k_begin + part);

#if TRANSPOSE_A
    const uint a_row = tile_m + item % R_LANES * 4, a_line = item / R_LANES;
    #define FETCH_A(k) fetch_lines(next_a, a, a_row, M, (k) + a_line, k_end)
    #define PUT_A      put_lines
#else
    size_t a_start[VECTORS];
    uint a_end[VECTORS];
    #pragma unroll
    for (uint v = 0; v < VECTORS; v++) {
        const uint m = tile_m + item / K_LANES + v * ROW_STEP;
        long row = m < M ? (long)m : -1;
        if (present(index) && m < M) row = picked(index_buffer + index_offset, m, index_rows, a_rows);
        a_start[v] = row < 0 ? 0 : (size_t)row * K;
        a_end[v] = row < 0 ? 0 : k_end;
    }
    #define FETCH_A(k) fetch_rows(next_a, a, a_start, a_end, (k) + item % K_LANES * 4)
    #define PUT_A      put_rows
#endif
#if TRANSPOSE_B
    size_t b_start[VECTORS];
    uint b_end[VECTORS];
    #pragma unroll
    for (uint v = 0; v < VECTORS; v++) {
        const uint n = tile_n + item / K_LANES + v * ROW_STEP;
        b_start[v] = n < N ? (size_t)n * K : 0;
        b_end[v] = n < N ? k_end : 0;
    }
    #define FETCH_B(k) fetch_rows(next_b, b, b_start, b_end, (k) + item % K_LANES * 4)
    #define PUT_B      put_rows
#else
    const uint b_row = tile_n + item % R_LANES * 4, b_line = item / R_LANES;
    #define FETCH_B(k) fetch_lines(next_b, b, b_row, N, (k) + b_line, k_end)
    #define PUT_B      put_lines
#endif

    // Groups of 32 work-items cover 4 by 8 groups of four: fewer distinct local addresses.
    const uint column = (item / 32 % (SIDE / 8) * 8 + item % 8) * 4;
    const uint row = (item / 32 / (SIDE / 8) * 4 + item % 32 / 8) * 4;
    __global const storage *a = a_buffer + a_offset, *b = b_buffer + b_offset;
    float4 sums[ITEM][QUADS];
    storage4 next_a[VECTORS], next_b[VECTORS];
#pragma unroll
    for (uint i = 0; i < ITEM; i++)
#pragma unroll
        for (uint p = 0; p < QUADS; p++) sums[i][p] = (float4)(0.0f);

    FETCH_A(k_begin);
    FETCH_B(k_begin);
    PUT_A(slab_a[0], next_a, item);
    PUT_B(slab_b[0], next_b, item);
    barrier(CLK_LOCAL_MEM_FENCE);
    uint now = 0;
    for (uint k = k_begin; k < k_end; k += DEPTH) {
        const bool more = k + DEPTH < k_end;
        if (more) {
            FETCH_A(k + DEPTH);
            FETCH_B(k + DEPTH);
        }
        multiply(sums, slab_a[now] + row, slab_b[now] + column);
        now ^= 1;
        if (more) {
            PUT_A(slab_a[now], next_a, item);
            PUT_B(slab_b[now], next_b, item);
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    const bool wide = N % 4 == 0 && c_offset % 4 == 0 && (!present(residual) || residual_offset % 4 == 0);
#pragma unroll
    for (uint i = 0; i < ITEM; i++) {
        const uint m = tile_m + row + i / 4 * SIDE * 4 + i % 4;
        const long to = m >= M ? -1
                        : present(scatter)
                            ? picked(scatter_buffer + scatter_offset, m, scatter_rows, c_rows)
                            : (long)get_group_id(1) * M + m;
        const float scale = to >= 0 && present(row_scale) ? at(row_scale, m) : 1.0f;
        const float before = extras & SCALE_FIRST ? alpha * scale : alpha;
        const float after = extras & SCALE_FIRST ? 1.0f : scale;
#pragma unroll
        for (uint p = 0; p < QUADS; p++) {
            const uint n = tile_n + column + p * SIDE * 4;
            if (to < 0 || n >= N) continue;
            float4 value = before * sums[i][p];
            if (present(bias)) value += four_of(bias_buffer + bias_offset, n, N);
            if (extras & GELU_AFTER) value = gelu4(value);
            value *= after;
            const size_t at_row = (size_t)to * N;
            if (present(residual))
                value = with_residual(value, c_four(residual_buffer + residual_offset + at_row, n, N, wide), extras);
            put_c_four(c_buffer + c_offset + at_row, n, N, wide, value);
        }
    }
}
