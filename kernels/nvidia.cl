// SPDX-License-Identifier: MIT
// Instructions of NVIDIA's GPUs from compute capability 8.0 on, by the names of what they do. The
// library builds this only for devices that have them (src/gemm/mma.c, src/ops/attention_mma.c, warps.c).
//
// A warp is 32 neighbouring work-items, its lanes. A 16-bit matrix of 16 rows and 16 k is four 8×8
// matrices, spread over the warp: lane l holds of each the k 2(l % 4) and its right neighbour of row
// l / 4, in the two halves of a uint. Sums, 16 rows and 8 columns, are spread likewise: [0] and [1]
// are neighbours in row l / 4, [2] and [3] in row l / 4 + 8.
//
// Define: UNITS where the matrix units are others' (mma_warps).

// Files that have a plain way beside these (warps.cl) are built with WARPS 0 where they are not there.
#if (!defined(WARPS) || WARPS) && !defined(UNITS)

// Registers live only in a body that is inlined.
#define inlined inline __attribute__((always_inline))

#define WARP_LANES  32
#define this_warp() ((uint)get_local_id(0) / WARP_LANES)
#define this_lane() ((uint)get_local_id(0) % WARP_LANES)

// Rows and columns of sums, how many of these a lane has, how many of them are neighbours; and where
// the lane's e-th lies.
#define UNIT_ROWS           16
#define UNIT_COLUMNS        8
#define UNIT_SUMS           4
#define SUMS_TOGETHER       2
#define sum_row(lane, e)    ((lane) / 4 + (e) / 2 * 8)
#define sum_column(lane, e) ((lane) % 4 * 2 + (e) % 2)

#define shared_address(p) ((uint)(size_t)(p))

// Begins to copy 16 bytes past the registers; of them only `bytes` are read, the rest are zeros. Both
// addresses are multiples of 16; `to`, as in all that ends in _at, is a shared_address.
inlined void copy_async_at(uint to, __global const void *from, uint bytes)
{
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"((ulong)from),
                 "r"(bytes)
                 : "memory");
}

inlined void copy_async(__local void *to, __global const void *from, uint bytes)
{
    copy_async_at(shared_address(to), from, bytes);
}

// Ends a batch of copies; there may be batches without any.
inlined void end_batch(void) { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until no more than `left` of this work-item's batches are under way.
#define wait_batches(left) asm volatile("cp.async.wait_group %0;" ::"n"(left) : "memory")

// 32 bits of local memory.
inlined uint load_word_at(uint from)
{
    uint word;
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(word) : "r"(from) : "memory");
    return word;
}

// Four 8×8 matrices; lane l says where row l % 8 of matrix l / 8 lies, 16 bytes.
inlined void load_matrices_at(uint *x, uint row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(row)
                 : "memory");
}

inlined void load_matrices(uint *x, __local const void *row)
{
    load_matrices_at(x, shared_address(row));
}

// The same, each matrix transposed: its lines lie in memory.
inlined void load_transposed_at(uint *x, uint line)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3])
                 : "r"(line)
                 : "memory");
}

inlined void load_transposed(uint *x, __local const void *line)
{
    load_transposed_at(x, shared_address(line));
}

// sums [16][8] += a [16 rows][16 k] · b [16 k][8 columns], of f16 or of bf16; of tf32, a float in its 32
// bits, 8 k: lane l holds of each 8×4 matrix number l % 4 of row l / 4.
#define MULTIPLY_ADD(name, shape, type)                                                                    \
    inlined void name(float *sums, const uint *a, const uint *b)                                    \
    {                                                                                               \
        asm("mma.sync.aligned." shape ".row.col.f32." type "." type ".f32 "                         \
            "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"                       \
            : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])                            \
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                    \
    }
MULTIPLY_ADD(multiply_add_f16, "m16n8k16", "f16")
MULTIPLY_ADD(multiply_add_bf16, "m16n8k16", "bf16")
MULTIPLY_ADD(multiply_add_tf32, "m16n8k8", "tf32")

// Two floats in a uint, the first in its low half.
#define PACK_PAIR(name, type)                                                                       \
    inlined uint name(float low, float high)                                                        \
    {                                                                                               \
        uint pair;                                                                                  \
        asm("cvt.rn." type ".f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));                  \
        return pair;                                                                                \
    }
PACK_PAIR(pack_pair_f16, "f16x2")
PACK_PAIR(pack_pair_bf16, "bf16x2")

// The two floats that pack_pair put in a uint.
inlined float2 unpack_pair_f16(uint pair)
{
    float2 x;
    asm("{.reg .b16 low, high; mov.b32 {low, high}, %2; cvt.f32.f16 %0, low; cvt.f32.f16 %1, high;}"
        : "=f"(x.x), "=f"(x.y)
        : "r"(pair));
    return x;
}

inlined float2 unpack_pair_bf16(uint pair)
{
    return (float2)(as_float(pair << 16), as_float(pair & 0xFFFF0000u));
}

// x of the lane of this number, and of the lane whose number differs by these bits.
inlined float of_lane(float x, uint lane)
{
    float other;
    asm volatile("shfl.sync.idx.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(other) : "f"(x), "r"(lane));
    return other;
}

inlined float from_lane(float x, uint bits)
{
    float other;
    asm volatile("shfl.sync.bfly.b32 %0, %1, %2, 0x1f, 0xffffffff;" : "=f"(other) : "f"(x), "r"(bits));
    return other;
}

// 2^x and 1 / x, good to 22 bits; 0 for what would be subnormal, without which they are an instruction each.
inlined float quick_exp2(float x)
{
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

inlined float quick_recip(float x)
{
    float reciprocal;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(x));
    return reciprocal;
}

inlined float4 quick_recip4(float4 x)
{
    return (float4)(quick_recip(x.x), quick_recip(x.y), quick_recip(x.z), quick_recip(x.w));
}

inlined float4 quick_exp4(float4 x)
{
    x *= M_LOG2E_F;
    return (float4)(quick_exp2(x.x), quick_exp2(x.y), quick_exp2(x.z), quick_exp2(x.w));
}

// x; what is computed of it is computed here, not once for all before a loop.
inlined uint anew(uint x)
{
    asm volatile("" : "+r"(x));
    return x;
}

// All lanes of the warp have come here, and see what the others wrote to local memory before.
inlined void warp_barrier(void) { asm volatile("bar.warp.sync 0xffffffff;" ::: "memory"); }

#endif
