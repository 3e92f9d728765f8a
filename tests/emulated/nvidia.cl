// SPDX-License-Identifier: MIT
// In the place of kernels/nvidia.cl where its kernels are built for a CPU: the instructions are functions
// of tests/emulated/nvidia.c.

#define inlined             inline __attribute__((always_inline))

#define WARP_LANES          32
#define this_warp()         ((uint)get_local_id(0) / WARP_LANES)
#define this_lane()         ((uint)get_local_id(0) % WARP_LANES)

#define UNIT_ROWS           16
#define UNIT_COLUMNS        8
#define UNIT_SUMS           4
#define SUMS_TOGETHER       2
#define sum_row(lane, e)    ((lane) / 4 + (e) / 2 * 8)
#define sum_column(lane, e) ((lane) % 4 * 2 + (e) % 2)

// The program is linked so that its variables, local memory among them, have addresses below 2^32.
#define shared_address(p)   ((uint)(size_t)(p))

void copy_async_at(uint to, __global const void *from, uint bytes);
#define copy_async(to, from, bytes) copy_async_at(shared_address(to), from, bytes)
void end_batch(void);
void wait_batches(int left);

uint load_word_at(uint from);
void load_matrices_at(uint *x, uint row);
void load_transposed_at(uint *x, uint line);
#define load_matrices(x, row)    load_matrices_at(x, shared_address(row))
#define load_transposed(x, line) load_transposed_at(x, shared_address(line))

void multiply_add_f16(float *sums, const uint *a, const uint *b);
void multiply_add_bf16(float *sums, const uint *a, const uint *b);
void multiply_add_tf32(float *sums, const uint *a, const uint *b);

uint pack_pair_f16(float low, float high);
uint pack_pair_bf16(float low, float high);
float float_of_f16(uint bits);
inlined float2 unpack_pair_f16(uint pair)
{
    return (float2)(float_of_f16(pair & 0xFFFF), float_of_f16(pair >> 16));
}
inlined float2 unpack_pair_bf16(uint pair)
{
    return (float2)(as_float(pair << 16), as_float(pair & 0xFFFF0000u));
}

float of_lane(float x, uint lane);
float from_lane(float x, uint bits);
float quick_exp2(float x);
float quick_recip(float x);
inlined float4 quick_recip4(float4 x)
{
    return (float4)(quick_recip(x.x), quick_recip(x.y), quick_recip(x.z), quick_recip(x.w));
}
inlined float4 quick_exp4(float4 x)
{
    x *= M_LOG2E_F;
    return (float4)(quick_exp2(x.x), quick_exp2(x.y), quick_exp2(x.z), quick_exp2(x.w));
}
#define anew(x) (x)
void warp_barrier(void);
