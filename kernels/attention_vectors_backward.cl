// SPDX-License-Identifier: MIT
// Backward of attention on CPUs (attention_vectors.cl). With s = query · key · scale, scale being
// q_score/√E · key factor, weight = exp(s - lse), y = Σ weight · value · value factor:
//
//   dweight = dy · value · factor        slope = ds = weight · (dweight - Σ weight · dweight)
//   dquery  = Σ slope · scale · key      dkey = Σ slope · scale · query
//   dvalue  = Σ weight · factor · dy
//
// attention_vectors_backward: tiles of keys in lanes against the queries in rows. Work-groups of one
// work-item: (chunks, H, B). A work-item has the keys of its chunk, of `tiles` tiles, to itself. LOCAL
// 1: the queries of the same tokens too, for which it also takes the keys around. LOCAL 0: of all
// queries a plane of sums, [chunks][B][H][Q][width], that attention_vectors_dq adds up. Terms: see
// attention_vectors_queries.cl. Bound by arithmetic: 10·E operations for a query and a key.

typedef struct {
    float keys[WIDEST * ROWS] LINE, values[WIDEST * ROWS] LINE;   // in lanes
    float dkeys[WIDEST * ROWS] LINE, dvalues[WIDEST * ROWS] LINE; // what is summed for them
    float rows[ROWS * WIDEST] LINE; // the keys once more, in rows, with their factor
    float scale[ROWS], factor[ROWS]; // of scores, of dweight
    int there[ROWS];                 // 1: a row of the tensor
    int16 counts[2];                 // -1: there, and not to be left out
    int16 low[2], high[2];           // LOCAL: the tokens that see it
} key_tile;

// Numbers that come with queries: see attention_terms.
typedef struct {
    float minus_lse[ROW_COUNT], minus_mean[ROW_COUNT];
} query_terms;

// The dot product of each lane of a with that of b.
INLINE float16 dot_lanes(const float *a, const float *b, int v, size_t E)
{
    float16 sum = 0.0f;
    for (size_t e = 0; e < E; e++)
        sum = multiply_add(vload16(2 * e + v, a), vload16(2 * e + v, b), sum);
    return sum;
}

INLINE void stage_key_lanes(key_tile *tile, __global const storage *kv, __global const uchar *mask,
                            __global const float *scores, int multiply, rows_of_head rows, int row,
                            int M, size_t E, size_t width)
{
    int counts[ROWS];
    float ones[ROWS];
    int16 unused = 0;
    for (int lane = 0; lane < ROWS; lane++) {
        const int n = row + lane;
        const bool there = n >= 0 && n < M;
        counts[lane] = there && (!mask || mask[rows.mask + n]) ? -1 : 0;
        tile->there[lane] = there;
        tile->factor[lane] = scores && counts[lane] ? scores[rows.mask + n] : 1.0f;
        tile->scale[lane] = multiply ? tile->factor[lane] : 1.0f;
        ones[lane] = 1.0f;
        ((int *)tile->low)[lane] = first_seeing(rows, rows.first + n);
        ((int *)tile->high)[lane] = last_seeing(rows, rows.first + n);
        if (counts[lane])
            stage_row(tile->rows + lane * width, kv, rows.key + n * rows.key_step, E, width,
                      tile->scale[lane], &unused);
        else
            for (size_t e = 0; e < width; e++) tile->rows[lane * width + e] = 0.0f;
    }
    EACH(v, 2) tile->counts[v] = vload16(v, counts);
    const size_t first = (size_t)row * rows.key_step; // what is before the first is not there
    stage_lanes(tile->keys, kv, rows.key + first, rows.key_step, E, counts, ones);
    stage_lanes(tile->values, kv, rows.value + first, rows.key_step, E, counts, ones);
    clear_lanes(tile->dkeys, width);
    clear_lanes(tile->dvalues, width);
}

