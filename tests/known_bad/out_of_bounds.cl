// SPDX-License-Identifier: MIT
// A gather that writes far behind its output: "Invalid write" under Oclgrind.
__kernel void gather(IN(x), IN_I32(index), OUT(y), ulong N, ulong K, ulong D)
{
    const size_t d = get_global_id(0), k = get_global_id(1), b = get_global_id(2);
    if (d < D) store(y, (b * K + k) * D + d + 100000, load(x, (b * N + at(index, b * K + k)) * D + d));
}
