// SPDX-License-Identifier: MIT
// Backward of attention on CPUs (attention_vectors.cl). With s = query · key · scale, scale being
// q_score/√E · key factor, weight = exp(s - lse), y = Σ weight · value · value factor:
//
//   dweight = dy · value · factor        slope = ds = weight · (dweight - Σ weight · dweight)
//   dquery  = Σ slope · scale · key      dkey = Σ slope · scale · query
//   dvalue  = Σ weight · factor · dy
//
// attention_vectors_dq: a tile of queries in lanes against the keys; work-groups of one work-item:
// (tiles of ROWS queries, H, B). attention_vectors_dkv: a tile of keys in lanes against the queries;
// (tiles of ROWS keys, H, B). Weights are computed again in both, so nothing is added to from two
// places. terms: see attention_backward.cl. Bound by arithmetic: 14·E operations for a query and a
// key.

typedef struct {
    float first[WIDEST * ROWS], second[WIDEST * ROWS];   // queries and their dy, or keys and values
    float dfirst[WIDEST * ROWS], dsecond[WIDEST * ROWS]; // what is summed for them
    float scale[ROWS], factor[ROWS]; // of scores, of dweight
    int there[ROWS];                 // 1: a row of the tensor
    int16 counts[2];                 // -1: there, and not to be left out
    int16 low[2], high[2];           // LOCAL: the tokens that it sees, or that see it
} lane_tile;

// Numbers that come with queries, in lanes or in rows: see attention_terms.
typedef struct {
    float minus_lse[ROW_COUNT], minus_mean[ROW_COUNT];
} query_terms;

INLINE float sum_of_lanes(float16 x)
{
    float lanes[LANES], sum = 0.0f;
    vstore16(x, 0, lanes);
    for (int i = 0; i < LANES / 4; i++) sum += dot(vload4(i, lanes), (float4)(1.0f));
    return sum;
}

// The dot product of each lane of a with that of b.
INLINE float16 dot_lanes(const float *a, const float *b, int v, size_t E)
{
    float16 sum = 0.0f;
    for (size_t e = 0; e < E; e++)
        sum = multiply_add(vload16(2 * e + v, a), vload16(2 * e + v, b), sum);
    return sum;
}

// Products of a row with the lanes to weights and slopes; both 0 where the two do not see each other.
INLINE void weigh(float16 *weight, float16 *slope, const lane_tile *lanes, int v, int token,
                  float16 minus_lse, float16 minus_mean)
{
    int16 seen = lanes->counts[v];
    if (LOCAL) seen &= (token >= lanes->low[v]) & (token <= lanes->high[v]);
    const float16 w = power_of_two(multiply_add(*weight, vload16(v, lanes->scale), minus_lse));
    const float16 s = w * multiply_add(*slope, vload16(v, lanes->factor), minus_mean);
    *weight = select(0.0f, w, seen);
    *slope = select(0.0f, s, seen);
}

INLINE void stage_queries(lane_tile *tile, query_terms *terms, __global const storage *q,
                          __global const storage *dy, __global const float *minus_lse,
                          __global const float *minus_mean, __global const float *scores,
                          rows_of_head rows, int token, size_t E, size_t width)
{
    const size_t first = (size_t)(token - rows.begin);
    int counts[ROWS];
    for (int lane = 0; lane < ROWS; lane++) {
        const int i = token + lane - rows.begin;
        const bool there = i >= 0 && token + lane < rows.end;
        terms->minus_lse[lane] = there ? minus_lse[rows.lse + i] : -INFINITY;
        terms->minus_mean[lane] = there ? minus_mean[rows.lse + i] : 0.0f;
        tile->there[lane] = there;
        counts[lane] = terms->minus_lse[lane] == -INFINITY ? 0 : -1;
        tile->scale[lane] = (there && scores ? scores[i] : 1.0f) * LOG2_E / sqrt((float)E);
        tile->factor[lane] = 1.0f;
        ((int *)tile->low)[lane] = first_seen(rows, token + lane);
        ((int *)tile->high)[lane] = last_seen(rows, token + lane);
    }
    EACH(v, 2) tile->counts[v] = vload16(v, counts);
    stage_lanes(tile->first, q, rows.query + first * rows.query_step, rows.query_step, E, counts,
                tile->factor);
    stage_lanes(tile->second, dy, rows.out + first * rows.out_step, rows.out_step, E, counts,
                tile->factor);
    clear_lanes(tile->dfirst, width);
}

// The null key's part of dnull_kv from this tile: slopes · queries and weights · dy, over the lanes.
INLINE void store_null(const lane_tile *tile, const float16 *weights, const float16 *slopes,
                       __global float *part, size_t h, size_t H, size_t E)
{
    float16 by[2];
    EACH(v, 2) by[v] = slopes[v] * vload16(v, tile->scale) * LN_2;
    for (size_t e = 0; e < E; e++) {
        float16 dkey = 0.0f, dvalue = 0.0f;
        EACH(v, 2) {
            dkey = multiply_add(by[v], vload16(2 * e + v, tile->first), dkey);
            dvalue = multiply_add(weights[v], vload16(2 * e + v, tile->second), dvalue);
        }
        part[h * E + e] = sum_of_lanes(dkey);
        part[(H + h) * E + e] = sum_of_lanes(dvalue);
    }
}

