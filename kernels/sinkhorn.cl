// SPDX-License-Identifier: MIT
// K slots choose among N tokens: Sinkhorn normalisation of M = (f(s) + Gumbel noise) / temperature.
//
// s [B][R][N], mask [B][N], index, scores [B][R][K]; a row is b·R + r. M is never stored: after
// any number of steps it is q[i][n] + a[i] + b[n], with q the noise / temperature, drawn again
// wherever it is needed, and a potential for each slot and token. f(s) / temperature, less its
// largest, is the first b, and a step is
//
//     a[i] = -logsumexp over n of (q[i][n] + b[n]),   b[n] = -logsumexp over i of (q[i][n] + a[i])
//
// b is -infinity at masked tokens. Potentials are rows of `stride` floats, so that a and b may lie
// in the state [B][R][T][K+N]. Bound by arithmetic: K·N draws (about 60 instructions) a launch.
//
// Over slots: work-groups (rows, slots). Over tokens: work-groups (rows, tokens) of up to 32 items
// that take TOKENS tokens each, times parts of the slots; one item, one part on CPUs.

// The counter's row, of the arguments every kernel has.
#define COUNTER_ROW(row) ((uint)(first_row + (row) / R * row_step + ((row) - (row) / R * R)))

// ---- logsumexp in one pass: the largest so far (-FLT_MAX at first), and the sum of exp less it ----

// One exp for each x, whichever is larger. NaN makes NaN of the sum, -infinity adds nothing.
#define INCLUDE(x, largest, sum)                                          \
    do {                                                                  \
        const floats above = (x) - (largest), e = exp(-fabs(above));      \
        (sum) = select((sum) + e, (sum) * e + 1.0f, above > 0.0f);        \
        (largest) = fmax((largest), (x));                                 \
    } while (0)

// ---- forward ----

// b before the first step. A work-group a row.
__kernel void sinkhorn_start(IN_F32(s), IN_U8(mask), OUT_F32(b), ulong N, ulong R,
                             float temperature, int log_scores, __local float *scratch)
{
    const size_t row = get_group_id(0), items = get_local_size(0);
    float largest = -INFINITY;
    for (size_t n = get_local_id(0); n < N; n += items)
        if (valid(mask, row / R * N + n)) largest = fmax(largest, at(s, row * N + n));
    largest = group_max(largest, scratch);
    if (log_scores) largest = log(fmax(largest, 1e-20f));
    for (size_t n = get_local_id(0); n < N; n += items) {
        const float score = at(s, row * N + n);
        const float f = log_scores ? log(score < 1e-20f ? 1e-20f : score) : score;
        at(b, row * N + n) =
            valid(mask, row / R * N + n) ? (f - largest) / temperature : -INFINITY;
    }
}

__kernel void sinkhorn_slots(IN_F32(b), ulong b_stride, OUT_F32(a), ulong a_stride, ulong N, ulong R,
                             ulong seed, ulong first_row, ulong row_step, float temperature,
                             __local float *scratch)
{
    const size_t row = get_group_id(0), slot = get_group_id(1);
    const uint counter = COUNTER_ROW(row);
    floats largest = -FLT_MAX, sum = 0.0f;
    for (size_t n = TOKENS * get_local_id(0); n < N; n += TOKENS * get_local_size(0)) {
        const floats x = noise(seed, n, slot, counter, temperature) +
                         load_some(&at(b, row * b_stride + n), N - n, -INFINITY);
        INCLUDE(x, largest, sum);
    }
    const float top = group_max(max_some(largest), scratch);
    const float all = group_sum(sum_some(sum * exp(largest - top)), scratch);
    if (get_local_id(0) == 0) at(a, row * a_stride + slot) = -(top + log(all));
}

// This work-item's tokens and share of the slots, in the kernels over tokens.
struct share {
    size_t n, part, parts;
};

