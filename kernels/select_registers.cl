// SPDX-License-Identifier: MIT
// The exact top K of every row, its keys held in one work-group's registers; GPUs only.
//
// As select.cl; GROUPS(rows, 1, 1), N at most GROUP · VALUES. A key is 32 bits: masked tokens have
// keys only where the valid ones are too few, and are then all there is to choose from. Reads s once.
// Local memory: `bins`, `copies` of a histogram, or two bits an element; `sums`, one uint2 an item.
//
// Defines: GROUP, work-items, known to the compiler so that the registers are enough for as many;
// VALUES, keys of each.

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

// Keys of the tokens that are valid, or of those that are not; how many this work-item has.
inline uint load_keys(__global const float *s, __global const uchar *mask, size_t N, bool wanted,
                      uint keys[VALUES])
{
    uint count = 0;
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
        const size_t n = get_local_id(0) + (size_t)i * GROUP;
        const bool is_valid = n < N && (!mask || mask[n] != 0);
        keys[i] = n < N && is_valid == wanted ? key_of(s[n]) : 0;
        count += keys[i] != 0;
    }
    return count;
}

// The histogram of the keys' next digit of `bits`, `left` bits being still below it.
inline void fill_bins(const uint keys[VALUES], threshold t, uint bits, uint left, uint copies,
                      __local uint *bins)
{
    const uint item = get_local_id(0), copy = item % copies;
    for (uint i = item; i < copies << bits; i += GROUP) bins[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
        const uint upper = keys[i] >> left;
        if (keys[i] && (t.known == 0 || upper >> bits == (uint)t.digits))
            count_up(&bins[(upper & ((1u << bits) - 1)) * copies + copy]);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
select_registers(IN_F32(s), IN_U8(mask), ulong R, ulong samples, ulong N, uint copies,
                 PICKS_ARGUMENTS, __local uint *bins, __local uint2 *sums)
{
    const size_t r = get_group_id(0), item = get_local_id(0);
    __global const uchar *of_row = MASK_OF(r);
    uint keys[VALUES], need = (uint)K;
    uint2 all;
    scan((uint2)(load_keys(&at(s, r * N), of_row, N, true, keys), 0), sums, &all);
    const bool few = all.x < need; // every valid token is taken, and masked ones
    if (few) {
        need -= all.x;
        load_keys(&at(s, r * N), of_row, N, false, keys);
    }
    threshold t = {0, 0, need}; // the loop stands here: in a function, PoCL 3.1 miscompiles it
    while (t.known < (32 + BITS - 1) / BITS) {
        const uint before = 32 - t.known * BITS, bits = min(before, (uint)BITS);
        fill_bins(keys, t, bits, before - bits, copies, bins);
        t = narrow(t, bits, copies, bins, sums);
    }
    const uint lowest = (uint)t.digits;

    const size_t words = ((size_t)N + 31) / 32 * 2;
    for (size_t i = item; i < words; i += GROUP) bins[i] = 0;
    barrier(CLK_LOCAL_MEM_FENCE);
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
        const size_t n = item + (size_t)i * GROUP;
        const bool taken = few && keys[i] == 0 && n < N;
        if (taken || keys[i] >= lowest)
            set_bits(&bins[n / 32 * 2 + (keys[i] == lowest)], 1u << n % 32);
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    write_marked((picks)PICKS(r, of_row), 0, N, t.need, (uint2)(0, 0), bins, sums);
}
