// SPDX-License-Identifier: MIT
// Zeros in the place of masked rows.
//
// x [B][N][D] storage, mask [B][N], y [B][N][D] storage. One work-item an element, d fastest. Bound
// by memory: 2·B·N·D·sizeof(storage) bytes.

__kernel void mask_rows(IN(x), IN_U8(mask), OUT(y), ulong N, ulong D)
{
    const size_t d = get_global_id(0), row = get_global_id(2) * N + get_global_id(1);
    if (d >= D) return;

    store(y, row * D + d, valid(mask, row) ? load(x, row * D + d) : 0.0f);
}
