// SPDX-License-Identifier: MIT
// Attention on GPUs: a tile of queries of one head along y, against tiles of keys along x.
//
// Work-groups of ITEMS work-items: (tiles of ROWS_Y queries, H, B). Tiles are cut by token number, so
// that a piece of a sequence gives the same bits as the whole. Bound by arithmetic: 4·E operations
// for a query and a key.

// The keys are done with when their weights come: they share local memory.
#define KEY_FLOATS (ROWS_X * ROW > ROWS_Y * MATRIX ? ROWS_X * ROW : ROWS_Y * MATRIX)

// The queries of a tile, times log2(e)/√E; those that are not there are 0.
INLINE void stage_queries(__local float *queries, __global const storage *q,
                          __global const float *scores, rows_of_head rows, int E, int token,
                          int begin, int end)
{
    const float scale = LOG2_E / sqrt((float)E);
    for (int n = get_local_id(0); n < ROWS_Y * HEAD / 4; n += ITEMS) {
        const int row = n / (HEAD / 4), e = 4 * n - row * HEAD, i = token + row - rows.begin;
        float4 x = 0.0f;
        if (token + row >= begin && token + row < end)
            x = load_four(q, rows.query + i * rows.query_step, e, E) *
                (scores ? scale * scores[i] : scale);
        FOUR(queries, row * ROW + e) = x;
    }
}

// Scores a query must not use become -infinity.
INLINE void hide_keys(float score[RY][RX], __local const int *there, rows_of_head rows, int token,
                      int start, bool all_near, int ty, int tx)
{
    EACH(i, RY) {
        const int query = token + ty + TY * i;
        const int low = all_near ? INT_MIN : first_seen(rows, query);
        const int high = all_near ? INT_MAX : last_seen(rows, query);
        EACH(k, RX) {
            const int key = tx + TX * k;
            const bool seen = there[key] && start + key >= low && start + key <= high;
            score[i][k] = seen ? score[i][k] : -INFINITY;
        }
    }
}

// Scores to weights, in local memory; what was summed so far shrinks to what it is worth beside them.
INLINE void weigh(float score[RY][RX], float best[RY], float sum[RY], float4 out[RY][COLUMNS],
                  __local float *largest, __local float *weights, int ty, int tx)
{
    EACH(i, RY) {
        float mine = -INFINITY;
        EACH(k, RX) mine = fmax(mine, score[i][k]);
        largest[(ty + TY * i) * TX + tx] = mine;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    EACH(i, RY) {
        const int row = ty + TY * i;
        const float4 most = fmax(FOUR(largest, row * TX), FOUR(largest, row * TX + 4));
        const float now = fmax(best[i], fmax(fmax(most.x, most.y), fmax(most.z, most.w)));
        const float base = now == -INFINITY ? 0.0f : now, factor = exp2(best[i] - base);
        best[i] = now;
        sum[i] *= factor;
        EACH(c, COLUMNS) out[i][c] *= factor;
        EACH(k, RX) {
            const float weight = exp2(score[i][k] - base);
            weights[row * MATRIX + tx + TX * k] = weight;
            sum[i] += weight;
        }
    }
    barrier(CLK_LOCAL_MEM_FENCE);
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_tiles(IN(q), IN(kv), IN(null_kv), IN_U8(mask), IN_F32(q_scores), IN_F32(kv_scores),
                int multiply, OUT(y), OUT_F32(lse), ATTENTION_SIZES)
{
    __local float queries[ROWS_Y * ROW] FOURS, values[ROWS_X * ROW] FOURS;
    __local float of_items[ROWS_Y * TX] FOURS;
    __local float keys_or_weights[KEY_FLOATS] FOURS;
    __local int there[ROWS_X], odd[2]; // odd of this tile and of the next

    const int item = get_local_id(0), ty = item_y(item), tx = item_x(item);
    const size_t h = get_group_id(1), b = get_group_id(2);
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int token = (rows.begin / ROWS_Y + (int)get_group_id(0)) * ROWS_Y;
    const int begin = max(token, rows.begin), end = min(token + ROWS_Y, rows.end);

    stage_queries(queries, q_buffer + q_offset, present(q_scores) ? &at(q_scores, b * Q) : 0, rows,
                  (int)E, token, begin, end);
    if (item < 2) odd[item] = 0;
    barrier(CLK_LOCAL_MEM_FENCE); // before a work-item finds the first tile odd

    float4 out[RY][COLUMNS];
    float best[RY], sum[RY]; // of the scores so far; of the weights so far of this work-item's keys
    EACH(i, RY) {
        best[i] = -INFINITY;
        sum[i] = 0.0f;
        EACH(c, COLUMNS) out[i][c] = 0.0f;
    }

    const int null = present(null_kv) ? 1 : 0; // one key more, before the others
    const int first = LOCAL ? max(first_seen(rows, begin), 0) : -null;
    const int last = min(last_seen(rows, end - 1), rows.keys - 1);
    int turn = 0;
    for (int start = first_seen(rows, token) - null; start <= last; start += ROWS_X) {
        if (start + ROWS_X <= first) continue;
        const bool all_near = start >= first_seen(rows, token + ROWS_Y - 1) &&
                              start + ROWS_X - 1 <= last_seen(rows, token);
        float score[RY][RX];

        stage_keys(keys_or_weights, values, there, odd + turn, kv_buffer + kv_offset,
                   null_kv_buffer + null_kv_offset, present(mask) ? &at(mask, 0) : 0,
                   present(kv_scores) ? &at(kv_scores, 0) : 0, multiply, rows, (int)H, (int)E, start,
                   first, last);
        barrier(CLK_LOCAL_MEM_FENCE);
        if (item == 0) odd[1 - turn] = 0;
        multiply_rows(score, queries, keys_or_weights, ty, tx);
        hide_keys(score, there, rows, token, start, !LOCAL || all_near, ty, tx);
        weigh(score, best, sum, out, of_items, keys_or_weights, ty, tx);
        if (LOCAL && !all_near && odd[turn])
            add_rows(out, keys_or_weights, values, ty, tx, true);
        else
            add_rows(out, keys_or_weights, values, ty, tx, false);
        turn = 1 - turn;
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    sum_items(sum, of_items, ty, tx);
    EACH(i, RY) {
        const int query = token + ty + TY * i;
        if (query < begin || query >= end) continue;
        const float inverse = sum[i] == 0.0f ? 0.0f : 1.0f / sum[i];
        const size_t n = query - rows.begin;
        EACH(c, COLUMNS)
            store_four(y_buffer + y_offset, rows.out + n * rows.out_step, 4 * (tx + TX * c), (int)E,
                       out[i][c] * inverse);
        if (present(lse) && tx == 0) at(lse, rows.lse + n) = (best[i] + log2(sum[i])) * LN_2;
    }
}
