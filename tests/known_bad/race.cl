// SPDX-License-Identifier: MIT
// A gather whose work-items all write to the first element: "data race" under Oclgrind.
__kernel void gather(IN(x), IN_I32(index), OUT(y), ulong N, ulong K, ulong D)
{
    const size_t d = get_global_id(0), k = get_global_id(1), b = get_global_id(2);
    if (d < D) store(y, 0, (float)(d + K * (k + b)) + load(x, 0) + at(index, 0));
}
