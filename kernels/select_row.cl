// SPDX-License-Identifier: MIT
// The exact top K of every row, by one work-group each: as select.cl, for rows of up to 65535.
//
// GROUPS(rows, 1, 1). Digits of `bits` bits of keys of 32: masked tokens have keys only where the valid
// ones are too few, and are then all there is to choose from. Reads s once a digit and once more; a GPU
// has it in the cache by then. Short code that runs often: keys held in registers would need code for each
// of them, and what runs once waits for its own fetching. Local memory: `bins`, `copies` of a histogram, or
// two bits an element; `sums`, two uints a work-item.
//
// Defines: GROUP, work-items, where the host has tried out that so many run, and else 0; SERIAL as in
// selection.cl; WARPS as in row_warps.cl.

#ifndef GROUP
    #define GROUP 0
#endif
#ifndef BATCH
    #define BATCH 8 // tokens of a work-item that are loaded together
#endif

#if GROUP
    #define ITEMS GROUP
    #define SHAPE __attribute__((reqd_work_group_size(GROUP, 1, 1)))
#else
    #define ITEMS ((uint)get_local_size(0))
    #define SHAPE
#endif

// Larger is earlier, 1 is NaN; no key is 0, which stands for a token not to choose from.
inline uint key_of(float s)
{
    const uint key = (uint)routing_order(s, false);
    return key == 0 ? 1 : key;
}

// What there is to choose from: the tokens of a row that are valid, or those that are not.
typedef struct {
    __global const float *s;
    __global const uchar *mask; // 0: all are valid
    uint N;
    bool valid;
} choice;

// Keys of the tokens first, first + ITEMS, … Every load is made, of the last token where the row is over, so
// that none waits for another.
inline void load_keys(const choice *of, uint first, uint keys[BATCH])
{
    const uint last = of->N - 1;
#pragma unroll
    for (uint i = 0; i < BATCH; i++) keys[i] = as_uint(of->s[min(first + i * ITEMS, last)]);
#pragma unroll
    for (uint i = 0; i < BATCH; i++)
        keys[i] = first + i * ITEMS <= last ? key_of(as_float(keys[i])) : 0;
    if (!of->mask) return;
#pragma unroll
    for (uint i = 0; i < BATCH; i++)
        if ((of->mask[min(first + i * ITEMS, last)] != 0) != of->valid) keys[i] = 0;
}

// Number of the row's valid tokens.
inline uint count_valid(const choice *of, __local uint *sums)
{
    uint mine = 0, all;
    for (uint n = get_local_id(0); n < of->N; n += ITEMS) mine += of->mask[n] != 0;
    scan(mine, sums, &all);
    return all;
}

// The histogram of the keys' next digit of `bits`, `low` bits being still below it.
inline void fill_bins(const choice *of, threshold t, uint bits, uint low, uint copies, __local uint *bins)
{
    __local uint *mine = bins + get_local_id(0) % copies * copy_stride(bits);
    clear_bins(bits, copies, bins);
    for (uint first = get_local_id(0); first < of->N; first += BATCH * ITEMS) {
        uint keys[BATCH];
        load_keys(of, first, keys);
#pragma unroll
        for (uint i = 0; i < BATCH; i++) {
            const uint upper = keys[i] >> low;
            if ((keys[i] != 0) & (upper >> bits == (uint)t.digits)) // of the first digit both are 0
                count_up(&mine[upper & ((1u << bits) - 1)]);
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    join_copies(bits, copies, bins);
}

// Two bits of each token, as write_marked has them: those above the threshold, with those that have no key
// where the ones with a key only fill up (few); and its equals. With WARPS the 32 of a word are a warp.
inline void mark(const choice *of, uint lowest, bool few, __local uint *words)
{
    const uint item = get_local_id(0);
#if !WARPS
    for (uint i = item; i < (of->N + 31) / 32 * 2; i += ITEMS) words[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
    for (uint start = 0; start < of->N; start += BATCH * ITEMS) {
        uint keys[BATCH];
        load_keys(of, start + item, keys);
#pragma unroll
        for (uint i = 0; i < BATCH; i++) {
            const uint n = start + item + i * ITEMS;
            const bool above = keys[i] > lowest || (few && keys[i] == 0 && n < of->N);
            const bool equal = keys[i] == lowest;
#if WARPS
            const uint2 both = (uint2)(warp_ballot(above), warp_ballot(equal));
            if (item % 32 == 0 && n < of->N) *(__local uint2 *)(words + n / 32 * 2) = both;
#else
            if (above || equal) set_bits(&words[n / 32 * 2 + equal], 1u << n % 32);
#endif
        }
    }
}

__kernel SHAPE void select_row(IN_F32(s), IN_U8(mask), ulong R, ulong samples, ulong N, uint bits,
                               uint copies, PICKS_ARGUMENTS, __local uint *bins, __local uint *sums)
{
    const size_t r = get_group_id(0);
    choice of = {&at(s, r * N), MASK_OF(r), (uint)N, true};
    uint need = (uint)K;
    const uint valid = of.mask ? count_valid(&of, sums) : of.N;
    const bool few = valid < need; // every valid token is taken, and masked ones
    if (few) {
        need -= valid;
        of.valid = false;
    }
    threshold t = {0, 0, need}; // the loop stands here: in a function, PoCL 3.1 miscompiles it
    for (uint left = 32; left > 0;) {
        const uint digit = min(left, bits);
        left -= digit;
        fill_bins(&of, t, digit, left, copies, bins);
        t = narrow(t, digit, bins, sums);
    }
    mark(&of, (uint)t.digits, few, bins);
    barrier(CLK_LOCAL_MEM_FENCE);
    write_marked((picks)PICKS(r, of.mask), 0, N, t.need, (uint2)(0, 0), bins, sums);
}
