// SPDX-License-Identifier: MIT
// What follows a matrix product that only multiplied: C = residual + row_scale · gelu(alpha · sums +
// bias), rows scattered, and what else src/gemm/gemm.h has.
//
// sums [parts][M][N] float, the parts of a K that was split, added in their order; C [M][N], or
// [samples][c_rows][N] with scatter. A work-item makes four columns of a row. Bound by memory.
// sums and C may be one, so neither is restrict.
//
// Defines: STORAGE; C_F32 as in common.cl; VECTOR 1 where four neighbours of all but the bias may be
// read and written at once (N and the offsets are multiples of four).

inlined float4 sums_at(__global const float *sums, size_t row, size_t n, size_t N)
{
    sums += row + n;
#if VECTOR
    return *(__global const float4 *)sums;
#else
    return (float4)(sums[0], n + 1 < N ? sums[1] : 0.0f, n + 2 < N ? sums[2] : 0.0f,
                    n + 3 < N ? sums[3] : 0.0f);
#endif
}

__kernel void gemm_epilogue(INOUT_F32(sums), C_INOUT(c), IN(bias), IN_F32(row_scale),
                            C_IN(residual), IN_I32(scatter), ulong M, ulong N, const int parts,
                            const uint scatter_rows, const uint c_rows, const float alpha,
                            const int extras)
{
    const size_t fours = (N + 3) / 4, m = get_global_id(0) / fours;
    const size_t n = (get_global_id(0) - m * fours) * 4;
    if (m >= M) return;

    const long to = present(scatter) ? picked(scatter_buffer + scatter_offset, m, scatter_rows, c_rows)
                                     : (long)m;
    if (to < 0) return;
    const size_t row = (size_t)to * N;
    float4 value = (float4)(0.0f);
    for (size_t p = 0; p < parts; p++) value += sums_at(sums_buffer + sums_offset, (p * M + m) * N, n, N);
    const float scale = present(row_scale) ? at(row_scale, m) : 1.0f;
    value *= extras & SCALE_FIRST ? alpha * scale : alpha;
    if (present(bias)) value += four_of(bias_buffer + bias_offset, n, N);
    if (extras & GELU_AFTER) value = gelu4(value);
    if (!(extras & SCALE_FIRST)) value *= scale;
    if (present(residual))
        value = with_residual(value, c_four(residual_buffer + residual_offset + row, n, N, VECTOR), extras);
    put_c_four(c_buffer + c_offset + row, n, N, VECTOR, value);
}
