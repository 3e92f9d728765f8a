// SPDX-License-Identifier: MIT
// Gradients of what scatter.cl does, and dots of rows.
//
// dx [B][N][D], y and dy [B][K][D] storage; index [B][K]; scores, dscores [B][K] float; counts [B][K],
// the slots of a slot's row. LANES neighbouring work-items take a slot. Bound by memory.

// One work-item a slot. Compares all pairs of slots of a sample, in integers.
__kernel void slot_counts(IN_I32(index), OUT_I32(counts), ulong K, ulong slots)
{
    const size_t slot = get_global_id(0);
    if (slot >= slots) return;
    const size_t begin = slot / K * K;
    const int n = at(index, slot);
    int count = 0;
    for (size_t other = begin; other < begin + K; other++) count += at(index, other) == n;
    at(counts, slot) = count;
}

// x[index] = base + score · y: dy = score · dx[index], dscore = dx[index] · y; both divided by count
// where x is a mean. Without index, the dots of the rows of dx and y. 0 · NaN is 0 if dx is 0.
__kernel void scatter_backward(IN(dx), IN_I32(index), IN_F32(scores), IN_I32(counts), INOUT(y),
                               INOUT(dy), OUT_F32(dscores), ulong N, ulong K, ulong D, ulong slots,
                               __local float *scratch)
{
    const size_t slot = get_global_id(0) / LANES, lane = get_local_id(0) % LANES;
    const bool there = slot < slots;
    const int n = there && present(index) ? at(index, slot) : 0;
    const bool routed = there && (!present(index) || inside(n, N));
    const size_t from = (routed && present(index) ? slot / K * N + n : slot) * D;
    const float share = routed && present(counts) ? 1.0f / at(counts, slot) : 1.0f;
    const float score = routed && present(scores) ? share * at(scores, slot) : share;

    wide sum = 0.0f;
    for (size_t d = lane * WIDTH; there && d < D; d += LANES * WIDTH) {
        const wide g = routed ? get_wide(dx, from + d) : (wide)0.0f;
        if (present(y)) sum += g == 0.0f ? (wide)0.0f : g * get_wide(y, slot * D + d);
        if (present(dy)) put_wide(dy, slot * D + d, score * g);
    }
    const float dot = share * row_sum(sum_wide(sum), scratch);
    if (present(dscores) && there && lane == 0) at(dscores, slot) = dot;
}

// Every valid row, and then not those of the slots.
__kernel void valid_rows(IN_U8(mask), OUT_U8(marks), ulong rows)
{
    const size_t n = get_global_id(0);
    if (n < rows) at(marks, n) = valid(mask, n);
}

__kernel void unmark_slots(IN_I32(index), OUT_U8(marks), ulong N, ulong K, ulong slots)
{
    const size_t slot = get_global_id(0);
    if (slot >= slots) return;
    const int n = at(index, slot);
    if (inside(n, N)) at(marks, slot / K * N + n) = 0;
}
