// SPDX-License-Identifier: MIT
// Attention where a work-item is a core: two vectors of queries of one head against tiles of keys.
// The lanes are queries, so softmax needs no sums across lanes.
//
// Work-groups of one work-item: (tiles of 2·LANES queries, H, B). Tiles are cut by token number, so
// that a piece of a sequence gives the same bits as the whole. Hidden keys are left out when a tile
// is staged: the loops over keys have no branch. Bound by arithmetic: 4·E operations for a query
// and a key.

#define LANES 16
#define ROWS  (2 * LANES)

// A tile's weights (KEYS·ROWS floats) should stay in the first cache, its keys and values (FLOATS
// each) in the second. FLOATS is at least 8 keys of the widest head.
#ifndef KEYS
    #define KEYS 164
#endif
#ifndef FLOATS
    #define FLOATS (KEYS * 64)
#endif
#define WIDEST  256 // E at most
#define COLUMNS 8   // of the values, summed side by side in registers

typedef struct {
    float keys[FLOATS], values[FLOATS];
    float16 weights[2 * KEYS]; // of a key and all queries; scores at first
    int tokens[KEYS];          // where the key comes from
    int count;
    bool finite; // all values are
} key_tile;

typedef struct {
    float queries[WIDEST * ROWS]; // [E][ROWS], times log2(e)/√E
    float out[WIDEST * ROWS];     // [E][ROWS], not yet divided by sum
    float16 best[2], sum[2];      // of the scores so far, of the weights so far
    int16 low[2], high[2];        // the tokens each query sees
} query_tile;

// 2^x for x <= 0, within 1e-7; 0 below 2^-126, NaN for NaN.
INLINE float16 power_of_two(float16 x)
{
    const int16 tiny = x < -126.0f;
    const float16 n = rint(select(x, -126.0f, tiny)), f = x - n;
    float16 p = mad((float16)(0.00015353362f), f, 0.0013398875f);
    p = mad(p, f, 0.00961843692f);
    p = mad(p, f, 0.0555033237f);
    p = mad(p, f, 0.240226477f);
    p = mad(p, f, 0.693147182f);
    p = mad(p, f, 1.0f);
    return select(p * as_float16((convert_int16(n) + 127) << 23), 0.0f, tiny);
}

#if STORAGE == 0
INLINE float16 load_vector(__global const float *p, size_t i) { return vload16(0, p + i); }
#elif STORAGE == 1
INLINE float16 load_vector(__global const half *p, size_t i) { return vload_half16(0, p + i); }
#else
INLINE float16 load_vector(__global const ushort *p, size_t i)
{
    return as_float16(convert_uint16(vload16(0, p + i)) << 16);
}
#endif

// A row times a factor, as floats; the columns E … width - 1 are 0.
INLINE void stage_row(float *to, __global const storage *from, size_t start, size_t E, size_t width,
                      float factor)
{
    size_t e = 0;
    for (; e + 16 <= E; e += 16) vstore16(load_vector(from, start + e) * factor, 0, to + e);
    for (; e < width; e++) to[e] = e < E ? load_storage(from, start + e) * factor : 0.0f;
}

INLINE bool is_finite(const float *row, size_t width)
{
    float8 odd = 0.0f; // stays it unless something is infinite or NaN
    for (size_t e = 0; e < width; e += 8) odd = mad(vload8(0, row + e), 0.0f, odd);
    return all(odd == 0.0f);
}

// The queries of a tile, lanes fastest; those that are not there are 0.
INLINE void stage_queries(query_tile *tile, __global const storage *q, rows_of_head rows, int token,
                          size_t E, size_t width, __global const float *scores)
{
    const float scale = LOG2_E / sqrt((float)E);
    for (int lane = 0; lane < ROWS; lane++) {
        const int i = token + lane;
        const bool there = i >= rows.begin && i < rows.end;
        const size_t row = there ? i - rows.begin : 0;
        const float factor = there && scores ? scale * scores[row] : scale;
        for (size_t e = 0; e < E; e++)
            tile->queries[e * ROWS + lane] =
                there ? load_storage(q, rows.query + row * rows.query_step + e) * factor : 0.0f;
        ((int *)tile->low)[lane] = first_seen(rows, i);
        ((int *)tile->high)[lane] = last_seen(rows, i);
    }
    for (int v = 0; v < 2; v++) tile->best[v] = -INFINITY, tile->sum[v] = 0.0f;
    for (size_t e = 0; e < 2 * width; e++) vstore16((float16)(0.0f), e, tile->out);
}

