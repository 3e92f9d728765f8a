// SPDX-License-Identifier: MIT
// Sums of a product whose K is cut to parts, added within its one launch. A warp leaves its sums of a part
// in memory, and the last to come adds all of them, in the order of their parts: whose turn that is makes no
// difference, and nobody waits.
//
// waiting [parts][tiles][warps][SUMS][32] floats; arrived [tiles][warps], zeros, and zeros again at the end.

#define TILE_WARPS (ALTERNATE ? 4 : 8)

// Whether these, of part `part` of a tile, were the last: then they are the sums of all.
inlined bool add_parts(float *sums, __global float4 *waiting, __global int *arrived, uint tiles, uint tile,
                       uint part, uint parts)
{
    const uint lane = this_lane(), slot = tile * TILE_WARPS + this_warp() % TILE_WARPS;
    const size_t apart = SUMS / 4 * WARP_LANES;
    waiting += slot * apart + lane;
#pragma unroll
    for (uint i = 0; i < SUMS / 4; i++)
        waiting[part * (size_t)tiles * TILE_WARPS * apart + i * WARP_LANES] =
            (float4)(sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]);
    fence_device();
    warp_barrier();
    int before = 0;
    if (lane == 0) before = atomic_inc(arrived + slot);
    if (as_int(of_lane(as_float(before), 0)) + 1 < (int)parts) return false;
    fence_device();
    warp_barrier(); // one lane has learned of it, for all
    if (lane == 0) arrived[slot] = 0;
    // Two come to the same in either order: the other one is added to these.
    const uint begin = parts == 2 ? 1 - part : 0, end = parts == 2 ? begin + 1 : parts;
#pragma unroll
    for (uint i = 0; i < SUMS; i++) sums[i] = parts == 2 ? sums[i] : 0.0f;
#pragma unroll 1
    for (uint p = begin; p < end; p++)
#pragma unroll
        for (uint i = 0; i < SUMS / 4; i++) {
            const float4 four = waiting[p * (size_t)tiles * TILE_WARPS * apart + i * WARP_LANES];
            sums[4 * i] += four.x, sums[4 * i + 1] += four.y, sums[4 * i + 2] += four.z;
            sums[4 * i + 3] += four.w;
        }
    return true;
}
