// SPDX-License-Identifier: MIT
// Rows picked by index.
//
// x [B][N][D] storage, index [B][K], y [B][K][D] storage. One work-item an element, d fastest:
// neighbours read neighbours. Bound by memory: 2·B·K·D·sizeof(storage) bytes.

__kernel void gather(IN(x), IN_I32(index), OUT(y), ulong N, ulong K, ulong D)
{
    const size_t d = get_global_id(0), k = get_global_id(1), b = get_global_id(2);
    if (d >= D) return;

    const int n = at(index, b * K + k);
    store(y, (b * K + k) * D + d, inside(n, N) ? load(x, (b * N + n) * D + d) : 0.0f);
}
