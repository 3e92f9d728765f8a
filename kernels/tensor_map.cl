// SPDX-License-Identifier: MIT
// Tensor maps: how the tensor memory accelerator of NVIDIA's Hopper finds boxes of a matrix.
//
// maps: 128 bytes a matrix, A's and then B's; a work-item makes one. A matrix lies as [lines][length]
// elements. A box is 128 bytes of so many lines; in local memory its chunks of 16 bytes are permuted,
// as wgmma_slabs.cl has it. What lies outside the matrix is zeros.
//
// Defines: STORAGE.

#if STORAGE == 0
    #define ELEMENT "7"
    #define ELEMENT_BYTES 4
#elif STORAGE == 1
    #define ELEMENT "6"
    #define ELEMENT_BYTES 2
#else
    #define ELEMENT "10"
    #define ELEMENT_BYTES 2
#endif

#define REPLACE(map, field, value)                                                                  \
    asm volatile("tensormap.replace.tile." field "%1;" ::"l"(map), "r"(value) : "memory")
#define REPLACE_LONG(map, field, value)                                                             \
    asm volatile("tensormap.replace.tile." field "%1;" ::"l"(map), "l"(value) : "memory")
#define REPLACE_BY(map, field, value)                                                               \
    asm volatile("tensormap.replace.tile." field value ";" ::"l"(map) : "memory")

inlined void make_map(__global ulong *words, __global const storage *x, uint lines, uint length,
                      uint box_lines)
{
    const ulong map = (ulong)words;
    for (uint i = 0; i < 16; i++) words[i] = 0;
    REPLACE_LONG(map, "global_address.global.b1024.b64 [%0], ", (ulong)x);
    REPLACE_BY(map, "rank.global.b1024.b32 [%0], ", "1"); // of two dimensions
    REPLACE(map, "box_dim.global.b1024.b32 [%0], 0, ", 128 / ELEMENT_BYTES);
    REPLACE(map, "box_dim.global.b1024.b32 [%0], 1, ", box_lines);
    REPLACE(map, "global_dim.global.b1024.b32 [%0], 0, ", length);
    REPLACE(map, "global_dim.global.b1024.b32 [%0], 1, ", lines);
    REPLACE_LONG(map, "global_stride.global.b1024.b64 [%0], 0, ", (ulong)length * ELEMENT_BYTES);
    REPLACE(map, "element_stride.global.b1024.b32 [%0], 0, ", 1);
    REPLACE(map, "element_stride.global.b1024.b32 [%0], 1, ", 1);
    REPLACE_BY(map, "elemtype.global.b1024.b32 [%0], ", ELEMENT);
    REPLACE_BY(map, "interleave_layout.global.b1024.b32 [%0], ", "0");
    REPLACE_BY(map, "swizzle_mode.global.b1024.b32 [%0], ", "3"); // 128 bytes
    REPLACE_BY(map, "fill_mode.global.b1024.b32 [%0], ", "0");
    asm volatile("fence.proxy.tensormap::generic.release.gpu;" ::: "memory");
}

__kernel __attribute__((reqd_work_group_size(32, 1, 1))) void
tensor_map(IN(a), IN(b), OUT_I32(maps), const uint a_lines, const uint a_length, const uint a_box,
           const uint b_lines, const uint b_length, const uint b_box)
{
    __global ulong *words = (__global ulong *)(maps_buffer + maps_offset);
    if (get_local_id(0) == 0) make_map(words, a_buffer + a_offset, a_lines, a_length, a_box);
    if (get_local_id(0) == 1) make_map(words + 16, b_buffer + b_offset, b_lines, b_length, b_box);
}
