// SPDX-License-Identifier: MIT
// What matrix units have in common that need no help with copies and operands (amd_cdna, amd_rdna,
// intel_xmx): both go by plain loads and stores.

#ifdef UNITS
// 16 bytes, zeros if `bytes` is 0; both addresses are multiples of 16. There is nothing to wait for.
inlined void copy_async(__local void *to, __global const void *from, uint bytes)
{
    *(__local uint4 *)to = bytes ? *(__global const uint4 *)from : (uint4)(0);
}
    #define end_batch()
    #define wait_batches(left)

    #define pack_pair(low, high) (storage_of((float4)(low, high, 0.0f, 0.0f)).x)

// An element of a row of a slab.
inlined uint one_of(__local const ushort *slab, const bool in_lines, uint row, uint k)
{
    return in_lines ? slab[place_in_lines(k, row / 8) + row % 8] : slab[place_in_rows(row, k / 8) + k % 8];
}

// Elements k and k + 1, the first in the low half; k is even.
inlined uint two_of(__local const ushort *slab, const bool in_lines, uint row, uint k)
{
    return in_lines ? one_of(slab, true, row, k) | one_of(slab, true, row, k + 1) << 16
                    : *(__local const uint *)(slab + place_in_rows(row, k / 8) + k % 8);
}
#endif