// Adds the queries of the tokens from … to that ask for something, scaled, and their dy.
INLINE void stage_query_rows(row_tile *tile, query_terms *terms, __global const storage *q,
                             __global const storage *dy, __global const float *minus_lse,
                             __global const float *minus_mean, __global const float *scores,
                             rows_of_head rows, size_t E, size_t width, int from, int to)
{
    int16 unused = 0;
    tile->count = 0;
    for (int token = from; token <= to; token++) {
        const size_t row = token - rows.begin, at = tile->count * width;
        if (minus_lse[rows.lse + row] == -INFINITY) continue;
        terms->minus_lse[tile->count] = minus_lse[rows.lse + row];
        terms->minus_mean[tile->count] = minus_mean[rows.lse + row];
        stage_row(tile->first + at, q, rows.query + row * rows.query_step, E, width,
                  (scores ? scores[row] : 1.0f) * LOG2_E / sqrt((float)E), &unused);
        stage_row(tile->second + at, dy, rows.out + row * rows.out_step, E, width, 1.0f, &unused);
        tile->tokens[tile->count++] = token;
    }
}

// Products of the queries with the keys to weights and slopes; both 0 where a key is not seen.
INLINE void weigh(float16 *weights, float16 *slopes, const key_tile *keys, const row_tile *queries,
                  const query_terms *of)
{
    for (int i = 0; i < queries->count; i++)
        EACH(v, 2) {
            const int token = queries->tokens[i], n = 2 * i + v;
            int16 seen = keys->counts[v];
            if (LOCAL) seen &= (token >= keys->low[v]) & (token <= keys->high[v]);
            const float16 w = power_of_two(
                multiply_add(weights[n], vload16(v, keys->scale), (float16)(of->minus_lse[i])));
            const float16 s =
                w * multiply_add(slopes[n], vload16(v, keys->factor), (float16)(of->minus_mean[i]));
            weights[n] = select(0.0f, w, seen);
            slopes[n] = select(0.0f, s, seen);
        }
}

// Sums of the queries begin … end - 1 of the tile += slopes · keys, rows abreast.
INLINE void add_keys(__global float *sums, const row_tile *queries, const float *slopes,
                     const float *keys, size_t width, int first_token, int begin, int end)
{
    for (int i = begin; i < end; i += ABREAST) {
        __global float *row[ABREAST];
        EACH(r, ABREAST)
            row[r] = sums + (size_t)(queries->tokens[min(i + r, end - 1)] - first_token) * width;
        for (size_t e = 0; e < width; e += ROWS) {
            float16 sum[2 * ABREAST];
            EACH(n, 2 * ABREAST) sum[n] = vload16(n & 1, row[n / 2] + e);
            for (int j = 0; j < ROWS; j++) {
                const float16 a = vload16(0, keys + j * width + e), b = vload16(1, keys + j * width + e);
                EACH(r, ABREAST) {
                    sum[2 * r] = multiply_add(a, slopes[(i + r) * ROWS + j], sum[2 * r]);
                    sum[2 * r + 1] = multiply_add(b, slopes[(i + r) * ROWS + j], sum[2 * r + 1]);
                }
            }
            EACH(n, 2 * ABREAST)
                if (i + n / 2 < end) *(__global loose_vector *)(row[n / 2] + e + n % 2 * LANES) = sum[n];
        }
    }
}

// dkey = factor · Σ slope · query, dvalue = factor · Σ weight · dy; dscores, of this head: what stands
// behind the factors times key and value.
INLINE void store_dkv(key_tile *tile, __global storage *dkv, __global float *dscores, int multiply,
                      rows_of_head rows, int row, size_t E)
{
    const size_t first = (size_t)row * rows.key_step;
    float keys[ROWS], values[ROWS];
    EACH(v, 2) store16(dot_lanes(tile->keys, tile->dkeys, v, E), v, keys);
    EACH(v, 2) store16(dot_lanes(tile->values, tile->dvalues, v, E), v, values);
    for (int lane = 0; lane < ROWS; lane++) {
        if (dscores && tile->there[lane])
            dscores[row + lane] = values[lane] + (multiply ? keys[lane] * LN_2 : 0.0f);
        tile->scale[lane] *= LN_2;
    }
    if (!dkv) return;
    store_lanes(tile->dkeys, dkv, rows.key + first, rows.key_step, E, tile->there, tile->scale);
    store_lanes(tile->dvalues, dkv, rows.value + first, rows.key_step, E, tile->there, tile->factor);
}

// A row of dq from its sums.
INLINE void store_dq(__global storage *dq, size_t start, __global const float *sums, size_t E,
                     float factor)
{
    size_t e = 0;
    for (; e + 16 <= E; e += 16) store_vector(dq, start + e, vload16(0, sums + e) * factor);
    for (; e < E; e++) store_storage(dq, start + e, sums[e] * factor);
}

