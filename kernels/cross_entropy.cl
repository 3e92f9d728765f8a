// SPDX-License-Identifier: MIT
// Cross-entropy of rows of logits against one target each.
//
// logits, dlogits [rows][V] storage, dlogits may be logits; targets [rows]; losses, lse [rows] float;
// loss, counted [1]. Forward: LANES neighbouring work-items take a row, the work-group several; a
// row is read once and kept in STEPS vectors a work-item (STEPS 0: read again from the cache). Then
// one work-group takes the mean. Backward: one work-item WIDTH elements. Rows need not begin at
// multiples of WIDTH, nor end there: WIDTH is 8 on CPUs, else 1. Bound by memory; rows whose target
// is outside [0, V) are not read.

// From p on, WIDTH elements wherever p lies; those from count on are -infinity.
inline wide load_part(__global const storage *p, size_t count)
{
#if WIDTH == 1
    return load_storage(p, 0);
#else
    if (count >= WIDTH) {
    #if STORAGE == 0
        return vload8(0, p);
    #elif STORAGE == 1
        return vload_half8(0, p);
    #else
        return as_float8(convert_uint8(vload8(0, p)) << 16);
    #endif
    }
    float v[WIDTH];
    for (size_t n = 0; n < WIDTH; n++) v[n] = n < count ? load_storage(p, n) : -INFINITY;
    return vload8(0, v);
#endif
}

inline void store_part(__global storage *p, wide value, size_t count)
{
#if WIDTH == 1
    store_storage(p, 0, value);
#else
    float v[WIDTH];
    #if STORAGE == 0
    if (count >= WIDTH) {
        vstore8(value, 0, p);
        return;
    }
    #elif STORAGE == 1
    if (count >= WIDTH) {
        vstore_half8_rte(value, 0, p);
        return;
    }
    #endif
    vstore8(value, 0, v);
    for (size_t n = 0; n < WIDTH && n < count; n++) store_storage(p, n, v[n]);
#endif
}

// Of a vector's elements, through an array: no shuffles.
inline float largest_of(wide value)
{
#if WIDTH == 1
    return value;
#else
    float v[WIDTH], most = -INFINITY;
    vstore8(value, 0, v);
    for (int n = 0; n < WIDTH; n++) most = fmax(most, v[n]);
    return most;
#endif
}

inline float sum_of(wide value)
{
#if WIDTH == 1
    return value;
#else
    float v[WIDTH];
    vstore8(value, 0, v);
    return ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
#endif
}

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
    const size_t end = counts ? V : 0, stride = LANES * WIDTH;
    const uint steps = STEPS ? STEPS : (uint)((V + stride - 1) / stride);
    __global const storage *x = &at(logits, row * V);
    wide kept[STEPS ? STEPS : 1];

    wide most = -INFINITY;
    for (uint s = 0; s < steps; s++) {
        const size_t v = s * stride + lane * WIDTH;
        const wide part = v < end ? load_part(x + v, end - v) : (wide)-INFINITY;
        if (STEPS) kept[STEPS ? s : 0] = part;
        most = fmax(most, part);
    }
    const float largest = lanes_max(largest_of(most), scratch);

    wide sums = 0.0f;
    for (uint s = 0; s < steps; s++) {
        const size_t v = s * stride + lane * WIDTH;
        if (v < end) sums += exp((STEPS ? kept[STEPS ? s : 0] : load_part(x + v, end - v)) - largest);
    }
    const float sum = log(lanes_sum(sum_of(sums), scratch));

    if (lane > 0 || row >= rows) return;
    at(losses, row) = counts ? sum + (largest - load_storage(x, target)) : 0.0f;
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
    const size_t v = get_global_id(0) * WIDTH, row = grid_row();
    if (v >= V || row >= rows) return;
    __global const storage *x = &at(logits, row * V + v);
    __global storage *dx = &at(dlogits, row * V + v);
    const int target = at(targets, row);
    if (!inside(target, V)) {
        store_part(dx, 0.0f, V - v);
        return;
    }
    const float share = present(counted) ? scale / (float)at(counted, 0) : scale;
    const size_t hot = (size_t)target - v; // beyond WIDTH where it is another work-item's
    const wide chance = exp(load_part(x, V - v) - at(lse, row));
    const float hot_chance = hot < WIDTH ? exp(load_storage(x, hot) - at(lse, row)) : 0.0f;
    store_part(dx, chance * share, V - v);
    if (hot < WIDTH) store_storage(dx, hot, (hot_chance - 1.0f) * share);
}
