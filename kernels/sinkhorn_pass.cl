// SPDX-License-Identifier: MIT
// Sinkhorn (sinkhorn.cl) with one pass over the noise a step, for slots that fit a work-group.
//
// A work-group takes `width` tokens of a row, TOKENS at a time, and all K slots of them: item i those
// from i on, `items` apart, SLOTS at most. Forward: with all of a token's column at hand its b is
// known, and with it what the column adds to the slots' sums of the next step:
//
//     b[n] = -logsumexp over i of (q[i][n] + a[i]),   sum[i] = sum over n of exp(q[i][n] + a[i] + b[n])
//     a[i] of the next step = a[i] - log sum[i]       terms in [0, 1], a sum between 1/K and N
//
// and the last step chooses at once. Backward, from da of step t, with a and b of step t-1:
//
//     db[n] = -sum over i of da[i] e exp(a of t - a[i]),   e = exp(q[i][n] + a[i] + b[n])
//     da[i] of step t-1 = -sum over n of db[n] e
//
// where e is rounded as the forward did, so that its columns sum to 1. At step 0 a is its own.
//
// partials [rows][parts][K]: what each work-group has for the slots; joined by a launch of its own, in
// their order. GROUPS(rows, parts, 1). ALONE 1 where a work-group is one work-item, on CPUs.

#ifndef SLOTS
    #define SLOTS 1
#endif
#ifndef ALONE
    #define ALONE 0
#endif

#define NONE 0xFFFFFFFFu // no token

// The counter's row, of the arguments every kernel has.
#define COUNTER_ROW(row) ((uint)(first_row + (row) / R * row_step + ((row) - (row) / R * R)))

// Sum and largest over the work-group, which is a power of two; scratch holds 16 more than it.
#define TILE_REDUCTION(name, joined)                                                               \
    inline floats name(floats value, __local floats *scratch)                                      \
    {                                                                                              \
        if (ALONE) return value;                                                                   \
        const size_t item = get_local_id(0), items = get_local_size(0);                            \
        const size_t width = min(items, (size_t)16);                                               \
        scratch[item] = value;                                                                     \
        barrier(CLK_LOCAL_MEM_FENCE);                                                              \
        if (item < width) {                                                                        \
            for (size_t i = item + width; i < items; i += width) value = joined(value, scratch[i]); \
            scratch[items + item] = value;                                                         \
        }                                                                                          \
        barrier(CLK_LOCAL_MEM_FENCE);                                                              \
        value = scratch[items];                                                                    \
        for (size_t i = 1; i < width; i++) value = joined(value, scratch[items + i]);              \
        return value;                                                                              \
    }
#define PLUS(x, y) ((x) + (y))
TILE_REDUCTION(tile_sum, PLUS)
TILE_REDUCTION(tile_max, fmax)

// -infinity where a token is masked, or beyond the row.
inline floats without_masked(floats value, __global const uchar *mask, size_t count)
{
    float v[TOKENS];
    put_some(value, v);
    for (size_t i = 0; i < TOKENS; i++)
        if (i >= count || (mask && !mask[i])) v[i] = -INFINITY;
    return get_some(v);
}

// The token of the largest value, of equal ones the first; NONE where all are -infinity.
inline uint first_of(floats values, uints tokens)
{
    float value[TOKENS];
    uint token[TOKENS], first = NONE;
    const float largest = max_some(values);
    put_some(values, value);
    put_some(tokens, token);
    for (size_t i = 0; i < TOKENS; i++)
        if (value[i] == largest) first = min(first, token[i]);
    return first;
}

// ---- forward ----

