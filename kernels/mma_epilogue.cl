// SPDX-License-Identifier: MIT
// What becomes of a warp's sums on matrix units (mma_gemm, wgmma_gemm): C = residual + row_scale ·
// gelu(alpha · sums + bias), rows scattered, and what else src/gemm/gemm.h has.
//
// Sums of UNIT_ROWS rows and WARP_TILE columns are spread over a warp as the unit leaves them: element
// e of a lane at sum_row and sum_column (nvidia.cl, mma_warps.cl). Through local memory, a part of it
// for each warp, they become rows, written in whole lines.
//
// Defines: STORAGE, C_F32 as in tiled_gemm; WARP_TILE 32|64.

#define LANES_C (WARP_TILE / 8)         // lanes that write a row of C, eight columns each
#define ROWS_C  (WARP_LANES / LANES_C)
#define STAGED  (UNIT_ROWS * WARP_TILE) // floats of local memory that a warp needs
#define DROPPED 0xFFFFFFFFu             // a row of C that is not there

#ifndef BATCH // rows of a lane that are finished together
    #define BATCH (2 * ROWS_C <= UNIT_ROWS ? 2 : 1)
#endif

#if !defined(UNITS) && STORAGE == 2
    #define pack_pair   pack_pair_bf16
    #define unpack_pair unpack_pair_bf16
#elif !defined(UNITS)
    #define pack_pair   pack_pair_f16
    #define unpack_pair unpack_pair_f16
#endif

// GELU by the quick instructions: where C has 16 bits they are exact enough, 20 bits or so; else a step of
// Newton makes the reciprocal exact, for a division would be a call, around which the unit's
// instructions are not run side by side.
#ifdef UNITS
    #define quick_recip4 native_recip
    #define quick_exp4   native_exp
#endif
#if C_F32
inlined float4 reciprocal(float4 x)
{
    const float4 near = quick_recip4(x);
    return fma(near, fma(-x, near, (float4)(1.0f)), near);
}
GELU_FUNCTIONS_BY(float4, gelu_of, gelu_of_slope, exp, reciprocal)
#else
GELU_FUNCTIONS_BY(float4, gelu_of, gelu_of_slope, quick_exp4, quick_recip4)
inlined uint2 rounded(float4 x) { return (uint2)(pack_pair(x.x, x.y), pack_pair(x.z, x.w)); }
#endif

RESIDUAL_FUNCTION(float4, quick_with_residual, gelu_of_slope)

#define EACH_HALF _Pragma("unroll") for (uint h = 0; h < 2; h++)
#define EACH_ROW  _Pragma("unroll") for (uint p = 0; p < BATCH; p++)

// Eight neighbours of C at an address that is a multiple of 16 bytes, 16 bytes at once.
#if C_F32
inlined void load_eight(__global const float *from, float4 *halves)
{
    halves[0] = *(__global const float4 *)from;
    halves[1] = *(__global const float4 *)(from + 4);
}
inlined void put_eight(__global float *to, const float4 *halves)
{
    *(__global float4 *)to = halves[0];
    *(__global float4 *)(to + 4) = halves[1];
}
#else
inlined void load_eight(__global const storage *from, uint2 *halves)
{
    const uint4 eight = *(__global const uint4 *)from;
    halves[0] = eight.lo;
    halves[1] = eight.hi;
}
inlined void put_eight(__global storage *to, const float4 *halves)
{
    *(__global uint4 *)to = (uint4)(rounded(halves[0]), rounded(halves[1]));
}
#endif

// What stands around the product.
struct around {
    __global c_storage *c;
    __global const c_storage *residual; // only if add
    __global const float *row_scale;    // only if scaled
    __global const int *scatter;        // only if scattered
    bool add, scaled, scattered;
    int extras;
    bool wide;
    uint M, N, scatter_rows, c_rows;
    uint first_row; // of C, of row 0: parts of K stand below each other
    float alpha, unscale;
    float4 bias[2]; // of a lane's columns
};

