// SPDX-License-Identifier: MIT
// The exact top K of every row, by position: a radix selection over routing_order (selection.cl).
//
// s [rows][N] f32, R rows share a mask of `samples` [N], taken in turn; index, gates and routed
// [rows][K]. Digits of `bits` bits. Short rows: select_row, one work-group a row. Long rows: a
// work-group each `chunk` elements, select_histogram once a digit, select_count, select_write. Local
// memory: `bins`, which later holds two bits an element; `sums`, two uints a work-item. Reads s once a
// digit and twice more.

#define KEY_BITS 33

// What every kernel here is over, and where its work-group stands.
typedef struct {
    __global const float *s;    // of this row
    __global const uchar *mask; // of this row; 0: absent
    size_t N, first, end;       // elements; those of this work-group
    uint bits, copies;          // of a digit; of the histogram, so that fewer atomics meet
} scope;

inline ulong order_of(const scope *row, size_t n)
{
    return routing_order(row->s[n], !row->mask || row->mask[n] != 0);
}

inline uint digits_of(uint bits)
{
    return (KEY_BITS + bits - 1) / bits;
}

// The histogram of the next digit, in `bins`.
inline void fill_bins(const scope *row, threshold t, __local uint *bins)
{
    const size_t item = get_local_id(0), items = get_local_size(0);
    const uint count = 1u << row->bits, shift = (digits_of(row->bits) - 1 - t.known) * row->bits;
    __local uint *mine = bins + item % row->copies * copy_stride(row->bits);
    clear_bins(row->bits, row->copies, bins);
    for (size_t n = row->first + item; n < row->end; n += items) {
        const ulong upper = order_of(row, n) >> shift;
        if (upper >> row->bits == t.digits) count_up(&mine[upper & (count - 1)]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    join_copies(row->bits, row->copies, bins);
}

// Two bits an element in `words`: the word of those above the threshold, then that of its equals.
inline void mark(const scope *row, threshold t, __local uint *words)
{
    const size_t item = get_local_id(0), items = get_local_size(0);
    const size_t count = (row->end - row->first + 31) / 32;
    for (size_t i = item; i < 2 * count; i += items) words[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (size_t n = row->first + item; n < row->end; n += items) {
        const ulong key = order_of(row, n);
        const size_t i = n - row->first;
        if (key >= t.digits) set_bits(&words[i / 32 * 2 + (key == t.digits)], 1u << i % 32);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

#define ROW_ARGUMENTS                                                                               \
    IN_F32(s), IN_U8(mask), ulong R, ulong samples, ulong N, ulong chunk, uint bits, uint copies

#define ROW_SCOPE(row, part)                                                                        \
    {                                                                                               \
        &at(s, (row)*N), MASK_OF(row), N, (part)*chunk, min(((part) + 1) * chunk, N), bits, copies  \
    }

// GROUPS(rows, 1, 1), chunk = N.
__kernel void select_row(ROW_ARGUMENTS, PICKS_ARGUMENTS, __local uint *bins,
                         __local uint *sums)
{
    const size_t r = get_group_id(0);
    const scope row = ROW_SCOPE(r, 0);
    threshold t = {0, 0, (uint)K};
    while (t.known < digits_of(bits)) {
        fill_bins(&row, t, bins);
        t = narrow(t, bits, bins, sums);
    }
    mark(&row, t, bins);
    write_marked((picks)PICKS(r, row.mask), 0, N, t.need, (uint2)(0, 0), bins, sums);
}

// The threshold after `known` digits, from the histograms [digits][1 << bits] of a row.
inline threshold recall(uint known, uint K, uint bits, __global const int *histogram,
                        __local uint *bins, __local uint *sums)
{
    threshold t = {0, 0, K};
    while (t.known < known) {
        for (size_t i = get_local_id(0); i < 1u << bits; i += get_local_size(0))
            bins[i] = (uint)histogram[((size_t)t.known << bits) + i];
        barrier(CLK_LOCAL_MEM_FENCE);
        t = narrow(t, bits, bins, sums);
    }
    return t;
}

// GROUPS(rows · parts, 1, 1) from here on. Adds this chunk to the histogram of digit `known`.
__kernel void select_histogram(ROW_ARGUMENTS, OUT_I32(histogram), ulong K, ulong parts, uint known,
                               __local uint *bins, __local uint *sums)
{
    const size_t r = get_group_id(0) / parts, part = get_group_id(0) % parts;
    const scope row = ROW_SCOPE(r, part);
    __global int *of_row = &at(histogram, (r * digits_of(bits)) << bits);
    const threshold t = recall(known, K, bits, of_row, bins, sums);
    fill_bins(&row, t, bins);
    for (size_t i = get_local_id(0); i < 1u << bits; i += get_local_size(0))
        if (bins[i]) atomic_add(&of_row[((size_t)known << bits) + i], (int)bins[i]);
}

// counts [rows][parts][2]: elements of a chunk above the threshold, and equal to it.
__kernel void select_count(ROW_ARGUMENTS, IN_I32(histogram), OUT_I32(counts), ulong K, ulong parts,
                           __local uint *bins, __local uint *sums)
{
    const size_t r = get_group_id(0) / parts, part = get_group_id(0) % parts;
    const scope row = ROW_SCOPE(r, part);
    const uint known = digits_of(bits);
    const threshold t = recall(known, K, bits, &at(histogram, (r * known) << bits), bins, sums);
    uint mine = 0, all;
    for (size_t n = row.first + get_local_id(0); n < row.end; n += get_local_size(0)) {
        const ulong key = order_of(&row, n);
        mine += two_counts(key > t.digits, key == t.digits);
    }
    scan(mine, sums, &all);
    if (get_local_id(0) == 0) {
        at(counts, 2 * (r * parts + part)) = (int)(all >> 16);
        at(counts, 2 * (r * parts + part) + 1) = (int)(all & 0xFFFFu);
    }
}

__kernel void select_write(ROW_ARGUMENTS, IN_I32(histogram), IN_I32(counts), PICKS_ARGUMENTS,
                           ulong parts, __local uint *bins, __local uint *sums)
{
    const size_t r = get_group_id(0) / parts, part = get_group_id(0) % parts;
    const scope row = ROW_SCOPE(r, part);
    const uint known = digits_of(bits);
    const threshold t = recall(known, K, bits, &at(histogram, (r * known) << bits), bins, sums);
    uint2 mine = 0;
    for (size_t i = get_local_id(0); i < part; i += get_local_size(0))
        mine += (uint2)(at(counts, 2 * (r * parts + i)), at(counts, 2 * (r * parts + i) + 1));
    uint above, equal;
    scan(mine.x, sums, &above);
    scan(mine.y, sums, &equal);
    mark(&row, t, bins);
    write_marked((picks)PICKS(r, row.mask), row.first, row.end - row.first, t.need, (uint2)(above, equal), bins, sums);
}
