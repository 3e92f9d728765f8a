// SPDX-License-Identifier: MIT
// The exact top K of every row, by position: a radix selection over routing_order.
//
// s [rows][N] f32, R rows share a mask [N]; index [rows][K]. Digits of `bits` bits, the highest
// first: a histogram of those elements whose higher digits are the threshold's gives the next digit
// of the threshold. Then everything above it is taken, and of its equals the first that are needed.
// Counts are integers, so that atomics keep the result the same in every run.
//
// Short rows: select_row, one work-group a row. Long rows: a work-group each `chunk` elements,
// select_histogram once a digit, select_count, select_write. Local memory: `bins`, which later holds
// two bits an element; `sums`, one uint2 a work-item. Reads s once a digit and twice more.
//
// Defines: SERIAL 1 where a work-group is one work-item (CPUs).

#ifndef SERIAL
    #define SERIAL 0
#endif

#define KEY_BITS 33

#if SERIAL
    #define count_up(p)     (*(p) += 1)
    #define set_bits(p, v)  (*(p) |= (v))
#else
    #define count_up(p)     atomic_inc(p)
    #define set_bits(p, v)  atomic_or(p, v)
#endif

// What every kernel here is over, and where its work-group stands.
typedef struct {
    __global const float *s;    // of this row
    __global const uchar *mask; // of this row; 0: absent
    size_t N, first, end;       // elements; those of this work-group
    uint bits, copies;          // of a digit; of the histogram, so that fewer atomics meet
} scope;

// The threshold as far as it is known, and how many are to be taken among elements that match it.
typedef struct {
    ulong digits;
    uint known, need;
} threshold;

inline ulong order_of(const scope *row, size_t n)
{
    return routing_order(row->s[n], !row->mask || row->mask[n] != 0);
}

inline uint digits_of(uint bits)
{
    return (KEY_BITS + bits - 1) / bits;
}

