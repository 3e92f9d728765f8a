// SPDX-License-Identifier: MIT
// A stable sort of integers by one digit: rows of equal digits keep their order.
//
// keys, order [rows]: order absent stands for 0, 1, 2, …. Chunks of chunk_rows rows are counted on
// their own: ranks [rows] is a row's place among its chunk's equals, counts [radix][chunks] how
// many of them there are. Scanned, the counts say where each chunk's rows of a digit begin.

#define CHUNK      256 // rows of a chunk in sort_count, as in src/ops/sort.c
#define DIGIT(key) ((key) >> shift & (radix - 1))

// One work-group a chunk: compares all pairs of digits.
__kernel void sort_count(IN_I32(keys), OUT_I32(ranks), OUT_I32(counts), ulong rows, ulong chunks,
                         ulong chunk_rows, int shift, int radix)
{
    __local int digits[CHUNK];
    const size_t chunk = get_group_id(0), begin = chunk * chunk_rows;
    const size_t have = min(rows - begin, chunk_rows);
    for (size_t i = get_local_id(0); i < radix; i += get_local_size(0))
        at(counts, i * chunks + chunk) = 0;
    for (size_t i = get_local_id(0); i < have; i += get_local_size(0))
        digits[i] = DIGIT(at(keys, begin + i));
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);

    for (size_t i = get_local_id(0); i < have; i += get_local_size(0)) {
        const int mine = digits[i];
        int rank = 0, equal = 0;
        for (size_t other = 0; other < have; other++) {
            const int same = digits[other] == mine;
            rank += other < i ? same : 0;
            equal += same;
        }
        at(ranks, begin + i) = rank;
        if (rank == 0) at(counts, mine * chunks + chunk) = equal;
    }
}

// As sort_count, but one work-item a chunk, row after row: for CPUs.
__kernel void sort_count_alone(IN_I32(keys), OUT_I32(ranks), OUT_I32(counts), ulong rows,
                               ulong chunks, ulong chunk_rows, int shift, int radix)
{
    const size_t chunk = get_global_id(0), begin = chunk * chunk_rows;
    if (chunk >= chunks) return;
    for (int i = 0; i < radix; i++) at(counts, i * chunks + chunk) = 0;
    for (size_t i = begin; i < min(begin + chunk_rows, rows); i++)
        at(ranks, i) = at(counts, DIGIT(at(keys, i)) * chunks + chunk)++;
}

// One work-group a row: every element becomes the sum of those before it; totals (may be absent)
// gets the sum of all. The group's size is a power of two, scratch holds as many.
__kernel void sort_scan(__global int *values_buffer, const ulong values_offset, OUT_I32(totals),
                        ulong length, __local int *scratch)
{
    const size_t i = get_local_id(0), items = get_local_size(0), row = get_group_id(0) * length;
    int before = 0;
    for (size_t from = 0; from < length; from += items) {
        const bool holds = from + i < length;
        const int mine = holds ? at(values, row + from + i) : 0;
        scratch[i] = mine;
        barrier(CLK_LOCAL_MEM_FENCE);
        for (size_t step = 1; step < items; step *= 2) {
            const int more = i >= step ? scratch[i - step] : 0;
            barrier(CLK_LOCAL_MEM_FENCE);
            scratch[i] += more;
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        if (holds) at(values, row + from + i) = before + scratch[i] - mine;
        before += scratch[items - 1];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (i == 0 && present(totals)) at(totals, get_group_id(0)) = before;
}

// One work-item a row: to where its digit, its chunk and its rank say.
__kernel void sort_place(IN_I32(keys), IN_I32(order), IN_I32(ranks), IN_I32(counts), IN_I32(starts),
                         OUT_I32(sorted_keys), OUT_I32(sorted_order), ulong rows, ulong chunks,
                         ulong chunk_rows, int shift, int radix)
{
    const size_t row = get_global_id(0);
    if (row >= rows) return;
    const int key = at(keys, row), digit = DIGIT(key);
    const size_t begin = at(counts, digit * chunks + row / chunk_rows);
    const size_t to = at(starts, digit) + begin + at(ranks, row);
    at(sorted_keys, to) = key;
    at(sorted_order, to) = present(order) ? at(order, row) : (int)row;
}
