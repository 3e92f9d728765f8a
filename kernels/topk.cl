// SPDX-License-Identifier: MIT
// The differentiable top-k: sorts the tokens that select has picked, and moves their gradients.
//
// x [rows][N] f32, R rows share a mask [N]; index [rows][K], absent: all N in their order. topk_sort
// sorts runs of routing keys in local memory, topk_merge joins pairs of runs until a row is one,
// topk_write takes the keys apart again. Small beside the selection.

// GROUPS(rows · runs, 1, 1): `run` keys each, a power of two; `size` of them, a power of two too,
// are sorted, the missing ones as 0, after all others.
__kernel void topk_sort(IN_F32(x), IN_U8(mask), IN_I32(index), __global ulong *keys_buffer,
                        const ulong keys_offset, ulong R, ulong N, ulong K, ulong run, uint size,
                        __local ulong *sorted)
{
    const uint item = get_local_id(0), items = get_local_size(0);
    const size_t runs = (K + run - 1) / run, r = get_group_id(0) / runs;
    const size_t first = (get_group_id(0) - r * runs) * run, count = min(run, K - first);
    for (uint i = item; i < size; i += items) {
        const size_t k = first + i, n = i < count && present(index) ? at(index, r * K + k) : k;
        sorted[i] =
            i < count ? routing_key(at(x, r * N + n), valid(mask, r / R * N + n), n) : 0;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (uint block = 2; block <= size; block *= 2)
        for (uint step = block / 2; step > 0; step /= 2) {
            for (uint i = item; i < size / 2; i += items) {
                const uint low = 2 * i - (i & (step - 1)), high = low + step;
                const ulong a = sorted[low], b = sorted[high];
                if (((low & block) == 0) == (a < b)) {
                    sorted[low] = b;
                    sorted[high] = a;
                }
            }
            barrier(CLK_LOCAL_MEM_FENCE);
        }
    for (uint i = item; i < count; i += items) at(keys, r * K + first + i) = sorted[i];
}

// Joins runs 2i and 2i + 1 of every row: one work-item a key, which looks up how many keys of the
// other run are larger.
__kernel void topk_merge(__global const ulong *keys_buffer, const ulong keys_offset,
                         __global ulong *merged_buffer, const ulong merged_offset, ulong K,
                         ulong run, ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const size_t row = i / K * K, k = i - row, pair = k / (2 * run) * (2 * run);
    const bool second = k - pair >= run;
    const size_t other = second ? pair : min(pair + run, (size_t)K);
    const ulong mine = at(keys, i);
    size_t low = 0, high = second ? run : min(run, K - other);
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (at(keys, row + other + middle) > mine)
            low = middle + 1;
        else
            high = middle;
    }
    at(merged, row + pair + (second ? k - pair - run : k - pair) + low) = mine;
}

// g [rows][N], the solver's scores; it and what is not wanted are absent.
__kernel void topk_write(IN_F32(x), __global const ulong *keys_buffer, const ulong keys_offset,
                         IN_F32(g), OUT_F32(values), OUT_I32(index), OUT_F32(scores),
                         OUT_F32(gates), ulong N, ulong K, ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const ulong key = at(keys, i);
    const uint n = key_position(key);
    at(values, i) = at(x, i / K * N + n);
    at(index, i) = (int)n;
    if (present(scores)) at(scores, i) = at(g, i / K * N + n);
    if (present(gates)) at(gates, i) = key_is_valid(key);
}

// values = x · gate, scores = gate = g[index]: dg[index] = dvalues · x + dscores + dgates, of valid
// tokens; dg begins as 0.
__kernel void topk_gate_gradient(IN_F32(x), IN_U8(mask), IN_I32(index), IN_F32(dvalues),
                                 IN_F32(dscores), IN_F32(dgates), OUT_F32(dg), ulong R, ulong N,
                                 ulong K, ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const long n = at(index, i);
    const size_t r = i / K;
    if (n < 0 || n >= (long)N || !valid(mask, r / R * N + n)) return;
    float change = present(dvalues) ? at(dvalues, i) * at(x, r * N + n) : 0;
    if (present(dscores)) change += at(dscores, i);
    if (present(dgates)) change += at(dgates, i);
    at(dg, r * N + n) = change;
}

// values = x[index]: dx[index] += dvalues; no index comes twice in a row.
__kernel void topk_value_gradient(IN_F32(dvalues), IN_I32(index), INOUT_F32(dx), ulong N, ulong K,
                                  ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const long n = at(index, i);
    if (n >= 0 && n < (long)N) at(dx, i / K * N + n) += at(dvalues, i);
}
