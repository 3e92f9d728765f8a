// SPDX-License-Identifier: MIT
// What the selections begin with: the search for the threshold through histograms of digits, and the
// writing of what was marked.
//
// Digits of the order, the highest first: a histogram of those elements whose higher digits are the
// threshold's gives the next digit of the threshold. Then everything above it is taken, and of its
// equals the first that are needed. Counts are integers, so that atomics keep the result the same in
// every run.
//
// Defines: SERIAL 1 where a work-group is one work-item (CPUs).

#ifndef SERIAL
    #define SERIAL 0
#endif

#if SERIAL
    #define count_up(p)     (*(p) += 1)
    #define set_bits(p, v)  (*(p) |= (v))
#else
    #define count_up(p)     atomic_inc(p)
    #define set_bits(p, v)  atomic_or(p, v)
#endif

// The threshold as far as it is known, and how many are to be taken among elements that match it.
typedef struct {
    ulong digits;
    uint known, need;
} threshold;

// What is written of a row's picks; mask is that of its tokens. Pointers may be 0: absent.
typedef struct {
    __global int *index;
    __global float *gates;      // 1, or 0 where masked
    __global uchar *routed;     // likewise
    __global const uchar *mask;
} picks;

#define PICKS_ARGUMENTS OUT_I32(index), OUT_F32(gates), OUT_U8(routed), ulong K

#define PICKS(row, of_mask)                                                                         \
    {                                                                                               \
        &at(index, (row)*K), present(gates) ? &at(gates, (row)*K) : 0,                              \
            present(routed) ? &at(routed, (row)*K) : 0, of_mask                                     \
    }

// Of R routes each, the mask's samples serve all rows in turn.
#define MASK_OF(row) (present(mask) ? &at(mask, (row) / R % samples * N) : 0)

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

// Finds the digit of `bits` in whose bin the need ends, counting from the top.
inline threshold narrow(threshold t, uint bits, uint copies, __local const uint *bins,
                        __local uint2 *sums)
{
    const uint item = get_local_id(0), items = get_local_size(0), count = 1u << bits;
    const uint each = (count + items - 1) / items, top = count - min(count, item * each);
    const uint low = top - min(top, each);
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
        sums[0] = (uint2)(bin, t.need - before);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint2 found = sums[0]; // by one work-item
    barrier(CLK_LOCAL_MEM_FENCE);
    return (threshold){t.digits << bits | found.x, t.known + 1, found.y};
}

// Writes those of `length` elements from `first` on that are marked by two bits each in `words`: the word of those
// above the threshold, then that of its equals. `before`: (above, equal) of the elements before.
inline void write_marked(picks to, size_t first, size_t length, uint need, uint2 before,
                         __local const uint *words, __local uint2 *sums)
{
    const size_t item = get_local_id(0), items = get_local_size(0);
    const size_t count = (length + 31) / 32, each = (count + items - 1) / items;
    const size_t low = min(count, item * each), high = min(count, low + each);
    uint2 mine = 0, all;
    for (size_t i = low; i < high; i++)
        mine += (uint2)(popcount(words[2 * i]), popcount(words[2 * i + 1]));
    uint2 seen = before + scan(mine, sums, &all);
    for (size_t i = low; i < high; i++) {
        const uint above = words[2 * i];
        for (uint left = above | words[2 * i + 1]; left; left &= left - 1) {
            const uint bit = left & -left;
            const uint place = seen.x + min(seen.y, need);
            if (bit & above || seen.y < need) {
                const size_t n = first + i * 32 + popcount(bit - 1);
                const bool real = !to.mask || to.mask[n] != 0;
                to.index[place] = (int)n;
                if (to.gates) to.gates[place] = real;
                if (to.routed) to.routed[place] = real;
            }
            seen += bit & above ? (uint2)(1, 0) : (uint2)(0, 1);
        }
    }
}
