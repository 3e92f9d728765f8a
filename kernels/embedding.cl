// SPDX-License-Identifier: MIT
// Rows of a table picked by token ids, and the mask of padding.
//
// ids [rows], rows = B·N: ints, or longs with -D LONG_IDS=1; weight [V][D], y [rows][D] storage.
// Bound by memory.

#if LONG_IDS
typedef long id_type;
#else
typedef int id_type;
#endif
#define IN_IDS(x) __global const id_type *restrict x##_buffer, const ulong x##_offset

// ROW_GRID(D / WIDTH, rows)
__kernel void embedding_forward(IN_IDS(ids), IN(weight), OUT(y), ulong rows, ulong V, ulong D)
{
    const size_t d = get_global_id(0) * WIDTH, row = grid_row();
    if (d >= D || row >= rows) return;
    const id_type id = at(ids, row);
    const bool known = id >= 0 && (ulong)id < V;
    store_wide(y, row * D + d, known ? load_wide(weight, id * D + d) : (wide)0.0f);
}

// The row of dweight a token's gradient goes to; V where it goes nowhere. One work-item a token.
__kernel void embedding_keys(IN_IDS(ids), OUT_I32(keys), ulong rows, ulong V)
{
    const size_t row = get_global_id(0);
    if (row >= rows) return;
    const id_type id = at(ids, row);
    at(keys, row) = id >= 0 && (ulong)id < V ? (int)id : (int)V;
}

// One work-item a token. can_be 0: padding is beyond what the ids can hold.
// given and mask may be one tensor.
__kernel void token_mask(IN_IDS(ids), INOUT_U8(given), INOUT_U8(mask), ulong padding, int can_be,
                         ulong rows)
{
    const size_t row = get_global_id(0);
    if (row >= rows) return;
    const bool token = !can_be || at(ids, row) != (id_type)padding;
    at(mask, row) = token && valid(given, row);
}