__kernel void attention_vectors_backward(IN(q), IN(kv), IN_U8(mask), IN_F32(q_scores),
                                         IN_F32(kv_scores), int multiply, IN(dy), IN_F32(terms),
                                         ulong plane, int tiles, INOUT_F32(sums), OUT(dq), OUT(dkv),
                                         OUT_F32(dscores), ATTENTION_SIZES)
{
    const size_t chunk = get_group_id(0), h = get_group_id(1), b = get_group_id(2);
    const size_t width = WIDTH_OF(E), part = LOCAL ? 0 : chunk;
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    // The keys and the queries of this work-item.
    const int own = (LOCAL ? rows.first / (tiles * ROWS) + (int)chunk : (int)chunk) * tiles * ROWS;
    const int own_end = own + tiles * ROWS, step = rows_of_a_tile(width);
    const int begin = LOCAL ? max(own, rows.begin) : rows.begin;
    const int end = LOCAL ? min(own_end, rows.end) : rows.end;
    // The keys that it needs.
    const int first = LOCAL && begin < end ? min(own, first_seen(rows, begin)) : own;
    const int last = LOCAL && begin < end ? max(own_end - 1, last_seen(rows, end - 1)) : own_end - 1;
    const int past = rows.first + (int)M;

    __global float *own_sums =
        sums_buffer + sums_offset +
        (((part * get_num_groups(2) + b) * H + h) * Q + (begin - rows.begin)) * width;
    for (int i = begin; present(sums) && i < end; i++)
        for (size_t e = 0; e < width; e += LANES)
            *(__global loose_vector *)(own_sums + (size_t)(i - begin) * width + e) = 0.0f;

    key_tile keys;
    row_tile queries;
    query_terms of;
    float16 weights[2 * ROW_COUNT], slopes[2 * (ROW_COUNT + ABREAST)]; // add_keys reads further
    const float16 ones[2] = {1.0f, 1.0f};
    for (int token = max(first, rows.first) / ROWS * ROWS; token < min(last + 1, past); token += ROWS) {
        const bool mine = token >= own && token < own_end;
        const int from = max(first_seeing(rows, token), mine ? rows.begin : begin);
        const int to = min(last_seeing(rows, token + ROWS - 1), (mine ? rows.end : end) - 1);
        const int row = token - rows.first;
        if (!mine && from > to) continue;
        stage_key_lanes(&keys, kv_buffer + kv_offset, present(mask) ? &at(mask, 0) : 0,
                        present(kv_scores) ? &at(kv_scores, 0) : 0, multiply, rows, row, (int)M, E,
                        width);
        for (int start = from; start <= to; start += step) {
            stage_query_rows(&queries, &of, q_buffer + q_offset, dy_buffer + dy_offset, &at(terms, 0),
                             &at(terms, plane), present(q_scores) ? &at(q_scores, b * Q) : 0, rows, E,
                             width, start, min(start + step - 1, to));
            int own_first = 0, own_last = queries.count;
            while (own_first < own_last && queries.tokens[own_first] < begin) own_first++;
            while (own_first < own_last && queries.tokens[own_last - 1] >= end) own_last--;
            multiply_rows(weights, queries.first, queries.count, keys.keys, E, width);
            multiply_rows(slopes, queries.second, queries.count, keys.values, E, width);
            weigh(weights, slopes, &keys, &queries, &of);
            if (present(sums)) // dquery += slope · key
                add_keys(own_sums, &queries, (const float *)slopes, keys.rows, width, begin, own_first,
                         own_last);
            if (!mine) continue;
            add_rows(keys.dkeys, ones, slopes, queries.first, queries.count, width, 0);
            add_rows(keys.dvalues, ones, weights, queries.second, queries.count, width, 0);
        }
        if (mine)
            store_dkv(&keys, present(dkv) ? dkv_buffer + dkv_offset : 0,
                      present(dscores) ? &at(dscores, (b * H + h) * M) : 0, multiply, rows, row, E);
    }
    for (int i = 0; LOCAL && i < end - begin; i++)
        store_dq(dq_buffer + dq_offset, rows.query + (begin - rows.begin + i) * rows.query_step,
                 own_sums + i * width, E, 1.0f / sqrt((float)E));
}
