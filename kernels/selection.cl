// SPDX-License-Identifier: MIT
// What the selections begin with: the search for the threshold through histograms of digits, and the
// writing of what was marked.
//
// Digits of the order, the highest first: a histogram of those elements whose higher digits are the
// threshold's gives the next digit of the threshold. Then everything above it is taken, and of its
// equals the first that are needed. Counts are integers, so that atomics keep the result the same in
// every run.
//
// Defines: SERIAL 1 where a work-group is one work-item (CPUs); WARPS as in row_warps.cl.

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

// Exclusive prefix sum over the work-group; *total gets the sum of all. `sums` holds 2 uints a
// work-item.
#if WARPS
inline uint scan(uint value, __local uint *sums, uint *total)
{
    const uint item = get_local_id(0), warp = item / 32, lane = item % 32;
    const uint upto = warp_scan(value);
    if (lane == 31) sums[warp] = upto;
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint warps = warp_scan(lane < get_local_size(0) / 32 ? sums[lane] : 0);
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint before = lane_uint(warps, warp == 0 ? 0 : warp - 1);
    *total = lane_uint(warps, 31);
    return (warp == 0 ? 0 : before) + upto - value;
}
#else
inline uint scan(uint value, __local uint *sums, uint *total)
{
    const uint i = get_local_id(0), items = get_local_size(0);
    uint upto = value, half_used = 0; // each step reads one half of sums and writes the other
    sums[i] = upto;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint step = 1; step < items; step *= 2) {
        if (i >= step) upto += sums[half_used + i - step];
        half_used = items - half_used;
        sums[half_used + i] = upto;
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    *total = sums[half_used + items - 1];
    barrier(CLK_LOCAL_MEM_FENCE);
    return upto - value;
}
#endif

// Copies of a histogram lie so far apart that equal digits of neighbours meet no common bank.
inline uint copy_stride(uint bits)
{
    return (1u << bits) + 8;
}

inline void clear_bins(uint bits, uint copies, __local uint *bins)
{
    for (uint i = get_local_id(0); i < copies * copy_stride(bits); i += get_local_size(0)) bins[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
}

// Adds the copies to the first.
inline void join_copies(uint bits, uint copies, __local uint *bins)
{
    if (copies == 1) return;
    for (uint i = get_local_id(0); i < 1u << bits; i += get_local_size(0)) {
        uint sum = bins[i];
        for (uint copy = 1; copy < copies; copy++) sum += bins[copy * copy_stride(bits) + i];
        bins[i] = sum;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

// Finds the digit of `bits` in whose bin the need ends, counting from the top; the copies are joined.
inline threshold narrow(threshold t, uint bits, __local const uint *bins, __local uint *sums)
{
    const uint item = get_local_id(0), items = get_local_size(0), count = 1u << bits;
    const uint each = (count + items - 1) / items, top = count - min(count, item * each);
    const uint low = top - min(top, each);
    uint mine = 0, all;
    for (uint i = low; i < top; i++) mine += bins[i];
    uint before = scan(mine, sums, &all);
    if (before < t.need && t.need <= before + mine) {
        uint bin = top - 1;
        for (uint in_bin = bins[bin]; before + in_bin < t.need; in_bin = bins[bin]) {
            before += in_bin;
            bin--;
        }
        sums[0] = bin;
        sums[1] = t.need - before;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    const uint digit = sums[0], need = sums[1]; // by one work-item
    barrier(CLK_LOCAL_MEM_FENCE);
    return (threshold){t.digits << bits | digit, t.known + 1, need};
}

// Two counts in one, where both together are below 65536.
#define two_counts(x, y) ((uint)(x) << 16 | (uint)(y))

// Writes those of `length` elements (below 65536) from `first` on that are marked by two bits each in
// `words`: the word of those above the threshold, then that of its equals. `before`: (above, equal) of
// the elements before.
inline void write_marked(picks to, size_t first, size_t length, uint need, uint2 before,
                         __local const uint *words, __local uint *sums)
{
    const uint item = get_local_id(0), items = get_local_size(0);
    const uint count = (uint)(length + 31) / 32, each = (count + items - 1) / items;
    const uint low = min(count, item * each), high = min(count, low + each);
    uint mine = 0, all;
    for (uint i = low; i < high; i++)
        mine += two_counts(popcount(words[2 * i]), popcount(words[2 * i + 1]));
    mine = scan(mine, sums, &all);
    uint2 seen = before + (uint2)(mine >> 16, mine & 0xFFFFu);
    for (uint i = low; i < high; i++) {
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
