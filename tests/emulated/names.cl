// SPDX-License-Identifier: MIT
// Stands behind plain_units: what a file of units gives gets other names, so that units.cl can take
// them; and what only a compiler for the device knows is something else.

#define load_left    load_left_of_lane
#define load_right   load_right_of_lane
#define multiply_add multiply_add_of_unit

#undef as_half4
#undef as_half16
#define as_half4(x)  (x)
#define as_half16(x) (x)
#define __builtin_amdgcn_mfma_f32_16x16x16f16(a, b, sums, x, y, z)     (sums)
#define __builtin_amdgcn_mfma_f32_16x16x16bf16_1k(a, b, sums, x, y, z) (sums)
#define __builtin_amdgcn_wmma_f32_16x16x16_f16_w32(a, b, sums)         (sums)
#define __builtin_amdgcn_wmma_f32_16x16x16_bf16_w32(a, b, sums)        (sums)
#define __builtin_amdgcn_fence(order, scope)
#define __builtin_amdgcn_wave_barrier() barrier(CLK_LOCAL_MEM_FENCE)

#define intel_sub_group_f16_f16_matrix_mad_k16(a, b, sums)   (sums)
#define intel_sub_group_bf16_bf16_matrix_mad_k16(a, b, sums) (sums)
#define get_sub_group_id()       ((uint)get_local_id(0) / WARP_LANES)
#define get_sub_group_local_id() ((uint)get_local_id(0) % WARP_LANES)
#define sub_group_barrier        barrier
