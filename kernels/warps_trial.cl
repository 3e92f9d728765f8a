// SPDX-License-Identifier: MIT
// What warps.cl has of NVIDIA's instructions, for a known answer: one warp, WIDTH values an item.
// values, back [32][WIDTH] float, rounded storage: back = values as storage holds them; sums [5][32]:
// of the items' numbers over 2, 4, 8, 16 and 32 neighbours.

__kernel void warps_trial(IN_F32(values), INOUT(rounded), OUT_F32(back), OUT_F32(sums))
{
    const size_t i = get_local_id(0);
    put_wide(rounded, i * WIDTH, at_wide(values, i * WIDTH));
    at_wide(back, i * WIDTH) = get_wide(rounded, i * WIDTH);
    for (uint s = 0; s < 5; s++) at(sums, s * 32 + i) = warp_sum((float)i, 2u << s);
}
