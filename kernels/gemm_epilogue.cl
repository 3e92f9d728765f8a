// SPDX-License-Identifier: MIT
// What follows a matrix product that only multiplied: C = residual + row_scale · gelu(alpha · sums +
// bias), rows scattered, as src/gemm/gemm.h has it.
//
// sums [parts][M][N] float, the parts of a K that was split, added in their order; C [M][N], or
// [samples][c_rows][N] with scatter. A work-item makes four columns of a row. Bound by memory.
// sums and C may be one, so neither is restrict.

GELU_FUNCTIONS(float4, gelu4, gelu4_slope)

__kernel void gemm_epilogue(INOUT_F32(sums), C_INOUT(c), IN(bias), IN_F32(row_scale),
                            C_IN(residual), IN_I32(scatter), ulong M, ulong N, const int parts,
                            const uint scatter_rows, const uint c_rows, const float alpha,
                            const int gelu_after)
{
    const size_t fours = (N + 3) / 4, m = get_global_id(0) / fours;
    const size_t n = (get_global_id(0) - m * fours) * 4;
    if (m >= M) return;

    const long to = present(scatter) ? picked(scatter_buffer + scatter_offset, m, scatter_rows, c_rows)
                                     : (long)m;
    if (to < 0) return;
    const float scale = present(row_scale) ? at(row_scale, m) : 1.0f;
    float values[4];
    for (size_t j = 0; j < 4; j++) {
        values[j] = 0.0f;
        for (size_t p = 0; p < parts && n + j < N; p++) values[j] += at(sums, (p * M + m) * N + n + j);
        values[j] = alpha * values[j] + (present(bias) && n + j < N ? load(bias, n + j) : 0.0f);
    }
    float4 value = vload4(0, values);
    if (gelu_after) value = gelu4(value);
    vstore4(scale * value, 0, values);
    for (size_t j = 0; j < 4 && n + j < N; j++) {
        const size_t i = to * N + n + j;
        store_c_storage(c_buffer, c_offset + i, present(residual) ? values[j] + load_c_storage(residual_buffer, residual_offset + i) : values[j]);
    }
}