// dq = Σ slope · scale · key; dscores, of this head: Σ over E of query · dq without its score.
INLINE void store_dq(lane_tile *tile, __global storage *dq, __global float *dscores,
                     rows_of_head rows, int token, size_t E)
{
    const size_t first = (size_t)(token - rows.begin);
    float dots[ROWS];
    EACH(v, 2) vstore16(dot_lanes(tile->first, tile->dfirst, v, E), v, dots);
    for (int lane = 0; lane < ROWS; lane++) {
        if (dscores && tile->there[lane]) dscores[rows.lse + first + lane] = dots[lane] / sqrt((float)E);
        tile->scale[lane] *= LN_2;
    }
    if (dq)
        store_lanes(tile->dfirst, dq, rows.query + first * rows.query_step, rows.query_step, E,
                    tile->there, tile->scale);
}

__kernel void attention_vectors_dq(IN(q), IN(kv), IN(null_kv), IN_U8(mask), IN_F32(q_scores),
                                   IN_F32(kv_scores), int multiply, IN(dy), IN_F32(terms),
                                   ulong plane, OUT(dq), OUT_F32(dscores), OUT_F32(dnull),
                                   ATTENTION_SIZES)
{
    const size_t tile = get_group_id(0), h = get_group_id(1), b = get_group_id(2);
    const size_t width = (E + COLUMNS - 1) / COLUMNS * COLUMNS;
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int token = (rows.begin / ROWS + (int)tile) * ROWS, step = rows_of_a_tile(width);
    const int null = present(null_kv) ? 1 : 0; // one key more, before the others
    const int first = LOCAL ? max(first_seen(rows, max(token, rows.begin)), 0) : -null;
    const int last = min(last_seen(rows, min(token + ROWS, rows.end) - 1), rows.keys - 1);
    const float16 ones[2] = {1.0f, 1.0f};

    lane_tile queries;
    row_tile keys;
    query_terms of;
    float16 weights[2 * ROW_COUNT], slopes[2 * ROW_COUNT];
    stage_queries(&queries, &of, q_buffer + q_offset, dy_buffer + dy_offset, &at(terms, 0),
                  &at(terms, plane), present(q_scores) ? &at(q_scores, b * Q) : 0, rows, token, E,
                  width);
    for (int start = first_seen(rows, token) - null; start <= last; start += step) {
        stage_keys(&keys, kv_buffer + kv_offset, null_kv_buffer + null_kv_offset,
                   present(mask) ? &at(mask, 0) : 0, present(kv_scores) ? &at(kv_scores, 0) : 0,
                   multiply, rows, H, E, width, max(start, first), min(start + step - 1, last));
        multiply_rows(weights, keys.first, keys.count, queries.first, E, width);
        multiply_rows(slopes, keys.second, keys.count, queries.second, E, width);
        for (int j = 0; j < keys.count; j++)
            EACH(v, 2)
                weigh(&weights[2 * j + v], &slopes[2 * j + v], &queries, v, keys.tokens[j],
                      vload16(v, of.minus_lse), vload16(v, of.minus_mean));
        add_rows(queries.dfirst, ones, slopes, keys.first, keys.count, width, 0);
        if (present(dnull) && start == NULL_KEY)
            store_null(&queries, weights, slopes,
                       &at(dnull, (b * get_num_groups(0) + tile) * 2 * H * E), h, H, E);
    }
    store_dq(&queries, present(dq) ? dq_buffer + dq_offset : 0,
             present(dscores) ? dscores_buffer + dscores_offset : 0, rows, token, E);
}

INLINE void stage_key_lanes(lane_tile *tile, __global const storage *kv, __global const uchar *mask,
                            __global const float *scores, int multiply, rows_of_head rows, int row,
                            size_t M, size_t E, size_t width)
{
    int counts[ROWS];
    float ones[ROWS];
    for (int lane = 0; lane < ROWS; lane++) {
        const bool there = row + lane < (int)M;
        counts[lane] = there && (!mask || mask[rows.mask + row + lane]) ? -1 : 0;
        tile->there[lane] = there;
        tile->factor[lane] = scores && counts[lane] ? scores[rows.mask + row + lane] : 1.0f;
        tile->scale[lane] = multiply ? tile->factor[lane] : 1.0f;
        ones[lane] = 1.0f;
        ((int *)tile->low)[lane] = first_seeing(rows, rows.first + row + lane);
        ((int *)tile->high)[lane] = last_seeing(rows, rows.first + row + lane);
    }
    EACH(v, 2) tile->counts[v] = vload16(v, counts);
    stage_lanes(tile->first, kv, rows.key + row * rows.key_step, rows.key_step, E, counts, ones);
    stage_lanes(tile->second, kv, rows.value + row * rows.key_step, rows.key_step, E, counts, ones);
    clear_lanes(tile->dfirst, width);
    clear_lanes(tile->dsecond, width);
}