inline struct share share_of(void)
{
    const size_t columns = min(get_local_size(0), (size_t)32);
    struct share share;
    share.part = get_local_id(0) / columns;
    share.n = TOKENS * (get_group_id(1) * columns + get_local_id(0) - share.part * columns);
    share.parts = get_local_size(0) / columns;
    return share;
}

__kernel void sinkhorn_tokens(IN_U8(mask), IN_F32(a), ulong a_stride, OUT_F32(b), ulong b_stride,
                              ulong N, ulong R, ulong K, ulong seed, ulong first_row, ulong row_step,
                              float temperature, __local floats *maxima, __local floats *sums)
{
    const size_t row = get_group_id(0), item = get_local_id(0);
    const uint counter = COUNTER_ROW(row);
    const struct share share = share_of();
    floats largest = -FLT_MAX, sum = 0.0f;
    for (size_t slot = share.part; slot < K && share.n < N; slot += share.parts) {
        const floats x = noise(seed, share.n, slot, counter, temperature) +
                         at(a, row * a_stride + slot);
        INCLUDE(x, largest, sum);
    }
    maxima[item] = largest;
    sums[item] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (share.part > 0 || share.n >= N) return;

    const size_t columns = get_local_size(0) / share.parts;
    for (size_t i = item + columns; i < get_local_size(0); i += columns)
        largest = fmax(largest, maxima[i]);
    floats all = 0.0f;
    for (size_t i = item; i < get_local_size(0); i += columns)
        all += sums[i] * exp(maxima[i] - largest);
    __global float *to = &at(b, row * b_stride + share.n);
    const size_t count = N - share.n;
    store_some(to, -(largest + log(all)), count);
    for (size_t i = 0; present(mask) && i < min(count, (size_t)TOKENS); i++)
        if (!valid(mask, row / R * N + share.n + i)) to[i] = -INFINITY;
}

inline void take_better(__local float *values, __local uint *tokens, size_t i, size_t other)
{
    const bool equal = values[other] == values[i];
    if (values[other] > values[i] || (equal && tokens[other] < tokens[i])) {
        values[i] = values[other];
        tokens[i] = tokens[other];
    }
}

// The token of each slot: the largest q + b, of equal ones the first.
__kernel void sinkhorn_choose(IN_F32(a), ulong a_stride, IN_F32(b), ulong b_stride, OUT_I32(index),
                              OUT_F32(scores), ulong N, ulong R, ulong K, ulong seed, ulong first_row,
                              ulong row_step, float temperature, __local float *values,
                              __local uint *tokens)
{
    const size_t row = get_group_id(0), slot = get_group_id(1), item = get_local_id(0);
    const uint counter = COUNTER_ROW(row);
    floats best = -INFINITY;
    uints found = 0xFFFFFFFFu; // none
    for (size_t n = TOKENS * item; n < N; n += TOKENS * get_local_size(0)) {
        const floats x = noise(seed, n, slot, counter, temperature) +
                         load_some(&at(b, row * b_stride + n), N - n, -INFINITY);
        found = select(found, (uint)n + LANE_NUMBERS, x > best);
        best = select(best, x, x > best);
    }
    values[item] = max_some(best);
    tokens[item] = 0xFFFFFFFFu;
    float value[TOKENS];
    uint token[TOKENS];
    put_some(best, value);
    put_some(found, token);
    for (size_t i = 0; i < TOKENS; i++)
        if (value[i] == values[item]) tokens[item] = min(tokens[item], token[i]);
    for (size_t step = get_local_size(0) / 2; step > 0; step /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item < step) take_better(values, tokens, item, item + step);
    }
    if (item > 0) return;

    const float potential = at(a, row * a_stride + slot);
    const bool none = tokens[0] == 0xFFFFFFFFu; // no valid token, or NaN
    at(index, row * K + slot) = none ? 0 : (int)tokens[0];
    at(scores, row * K + slot) = none ? (isnan(potential) ? NAN : 0.0f) : exp(values[0] + potential);
}
