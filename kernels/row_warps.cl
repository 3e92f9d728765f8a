// SPDX-License-Identifier: MIT
// Sums of neighbours without local memory, for kernels of whole rows: a warp is 32 neighbouring
// work-items of an NVIDIA GPU, its lanes.
//
// Defines: WARPS 1 for instructions of compute capability 8.0 and later, which the library tries
// out before it relies on them (src/ops/registers.c); 0 for plain OpenCL C, where there are no warps.

#ifndef WARPS
    #define WARPS 0
#endif

#if WARPS

// x of another lane of the warp.
inline uint lane_uint(uint x, uint lane)
{
    uint other;
    asm volatile("shfl.sync.idx.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=r"(other) : "r"(x), "r"(lane));
    return other;
}

// x of the lane whose number differs by these bits.
inline float lane_across(float x, uint bits)
{
    float other;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(other) : "f"(x), "r"(bits));
    return other;
}

// The sum of x over this lane and those before it.
inline uint warp_scan(uint x)
{
    for (uint step = 1; step < 32; step *= 2)
        asm volatile("{.reg .u32 left; .reg .pred inside;"
                     " shfl.sync.up.b32 left|inside, %0, %1, 0, 0xffffffff;"
                     " @inside add.u32 %0, %0, left;}"
                     : "+r"(x)
                     : "r"(step));
    return x;
}

// A bit for each lane.
inline uint warp_ballot(bool x)
{
    uint bits;
    asm volatile("{.reg .pred is; setp.ne.u32 is, %1, 0; vote.sync.ballot.b32 %0, is, 0xffffffff;}"
                 : "=r"(bits)
                 : "r"((uint)x));
    return bits;
}

inline uint warp_count(uint x)
{
    uint sum;
    asm volatile("redux.sync.add.u32 %0, %1, 0xffffffff;" : "=r"(sum) : "r"(x));
    return sum;
}

// 2^x; 0 for what would be subnormal.
inline float quick_exp2(float x)
{
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

#else
    #define quick_exp2 exp2
#endif
