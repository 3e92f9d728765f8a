// SPDX-License-Identifier: MIT
// Sums of columns, in two steps and a fixed order: parts of the rows first, then the parts.
//
// x [rows][D] storage, mask [rows] or absent; partials [parts][D] float; sums [D] storage. Bound by
// memory: rows·D·sizeof(storage) bytes.

// ROW_GRID(D / WIDTH, parts): part p has the rows from p · rows_each on.
__kernel void column_partials(IN(x), IN_U8(mask), OUT_F32(partials), ulong rows, ulong D,
                              ulong parts, ulong rows_each)
{
    const size_t d = get_global_id(0) * WIDTH, part = grid_row();
    if (d >= D || part >= parts) return;
    const size_t from = part * rows_each, to = min((ulong)(from + rows_each), rows);
    wide sum = 0.0f;
    for (size_t row = from; row < to; row++)
        if (valid(mask, row)) sum += load_wide(x, row * D + d);
    at_wide(partials, part * D + d) = sum;
}

// A work-group adds up COLUMNS columns (as many as it has work-items, where these are fewer): each
// of its slices some of the parts, then one slice the slices. sums += the column's sum.
#define COLUMNS 32
__kernel void column_sums(IN_F32(partials), INOUT(sums), ulong parts, ulong D,
                          __local float *scratch)
{
    const size_t i = get_local_id(0), items = get_local_size(0);
    const size_t columns = items < COLUMNS ? items : COLUMNS, slices = items / columns;
    const size_t slice = i / columns, d = get_group_id(0) * columns + (i - slice * columns);
    float sum = 0.0f;
    if (d < D)
        for (size_t p = slice; p < parts; p += slices) sum += at(partials, p * D + d);
    scratch[i] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (i >= columns || d >= D) return;
    float total = 0.0f;
    for (size_t n = 0; n < slices; n++) total += scratch[n * columns + i];
    store(sums, d, load(sums, d) + total);
}
