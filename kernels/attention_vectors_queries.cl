// SPDX-License-Identifier: MIT
// Backward of attention on CPUs: what is done for each query before and after attention_vectors_backward.
//
// attention_vectors_terms: as attention_terms of attention_backward.cl; work-groups of one work-item:
// (tiles of ROWS queries, B). Bound by memory.
//
// attention_vectors_dq: LOCAL 0: adds up what the chunks of keys have summed for dq, and does the null
// key; work-groups of one work-item: (tiles of ROWS queries, H, B).

INLINE float sum_of_lanes(float16 x)
{
    float lanes[LANES], sum = 0.0f;
    store16(x, 0, lanes);
    for (int i = 0; i < LANES / 4; i++) sum += dot(vload4(i, lanes), (float4)(1.0f));
    return sum;
}

// The dot product of a row of y and one of dy; asks: whether that of dy holds anything but 0.
INLINE float dot_stored(__global const storage *y, __global const storage *dy, size_t row, size_t E,
                        bool *asks)
{
    float16 sums = 0.0f;
    int16 some = 0;
    size_t e = 0;
    for (; e + LANES <= E; e += LANES) {
        const float16 d = load_vector(dy, row + e);
        some |= d != 0.0f;
        sums = multiply_add(d, load_vector(y, row + e), sums);
    }
    *asks = any(some);
    float sum = sum_of_lanes(sums);
    for (; e < E; e++) {
        const float d = load_storage(dy, row + e);
        *asks = *asks || d != 0.0f;
        sum += d * load_storage(y, row + e);
    }
    return sum;
}

__kernel void attention_vectors_terms(IN(y), IN(dy), IN_F32(lse), IN_U8(mask), OUT_F32(terms),
                                      ulong plane, ATTENTION_SIZES)
{
    const size_t first = get_group_id(0) * ROWS, b = get_group_id(1);
    for (size_t i = first; i < min(first + ROWS, (size_t)Q); i++) {
        const bool hidden = LOCAL && !valid(mask, b * N + first_query + i);
        for (size_t h = 0; h < H; h++) {
            const size_t n = (b * H + h) * Q + i, row = ((b * Q + i) * H + h) * E;
            bool asks = false;
            float sum = 0.0f;
            if (!hidden) sum = dot_stored(y_buffer + y_offset, dy_buffer + dy_offset, row, E, &asks);
            const bool counts = asks && at(lse, n) != -INFINITY;
            at(terms, n) = counts ? at(lse, n) * -LOG2_E : -INFINITY;
            at(terms, plane + n) = counts ? -sum : 0.0f;
        }
    }
}

// The null key, and its part of dnull_kv.
typedef struct {
    float key[WIDEST], value[WIDEST], dkey[WIDEST], dvalue[WIDEST];
} null_pair;

INLINE float dot_rows(const float *a, const float *b, size_t width)
{
    float16 sum = 0.0f;
    for (size_t e = 0; e < width; e += LANES)
        sum = multiply_add(vload16(0, a + e), vload16(0, b + e), sum);
    return sum_of_lanes(sum);
}

INLINE void add_row(float *sum, float factor, const float *row, size_t width)
{
    for (size_t e = 0; e < width; e += LANES)
        store16(multiply_add((float16)(factor), vload16(0, row + e), vload16(0, sum + e)), 0, sum + e);
}

__kernel void attention_vectors_dq(IN(q), IN(null_kv), IN_F32(q_scores), IN(dy), IN_F32(terms),
                                   ulong plane, INOUT_F32(sums), int parts, OUT(dq),
                                   OUT_F32(dscores), OUT_F32(dnull), ATTENTION_SIZES)
{
    const size_t tile = get_group_id(0), h = get_group_id(1), b = get_group_id(2);
    const size_t width = WIDTH_OF(E), between = get_num_groups(2) * H * Q * width; // of two parts
    const float root = 1.0f / sqrt((float)E);
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    null_pair null;
    float query[WIDEST], ask[WIDEST], sum[WIDEST];
    int16 unused = 0;
    for (size_t e = 0; e < width; e++) null.dkey[e] = null.dvalue[e] = 0.0f;
    if (present(null_kv)) {
        stage_row(null.key, null_kv_buffer + null_kv_offset, h * E, E, width, 1.0f, &unused);
        stage_row(null.value, null_kv_buffer + null_kv_offset, (H + h) * E, E, width, 1.0f, &unused);
    }
    for (size_t i = tile * ROWS; i < min((tile + 1) * ROWS, (size_t)Q); i++) {
        const float minus_lse = at(terms, rows.lse + i);
        const float scale = (present(q_scores) ? at(q_scores, b * Q + i) : 1.0f) * root;
        __global float *own_sums = sums_buffer + sums_offset + ((b * H + h) * Q + i) * width;
        for (size_t e = 0; e < width; e += LANES) {
            float16 all = 0.0f;
            for (int part = 0; part < parts; part++)
                all += vload16(0, own_sums + part * between + e);
            store16(all, 0, sum + e);
        }
        if (minus_lse != -INFINITY) {
            stage_row(query, q_buffer + q_offset, rows.query + i * rows.query_step, E, width, 1.0f,
                      &unused);
            stage_row(ask, dy_buffer + dy_offset, rows.out + i * rows.out_step, E, width, 1.0f, &unused);
            if (present(null_kv)) {
                const float score = dot_rows(query, null.key, width) * scale * LOG2_E;
                const float weight = power_of_two((float16)(score + minus_lse)).s0;
                const float slope = weight * (dot_rows(ask, null.value, width) +
                                              at(terms, plane + rows.lse + i));
                add_row(sum, slope, null.key, width);
                add_row(null.dkey, slope * scale, query, width);
                add_row(null.dvalue, weight, ask, width);
            }
        }
        if (present(dscores))
            at(dscores, rows.lse + i) = minus_lse == -INFINITY ? 0.0f : dot_rows(query, sum, width) * root;
        for (size_t e = 0; present(dq) && e < E; e++)
            store(dq, rows.query + i * rows.query_step + e, sum[e] * scale);
    }
    for (size_t e = 0; present(dnull) && e < E; e++) {
        const size_t at_key = (b * get_num_groups(0) + tile) * 2 * H * E + h * E + e;
        at(dnull, at_key) = null.dkey[e];
        at(dnull, at_key + H * E) = null.dvalue[e];
    }
}
