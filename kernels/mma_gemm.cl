// SPDX-License-Identifier: MIT
// tiled_gemm on matrix units, for f16 and bf16; and with STORAGE 0, on NVIDIA's, for floats that are
// pairs of f16 (split.cl): with TERMS 3 high · high + high · low + low · high, with TERMS 1 high · high alone,
// as exact as tf32.
//
// Some warps make one TILE×TILE tile of C, WARP_ROWS×WARP_COLUMNS each. Slabs of A and B, DEPTH deep,
// wait in local memory as they came, STAGES of them: while one is multiplied the next ones are on
// their way. Group id 0 counts tiles, id 1 parts of K, as in tiled_gemm.
//
// Defines: those of mma_warps; C_F32 as in tiled_gemm.

__kernel WARP_SIZE __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
mma_gemm(__global const operand *restrict a_buffer, const ulong a_offset,
         __global const operand *restrict b_buffer, const ulong b_offset, C_INOUT(c), IN(bias),
         IN_F32(row_scale), C_IN(residual), IN_I32(index), IN_I32(scatter), IN_I32(ranges),
         const uint M, const uint N, const uint K, const uint part, const uint a_length,
         const uint b_length, const uint index_rows, const uint a_rows, const uint scatter_rows,
         const uint c_rows, const float alpha, const int extras)
{
    __local ushort slabs[STAGES][2][SLAB] __attribute__((aligned(256)));
    const uint item = get_local_id(0);
    const uint2 place = tile_of_group(get_group_id(0), (M + TILE - 1) / TILE, (N + TILE - 1) / TILE);
    const uint tile_m = place.x * TILE, tile_n = place.y * TILE;
    // Where tiled_gemm makes the product nothing is left here: no k, no row.
    const bool idle = present(ranges) && !pairs_hold(ranges_buffer + ranges_offset);
    const uint k_begin = get_group_id(1) * part, k_end = idle ? 0 : min(K, k_begin + part);
    __global const operand *a = a_buffer + a_offset, *b = b_buffer + b_offset;

#if TRANSPOSE_A
    #define FETCH_A(slab, x, k) fetch_lines(slab, x, a_length, tile_m, M, k, k_end)
#else
    uint a_rows_here[CHUNKS];
    #pragma unroll
    for (uint v = 0; v < CHUNKS; v++) {
        const uint m = tile_m + item / ROW_CHUNKS + v * ROW_STEP;
        a_rows_here[v] = m < M ? m : ABSENT_ROW;
    }
    if (present(index)) {
    #pragma unroll
        for (uint v = 0; v < CHUNKS; v++)
            if (a_rows_here[v] != ABSENT_ROW)
                a_rows_here[v] = (uint)picked(index_buffer + index_offset, a_rows_here[v], index_rows,
                                              a_rows);
    }
    #define FETCH_A(slab, x, k) fetch_rows(slab, x, a_rows_here, a_length, k, k_end)
#endif
#if TRANSPOSE_B
    uint b_rows_here[CHUNKS];
    #pragma unroll
    for (uint v = 0; v < CHUNKS; v++) {
        const uint n = tile_n + item / ROW_CHUNKS + v * ROW_STEP;
        b_rows_here[v] = n < N ? n : ABSENT_ROW;
    }
    #define FETCH_B(slab, x, k) fetch_rows(slab, x, b_rows_here, b_length, k, k_end)
#else
    #define FETCH_B(slab, x, k) fetch_lines(slab, x, b_length, tile_n, N, k, k_end)
#endif

    // The next slab of the next term; planes of low parts lie behind those of high parts.
#define FETCH(stage)                                                                                \
    if (term < TERMS) {                                                                             \
        FETCH_A(slabs[stage][0], a + (A_IS_LOW(term) ? a_plane : 0), fetch_k);                      \
        FETCH_B(slabs[stage][1], b + (B_IS_LOW(term) ? b_plane : 0), fetch_k);                      \
        fetch_k += DEPTH;                                                                           \
        if (fetch_k >= k_end) {                                                                     \
            fetch_k = k_begin;                                                                      \
            term++;                                                                                 \
        }                                                                                           \
    }                                                                                               \
    end_batch()
    const size_t a_plane = (size_t)(TRANSPOSE_A ? K : M) * a_length;
    const size_t b_plane = (size_t)(TRANSPOSE_B ? N : K) * b_length;

    const uint warp = this_warp(), lane = this_lane();
    const uint row = warp / WARPS_ALONG_N * WARP_ROWS, column = warp % WARPS_ALONG_N * WARP_COLUMNS;
    float sums[UNITS_M][UNITS_N][UNIT_SUMS];
#pragma unroll
    for (uint i = 0; i < UNITS_M; i++)
#pragma unroll
        for (uint j = 0; j < UNITS_N; j++)
#pragma unroll
            for (uint e = 0; e < UNIT_SUMS; e++) sums[i][j][e] = 0.0f;

    uint fetch_k = k_begin, term = k_begin < k_end ? 0 : TERMS;
    uint left = term < TERMS ? TERMS * ((k_end - k_begin + DEPTH - 1) / DEPTH) : 0;
#pragma unroll
    for (uint s = 0; s < STAGES - 1; s++) {
        FETCH(s);
    }
    for (uint now = 0, free = STAGES - 1; left > 0; left--) {
        wait_batches(STAGES - 2);
        barrier(CLK_LOCAL_MEM_FENCE); // this slab is there for all, and all are done with the last
        FETCH(free);
        multiply(sums, slabs[now][0], slabs[now][1], lane, row, column);
        now = now + 1 == STAGES ? 0 : now + 1;
        free = free + 1 == STAGES ? 0 : free + 1;
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    const uint n = tile_n + column + lane % LANES_C * 8;
    struct around around = {
        c_buffer + c_offset, residual_buffer + residual_offset,
        row_scale_buffer + row_scale_offset, scatter_buffer + scatter_offset, present(residual),
        present(row_scale), present(scatter), extras,
        N % 8 == 0 && c_offset % 8 == 0 && (!present(residual) || residual_offset % 8 == 0),
        idle ? 0 : M, N, scatter_rows, c_rows, get_group_id(1) * M, alpha, 1.0f, {0.0f, 0.0f}};
    if (present(bias)) EACH_HALF around.bias[h] = four_of(bias_buffer + bias_offset, n + 4 * h, N);
    if (present(ranges)) {
        around.alpha *= pair_scale(ranges_buffer + ranges_offset, 0, -1);
        around.unscale = pair_scale(ranges_buffer + ranges_offset, 1, -1);
    }
    __local float *stage = (__local float *)&slabs[0][0][0] + warp * STAGED;
    // A loop, with only the registers picked by unrolled code: what runs once is fetched once.
#pragma unroll 1
    for (uint step = 0; step < UNITS_M; step++) {
        warp_barrier();
#pragma unroll
        for (uint i = 0; i < UNITS_M; i++)
            if (i == step) put_sums(stage, sums[i][0]);
        warp_barrier();
        finish_rows(&around, stage, tile_m + row + step * UNIT_ROWS, n);
    }
}
