// SPDX-License-Identifier: MIT
// Attention where a work-group is a tile of queries of one head, against tiles of keys.
//
// Work-groups of TX·TY work-items: (tiles of TY·RQ queries, H, B). Work-item (ty, tx) has RQ queries
// ty, ty + TY, …; of a tile of TX·RK keys RK, tx, tx + TX, …; of the values the columns 4·tx …
// 4·tx + 3, and those 4·TX further on. Tiles are cut by token number, so that a piece of a sequence
// gives the same bits as the whole. Bound by arithmetic: 4·E operations for a query and a key.
//
// Rows in local memory are 4 floats longer than they must be: rows that neighbours read at once
// then lie in different banks.

#ifndef HEAD
    #define HEAD 64 // the width of a head: E rounded up to a multiple of 32; the rest is zeros
#endif
#ifndef TY
    #define TY 16 // 4, 8 or 16
#endif
#ifndef RQ
    #define RQ 4
#endif
#ifndef RK
    #define RK 4
#endif
#define TX 8 // at the least 8: a warp reads 8 rows at once

#define ITEMS       (TX * TY)
#define QUERIES     (TY * RQ)
#define KEYS        (TX * RK)
#define COLUMNS     (HEAD / (4 * TX)) // of four
#define ROW         (HEAD + 4)
#define WEIGHTS     (KEYS + 4) // of a query in local memory
#define KEY_FLOATS  (KEYS * ROW > QUERIES * WEIGHTS ? KEYS * ROW : QUERIES * WEIGHTS)

// Arrays read as float4 must begin where one may.
#define FOURS      __attribute__((aligned(16)))
#define FOUR(p, i) (*(__local float4 *)((p) + (i)))

// Where a work-item stands: eight rows by four columns are neighbours.
#define NEAR (TY < 8 ? TY : 8)
INLINE int item_y(uint item) { return item % NEAR + NEAR * (item / (4 * NEAR) % (TY / NEAR)); }
INLINE int item_x(uint item) { return item / NEAR % 4 + 4 * (item / (4 * TY)); }

// The queries of a tile, times log2(e)/√E; those that are not there are 0.
INLINE void stage_queries(__local float *queries, __global const storage *q,
                          __global const float *scores, rows_of_head rows, int E, int token,
                          int begin, int end)
{
    const float scale = LOG2_E / sqrt((float)E);
    for (int n = get_local_id(0); n < QUERIES * HEAD / 4; n += ITEMS) {
        const int row = n / (HEAD / 4), e = 4 * n - row * HEAD, i = token + row - rows.begin;
        float4 x = 0.0f;
        if (token + row >= begin && token + row < end)
            x = load_four(q, rows.query + i * rows.query_step, e, E) *
                (scores ? scale * scores[i] : scale);
        FOUR(queries, row * ROW + e) = x;
    }
}

// out += weight · value, without what has the weight 0 where exact: it may be infinite.
INLINE float4 add_value(float4 out, float weight, float4 value, bool exact)
{
    return exact && weight == 0.0f ? out : fma(weight, value, out);
}

INLINE void add_values(float4 out[RQ][COLUMNS], __local float *weights, __local float *values, int ty,
                       int tx, bool exact)
{
    for (int j = 0; j < KEYS; j += 4) {
        float4 weight[RQ];
        EACH(i, RQ) weight[i] = FOUR(weights, (ty + TY * i) * WEIGHTS + j);
        EACH(c, COLUMNS) {
            __local float *value = values + j * HEAD + 4 * (tx + TX * c);
            const float4 v0 = FOUR(value, 0), v1 = FOUR(value, HEAD);
            const float4 v2 = FOUR(value, 2 * HEAD), v3 = FOUR(value, 3 * HEAD);
            EACH(i, RQ) {
                out[i][c] = add_value(out[i][c], weight[i].x, v0, exact);
                out[i][c] = add_value(out[i][c], weight[i].y, v1, exact);
                out[i][c] = add_value(out[i][c], weight[i].z, v2, exact);
                out[i][c] = add_value(out[i][c], weight[i].w, v3, exact);
            }
        }
    }
}