// Adds the queries of the tokens from … to that ask for something, scaled, and their dy.
INLINE void stage_query_rows(row_tile *tile, query_terms *terms, __global const storage *q,
                             __global const storage *dy, __global const float *minus_lse,
                             __global const float *minus_mean, __global const float *scores,
                             rows_of_head rows, size_t E, size_t width, int from, int to)
{
    tile->count = 0;
    for (int token = from; token <= to; token++) {
        const size_t row = token - rows.begin, at = tile->count * width;
        float16 unused = 0.0f;
        if (minus_lse[rows.lse + row] == -INFINITY) continue;
        terms->minus_lse[tile->count] = minus_lse[rows.lse + row];
        terms->minus_mean[tile->count] = minus_mean[rows.lse + row];
        stage_row(tile->first + at, q, rows.query + row * rows.query_step, E, width,
                  (scores ? scores[row] : 1.0f) * LOG2_E / sqrt((float)E), &unused);
        stage_row(tile->second + at, dy, rows.out + row * rows.out_step, E, width, 1.0f, &unused);
        tile->tokens[tile->count++] = token;
    }
}

// dkey = factor · Σ slope · query, dvalue = factor · Σ weight · dy; dscores, of this head: what stands
// behind the factors times key and value.
INLINE void store_dkv(lane_tile *tile, __global storage *dkv, __global float *dscores, int multiply,
                      rows_of_head rows, size_t score, int row, size_t E)
{
    float keys[ROWS], values[ROWS];
    EACH(v, 2) vstore16(dot_lanes(tile->first, tile->dfirst, v, E), v, keys);
    EACH(v, 2) vstore16(dot_lanes(tile->second, tile->dsecond, v, E), v, values);
    for (int lane = 0; lane < ROWS; lane++) {
        if (dscores && tile->there[lane])
            dscores[score + row + lane] = values[lane] + (multiply ? keys[lane] * LN_2 : 0.0f);
        tile->scale[lane] *= LN_2;
    }
    if (!dkv) return;
    store_lanes(tile->dfirst, dkv, rows.key + row * rows.key_step, rows.key_step, E, tile->there,
                tile->scale);
    store_lanes(tile->dsecond, dkv, rows.value + row * rows.key_step, rows.key_step, E, tile->there,
                tile->factor);
}

__kernel void attention_vectors_dkv(IN(q), IN(kv), IN_U8(mask), IN_F32(q_scores), IN_F32(kv_scores),
                                    int multiply, IN(dy), IN_F32(terms), ulong plane, OUT(dkv),
                                    OUT_F32(dscores), ATTENTION_SIZES)
{
    const size_t h = get_group_id(1), b = get_group_id(2);
    const size_t width = (E + COLUMNS - 1) / COLUMNS * COLUMNS;
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int row = (int)get_group_id(0) * ROWS, token = rows.first + row, step = rows_of_a_tile(width);
    const int first = max(first_seeing(rows, token), rows.begin);
    const int last = min(last_seeing(rows, token + ROWS - 1), rows.end - 1);
    const float16 ones[2] = {1.0f, 1.0f};

    lane_tile keys;
    row_tile queries;
    query_terms of;
    float16 weights[2 * ROW_COUNT], slopes[2 * ROW_COUNT];
    stage_key_lanes(&keys, kv_buffer + kv_offset, present(mask) ? &at(mask, 0) : 0,
                    present(kv_scores) ? &at(kv_scores, 0) : 0, multiply, rows, row, M, E, width);
    for (int start = first; start <= last; start += step) {
        stage_query_rows(&queries, &of, q_buffer + q_offset, dy_buffer + dy_offset, &at(terms, 0),
                         &at(terms, plane), present(q_scores) ? &at(q_scores, b * Q) : 0, rows, E,
                         width, start, min(start + step - 1, last));
        multiply_rows(weights, queries.first, queries.count, keys.first, E, width);
        multiply_rows(slopes, queries.second, queries.count, keys.second, E, width);
        for (int i = 0; i < queries.count; i++)
            EACH(v, 2)
                weigh(&weights[2 * i + v], &slopes[2 * i + v], &keys, v, queries.tokens[i],
                      of.minus_lse[i], of.minus_mean[i]);
        add_rows(keys.dfirst, ones, slopes, queries.first, queries.count, width, 0);
        add_rows(keys.dsecond, ones, weights, queries.second, queries.count, width, 0);
    }
    store_dkv(&keys, present(dkv) ? dkv_buffer + dkv_offset : 0,
              present(dscores) ? dscores_buffer + dscores_offset : 0, multiply, rows,
              (b * H + h) * M, row, E);
}
