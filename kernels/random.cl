// SPDX-License-Identifier: MIT
// Uniform random numbers, one work-item each.
//
// u [rows][N] f32. Philox itself stands in common.cl. About 60 integer operations a number.

__kernel void random_uniform(OUT_F32(u), ulong seed, ulong stream, ulong slot, ulong first_row,
                             ulong N, ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const uint row = (uint)(first_row + i / N);
    at(u, i) = philox_uniform(seed, (uint)(i % N), (uint)slot, row, (uint)stream);
}
