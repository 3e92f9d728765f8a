// SPDX-License-Identifier: MIT
// Cumulative softmax: each token against those that do not come after it in ascending order.
//
// s, scores, dscores, ds [B][R][N]; keys [B][R][N], the row sorted by routing keys (common.cl), the
// largest first; a row is b·R + r. At position p of the sorted row, with m the largest s:
//
//     E[p] = exp((s - m) / temperature), 0 for a masked token;  C[p] = sum of E from p to the end
//     scores = E / max(C, 1e-6)
//
// Rows are cut to chunks of `width` positions, work-groups (rows, chunks); each work-item takes
// neighbouring positions, and every sum has its place in one fixed order: partial sums of chunks
// first, then within. Bound by memory, and by the sort before it.

#define SMALLEST 1e-6f
#define IN_KEYS  __global const ulong *restrict keys_buffer, const ulong keys_offset

// The positions [first, last) of this work-item, of its chunk.
struct span {
    size_t row, first, last;
};

inline struct span span_of(ulong N, ulong width)
{
    const size_t each = (width + get_local_size(0) - 1) / get_local_size(0);
    const size_t start = get_group_id(1) * width, end = min((size_t)N, (size_t)(start + width));
    struct span span;
    span.row = get_group_id(0);
    span.first = min((size_t)(start + get_local_id(0) * each), end);
    span.last = min(span.first + each, end);
    return span;
}

// E of a key; row points to the row of s, top is its first key, that of the largest s.
inline float term(__global const float *row, ulong key, ulong top, float temperature)
{
    if (!key_is_valid(key)) return 0.0f;
    const float score = row[key_position(key)], largest = row[key_position(top)];
    return score == largest ? 1.0f : exp((score - largest) / temperature); // also for infinities
}

// A sum and what rounding took from it (Kahan).
inline void accumulate(float *sum, float *lost, float value)
{
    const float wanted = value - *lost, next = *sum + wanted;
    *lost = (next - *sum) - wanted;
    *sum = next;
}

// The sum of x[i], from <= i < to, over the work-group; partials of other chunks.
inline float sum_between(__global const float *x, size_t from, size_t to, __local float *scratch)
{
    float sum = 0.0f, lost = 0.0f;
    for (size_t i = from + get_local_id(0); i < to; i += get_local_size(0))
        accumulate(&sum, &lost, x[i]);
    return group_sum(sum, scratch);
}

// What the work-items after this one (or before it) hold together.
inline float sum_beside(float mine, bool after, __local float *scratch)
{
    const size_t item = get_local_id(0);
    const size_t from = after ? item + 1 : 0, to = after ? get_local_size(0) : item;
    float sum = 0.0f;
    scratch[item] = mine;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (size_t i = from; i < to; i++) sum += scratch[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    return sum;
}

// ---- forward ----

__kernel void cum_softmax_partials(IN_F32(s), IN_KEYS, OUT_F32(partials), ulong N, ulong width,
                                   float temperature, __local float *scratch)
{
    const struct span span = span_of(N, width);
    const size_t row = span.row * N;
    float sum = 0.0f, lost = 0.0f;
    for (size_t p = span.first; p < span.last; p++)
        accumulate(&sum, &lost, term(&at(s, row), at(keys, row + p), at(keys, row), temperature));
    sum = group_sum(sum, scratch);
    if (get_local_id(0) == 0)
        at(partials, span.row * get_num_groups(1) + get_group_id(1)) = sum;
}

// Scores by token, or for the backward C by position; the other is absent.
__kernel void cum_softmax_scores(IN_F32(s), IN_KEYS, IN_F32(partials), OUT_F32(scores),
                                 OUT_F32(sums), ulong N, ulong width, float temperature,
                                 __local float *scratch)
{
    const struct span span = span_of(N, width);
    const size_t row = span.row * N, parts = get_num_groups(1);
    float sum = 0.0f, lost = 0.0f;
    for (size_t p = span.first; p < span.last; p++)
        accumulate(&sum, &lost, term(&at(s, row), at(keys, row + p), at(keys, row), temperature));
    sum = sum_beside(sum, true, scratch);
    sum += sum_between(&at(partials, span.row * parts), get_group_id(1) + 1, parts, scratch);
    lost = 0.0f;
    for (size_t p = span.last; p-- > span.first;) {
        const ulong key = at(keys, row + p);
        const float e = term(&at(s, row), key, at(keys, row), temperature);
        accumulate(&sum, &lost, e);
        if (present(scores))
            at(scores, row + key_position(key)) =
                key_is_valid(key) ? e / (sum < SMALLEST ? SMALLEST : sum) : 0.0f;
        else
            at(sums, row + p) = sum;
    }
}

// ---- backward: G = dscores ----
//
//     scores = E / max(C, 1e-6)   ->  dE += G / max(C, 1e-6),  dC = -G E / C², 0 where C < 1e-6
//     C[p] = sum of E from p on   ->  dE += sum of dC from the beginning to p
//     E = exp((s - m) / t)        ->  ds = dE E / t

inline float of_sum(float e, float sum, float dscore)
{
    return sum < SMALLEST ? 0.0f : -dscore * (e / sum) / sum;
}

__kernel void cum_softmax_partials_backward(IN_F32(s), IN_KEYS, IN_F32(sums), IN_F32(dscores),
                                            OUT_F32(partials), ulong N, ulong width,
                                            float temperature, __local float *scratch)
{
    const struct span span = span_of(N, width);
    const size_t row = span.row * N;
    float sum = 0.0f, lost = 0.0f;
    for (size_t p = span.first; p < span.last; p++) {
        const ulong key = at(keys, row + p);
        const float e = term(&at(s, row), key, at(keys, row), temperature);
        if (key_is_valid(key))
            accumulate(&sum, &lost,
                       of_sum(e, at(sums, row + p), at(dscores, row + key_position(key))));
    }
    sum = group_sum(sum, scratch);
    if (get_local_id(0) == 0)
        at(partials, span.row * get_num_groups(1) + get_group_id(1)) = sum;
}

__kernel void cum_softmax_backward(IN_F32(s), IN_KEYS, IN_F32(sums), IN_F32(dscores),
                                   IN_F32(partials), OUT_F32(ds), ulong N, ulong width,
                                   float temperature, __local float *scratch)
{
    const struct span span = span_of(N, width);
    const size_t row = span.row * N, parts = get_num_groups(1);
    float sum = 0.0f, lost = 0.0f;
    for (size_t p = span.first; p < span.last; p++) {
        const ulong key = at(keys, row + p);
        const float e = term(&at(s, row), key, at(keys, row), temperature);
        if (key_is_valid(key))
            accumulate(&sum, &lost,
                       of_sum(e, at(sums, row + p), at(dscores, row + key_position(key))));
    }
    sum = sum_beside(sum, false, scratch);
    sum += sum_between(&at(partials, span.row * parts), 0, get_group_id(1), scratch);
    lost = 0.0f;
    for (size_t p = span.first; p < span.last; p++) {
        const ulong key = at(keys, row + p);
        const size_t n = row + key_position(key);
        const float e = term(&at(s, row), key, at(keys, row), temperature), C = at(sums, row + p);
        if (key_is_valid(key)) {
            accumulate(&sum, &lost, of_sum(e, C, at(dscores, n)));
            at(ds, n) = (at(dscores, n) / (C < SMALLEST ? SMALLEST : C) + sum) * e / temperature;
        } else {
            at(ds, n) = 0.0f;
        }
    }
}