// One more key and value; the null key comes from nowhere and is seen by all.
INLINE void stage_key(key_tile *tile, __global const storage *kv, size_t key, size_t value, size_t E,
                      size_t width, float key_factor, float value_factor, int token)
{
    float *values = tile->values + tile->count * width;
    stage_row(tile->keys + tile->count * width, kv, key, E, width, key_factor);
    stage_row(values, kv, value, E, width, value_factor);
    tile->finite = tile->finite && (!LOCAL || is_finite(values, width));
    tile->tokens[tile->count++] = token;
}

// Scores of four keys at a time; zeros make the number of keys a multiple of it.
INLINE void multiply_keys(key_tile *tile, const query_tile *queries, size_t E, size_t width)
{
    const size_t used = tile->count * width, filled = (tile->count + 3) / 4 * 4 * width;
    for (size_t n = used; n < filled; n++) tile->keys[n] = 0.0f;
    for (int j = 0; j < tile->count; j += 4) {
        const float *key = tile->keys + j * width;
        float16 s[8];
        for (int i = 0; i < 8; i++) s[i] = 0.0f;
        for (size_t e = 0; e < E; e++) {
            const float16 a = vload16(2 * e, queries->queries);
            const float16 b = vload16(2 * e + 1, queries->queries);
            for (int i = 0; i < 4; i++) {
                s[2 * i] = mad(a, key[i * width + e], s[2 * i]);
                s[2 * i + 1] = mad(b, key[i * width + e], s[2 * i + 1]);
            }
        }
        for (int i = 0; i < 8; i++) tile->weights[2 * j + i] = s[i];
    }
}

// Scores a query must not see become -infinity; true where there are none such.
INLINE bool hide_keys(key_tile *tile, const query_tile *queries)
{
    if (!LOCAL) return true;
    const int last = tile->count - 1;
    if (tile->tokens[0] >= queries->low[1].sf && tile->tokens[last] <= queries->high[0].s0) return true;
    for (int j = 0; j < tile->count; j++)
        for (int v = 0; v < 2; v++) {
            const int16 token = tile->tokens[j];
            const int16 seen = (token >= queries->low[v]) & (token <= queries->high[v]);
            tile->weights[2 * j + v] = select(-INFINITY, tile->weights[2 * j + v], seen);
        }
    return false;
}

// Scores to weights; factor is what the sums so far are worth beside them.
INLINE void weigh(key_tile *tile, query_tile *queries, float16 *factor)
{
    for (int v = 0; v < 2; v++) {
        const float16 old = queries->best[v];
        float16 best = old, sum = 0.0f;
        for (int j = 0; j < tile->count; j++) {
            const float16 s = tile->weights[2 * j + v];
            best = select(best, s, s > best);
        }
        const float16 base = select(best, 0.0f, best == -INFINITY);
        for (int j = 0; j < tile->count; j++) {
            const float16 weight = power_of_two(tile->weights[2 * j + v] - base);
            tile->weights[2 * j + v] = weight;
            sum += weight;
        }
        factor[v] = power_of_two(old - base);
        queries->best[v] = best;
        queries->sum[v] = mad(queries->sum[v], factor[v], sum);
    }
}

