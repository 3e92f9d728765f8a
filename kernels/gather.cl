// SPDX-License-Identifier: MIT
// Rows picked by index.
//
// x [B][N][D] storage, index [B][K], y [B][K][D] storage. One work-item WIDTH neighbours of a row, d
// fastest: GRID(D / WIDTH, K, B). Bound by memory: 2·B·K·D·sizeof(storage) bytes.

__kernel void gather(IN(x), IN_I32(index), OUT(y), ulong N, ulong K, ulong D)
{
    const size_t d = get_global_id(0) * WIDTH, k = get_global_id(1), b = get_global_id(2);
    if (d >= D) return;

    const int n = at(index, b * K + k);
    store_wide(y, (b * K + k) * D + d,
               inside(n, N) ? load_wide(x, (b * N + n) * D + d) : (wide)0.0f);
}
