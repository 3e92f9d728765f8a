// SPDX-License-Identifier: MIT
// Rows put back where they were picked.
//
// y [B][K][D] storage, index [B][K], scores [B][K] float or absent; base and x [B][N][D] storage,
// base may be x; row [D] storage. The slots of a row are chained, in ascending order: head [B][N] is
// the first of a row, next [B][K] the one after a slot, numbered through the batch from 1; 0 ends.
// Without next every row has one slot at most. A work-item takes WIDTH neighbours of a row.
// Bound by memory.

// No row has a slot yet. (A fill would do, but checkers for uninitialised memory overlook it.)
__kernel void scatter_clear(OUT_I32(head), ulong rows)
{
    if (get_global_id(0) < rows) at(head, get_global_id(0)) = 0;
}

// One work-item a slot. Compares all pairs of slots of a sample, in integers.
__kernel void scatter_chain(IN_I32(index), OUT_I32(head), OUT_I32(next), ulong N, ulong K,
                            ulong slots)
{
    const size_t slot = get_global_id(0);
    if (slot >= slots) return;
    const size_t b = slot / K, begin = b * K, end = begin + K;
    const int n = at(index, slot);
    if (!inside(n, N)) return;

    size_t before = slot, after = end;
    if (present(next)) {
        for (before = begin; before < slot && at(index, before) != n;) before++;
        for (after = slot + 1; after < end && at(index, after) != n;) after++;
        at(next, slot) = after < end ? (int)after + 1 : 0;
    }
    if (before == slot) at(head, b * N + n) = (int)slot + 1;
}

// The sum, or the mean, over a chain of scores · y at column d.
#define CHAIN_SUM(sum, first, d)                                                                    \
    wide sum = 0.0f;                                                                                \
    {                                                                                               \
        uint count = 0;                                                                             \
        for (int link = (first); link > 0; count++) {                                               \
            const size_t from = link - 1;                                                           \
            const float score = present(scores) ? at(scores, from) : 1.0f;                          \
            sum += score * get_wide(y, from * D + (d));                                            \
            link = present(next) ? at(next, from) : 0;                                              \
        }                                                                                           \
        if (mean && count > 1) sum /= (float)count;                                                 \
    }

// Routed rows alone, ROW_GRID(D / WIDTH, slots): x = x·add + the sum over the row's slots, less `row`.
__kernel void scatter_slots(IN(y), IN_I32(index), IN_F32(scores), IN_I32(head), IN_I32(next), IN(row),
                            INOUT(x), ulong N, ulong K, ulong D, ulong slots, int add, int mean)
{
    const size_t d = get_global_id(0) * WIDTH, slot = grid_row();
    if (d >= D || slot >= slots) return;
    const int n = at(index, slot);
    if (!inside(n, N)) return;
    const size_t to = slot / K * N + n;
    if (present(next) && at(head, to) != (int)slot + 1) return; // an earlier slot sums them all

    CHAIN_SUM(sum, (int)slot + 1, d);
    if (present(row)) sum -= get_wide(row, d);
    put_wide(x, to * D + d, add ? get_wide(x, to * D + d) + sum : sum);
}

// Every row, ROW_GRID(D / WIDTH, rows): x = base + (the sum over its slots, or row without any).
__kernel void scatter_rows(IN(y), IN_F32(scores), IN_I32(head), IN_I32(next), IN(row), INOUT(base),
                           INOUT(x), ulong D, ulong rows, int mean)
{
    const size_t d = get_global_id(0) * WIDTH, n = grid_row();
    if (d >= D || n >= rows) return;
    const int first = present(head) ? at(head, n) : 0;

    CHAIN_SUM(sum, first, d);
    if (first == 0 && present(row)) sum = get_wide(row, d);
    put_wide(x, n * D + d, present(base) ? get_wide(base, n * D + d) + sum : sum);
}