// Eight columns from n on of a row of C that begins at `row`; with the residual where it is not wide.
inlined void store_eight(const struct around *to, size_t row, uint n, const float4 *values)
{
    if (to->wide)
        put_eight(to->c + row + n, values);
    else
        EACH_HALF {
            float4 four = values[h];
            if (to->add)
                four = quick_with_residual(four, c_four(to->residual + row, n + 4 * h, to->N, false), to->extras);
            put_c_four(to->c + row, n + 4 * h, to->N, false, four);
        }
}

// Where column `column` of row `row` waits: what is read or written at once lies in different banks.
inlined uint staged_at(uint row, uint column)
{
    return row * WARP_TILE + (column ^ row % 4 * 8 % WARP_TILE ^ column / 32 * 4);
}

// A warp's sums of UNIT_ROWS rows go to local memory, its own part of it, …
inlined void put_sums(__local float *stage, const float *sums)
{
    const uint lane = this_lane();
#pragma unroll
    for (uint j = 0; j < WARP_TILE / UNIT_COLUMNS; j++)
#pragma unroll
        for (uint e = 0; e < UNIT_SUMS; e += SUMS_TOGETHER) {
            const float *from = sums + j * UNIT_SUMS + e;
            const uint column = j * UNIT_COLUMNS + sum_column(lane, e);
            __local float *to = stage + staged_at(sum_row(lane, e), column);
            if (SUMS_TOGETHER == 2) *(__local float2 *)to = (float2)(from[0], from[1]);
            else *to = from[0];
        }
}

// … whence each lane takes eight neighbours of a row, so that whole lines of C are written at once:
// n is the lane's first column, tile_m the first of the rows. BATCH rows go step by step, for
// there are few warps to hide behind; and residuals are read before C, which they may be, is written.
inlined void finish_rows(const struct around *to, __local const float *stage, uint tile_m, uint n)
{
    const uint lane = this_lane(), own = lane / LANES_C, column = lane % LANES_C * 8;
#pragma unroll 1
    for (uint row = 0; row < UNIT_ROWS && n < to->N; row += BATCH * ROWS_C) {
        float4 values[BATCH][2];
        c_storage4 residuals[BATCH][2];
        float scales[BATCH];
        uint rows[BATCH]; // fewer than 2^31: the door sees to it
        const uint m = tile_m + row + own;
        EACH_ROW {
            rows[p] = m + p * ROWS_C < to->M ? to->first_row + m + p * ROWS_C : DROPPED;
            scales[p] = to->scaled && rows[p] != DROPPED ? to->row_scale[m + p * ROWS_C] : 1.0f;
        }
        EACH_ROW EACH_HALF {
            values[p][h] = *(__local const float4 *)(stage + staged_at(row + p * ROWS_C + own,
                                                                       column + 4 * h));
            values[p][h] *= to->alpha;
#if STORAGE == 0
            values[p][h] *= to->unscale;
#endif
            if (to->scaled && to->extras & SCALE_FIRST) values[p][h] *= scales[p];
            values[p][h] += to->bias[h];
        }
        if (to->scattered) {
            EACH_ROW if (rows[p] != DROPPED)
                rows[p] = (uint)picked(to->scatter, m + p * ROWS_C, to->scatter_rows, to->c_rows);
        }
        if (to->wide && to->add) {
            EACH_ROW if (rows[p] != DROPPED)
                load_eight(to->residual + (size_t)rows[p] * to->N + n, residuals[p]);
        }
        if (to->extras & GELU_AFTER) {
            EACH_ROW EACH_HALF values[p][h] = gelu_of(values[p][h]);
        }
        if (to->scaled && !(to->extras & SCALE_FIRST)) {
            EACH_ROW EACH_HALF values[p][h] *= scales[p];
        }
        if (to->wide && to->add) {
            EACH_ROW EACH_HALF
                values[p][h] = quick_with_residual(values[p][h], floats_of_c(residuals[p][h]), to->extras);
        }
        EACH_ROW if (rows[p] != DROPPED) store_eight(to, (size_t)rows[p] * to->N, n, values[p]);
    }
}
