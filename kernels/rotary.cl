// SPDX-License-Identifier: MIT
// Rotary embedding in place.
//
// x [rows][H][E] storage, rows = B·N; positions [rows] or absent; fine and coarse [·][2][E/2]: cosines
// and sines of positions below ROTARY_FINE, and of its multiples. A work-item takes WIDTH pairs of
// heads_each heads of a row, so that an angle is worked out once for several heads:
// ROW_GRID(E/2 / WIDTH · groups of heads, rows). Bound by memory.

__kernel void rotary(INOUT(x), IN_I32(positions), IN_F32(fine), IN_F32(coarse), ulong rows, ulong N,
                     ulong H, ulong E, ulong first_position, ulong length, ulong first_head,
                     ulong heads, ulong head_step, ulong heads_each, int inverse)
{
    const uint half_E = (uint)E / 2, chunks = half_E / WIDTH, gid = (uint)get_global_id(0);
    const uint group = gid / chunks, chunk = gid - group * chunks;
    const size_t i = (size_t)chunk * WIDTH, first = group * heads_each, row = grid_row();
    if (first >= heads || row >= rows) return;
    const int given = present(positions) ? at(positions, row) : 0;
    const ulong position = present(positions) ? (ulong)given : first_position + row % N;
    if (given < 0 || position >= length) return;

    const size_t f = position % ROTARY_FINE * E + i, c = position / ROTARY_FINE * E + i;
    const wide cos_f = at_wide(fine, f), sin_f = at_wide(fine, f + half_E);
    const wide cos_c = at_wide(coarse, c), sin_c = at_wide(coarse, c + half_E);
    const wide cosine = cos_f * cos_c - sin_f * sin_c;
    const wide turned = sin_f * cos_c + cos_f * sin_c;
    const wide sine = inverse ? -turned : turned;

    const size_t last = first + heads_each < heads ? first + heads_each : heads;
    for (size_t h = first; h < last; h++) {
        const size_t at_1 = (row * H + first_head + h * head_step) * E + i, at_2 = at_1 + half_E;
        const wide t_1 = load_wide(x, at_1), t_2 = load_wide(x, at_2);
        store_wide(x, at_1, t_1 * cosine - t_2 * sine);
        store_wide(x, at_2, t_2 * cosine + t_1 * sine);
    }
}
