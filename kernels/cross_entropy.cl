// SPDX-License-Identifier: MIT
// Cross-entropy of rows of logits against one target each.
//
// logits, dlogits [rows][V] storage, dlogits may be logits; targets [rows]; losses, lse [rows] float;
// loss, counted [1]. Forward: LANES neighbouring work-items take a row, the work-group several; a
// row is read once and kept in STEPS floats a work-item (STEPS 0: read again from the cache). Then
// one work-group takes the mean. Backward: one work-item an element. Bound by memory; rows whose
// target is outside [0, V) are not read.

// The largest value among LANES neighbours; as lanes_sum of common.cl.
inline float lanes_max(float value, __local float *scratch)
{
    if (LANES == 1) return value;
    const size_t i = get_local_id(0), lane = i % LANES;
    barrier(CLK_LOCAL_MEM_FENCE);
    scratch[i] = value;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (size_t step = LANES / 2; step > 0; step /= 2) {
        if (lane < step) scratch[i] = fmax(scratch[i], scratch[i + step]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return scratch[i - lane];
}

__kernel void cross_entropy_forward(IN(logits), IN_I32(targets), OUT_F32(losses), OUT_F32(lse),
                                    ulong rows, ulong V, __local float *scratch)
{
    const size_t row = get_global_id(0) / LANES, lane = get_local_id(0) % LANES;
    const int target = row < rows ? at(targets, row) : -1;
    const bool counts = inside(target, V);
    const size_t start = row * V, end = counts ? V : 0;
    const uint steps = STEPS ? STEPS : (uint)((V + LANES - 1) / LANES);
    float kept[STEPS ? STEPS : 1];

    float largest = -INFINITY;
    for (uint s = 0; s < steps; s++) {
        const size_t v = (size_t)s * LANES + lane;
        const float logit = v < end ? load(logits, start + v) : -INFINITY;
        if (STEPS) kept[STEPS ? s : 0] = logit;
        largest = fmax(largest, logit);
    }
    largest = lanes_max(largest, scratch);

    float sum = 0.0f;
    for (uint s = 0; s < steps; s++) {
        const size_t v = (size_t)s * LANES + lane;
        if (v < end) sum += exp((STEPS ? kept[STEPS ? s : 0] : load(logits, start + v)) - largest);
    }
    sum = log(lanes_sum(sum, scratch));

    if (lane > 0 || row >= rows) return;
    at(losses, row) = counts ? sum + (largest - load(logits, start + target)) : 0.0f;
    if (present(lse)) at(lse, row) = counts ? sum + largest : 0.0f;
}

__kernel void cross_entropy_mean(IN_F32(losses), IN_I32(targets), OUT_F32(loss), OUT_I32(counted),
                                 ulong rows, ulong V, __local float *scratch, __local int *counts)
{
    const size_t i = get_local_id(0), items = get_local_size(0);
    float sum = 0.0f;
    int count = 0;
    for (size_t row = i; row < rows; row += items) {
        sum += at(losses, row);
        count += inside(at(targets, row), V);
    }
    counts[i] = count;
    sum = group_sum(sum, scratch);
    if (i > 0) return;
    for (size_t j = 1; j < items; j++) count += counts[j];
    at(loss, 0) = count > 0 ? sum / (float)count : 0.0f;
    if (present(counted)) at(counted, 0) = count;
}

// loss = (sum + largest - logits[target]) / counted, sum + largest = lse:
// dlogits = (exp(logits - lse) - onehot) · scale / counted
__kernel void cross_entropy_backward(INOUT(logits), IN_I32(targets), IN_I32(counted), IN_F32(lse),
                                     INOUT(dlogits), ulong rows, ulong V, float scale)
{
    const size_t v = get_global_id(0), row = grid_row(), i = row * V + v;
    if (v >= V || row >= rows) return;
    const int target = at(targets, row);
    const float share = present(counted) ? scale / (float)at(counted, 0) : scale;
    float gradient = 0.0f;
    if (inside(target, V)) {
        const float chance = exp(load(logits, i) - at(lse, row));
        gradient = (v == (size_t)target ? chance - 1.0f : chance) * share;
    }
    store(dlogits, i, gradient);
}
