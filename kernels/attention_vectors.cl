// SPDX-License-Identifier: MIT
// Attention on CPUs: a tile of queries of one head in lanes, against tiles of keys in rows.
//
// Work-groups of one work-item: (tiles of ROWS queries, H, B). Tiles are cut by token number, so
// that a piece of a sequence gives the same bits as the whole. Hidden keys are left out when a tile
// is staged: the loops over keys have no branch. Bound by arithmetic: 4·E operations for a query
// and a key.

typedef struct {
    float queries[WIDEST * ROWS] LINE; // times log2(e)/√E
    float out[WIDEST * ROWS] LINE;     // not yet divided by sum
    float16 best[2], sum[2];      // of the scores so far, of the weights so far
    int16 low[2], high[2];        // the tokens each query sees
    int there[ROWS];
} query_tile;

INLINE void stage_queries(query_tile *tile, __global const storage *q, rows_of_head rows, int token,
                          size_t E, size_t width, __global const float *scores)
{
    const float scale = LOG2_E / sqrt((float)E);
    float factor[ROWS];
    for (int lane = 0; lane < ROWS; lane++) {
        const int i = token + lane;
        tile->there[lane] = i >= rows.begin && i < rows.end;
        factor[lane] = tile->there[lane] && scores ? scale * scores[i - rows.begin] : scale;
        ((int *)tile->low)[lane] = first_seen(rows, i);
        ((int *)tile->high)[lane] = last_seen(rows, i);
    }
    stage_lanes(tile->queries, q, rows.query + (size_t)(token - rows.begin) * rows.query_step,
                rows.query_step, E, tile->there, factor);
    EACH(v, 2) tile->best[v] = -INFINITY, tile->sum[v] = 0.0f;
    clear_lanes(tile->out, width);
}

// Scores a query must not use become -infinity; true where there are none such.
INLINE bool hide_keys(float16 *weights, const row_tile *tile, const query_tile *queries)
{
    const int last = tile->count - 1;
    if (!LOCAL) return true;
    if (tile->tokens[0] >= queries->low[1].sf && tile->tokens[last] <= queries->high[0].s0) return true;
    for (int j = 0; j < tile->count; j++)
        EACH(v, 2) {
            const int16 token = tile->tokens[j];
            const int16 seen = (token >= queries->low[v]) & (token <= queries->high[v]);
            weights[2 * j + v] = select(-INFINITY, weights[2 * j + v], seen);
        }
    return false;
}

// Scores to weights; factor is what the sums so far are worth beside them.
INLINE void weigh(float16 *weights, int count, query_tile *queries, float16 *factor)
{
    EACH(v, 2) {
        const float16 old = queries->best[v];
        float16 best = old, sum = 0.0f;
        for (int j = 0; j < count; j++) {
            const float16 s = weights[2 * j + v];
            best = select(best, s, s > best);
        }
        const float16 base = select(best, 0.0f, best == -INFINITY);
        for (int j = 0; j < count; j++) {
            const float16 weight = power_of_two(weights[2 * j + v] - base);
            weights[2 * j + v] = weight;
            sum += weight;
        }
        factor[v] = power_of_two(old - base);
        queries->best[v] = best;
        queries->sum[v] = multiply_add(queries->sum[v], factor[v], sum);
    }
}

// What is staged of the keys goes into the queries' sums. weights: of a key and all queries, scores
// at first.
INLINE void take_keys(row_tile *tile, query_tile *queries, float16 *weights, size_t E, size_t width)
{
    float16 factor[2];
    multiply_rows(weights, tile->first, tile->count, queries->queries, E, width);
    const bool all_seen = hide_keys(weights, tile, queries);
    weigh(weights, tile->count, queries, factor);
    if (all_seen || !tile->odd)
        add_rows(queries->out, factor, weights, tile->second, tile->count, width, 0);
    else
        add_rows(queries->out, factor, weights, tile->second, tile->count, width, -1);
}

INLINE void store_queries(const query_tile *tile, __global storage *y, __global float *lse,
                          rows_of_head rows, int token, size_t E)
{
    const size_t first = (size_t)(token - rows.begin);
    float inverse[ROWS];
    EACH(v, 2) store16(select(1.0f / tile->sum[v], 0.0f, tile->sum[v] == 0.0f), v, inverse);
    store_lanes(tile->out, y, rows.out + first * rows.out_step, rows.out_step, E, tile->there, inverse);
    for (int lane = 0; lse && lane < ROWS; lane++)
        if (tile->there[lane])
            lse[rows.lse + first + lane] = (((const float *)tile->best)[lane] +
                                            log2(((const float *)tile->sum)[lane])) * LN_2;
}

__kernel void attention_vectors(IN(q), IN(kv), IN(null_kv), IN_U8(mask), IN_F32(q_scores),
                                IN_F32(kv_scores), int multiply, OUT(y), OUT_F32(lse),
                                ATTENTION_SIZES)
{
    const size_t h = get_group_id(1), b = get_group_id(2);
    const size_t width = (E + LANES - 1) / LANES * LANES;
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int token = (rows.begin / ROWS + (int)get_group_id(0)) * ROWS, step = rows_of_a_tile(width);
    const int null = present(null_kv) ? 1 : 0; // one key more, before the others
    const int first = LOCAL ? max(first_seen(rows, max(token, rows.begin)), 0) : -null;
    const int last = min(last_seen(rows, min(token + ROWS, rows.end) - 1), rows.keys - 1);

    query_tile queries;
    row_tile keys;
    float16 weights[2 * ROW_COUNT];
    stage_queries(&queries, q_buffer + q_offset, rows, token, E, width,
                  present(q_scores) ? &at(q_scores, b * Q) : 0);
    for (int start = first_seen(rows, token) - null; start <= last; start += step) {
        stage_keys(&keys, kv_buffer + kv_offset, null_kv_buffer + null_kv_offset,
                   present(mask) ? &at(mask, 0) : 0, present(kv_scores) ? &at(kv_scores, 0) : 0,
                   multiply, rows, H, E, width, max(start, first), min(start + step - 1, last));
        if (keys.count > 0) take_keys(&keys, &queries, weights, E, width);
    }
    store_queries(&queries, y_buffer + y_offset, present(lse) ? lse_buffer + lse_offset : 0, rows,
                  token, E);
}
