// SPDX-License-Identifier: MIT
// What neighbouring work-items do together, and stores: by single instructions of NVIDIA's GPUs where
// the host says that they are there (-D WARPS=1, src/ops/warps.c), else as common.cl has it.

// The sum of a value over LANES neighbours; as lanes_sum, which also takes the scratch.
#if WARPS
// lanes: 2 to 32, a power of two; all of a warp call it.
inline float warp_sum(float value, uint lanes)
{
    for (uint bits = lanes / 2; bits > 0; bits /= 2) value += from_lane(value, bits);
    return value;
}
    #define row_sum(value, scratch)                                                                 \
        (LANES <= 32 ? warp_sum(value, LANES) : lanes_sum(value, scratch))
#else
    #define row_sum lanes_sum
#endif

// load_wide and store_wide. Rounding to 16 bits, with NaN kept, is six instructions an element, more
// than the rest of a norm; in pairs it is one for two. And compilers read eight 16-bit elements in two
// halves.
#if WARPS && STORAGE != 0 && WIDTH == 8
    #if STORAGE == 1
        #define pack_pair   pack_pair_f16
        #define unpack_pair unpack_pair_f16
    #else
        #define pack_pair   pack_pair_bf16
        #define unpack_pair unpack_pair_bf16
    #endif
inline uint4 pack_wide(wide v)
{
    return (uint4)(pack_pair(v.s0, v.s1), pack_pair(v.s2, v.s3), pack_pair(v.s4, v.s5),
                   pack_pair(v.s6, v.s7));
}
inline wide unpack_wide(uint4 v)
{
    return (wide)(unpack_pair(v.x), unpack_pair(v.y), unpack_pair(v.z), unpack_pair(v.w));
}
typedef uint4 raw;
    #define widened                unpack_wide
    #define get_raw_storage(p, i)  (*(__global const uint4 *)((p) + (i)))
    #define get_wide_storage(p, i) unpack_wide(get_raw_storage(p, i))
    #define put_wide(x, i, v)                                                                       \
        (*(__global uint4 *)(x##_buffer + x##_offset + (i)) = pack_wide(v))
#else
typedef wide raw;
    #define widened(v)       (v)
    #define get_raw_storage  load_wide_storage
    #define get_wide_storage load_wide_storage
    #define put_wide         store_wide
#endif
#define get_wide(x, i) get_wide_storage(x##_buffer, x##_offset + (i))
// As it lies in memory, where that can be kept: a load that nothing waits for yet. widened() of it.
#define get_raw(x, i)  get_raw_storage(x##_buffer, x##_offset + (i))