// out = out · factor + weights · values, COLUMNS columns at a time. exact, -1 or 0: leave out keys
// of weight 0, for what is not seen may be infinite.
INLINE void add_values(const key_tile *tile, query_tile *queries, const float16 *factor,
                       size_t width, int exact)
{
    for (size_t e = 0; e < width; e += COLUMNS) {
        float16 sum[2 * COLUMNS];
        for (int c = 0; c < 2 * COLUMNS; c++)
            sum[c] = vload16(2 * e + c, queries->out) * factor[c % 2];
        for (int j = 0; j < tile->count; j++) {
            const float *value = tile->values + j * width + e;
            const float16 a = tile->weights[2 * j], b = tile->weights[2 * j + 1];
            const int16 skip_a = exact & (a == 0.0f), skip_b = exact & (b == 0.0f);
            for (int c = 0; c < COLUMNS; c++) {
                sum[2 * c] = select(mad(a, value[c], sum[2 * c]), sum[2 * c], skip_a);
                sum[2 * c + 1] = select(mad(b, value[c], sum[2 * c + 1]), sum[2 * c + 1], skip_b);
            }
        }
        for (int c = 0; c < 2 * COLUMNS; c++) vstore16(sum[c], 2 * e + c, queries->out);
    }
}

INLINE void store_queries(const query_tile *tile, __global storage *y, size_t y_offset,
                          __global float *lse, rows_of_head rows, int token, size_t E)
{
    for (int lane = 0; lane < ROWS; lane++) {
        const int i = token + lane;
        if (i < rows.begin || i >= rows.end) continue;
        const size_t row = i - rows.begin;
        const float sum = ((const float *)tile->sum)[lane], best = ((const float *)tile->best)[lane];
        const float inverse = sum == 0.0f ? 0.0f : 1.0f / sum;
        for (size_t e = 0; e < E; e++)
            store_storage(y, y_offset + rows.out + row * rows.out_step + e,
                          tile->out[e * ROWS + lane] * inverse);
        if (lse) lse[rows.lse + row] = (best + log2(sum)) * LN_2;
    }
}

// Keys of a tile: fewer where heads are wide; there is room for the null key beside them.
INLINE int keys_of_a_tile(size_t width)
{
    return min(KEYS, (int)(FLOATS / width)) / 4 * 4 - 4;
}

__kernel void attention_vectors(IN(q), IN(kv), IN(null_kv), IN_U8(mask), IN_F32(q_scores),
                                IN_F32(kv_scores), int multiply, OUT(y), OUT_F32(lse),
                                ATTENTION_SIZES)
{
    const size_t h = get_group_id(1), b = get_group_id(2);
    const size_t width = (E + COLUMNS - 1) / COLUMNS * COLUMNS;
    const rows_of_head rows = ATTENTION_ROWS(b, h);
    const int token = (rows.begin / ROWS + (int)get_group_id(0)) * ROWS, step = keys_of_a_tile(width);
    const int first = max(first_seen(rows, max(token, rows.begin)), 0);
    const int last = min(last_seen(rows, min(token + ROWS, rows.end) - 1), rows.keys - 1);

    query_tile queries;
    key_tile tile;
    stage_queries(&queries, q_buffer + q_offset, rows, token, E, width,
                  present(q_scores) ? q_scores_buffer + q_scores_offset + b * Q : 0);
    tile.count = 0;
    tile.finite = true;
    if (present(null_kv))
        stage_key(&tile, null_kv_buffer + null_kv_offset, h * E, (H + h) * E, E, width, 1.0f, 1.0f, 0);

    // The null key goes with the first tile.
    for (int start = first_seen(rows, token); start <= last || tile.count > 0; start += step) {
        for (int j = max(start, first); j <= min(start + step - 1, last); j++) {
            const size_t row = j - rows.first;
            if (!valid(mask, rows.mask + row)) continue;
            const float factor = present(kv_scores) ? at(kv_scores, rows.mask + row) : 1.0f;
            stage_key(&tile, kv_buffer + kv_offset, rows.key + row * rows.key_step,
                      rows.value + row * rows.key_step, E, width, multiply ? factor : 1.0f, factor, j);
        }
        if (tile.count == 0) continue;
        float16 factor[2];
        multiply_keys(&tile, &queries, E, width);
        const bool all_seen = hide_keys(&tile, &queries);
        weigh(&tile, &queries, factor);
        if (all_seen || tile.finite)
            add_values(&tile, &queries, factor, width, 0);
        else
            add_values(&tile, &queries, factor, width, -1);
        tile.count = 0;
        tile.finite = true;
    }
    store_queries(&queries, y_buffer, y_offset, present(lse) ? lse_buffer + lse_offset : 0, rows,
                  token, E);
}
