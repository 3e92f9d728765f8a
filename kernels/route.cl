// SPDX-License-Identifier: MIT
// Small movements around a router: its mask, its scores, and rows cut to blocks.
//
// index [B][R][K], mask [B][N], s and scores [B][R][N] f32. One work-item an element of what is
// written, all dims as one: any of them may be large. Bound by memory.

// KR = R·K: elements of a sample. One of routed and gates is present.
__kernel void route_mask(IN_U8(mask), IN_I32(index), OUT_U8(routed), OUT_F32(gates), ulong N,
                         ulong KR, ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const int n = at(index, i);
    const bool real = inside(n, N) && valid(mask, i / KR * N + n);
    if (present(routed)) at(routed, i) = real;
    if (present(gates)) at(gates, i) = real;
}

__kernel void gather_scores(IN_F32(scores), IN_I32(index), OUT_F32(y), ulong N, ulong K, ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const int n = at(index, i);
    at(y, i) = inside(n, N) ? at(scores, i / K * N + n) : 0.0f;
}

// y[k] = scores[index[k]]: no index comes twice, so no two work-items meet. dscores begins as 0.
__kernel void gather_scores_backward(IN_F32(dy), IN_I32(index), OUT_F32(dscores), ulong N, ulong K,
                                     ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const int n = at(index, i);
    if (inside(n, N)) at(dscores, i / K * N + n) = at(dy, i);
}

// i counts [B·R][nb][width] of the blocks; the mask of a sample serves its R rows.
__kernel void block_rows(IN_F32(s), IN_U8(mask), OUT_F32(s_blocks), OUT_U8(mask_blocks), ulong N,
                         ulong R, ulong width, ulong nb, ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const size_t row = i / (nb * width), n = i % (nb * width);
    at(s_blocks, i) = at(s, row * N + n);
    if (present(mask_blocks)) at(mask_blocks, i) = at(mask, row / R * N + n);
}

// s_blocks[i] = s[row, n], and the remainder of a row went nowhere.
__kernel void block_rows_backward(IN_F32(ds_blocks), OUT_F32(ds), ulong N, ulong width, ulong nb,
                                  ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const size_t row = i / N, n = i % N;
    at(ds, i) = n < nb * width ? at(ds_blocks, row * nb * width + n) : 0.0f;
}

__kernel void block_index(IN_I32(index), OUT_I32(position), ulong width, ulong nb, ulong Kb,
                          ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    at(position, i) = at(index, i) + (int)(i / Kb % nb * width);
}
