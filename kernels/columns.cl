// SPDX-License-Identifier: MIT
// Sums of columns, in two steps and a fixed order: parts of the rows first, then the parts.
//
// x [rows][D] storage, mask [rows] or absent; partials [parts][D] float; sums [D] storage. Bound by
// memory: rows·D·sizeof(storage) bytes.

#ifndef AT_ONCE
    // Rows a work-item reads, the last again where there are fewer, before it adds them; 1 on CPUs.
    #define AT_ONCE 4
#endif

// GROUPS(ceil(D / WIDTH / columns), parts): a work-group sums the rows of a part from part · rows_each
// on, `columns` vectors of each; its slices take every slices-th row, then one slice adds the slices.
__kernel void column_partials(IN(x), IN_U8(mask), OUT_F32(partials), ulong rows, ulong D,
                              ulong rows_each, ulong columns, __local wide *scratch)
{
    const size_t i = get_local_id(0), slice = i / columns, slices = get_local_size(0) / columns;
    const size_t part = get_group_id(1), column = get_group_id(0) * columns + i % columns;
    const size_t d = column * WIDTH, to = min((ulong)((part + 1) * rows_each), rows);
    wide sum = 0.0f;
    for (size_t row = part * rows_each + slice; d < D && row < to; row += AT_ONCE * slices) {
        raw v[AT_ONCE];
        for (uint n = 0; n < AT_ONCE; n++)
            v[n] = get_raw(x, min(row + n * slices, to - 1) * D + d);
        for (uint n = 0; n < AT_ONCE; n++) {
            const size_t r = row + n * slices;
            if (r < to && valid(mask, r)) sum += widened(v[n]);
        }
    }
    scratch[i] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (slice > 0 || d >= D) return;
    for (size_t n = 1; n < slices; n++) sum += scratch[n * columns + i];
    at_wide(partials, part * D + d) = sum;
}

// GROUPS(ceil(D / columns), tensors): partials of two tensors lie one behind the other. A work-group
// adds up `columns` columns: each of its slices some of the parts, then one slice the slices.
// sums += the column's sum; other is the second tensor, or absent.
__kernel void column_sums(IN_F32(partials), INOUT(sums), INOUT(other), ulong parts, ulong D,
                          ulong columns, __local float *scratch)
{
    const size_t i = get_local_id(0), slice = i / columns, slices = get_local_size(0) / columns;
    const size_t d = get_group_id(0) * columns + i % columns, first = get_group_id(1) * parts;
    float sum = 0.0f;
    for (size_t part = slice; d < D && part < parts; part += AT_ONCE * slices) {
        float v[AT_ONCE];
        for (uint n = 0; n < AT_ONCE; n++)
            v[n] = at(partials, (first + min(part + n * slices, (size_t)parts - 1)) * D + d);
        for (uint n = 0; n < AT_ONCE; n++)
            if (part + n * slices < parts) sum += v[n];
    }
    scratch[i] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (slice > 0 || d >= D) return;
    for (size_t n = 1; n < slices; n++) sum += scratch[n * columns + i];
    if (first == 0)
        store(sums, d, load(sums, d) + sum);
    else
        store(other, d, load(other, d) + sum);
}
