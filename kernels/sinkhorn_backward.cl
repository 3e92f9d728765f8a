// SPDX-License-Identifier: MIT
// The gradient of the Sinkhorn scores (sinkhorn.cl) through its potentials.
//
// s, ds [B][R][N], mask [B][N], index, dscores [B][R][K]; a row is b·R + r. Noise is drawn again. With
// D[i] = dscores[i] scores[i], and x standing for q[i][n] + a[i] + b[n] of the step's potentials:
//
//     scores[i] = exp(x at n = index[i])     ->  da[i] = D[i],  db[n] = sum of D[i], index[i] = n
//     b[n] = -logsumexp_i(q + a)             ->  da[i] -= sum over n of db[n] exp(x)
//     a[i] = -logsumexp_n(q + b before)      ->  db before[n] = -sum over i of da[i] exp(x before)
//     b of step 0 = f(s) / temperature       ->  ds = db f'(s) / temperature
//
// Geometry as in sinkhorn.cl.

// The counter's row, of the arguments every kernel has.
#define COUNTER_ROW(row) ((uint)(first_row + (row) / R * row_step + ((row) - (row) / R * R)))

// D. A work-item a slot; none where the row has no valid token, whose a is infinite.
__kernel void sinkhorn_direct(IN_F32(a), ulong a_stride, IN_F32(b), ulong b_stride, IN_I32(index),
                              IN_F32(dscores), OUT_F32(direct), ulong N, ulong R, ulong K,
                              ulong items, ulong seed, ulong first_row, ulong row_step,
                              float temperature)
{
    const size_t i = get_global_id(0), row = i / K, slot = i - row * K;
    if (i >= items) return;
    const int n = at(index, i);
    const float potential = at(a, row * a_stride + slot);
    float gradient = 0.0f;
    if (inside(n, N) && potential != INFINITY) {
        const float u = philox_uniform(seed, n, slot, COUNTER_ROW(row), 1);
        const float x = -log(-log(u)) * (1.0f / temperature) + potential;
        gradient = at(dscores, i) * exp(x + at(b, row * b_stride + n));
    }
    at(direct, i) = gradient;
}

// db after the last step. A work-item a token looks for its slots: no two add to one place.
__kernel void sinkhorn_collect(IN_I32(index), IN_F32(direct), OUT_F32(db), ulong N, ulong K,
                               ulong items)
{
    const size_t i = get_global_id(0), row = i / N;
    const int n = i - row * N;
    if (i >= items) return;
    float sum = 0.0f;
    for (size_t slot = 0; slot < K; slot++)
        if (at(index, row * K + slot) == n) sum += at(direct, row * K + slot);
    at(db, i) = sum;
}

// da of a step; direct is absent but for the last one.
__kernel void sinkhorn_slots_backward(IN_F32(a), ulong a_stride, IN_F32(b), ulong b_stride,
                                      IN_F32(direct), IN_F32(db), OUT_F32(da), ulong N, ulong R,
                                      ulong K, ulong seed, ulong first_row, ulong row_step,
                                      float temperature, __local float *scratch)
{
    const size_t row = get_group_id(0), slot = get_group_id(1);
    const uint counter = COUNTER_ROW(row);
    const float potential = at(a, row * a_stride + slot);
    floats sum = 0.0f;
    for (size_t n = TOKENS * get_local_id(0); n < N; n += TOKENS * get_local_size(0)) {
        const floats x = noise(seed, n, slot, counter, temperature) + potential;
        const floats of_token = load_some(&at(b, row * b_stride + n), N - n, -INFINITY);
        sum += load_some(&at(db, row * N + n), N - n, 0.0f) * exp(x + of_token);
    }
    const float total = group_sum(sum_some(sum), scratch);
    if (get_local_id(0) == 0)
        at(da, row * K + slot) = (present(direct) ? at(direct, row * K + slot) : 0.0f) - total;
}

// db before a step, b being the potentials before it. The sum of da is 0 but for rounding, which the
// steps to come would carry along undamped, and the gradient is often small: its mean is taken out.
__kernel void sinkhorn_tokens_backward(IN_U8(mask), IN_F32(a), ulong a_stride, IN_F32(b),
                                       ulong b_stride, IN_F32(da), OUT_F32(db), ulong N, ulong R,
                                       ulong K, ulong seed, ulong first_row, ulong row_step,
                                       float temperature, __local floats *sums,
                                       __local float *scratch)
{
    const size_t row = get_group_id(0), item = get_local_id(0), items = get_local_size(0);
    const size_t columns = min(items, (size_t)32), part = item / columns;
    const size_t n = TOKENS * (get_group_id(1) * columns + item - part * columns);
    const uint counter = COUNTER_ROW(row);
    float mean = 0.0f;
    for (size_t slot = item; slot < K; slot += items) mean += at(da, row * K + slot);
    mean = group_sum(mean, scratch) / K;

    floats sum = 0.0f;
    if (n < N) {
        const floats potential = load_some(&at(b, row * b_stride + n), N - n, -INFINITY);
        for (size_t slot = part; slot < K; slot += items / columns) {
            const floats x = noise(seed, n, slot, counter, temperature) + potential;
            sum += (at(da, row * K + slot) - mean) * exp(x + at(a, row * a_stride + slot));
        }
    }
    sums[item] = sum;
    barrier(CLK_LOCAL_MEM_FENCE);
    if (part > 0 || n >= N) return;

    for (size_t i = item + columns; i < items; i += columns) sum += sums[i];
    __global float *to = &at(db, row * N + n);
    store_some(to, -sum, N - n);
    for (size_t i = 0; present(mask) && i < min(N - n, (ulong)TOKENS); i++)
        if (!valid(mask, row / R * N + n + i)) to[i] = 0.0f;
}

__kernel void sinkhorn_end_backward(IN_F32(s), IN_U8(mask), IN_F32(db), OUT_F32(ds), ulong N,
                                    ulong R, ulong items, float temperature, int log_scores)
{
    const size_t i = get_global_id(0), row = i / N, n = i - row * N;
    if (i >= items) return;
    const float score = at(s, i);
    float slope = 1.0f;
    if (log_scores) slope = score < 1e-20f ? 0.0f : 1.0f / score;
    at(ds, i) = valid(mask, row / R * N + n) ? at(db, i) * slope / temperature : 0.0f;
}
