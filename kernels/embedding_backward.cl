// SPDX-License-Identifier: MIT
// Sums of rows by key: one level of a tree, in a fixed order and without atomics.
//
// keys [rows], equal ones side by side; their rows are row order[i] of x [..][D] storage, or row i
// where order is absent. A work-item adds up WIDTH columns of a piece, piece_rows rows. Keys that
// lie within the piece go to sums [V][D] float, keys outside [0, V) nowhere. The piece's first key
// and its last may go on in its neighbours: their sums become two rows of parts [2·pieces][D], with
// their keys in part_keys, and these are x and keys of the next level. The last level has one piece
// and no parts. Bound by memory: rows·D·sizeof(storage) bytes.

// ROW_GRID(D / WIDTH, pieces)
__kernel void sum_by_key(IN(x), IN_I32(keys), IN_I32(order), OUT_F32(sums), OUT_F32(parts),
                         OUT_I32(part_keys), ulong rows, ulong piece_rows, ulong V, ulong D)
{
    const size_t d = get_global_id(0) * WIDTH, piece = grid_row(), begin = piece * piece_rows;
    if (d >= D || begin >= rows) return;
    const size_t end = min((ulong)(begin + piece_rows), rows), part = 2 * piece;
    const int first = at(keys, begin), last = at(keys, end - 1);

    for (size_t i = begin; i < end;) {
        const int key = at(keys, i);
        const bool counts = inside(key, V);
        wide sum = 0.0f;
        for (; i < end && at(keys, i) == key; i++) {
            const size_t row = present(order) ? (size_t)at(order, i) : i;
            if (counts) sum += load_wide(x, row * D + d);
        }
        if (present(parts) && (key == first || key == last))
            at_wide(parts, (key == first ? part : part + 1) * D + d) = sum;
        else if (counts)
            at_wide(sums, key * D + d) += sum;
    }

    if (!present(parts)) return;
    if (first == last) at_wide(parts, (part + 1) * D + d) = (wide)0.0f;
    if (d > 0) return;
    at(part_keys, part) = first;
    at(part_keys, part + 1) = last;
}