INLINE void multiply_keys(float score[RQ][RK], __local float *queries, __local float *keys, int ty,
                          int tx)
{
    EACH(i, RQ)
        EACH(k, RK) score[i][k] = 0.0f;
    for (int e = 0; e < HEAD; e += 4) {
        float4 key[RK];
        EACH(k, RK) key[k] = FOUR(keys, (tx + TX * k) * ROW + e);
        EACH(i, RQ) {
            const float4 q = FOUR(queries, (ty + TY * i) * ROW + e);
            EACH(k, RK) {
                score[i][k] = fma(q.x, key[k].x, score[i][k]);
                score[i][k] = fma(q.y, key[k].y, score[i][k]);
                score[i][k] = fma(q.z, key[k].z, score[i][k]);
                score[i][k] = fma(q.w, key[k].w, score[i][k]);
            }
        }
    }
}

// The keys and values of one tile, or zeros for those that no query may see; there says which are
// seen, odd becomes 1 where a value is not finite.
INLINE void stage_keys(__local float *keys, __local float *values, __local int *there,
                       __local int *odd, __global const storage *kv,
                       __global const storage *null_kv, __global const uchar *mask,
                       __global const float *scores, int multiply, rows_of_head rows, int H, int E,
                       int start, int first, int last)
{
    for (int n = get_local_id(0); n < KEYS * HEAD / 4; n += ITEMS) {
        const int j = n / (HEAD / 4), e = 4 * n - j * HEAD, token = start + j;
        const size_t row = token - rows.first;
        const bool null = !LOCAL && token == NULL_KEY && token >= first;
        const bool seen = null || (token >= max(first, 0) && token <= last &&
                                   (!mask || mask[rows.mask + row] != 0));
        float4 key = 0.0f, value = 0.0f;
        if (seen) {
            __global const storage *from = null ? null_kv : kv;
            const size_t past = row * rows.key_step;
            key = load_four(from, null ? rows.head * E : rows.key + past, e, E);
            value = load_four(from, null ? (H + rows.head) * E : rows.value + past, e, E);
        }
        if (seen && !null && scores) {
            const float factor = scores[rows.mask + row];
            value *= factor;
            if (multiply) key *= factor;
        }
        FOUR(keys, j * ROW + e) = key;
        FOUR(values, j * HEAD + e) = value;
        if (e == 0) there[j] = seen;
        if (LOCAL && !all(isfinite(value))) *odd = 1;
    }
}

// Scores a query must not use become -infinity.
INLINE void hide_keys(float score[RQ][RK], __local const int *there, rows_of_head rows, int token,
                      int start, bool all_near, int ty, int tx)
{
    EACH(k, RK) {
        const int key = tx + TX * k;
        EACH(i, RQ) {
            const int query = token + ty + TY * i;
            const bool near = all_near || (start + key >= first_seen(rows, query) &&
                                           start + key <= last_seen(rows, query));
            score[i][k] = there[key] && near ? score[i][k] : -INFINITY;
        }
    }
}