// Writes b, and partials: the slots' sums, or (found present) the largest q + a + b and its token.
__kernel void sinkhorn_pass(IN_U8(mask), IN_F32(a), ulong a_stride, OUT_F32(b), ulong b_stride,
                            OUT_F32(partials), OUT_I32(found), ulong N, ulong R, ulong K,
                            ulong width, ulong seed, ulong first_row, ulong row_step,
                            float temperature, __local floats *scratch)
{
    const size_t row = get_group_id(0), part = get_group_id(1), parts = get_num_groups(1);
    const size_t item = get_local_id(0), items = get_local_size(0);
    const size_t end = min((size_t)N, (size_t)((part + 1) * width));
    const uint counter = COUNTER_ROW(row);
    const float inverse = 1.0f / temperature;
    const bool choosing = present(found);
    float potentials[SLOTS];
    floats totals[SLOTS];
    uints tokens[SLOTS];
    uint2 words[SLOTS];
    for (int j = 0; j < SLOTS; j++) {
        const size_t slot = item + j * items;
        potentials[j] = slot < K ? at(a, row * a_stride + slot) : -INFINITY;
        totals[j] = choosing ? -INFINITY : 0.0f;
        tokens[j] = NONE;
        words[j] = words_of_slot(seed, slot, counter);
    }

    for (size_t n = part * width; n < end; n += TOKENS) {
        const token_words of_tokens = words_of_tokens(seed, n, counter);
        floats x[SLOTS], largest = -FLT_MAX, sum = 0.0f;
        for (int j = 0; j < SLOTS; j++) {
            x[j] = gumbel_of(seed, of_tokens, words[j]) * inverse + potentials[j];
            largest = fmax(largest, x[j]);
        }
        largest = tile_max(largest, scratch);
        for (int j = 0; j < SLOTS; j++) {
            const floats e = exp(x[j] - largest);
            sum += e;
            if (!choosing) x[j] = e;
        }
        sum = tile_sum(sum, scratch);
        const floats potential =
            without_masked(-(largest + log(sum)),
                           present(mask) ? &at(mask, row / R * N + n) : 0, N - n);
        if (item == 0) store_some(&at(b, row * b_stride + n), potential, N - n);

        const floats share = 1.0f / sum;
        for (int j = 0; j < SLOTS; j++) {
            if (!choosing) {
                totals[j] += select(x[j] * share, (floats)0.0f, potential == -INFINITY);
                continue;
            }
            const floats y = select(x[j] + potential, (floats)-INFINITY, potential == -INFINITY);
            tokens[j] = select(tokens[j], (uint)n + LANE_NUMBERS, y > totals[j]);
            totals[j] = select(totals[j], y, y > totals[j]);
        }
    }
    for (int j = 0; j < SLOTS; j++) {
        const size_t slot = item + j * items, place = (row * parts + part) * K + slot;
        if (slot >= K) continue;
        at(partials, place) = choosing ? max_some(totals[j]) : sum_some(totals[j]);
        if (choosing) at(found, place) = (int)first_of(totals[j], tokens[j]);
    }
}

// a of the next step. An item a slot.
__kernel void sinkhorn_join(IN_F32(a), ulong a_stride, IN_F32(partials), OUT_F32(next),
                            ulong next_stride, ulong K, ulong parts, ulong items)
{
    const size_t i = get_global_id(0), row = i / K, slot = i - row * K;
    if (i >= items) return;
    float sum = 0.0f;
    for (size_t part = 0; part < parts; part++) sum += at(partials, (row * parts + part) * K + slot);
    at(next, row * next_stride + slot) = at(a, row * a_stride + slot) - log(sum);
}

// The token of each slot: the largest, of equal ones the first.
__kernel void sinkhorn_join_choice(IN_F32(a), ulong a_stride, IN_F32(partials), IN_I32(found),
                                   OUT_I32(index), OUT_F32(scores), ulong K, ulong parts,
                                   ulong items)
{
    const size_t i = get_global_id(0), row = i / K, slot = i - row * K;
    if (i >= items) return;
    float best = -INFINITY;
    uint token = NONE; // no valid token, or NaN
    for (size_t part = 0; part < parts; part++) {
        const size_t place = (row * parts + part) * K + slot;
        if (at(partials, place) > best) {
            best = at(partials, place);
            token = (uint)at(found, place);
        }
    }
    at(index, i) = token == NONE ? 0 : (int)token;
    at(scores, i) =
        token == NONE ? (isnan(at(a, row * a_stride + slot)) ? NAN : 0.0f) : exp(best);
}

