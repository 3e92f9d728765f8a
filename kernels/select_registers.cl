// SPDX-License-Identifier: MIT
// The exact top K of every row, its keys held in one work-group's registers; GPUs only.
//
// As select.cl; GROUPS(rows, 1, 1), N at most GROUP · VALUES. A key is 32 bits: masked tokens have
// keys only where the valid ones are too few, and are then all there is to choose from. Reads s once.
// Local memory: `bins`, `copies` of a histogram, or two bits a key; `sums`, two uints an item. Code is long
// where each of the keys has its own, and most of it runs once: what it takes to fetch counts.
//
// Defines: GROUP, work-items, known to the compiler so that the registers are enough for as many;
// VALUES, keys of each; WARPS as in row_warps.cl.

#ifndef GROUP
    #define GROUP 64
#endif
#ifndef VALUES
    #define VALUES 8
#endif
#ifndef BITS
    #define BITS (GROUP * VALUES > 8192 ? 11 : 8) // of a digit: fewer passes, or smaller histograms
#endif

// Larger is earlier, 1 is NaN; no key is 0, which stands for a token not to choose from.
inline uint key_of(float s)
{
    const uint key = (uint)routing_order(s, false);
    return key == 0 ? 1 : key;
}

// Keys of the tokens that are valid, or of those that are not. s, mask from this work-item's first
// token on, of which on `left` are left in the row: ints, to save registers.
inline void load_keys(__global const float *s, __global const uchar *mask, int left, bool wanted,
                      uint keys[VALUES])
{
#pragma unroll
    for (int i = 0; i < VALUES; i++) keys[i] = i * GROUP < left ? key_of(s[i * GROUP]) : 0;
    if (!mask) return; // all are valid
#pragma unroll
    for (int i = 0; i < VALUES; i++)
        if (i * GROUP < left && (mask[i * GROUP] != 0) != wanted) keys[i] = 0;
}

// Of a row without a mask that fills the registers: no load waits for a condition, or for another's key.
inline void load_full_row(__global const float *s, uint keys[VALUES])
{
#pragma unroll
    for (int i = 0; i < VALUES; i++) keys[i] = as_uint(s[i * GROUP]);
#pragma unroll
    for (int i = 0; i < VALUES; i++) keys[i] = key_of(as_float(keys[i]));
}

// The histogram of the keys' next digit of `bits`, `low` bits being still below it. What has no key counts
// as the lowest of all digits, which is reached only after all others. With WARPS those that do not match the
// threshold are counted too, in what is between the copies: a branch for each key would take longer.
inline void fill_bins(const uint keys[VALUES], threshold t, uint bits, uint low, uint copies,
                      __local uint *bins)
{
    __local uint *mine = bins + get_local_id(0) % copies * copy_stride(bits);
    const uint first = (uint)t.digits << low << bits;
#if !WARPS
    const uint most = 0xFFFFFFFFu >> (32 - bits - low);
#endif
    clear_bins(bits, copies, bins);
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
        const uint beyond = keys[i] - first;
#if WARPS
        count_up(&mine[min(beyond >> low, 1u << bits)]);
#else
        if (beyond <= most) count_up(&mine[beyond >> low]);
#endif
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    join_copies(bits, copies, bins);
}

// Two bits of each token, as write_marked has them: those above the threshold, and its equals. With WARPS the
// 32 of a word are a warp, whose lanes write it all: a branch for each word would take longer.
inline void mark(const uint keys[VALUES], uint lowest, __local uint *words)
{
    const int item = get_local_id(0);
#if !WARPS
    for (int i = item; i < GROUP * VALUES / 32 * 2; i += GROUP) words[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
#endif
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
        const bool above = keys[i] > lowest, equal = keys[i] == lowest;
        __local uint *word = words + (i * (GROUP / 32) + item / 32) * 2;
#if WARPS
        const uint all_above = warp_ballot(above), all_equal = warp_ballot(equal);
        word[item % 2] = item % 2 ? all_equal : all_above;
#else
        if (above | equal) set_bits(word + equal, 1u << item % 32);
#endif
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
select_registers(IN_F32(s), IN_U8(mask), ulong R, ulong samples, ulong N, uint copies,
                 PICKS_ARGUMENTS, __local uint *bins, __local uint *sums)
{
    const size_t r = get_group_id(0);
    const int item = get_local_id(0), left = (int)N - item;
    __global const float *of_s = &at(s, r * N + item);
    __global const uchar *of_row = MASK_OF(r), *of_mask = of_row ? of_row + item : 0;
    uint keys[VALUES], need = (uint)K, valid = (uint)N;
    if (!of_mask && N == GROUP * VALUES) load_full_row(of_s, keys);
    else load_keys(of_s, of_mask, left, true, keys);
    if (of_mask) {
        uint mine = 0;
#pragma unroll
        for (int i = 0; i < VALUES; i++) mine += keys[i] != 0;
        scan(mine, sums, &valid);
    }
    const bool few = valid < need; // every valid token is taken, and masked ones
    if (few) {
        need -= valid;
        load_keys(of_s, of_mask, left, false, keys);
    }
    threshold t = {0, 0, need}; // the loop stands here: in a function, PoCL 3.1 miscompiles it
    while (t.known < (32 + BITS - 1) / BITS) {
        const uint before = 32 - t.known * BITS, bits = min(before, (uint)BITS);
        fill_bins(keys, t, bits, before - bits, copies, bins);
        t = narrow(t, bits, bins, sums);
    }
    const uint lowest = (uint)t.digits;
    if (few) { // those without a key are valid
#pragma unroll
        for (int i = 0; i < VALUES; i++)
            if (keys[i] == 0 && i * GROUP < left) keys[i] = 0xFFFFFFFFu;
    }
    mark(keys, lowest, bins);
    write_marked((picks)PICKS(r, of_row), 0, N, t.need, (uint2)(0, 0), bins, sums);
}
