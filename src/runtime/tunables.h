/* SPDX-License-Identifier: MIT */
/*
 * Every tunable constant, one line:
 *
 *     X(constant, name, types, devices, STANDARD(cpu, nvidia, amd, intel, other), CHOICES(…), ops,
 * about)
 *
 * types, devices: those where it has a say, and is searched. STANDARD: what each kind of device
 * gets when nobody tuned it; 0: by the sizes of the call, as the code says. CHOICES: what a search
 * tries, and all that is taken from a file. ops: of `colt5 bench`, whose time it decides;
 * X_backward is X with its backward.
 */
#ifndef COLT5_RUNTIME_TUNABLES_H
#define COLT5_RUNTIME_TUNABLES_H

#define STANDARD(...)                                                                              \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define CHOICES(...)                                                                               \
    {                                                                                              \
        __VA_ARGS__, 0                                                                             \
    }
#define ALIKE(value) STANDARD(value, value, value, value, value)

/* clang-format off */
#define TUNABLE_LIST(X) \
    X(PACKED_LANES, "packed_lanes", ALL_TYPES, ON_CPU, ALIKE(0), CHOICES(4, 8, 16), \
      "linear linear_gelu linear_backward", "floats of a vector (packed_gemm.cl: REGISTER)") \
    X(PACKED_ROWS, "packed_rows", ALL_TYPES, ON_CPU, ALIKE(0), CHOICES(4, 6, 8, 10, 12, 14), \
      "linear linear_gelu linear_backward", "rows of a panel of A (packed_gemm.cl: ROWS)") \
    X(PACKED_DEPTH, "packed_depth", ALL_TYPES, ON_CPU, ALIKE(512), CHOICES(128, 256, 512, 1024), \
      "linear linear_gelu linear_backward", "k of a part of K (packed.c)") \
    X(VECTOR, "vector", ALL_TYPES, ON_CPU, ALIKE(8), CHOICES(4, 8, 16), \
      "add gelu gather scatter rms_norm layer_norm score rms_norm_backward gelu_backward", \
      "neighbours that a work-item moves at once on CPUs (common.cl: WIDTH)") \
    X(LANES_ABREAST, "lanes_abreast", ALL_TYPES, ON_CPU, ALIKE(8), CHOICES(2, 4, 8), \
      "local_attention flash_attention local_attention_backward flash_attention_backward", \
      "rows summed side by side (attention_lanes.cl: ABREAST)") \
    X(LANES_ROWS, "lanes_rows", ALL_TYPES, ON_CPU, ALIKE(160), CHOICES(64, 96, 128, 160, 192, 256), \
      "local_attention flash_attention local_attention_backward flash_attention_backward", \
      "keys of a tile (attention_lanes.cl: ROW_COUNT)") \
    X(LANES_CHUNK, "lanes_chunk", ALL_TYPES, ON_CPU, ALIKE(8), CHOICES(2, 4, 8, 16, 32), \
      "local_attention_backward", "tiles of 32 keys of a work-item, backward (attention_backward.c)") \
    X(SINKHORN_PARTS, "sinkhorn_parts", ALL_TYPES, ON_ALL, STANDARD(4, 8, 8, 8, 8), \
      CHOICES(1, 2, 4, 8, 16), "sinkhorn", "parts of a row, for each compute unit (sinkhorn.c)") \
    X(ROW_STEPS, "row_steps", ALL_TYPES, ON_GPU, ALIKE(0), CHOICES(1, 2, 4, 8), \
      "rms_norm layer_norm rms_norm_backward layer_norm_backward", \
      "vectors of a row that a work-item has in flight (rows.c)") \
    X(ROW_GROUP, "row_group", ALL_TYPES, ON_GPU, ALIKE(256), CHOICES(64, 128, 256, 512), \
      "rms_norm layer_norm rms_norm_backward layer_norm_backward", \
      "work-items of a work-group that takes rows (rows.c)") \
    X(PARTS_A_UNIT, "parts_a_unit", ALL_TYPES, ON_ALL, ALIKE(4), \
      CHOICES(1, 2, 4, 8, 16, 32), "rms_norm_backward layer_norm_backward broadcast_row_backward", \
      "parts of a sum over all rows, for each compute unit (columns.c)") \
    X(PLAIN_GROUP, "plain_group", ALL_TYPES, ON_ALL, ALIKE(256), CHOICES(32, 64, 128, 256, 512, 1024), \
      "add gather gelu scatter", "work-items of a work-group of plain kernels (launch.c)") \
    X(TILED_TILE, "tiled_tile", ALL_TYPES, ON_GPU, ALIKE(0), CHOICES(32, 64, 128), \
      "linear linear_gelu linear_backward", "rows and columns of a tile (tiled_gemm.cl: TILE)") \
    X(TILED_DEPTH, "tiled_depth", ALL_TYPES, ON_GPU, ALIKE(16), CHOICES(8, 16, 32), \
      "linear linear_gelu linear_backward", "k of a slab (tiled_gemm.cl: DEPTH)") \
    X(TILES_ABREAST, "tiles_abreast", ALL_TYPES, ON_GPU, ALIKE(8), CHOICES(1, 4, 8, 16, 32), \
      "linear linear_backward", "tiles along M that share columns of B (gemm_tiles.cl: BAND)") \
    X(SMALLEST_PART, "smallest_part", ALL_TYPES, ON_GPU, ALIKE(256), CHOICES(128, 256, 512, 1024), \
      "linear_gelu linear_backward", "k of a part of K at the least (tiled.c, mma.c)") \
    X(MMA_TILE, "mma_tile", SHORT_TYPES, ON_NVIDIA, ALIKE(0), CHOICES(64, 128), \
      "linear linear_gelu linear_backward", "rows and columns of a tile (mma_slabs.cl: TILE)") \
    X(MMA_STAGES, "mma_stages", SHORT_TYPES, ON_NVIDIA, ALIKE(3), CHOICES(2, 3), \
      "linear linear_gelu linear_backward", "slabs in local memory (nvidia_units.cl: STAGES)") \
    X(WGMMA_STAGES, "wgmma_stages", ALL_TYPES, ON_NVIDIA, ALIKE(6), CHOICES(4, 5, 6), \
      "linear linear_gelu linear_backward", "slabs in local memory, tiles of 128 columns (wgmma_slabs.cl: STAGES)") \
    X(ATTENTION_KEYS, "attention_keys", SHORT_TYPES, ON_NVIDIA, ALIKE(0), CHOICES(32, 64), \
      "local_attention flash_attention", "keys of a tile, forward (attention_warps.cl: KEYS)") \
    X(ATTENTION_RY, "attention_ry", ALL_TYPES, ON_GPU, ALIKE(0), CHOICES(2, 4), \
      "local_attention flash_attention", "queries of a work-item (attention_blocks.cl: RY)") \
    X(ATTENTION_RX, "attention_rx", ALL_TYPES, ON_GPU, ALIKE(0), CHOICES(2, 4), \
      "local_attention flash_attention", "keys of a work-item (attention_blocks.cl: RX)")
/* clang-format on */

#endif