// ---- backward ----

// The partials of da before, or where there is none (`before` absent) db of step 0. The sum of da is 0
// but for rounding, which the steps to come would carry along undamped, and the gradient is often
// small: its mean is taken out.
__kernel void sinkhorn_pass_backward(IN_U8(mask), IN_F32(a), IN_F32(before), ulong stride, IN_F32(b),
                                     ulong b_stride, IN_F32(da), OUT_F32(partials), OUT_F32(db),
                                     ulong N, ulong R, ulong K, ulong width, ulong seed,
                                     ulong first_row, ulong row_step, float temperature,
                                     __local floats *scratch, __local float *of_mean)
{
    const size_t row = get_group_id(0), part = get_group_id(1), parts = get_num_groups(1);
    const size_t item = get_local_id(0), items = get_local_size(0);
    const size_t end = min((size_t)N, (size_t)((part + 1) * width));
    const uint counter = COUNTER_ROW(row);
    const float inverse = 1.0f / temperature;
    const bool first = !present(before);
    float potentials[SLOTS], slopes[SLOTS], mean = 0.0f;
    floats totals[SLOTS];
    uint2 words[SLOTS];
    for (int j = 0; j < SLOTS; j++) {
        const size_t slot = item + j * items;
        slopes[j] = slot < K ? at(da, row * K + slot) : 0.0f;
        mean += slopes[j];
        totals[j] = 0.0f;
        words[j] = words_of_slot(seed, slot, counter);
    }
    mean = group_sum(mean, of_mean) / K;
    for (int j = 0; j < SLOTS; j++) {
        const size_t slot = item + j * items;
        potentials[j] = -INFINITY;
        if (slot >= K) continue;
        const float now = at(a, row * stride + slot);
        potentials[j] = first ? now : at(before, row * stride + slot);
        slopes[j] = first ? slopes[j] - mean : (slopes[j] - mean) * exp(now - potentials[j]);
    }

    for (size_t n = part * width; n < end; n += TOKENS) {
        const token_words of_tokens = words_of_tokens(seed, n, counter);
        const floats of_token = load_some(&at(b, row * b_stride + n), N - n, -INFINITY);
        floats x[SLOTS], sum = 0.0f;
        for (int j = 0; j < SLOTS; j++) {
            const floats q = gumbel_of(seed, of_tokens, words[j]) * inverse;
            x[j] = exp(first ? (q + of_token) + potentials[j] : (q + potentials[j]) + of_token);
            sum += slopes[j] * x[j];
        }
        sum = tile_sum(sum, scratch);
        const floats slope = select(-sum, (floats)0.0f, of_token == -INFINITY);
        if (item == 0 && first) store_some(&at(db, row * N + n), slope, N - n);
        for (int j = 0; j < SLOTS && !first; j++) totals[j] += x[j] * slope;
    }
    for (int j = 0; j < SLOTS && !first; j++) {
        const size_t slot = item + j * items;
        if (slot < K) at(partials, (row * parts + part) * K + slot) = sum_some(totals[j]);
    }
}

// da of the step before. An item a slot.
__kernel void sinkhorn_join_backward(IN_F32(partials), OUT_F32(da), ulong K, ulong parts, ulong items)
{
    const size_t i = get_global_id(0), row = i / K, slot = i - row * K;
    if (i >= items) return;
    float sum = 0.0f;
    for (size_t part = 0; part < parts; part++) sum += at(partials, (row * parts + part) * K + slot);
    at(da, i) = -sum;
}
