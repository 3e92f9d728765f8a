// SPDX-License-Identifier: MIT
// Zeros, in place of clEnqueueFillBuffer, which NVIDIA's driver 580 gets wrong past 2 GiB into a
// buffer. One work-item an element of BYTES bytes.

#ifndef BYTES
    #define BYTES 4 // 1, 2, 4, 8 or 16
#endif
#if BYTES == 1
typedef uchar element;
#elif BYTES == 2
typedef ushort element;
#elif BYTES == 4
typedef uint element;
#elif BYTES == 8
typedef ulong element;
#else
typedef uint4 element;
#endif

__kernel void clear(__global element *x_buffer, const ulong x_offset, ulong count)
{
    const size_t i = get_global_id(0);
    if (i < count) at(x, i) = 0;
}
