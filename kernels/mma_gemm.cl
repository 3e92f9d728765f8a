// SPDX-License-Identifier: MIT
// tiled_gemm on NVIDIA's matrix units (mma, compute capability 8.0 on), for f16 and bf16; and with
// STORAGE 0 for floats that are pairs of f16 (split.cl), high · high + high · low + low · high.
//
// Four warps make one TILE×TILE tile of C, each a quarter of it. Slabs of A and B, DEPTH deep, wait
// in local memory as they came, STAGES of them: while one is multiplied the next ones are on their
// way. Group id 0 counts tiles, id 1 parts of K, as in tiled_gemm.
//
// Defines: those of mma_slabs; C_F32 as in tiled_gemm.

#define STRIDE     (WARP_TILE + 8) // of sums in local memory: half a warp writes to different banks
#define LANES_C    (WARP_TILE / 4) // lanes that write a row of C, four columns each
#define ROWS_C     (32 / LANES_C)
#define BATCH      4 // rows of a lane that are finished together

#if STORAGE == 2
    #define pack_pair pack_pair_bf16
#else
    #define pack_pair pack_pair_f16
#endif

// Where C has 16 bits, GELU by the quick instructions, good to 20 bits or so.
#if C_F32
    #define gelu_of gelu4
    #define rounded(x) (x)
#else
GELU_FUNCTIONS_BY(float4, gelu_of, gelu_of_slope, native_exp, native_recip)
inlined uint2 rounded(float4 x) { return (uint2)(pack_pair(x.x, x.y), pack_pair(x.z, x.w)); }
#endif

// What stands around the product.
struct around {
    __global c_storage *c;
    __global const c_storage *residual; // only if add
    __global const float *row_scale;    // only if scaled
    __global const int *scatter;        // only if scattered
    bool add, scaled, scattered, gelu, wide;
    uint M, N, scatter_rows, c_rows;
    float alpha, unscale;
    float4 bias;
};

// A warp's sums of 16 rows go to local memory, its own part of it, …
inlined void put_sums(__local float *stage, float sums[TILES_N][4])
{
    const uint lane = get_local_id(0) % 32;
#pragma unroll
    for (uint j = 0; j < TILES_N; j++) {
        __local float *pair = stage + lane / 4 * STRIDE + j * 8 + lane % 4 * 2;
        *(__local float2 *)pair = (float2)(sums[j][0], sums[j][1]);
        *(__local float2 *)(pair + 8 * STRIDE) = (float2)(sums[j][2], sums[j][3]);
    }
}

// … whence each lane takes four neighbours of a row, so that whole lines of C are written at once:
// first_m and n are the lane's. BATCH rows go step by step, for there are few warps to hide behind;
// and residuals are read before C, which they may be, is written.
inlined void finish_rows(const struct around *to, __local const float *stage, uint first_m, uint n)
{
#pragma unroll 1
    for (uint row = 0; row < 16 && n < to->N; row += BATCH * ROWS_C) {
        float4 values[BATCH];
        c_storage4 residuals[BATCH];
        long rows[BATCH];
        const uint m = first_m + row;
#pragma unroll
        for (uint p = 0; p < BATCH; p++) {
            values[p] = to->alpha * *(__local const float4 *)(stage + (row + p * ROWS_C) * STRIDE);
            if (TERMS > 1) values[p] *= to->unscale;
            values[p] += to->bias;
            rows[p] = m + p * ROWS_C < to->M ? (long)get_group_id(1) * to->M + m + p * ROWS_C : -1;
        }
        if (to->scattered) {
#pragma unroll
            for (uint p = 0; p < BATCH; p++)
                if (rows[p] >= 0)
                    rows[p] = picked(to->scatter, m + p * ROWS_C, to->scatter_rows, to->c_rows);
        }
        if (to->wide && to->add) {
#pragma unroll
            for (uint p = 0; p < BATCH; p++)
                if (rows[p] >= 0)
                    residuals[p] = *(__global const c_storage4 *)(to->residual + rows[p] * to->N + n);
        }
        if (to->gelu) {
#pragma unroll
            for (uint p = 0; p < BATCH; p++) values[p] = gelu_of(values[p]);
        }
        if (to->scaled) {
#pragma unroll
            for (uint p = 0; p < BATCH; p++)
                if (rows[p] >= 0) values[p] *= to->row_scale[m + p * ROWS_C];
        }
        if (to->wide && to->add) {
#pragma unroll
            for (uint p = 0; p < BATCH; p++) values[p] += floats_of_c(residuals[p]);
        }
        if (to->wide) {
#pragma unroll
            for (uint p = 0; p < BATCH; p++)
                if (rows[p] >= 0)
                    *(__global c_storage4 *)(to->c + rows[p] * to->N + n) = rounded(values[p]);
        } else {
#pragma unroll
            for (uint p = 0; p < BATCH; p++)
                if (rows[p] >= 0)
                    finish(to->c + rows[p] * to->N, to->residual + rows[p] * to->N, n, to->N, to->add,
                           false, values[p]);
        }
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
mma_gemm(__global const operand *restrict a_buffer, const ulong a_offset,
         __global const operand *restrict b_buffer, const ulong b_offset, C_INOUT(c), IN(bias),
         IN_F32(row_scale), C_IN(residual), IN_I32(index), IN_I32(scatter), IN_I32(ranges),
         const uint M, const uint N, const uint K, const uint part, const uint a_length,
         const uint b_length, const uint index_rows, const uint a_rows, const uint scatter_rows,
         const uint c_rows, const float alpha, const int gelu_after)
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

    const uint warp = item / 32, lane = item % 32;
    const uint row = warp / 2 * WARP_TILE, column = warp % 2 * WARP_TILE;
    float sums[TILES_M][TILES_N][4];
#pragma unroll
    for (uint i = 0; i < TILES_M; i++)
#pragma unroll
        for (uint j = 0; j < TILES_N; j++)
#pragma unroll
            for (uint e = 0; e < 4; e++) sums[i][j][e] = 0.0f;

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
        multiply(sums, slabs[now][0], slabs[now][1], row, column);
        now = now + 1 == STAGES ? 0 : now + 1;
        free = free + 1 == STAGES ? 0 : free + 1;
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    const uint n = tile_n + column + lane % LANES_C * 4;
    struct around around = {
        c_buffer + c_offset, residual_buffer + residual_offset,
        row_scale_buffer + row_scale_offset, scatter_buffer + scatter_offset, present(residual),
        present(row_scale), present(scatter), gelu_after != 0,
        N % 4 == 0 && c_offset % 4 == 0 && (!present(residual) || residual_offset % 4 == 0),
        idle ? 0 : M, N, scatter_rows, c_rows, alpha, 1.0f,
        present(bias) ? four_of(bias_buffer + bias_offset, n, N) : (float4)(0.0f)};
    if (present(ranges)) {
        around.alpha *= pair_scale(ranges_buffer + ranges_offset, 0, -1);
        around.unscale = pair_scale(ranges_buffer + ranges_offset, 1, -1);
    }
    __local float *stage = (__local float *)&slabs[0][0][0] + warp * 16 * STRIDE;
    // A loop, with only the registers picked by unrolled code: what runs once is fetched once.
#pragma unroll 1
    for (uint step = 0; step < TILES_M; step++) {
        warp_barrier();
#pragma unroll
        for (uint i = 0; i < TILES_M; i++)
            if (i == step) put_sums(stage, sums[i]);
        warp_barrier();
        finish_rows(&around, stage + lane / LANES_C * STRIDE + lane % LANES_C * 4,
                    tile_m + row + step * 16 + lane / LANES_C, n);
    }
}
