// SPDX-License-Identifier: MIT
// A gather that sums into what was never set: "Uninitialized value" under Oclgrind.
__kernel void gather(IN(x), IN_I32(index), OUT(y), ulong N, ulong K, ulong D)
{
    const size_t d = get_global_id(0), k = get_global_id(1), b = get_global_id(2);
    float sum;
    if (d < D) store(y, (b * K + k) * D + d, sum + load(x, (b * N + at(index, b * K + k)) * D + d));
}