// Scores to weights, in local memory; what was summed so far shrinks to what it is worth beside them.
INLINE void weigh(float score[RQ][RK], float best[RQ], float sum[RQ], float4 out[RQ][COLUMNS],
                  __local float *largest, __local float *weights, int ty, int tx)
{
    EACH(i, RQ) {
        float mine = -INFINITY;
        EACH(k, RK) mine = fmax(mine, score[i][k]);
        largest[(ty + TY * i) * TX + tx] = mine;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    EACH(i, RQ) {
        const int row = ty + TY * i;
        const float4 most = fmax(FOUR(largest, row * TX), FOUR(largest, row * TX + 4));
        const float now = fmax(best[i], fmax(fmax(most.x, most.y), fmax(most.z, most.w)));
        const float base = now == -INFINITY ? 0.0f : now, factor = exp2(best[i] - base);
        best[i] = now;
        sum[i] *= factor;
        EACH(c, COLUMNS) out[i][c] *= factor;
        EACH(k, RK) {
            const float weight = exp2(score[i][k] - base);
            weights[row * WEIGHTS + tx + TX * k] = weight;
            sum[i] += weight;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_tiles(IN(q), IN(kv), IN(null_kv), IN_U8(mask), IN_F32(q_scores), IN_F32(kv_scores),
                int multiply, OUT(y), OUT_F32(lse), ATTENTION_SIZES)
{
    __local float queries[QUERIES * ROW] FOURS, values[KEYS * HEAD] FOURS;
    __local float of_items[QUERIES * TX] FOURS;
    __local float keys_or_weights[KEY_FLOATS] FOURS; // keys are done with when the weights come
    __local int there[KEYS], odd[2];                 // odd of this tile and of the next

    const int item = get_local_id(0), ty = item_y(item), tx = item_x(item);
    const size_t h = get_group_id(1), b = get_group_id(2);
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int token = (rows.begin / QUERIES + (int)get_group_id(0)) * QUERIES;
    const int begin = max(token, rows.begin), end = min(token + QUERIES, rows.end);

    stage_queries(queries, q_buffer + q_offset, present(q_scores) ? &at(q_scores, b * Q) : 0, rows,
                  (int)E, token, begin, end);
    if (item < 2) odd[item] = 0;
    barrier(CLK_LOCAL_MEM_FENCE); // before a work-item finds the first tile odd

    float4 out[RQ][COLUMNS];
    float best[RQ], sum[RQ]; // of the scores so far; of the weights so far of this work-item's keys
    EACH(i, RQ) {
        best[i] = -INFINITY;
        sum[i] = 0.0f;
        EACH(c, COLUMNS) out[i][c] = 0.0f;
    }

    const int null = present(null_kv) ? 1 : 0; // one key more, before the others
    const int first = LOCAL ? max(first_seen(rows, begin), 0) : -null;
    const int last = min(last_seen(rows, end - 1), rows.keys - 1);
    int turn = 0;
    for (int start = first_seen(rows, token) - null; start <= last; start += KEYS) {
        if (start + KEYS <= first) continue;
        const bool all_near = start >= first_seen(rows, token + QUERIES - 1) &&
                              start + KEYS - 1 <= last_seen(rows, token);
        float score[RQ][RK];

        stage_keys(keys_or_weights, values, there, odd + turn, kv_buffer + kv_offset,
                   null_kv_buffer + null_kv_offset, present(mask) ? &at(mask, 0) : 0,
                   present(kv_scores) ? &at(kv_scores, 0) : 0, multiply, rows, (int)H, (int)E, start,
                   first, last);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item == 0) odd[1 - turn] = 0;
        multiply_keys(score, queries, keys_or_weights, ty, tx);
        hide_keys(score, there, rows, token, start, !LOCAL || all_near, ty, tx);
        weigh(score, best, sum, out, of_items, keys_or_weights, ty, tx);
        if (LOCAL && !all_near && odd[turn])
            add_values(out, keys_or_weights, values, ty, tx, true);
        else
            add_values(out, keys_or_weights, values, ty, tx, false);
        turn = 1 - turn;
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    EACH(i, RQ) of_items[(ty + TY * i) * TX + tx] = sum[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    EACH(i, RQ) {
        const int row = ty + TY * i, query = token + row;
        float whole = 0.0f;
        EACH(t, TX) whole += of_items[row * TX + t];
        if (query < begin || query >= end) continue;
        const float inverse = whole == 0.0f ? 0.0f : 1.0f / whole;
        const size_t n = query - rows.begin;
        EACH(c, COLUMNS)
            store_four(y_buffer + y_offset, rows.out + n * rows.out_step, 4 * (tx + TX * c), (int)E,
                       out[i][c] * inverse);
        if (present(lse) && tx == 0) at(lse, rows.lse + n) = (best[i] + log2(whole)) * LN_2;
    }
}