// Exclusive prefix sum over the work-group; *total gets the sum of all.
inline uint2 scan(uint2 value, __local uint2 *sums, uint2 *total)
{
    const size_t i = get_local_id(0), items = get_local_size(0);
    sums[i] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (size_t step = 1; step < items; step *= 2) {
        const uint2 left = i >= step ? sums[i - step] : (uint2)(0, 0);
        barrier(CLK_LOCAL_MEM_FENCE);
        sums[i] += left;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    const uint2 before = sums[i] - value;
    *total = sums[items - 1];
    barrier(CLK_LOCAL_MEM_FENCE);
    return before;
}

// The histogram of the next digit, in `bins`.
inline void fill_bins(const scope *row, threshold t, __local uint *bins)
{
    const size_t item = get_local_id(0), items = get_local_size(0);
    const uint count = 1u << row->bits, copy = item % row->copies;
    const uint shift = (digits_of(row->bits) - 1 - t.known) * row->bits;
    for (size_t i = item; i < count * row->copies; i += items) bins[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (size_t n = row->first + item; n < row->end; n += items) {
        const ulong upper = order_of(row, n) >> shift;
        if (upper >> row->bits == t.digits)
            count_up(&bins[(upper & (count - 1)) * row->copies + copy]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

// Finds the digit in whose bin the need ends, counting from the top.
inline threshold narrow(threshold t, uint bits, uint copies, __local const uint *bins,
                        __local uint2 *sums)
{
    const uint item = get_local_id(0), items = get_local_size(0), count = 1u << bits;
    const uint each = (count + items - 1) / items, top = count - min(count, item * each);
    const uint low = top - min(top, each);
    __local uint *news = (__local uint *)sums; // from the work-item that finds it
    uint mine = 0;
    for (uint i = low * copies; i < top * copies; i++) mine += bins[i];
    uint2 all;
    uint before = scan((uint2)(mine, 0), sums, &all).x;
    if (before < t.need && t.need <= before + mine) {
        uint bin = top;
        for (uint in_bin = 0; before + in_bin < t.need;) {
            before += in_bin;
            bin--;
            in_bin = 0;
            for (uint copy = 0; copy < copies; copy++) in_bin += bins[bin * copies + copy];
        }
        news[0] = bin;
        news[1] = t.need - before;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint digit = news[0], need = news[1];
    barrier(CLK_LOCAL_MEM_FENCE);
    return (threshold){t.digits << bits | digit, t.known + 1, need};
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

// Writes the marked elements after `before` (above, equal) of earlier chunks, by position.
inline void write_marked(const scope *row, threshold t, uint2 before, __local const uint *words,
                         __local uint2 *sums, __global int *index)
{
    const size_t item = get_local_id(0), items = get_local_size(0);
    const size_t count = (row->end - row->first + 31) / 32, each = (count + items - 1) / items;
    const size_t low = min(count, item * each), high = min(count, low + each);
    uint2 mine = 0, all;
    for (size_t i = low; i < high; i++)
        mine += (uint2)(popcount(words[2 * i]), popcount(words[2 * i + 1]));
    uint2 seen = before + scan(mine, sums, &all);
    for (size_t i = low; i < high; i++) {
        const uint above = words[2 * i];
        for (uint left = above | words[2 * i + 1]; left; left &= left - 1) {
            const uint bit = left & -left;
            const uint place = seen.x + min(seen.y, t.need);
            if (bit & above || seen.y < t.need)
                index[place] = (int)(row->first + i * 32 + popcount(bit - 1));
            seen += bit & above ? (uint2)(1, 0) : (uint2)(0, 1);
        }
    }
}

#define ROW_ARGUMENTS IN_F32(s), IN_U8(mask), ulong R, ulong N, ulong chunk, uint bits, uint copies

#define ROW_SCOPE(row, part)                                                                        \
    {                                                                                               \
        &at(s, (row)*N), present(mask) ? &at(mask, (row) / R * N) : 0, N, (part)*chunk,             \
            min(((part) + 1) * chunk, N), bits, copies                                              \
    }

// GROUPS(rows, 1, 1), chunk = N.
__kernel void select_row(ROW_ARGUMENTS, OUT_I32(index), ulong K, __local uint *bins,
                         __local uint2 *sums)
{
    const size_t r = get_group_id(0);
    const scope row = ROW_SCOPE(r, 0);
    threshold t = {0, 0, (uint)K};
    while (t.known < digits_of(bits)) {
        fill_bins(&row, t, bins);
        t = narrow(t, bits, copies, bins, sums);
    }
    mark(&row, t, bins);
    write_marked(&row, t, (uint2)(0, 0), bins, sums, &at(index, r * K));
}

// The threshold after `known` digits, from the histograms [digits][1 << bits] of a row.
inline threshold recall(uint known, uint K, uint bits, __global const int *histogram,
                        __local uint *bins, __local uint2 *sums)
{
    threshold t = {0, 0, K};
    while (t.known < known) {
        for (size_t i = get_local_id(0); i < 1u << bits; i += get_local_size(0))
            bins[i] = (uint)histogram[((size_t)t.known << bits) + i];
        barrier(CLK_LOCAL_MEM_FENCE);
        t = narrow(t, bits, 1, bins, sums);
    }
    return t;
}

// GROUPS(rows · parts, 1, 1) from here on. Adds this chunk to the histogram of digit `known`.
__kernel void select_histogram(ROW_ARGUMENTS, OUT_I32(histogram), ulong K, ulong parts, uint known,
                               __local uint *bins, __local uint2 *sums)
{
    const size_t r = get_group_id(0) / parts, part = get_group_id(0) % parts;
    const scope row = ROW_SCOPE(r, part);
    __global int *of_row = &at(histogram, (r * digits_of(bits)) << bits);
    const threshold t = recall(known, K, bits, of_row, bins, sums);
    fill_bins(&row, t, bins);
    for (size_t i = get_local_id(0); i < 1u << bits; i += get_local_size(0)) {
        int sum = 0;
        for (uint copy = 0; copy < copies; copy++) sum += (int)bins[i * copies + copy];
        if (sum) atomic_add(&of_row[((size_t)known << bits) + i], sum);
    }
}

// counts [rows][parts][2]: elements of a chunk above the threshold, and equal to it.
__kernel void select_count(ROW_ARGUMENTS, IN_I32(histogram), OUT_I32(counts), ulong K, ulong parts,
                           __local uint *bins, __local uint2 *sums)
{
    const size_t r = get_group_id(0) / parts, part = get_group_id(0) % parts;
    const scope row = ROW_SCOPE(r, part);
    const uint known = digits_of(bits);
    const threshold t = recall(known, K, bits, &at(histogram, (r * known) << bits), bins, sums);
    uint2 mine = 0, all;
    for (size_t n = row.first + get_local_id(0); n < row.end; n += get_local_size(0)) {
        const ulong key = order_of(&row, n);
        mine += (uint2)(key > t.digits, key == t.digits);
    }
    scan(mine, sums, &all);
    if (get_local_id(0) == 0) {
        at(counts, 2 * (r * parts + part)) = (int)all.x;
        at(counts, 2 * (r * parts + part) + 1) = (int)all.y;
    }
}

__kernel void select_write(ROW_ARGUMENTS, IN_I32(histogram), IN_I32(counts), OUT_I32(index), ulong K,
                           ulong parts, __local uint *bins, __local uint2 *sums)
{
    const size_t r = get_group_id(0) / parts, part = get_group_id(0) % parts;
    const scope row = ROW_SCOPE(r, part);
    const uint known = digits_of(bits);
    const threshold t = recall(known, K, bits, &at(histogram, (r * known) << bits), bins, sums);
    uint2 mine = 0, before;
    for (size_t i = get_local_id(0); i < part; i += get_local_size(0))
        mine += (uint2)(at(counts, 2 * (r * parts + i)), at(counts, 2 * (r * parts + i) + 1));
    scan(mine, sums, &before);
    mark(&row, t, bins);
    write_marked(&row, t, before, bins, sums, &at(index, r * K));
}
