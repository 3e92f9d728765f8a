// SPDX-License-Identifier: MIT
// Sums of a product whose K is cut to parts, added within its one launch: two by two, those sums again, and so on.
// A warp leaves its sums in memory, and the second of two to come adds the other's to its own: which of them that
// is makes no difference, and nobody waits.
//
// waiting [parts][tiles][warps][SUMS][32] floats; arrived [tiles][warps][parts], zeros, and zeros again at the end.

#define TILE_WARPS (ALTERNATE ? 4 : 8)

// Whether these, of part `part` of a tile, became the sums of all.
inlined bool add_parts(float *sums, __global float4 *waiting, __global int *arrived, uint tiles, uint tile,
                       uint part, uint parts)
{
    const uint lane = this_lane(), slot = tile * TILE_WARPS + this_warp() % TILE_WARPS;
    const size_t apart = (size_t)tiles * TILE_WARPS * (SUMS / 4 * WARP_LANES); // from a part to the next
    waiting += slot * (SUMS / 4 * WARP_LANES) + lane;
    arrived += slot * parts;
#pragma unroll 1
    for (uint stride = 1; stride < parts; stride *= 2) {
        const uint first = part & ~(2 * stride - 1), second = first + stride;
        if (second >= parts) continue; // the first is alone
#pragma unroll
        for (uint i = 0; i < SUMS / 4; i++)
            waiting[part * apart + i * WARP_LANES] =
                (float4)(sums[4 * i], sums[4 * i + 1], sums[4 * i + 2], sums[4 * i + 3]);
        fence_device();
        warp_barrier();
        int before = 0;
        if (lane == 0) before = atomic_inc(arrived + second);
        if (as_int(of_lane(as_float(before), 0)) == 0) return false;
        fence_device();
        warp_barrier(); // one lane has learned of it, for all
        if (lane == 0) arrived[second] = 0;
        __global const float4 *other = waiting + (part == first ? second : first) * apart;
#pragma unroll
        for (uint i = 0; i < SUMS / 4; i++) {
            const float4 four = other[i * WARP_LANES];
            sums[4 * i] += four.x, sums[4 * i + 1] += four.y, sums[4 * i + 2] += four.z;
            sums[4 * i + 3] += four.w;
        }
        part = first;
    }
    return true;
}
