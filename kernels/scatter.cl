// SPDX-License-Identifier: MIT
// Rows put back where they were picked.
//
// y [B][K][D] storage, index [B][K], scores [B][K] float or absent; base and x [B][N][D] storage,
// base may be x; row [D] storage. The slots of a row are chained, in ascending order: head [B][N] is
// the first of a row, next [B][K] the one after a slot, both plus 1, and 0 where there is none.
// Without next every row has one slot at most. A work-item takes WIDTH neighbours of a row.
// Bound by memory.

// One work-item a slot, (K, B). Compares all pairs of slots, in integers.
__kernel void scatter_chain(IN_I32(index), OUT_I32(head), OUT_I32(next), ulong N, ulong K)
{
    const size_t k = get_global_id(0), first = get_global_id(1) * K;
    if (k >= K) return;
    const int n = at(index, first + k);
    if (!inside(n, N)) return;

    size_t before = k, after = K;
    if (present(next)) {
        for (before = 0; before < k && at(index, first + before) != n;) before++;
        for (after = k + 1; after < K && at(index, first + after) != n;) after++;
        at(next, first + k) = after < K ? (int)after + 1 : 0;
    }
    if (before == k) at(head, get_global_id(1) * N + n) = (int)k + 1;
}

// The sum, or the mean, over the chain from a slot on of scores · y at column d.
#define CHAIN_SUM(sum, b, from, d)                                                                  \
    wide sum = 0.0f;                                                                                \
    {                                                                                               \
        uint slots = 0;                                                                             \
        for (int link = (from); link > 0; slots++) {                                                \
            const size_t slot = (b) * K + (size_t)(link - 1);                                       \
            const float score = present(scores) ? at(scores, slot) : 1.0f;                          \
            sum += score * load_wide(y, slot * D + (d));                                            \
            link = present(next) ? at(next, slot) : 0;                                              \
        }                                                                                           \
        if (mean && slots > 1) sum /= (float)slots;                                                 \
    }

// Routed rows alone, (D / WIDTH, K, B): x = x·add + the sum over the row's slots.
__kernel void scatter_slots(IN(y), IN_I32(index), IN_F32(scores), IN_I32(head), IN_I32(next),
                            INOUT(x), ulong N, ulong K, ulong D, int add, int mean)
{
    const size_t d = get_global_id(0) * WIDTH, k = get_global_id(1), b = get_global_id(2);
    if (d >= D) return;
    const int n = at(index, b * K + k);
    if (!inside(n, N)) return;
    if (present(next) && at(head, b * N + n) != (int)k + 1) return; // an earlier slot sums them all

    CHAIN_SUM(sum, b, (int)k + 1, d);
    const size_t to = (b * N + n) * D + d;
    store_wide(x, to, add ? load_wide(x, to) + sum : sum);
}

// Every row, (D / WIDTH, N, B): x = base + (the sum over the row's slots, or row where it has none).
__kernel void scatter_rows(IN(y), IN_F32(scores), IN_I32(head), IN_I32(next), IN(row), INOUT(base),
                           INOUT(x), ulong N, ulong K, ulong D, int mean)
{
    const size_t d = get_global_id(0) * WIDTH, b = get_global_id(2);
    if (d >= D) return;
    const size_t n = b * N + get_global_id(1), to = n * D + d;
    const int first = present(head) ? at(head, n) : 0;

    CHAIN_SUM(sum, b, first, d);
    if (first == 0 && present(row)) sum = load_wide(row, d);
    store_wide(x, to, present(base) ? load_wide(base, to) + sum : sum);
}
