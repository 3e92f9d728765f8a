// SPDX-License-Identifier: MIT
// Bytes copied by a kernel, where a checker has to see it: y = x, both u8 [count].
// One work-item a byte.

__kernel void copy(IN_U8(x), OUT_U8(y), ulong count)
{
    const size_t i = get_global_id(0);
    if (i < count) at(y, i) = at(x, i);
}
