// SPDX-License-Identifier: MIT
// Backward of attention on GPUs (attention_tiles.cl). With s = query · key · scale, scale being
// q_score/√E · key factor, weight = exp(s - lse), y = Σ weight · value · value factor:
//
//   dweight = dy · value · factor        slope = ds = weight · (dweight - Σ weight · dweight)
//   dquery  = Σ slope · scale · key      dkey = Σ slope · scale · query
//   dvalue  = Σ weight · factor · dy
//
// attention_tiles_dq: queries along y, tiles of keys along x; work-groups (tiles of ROWS_Y queries,
// H, B). attention_tiles_dkv: keys along y, tiles of queries along x; (tiles of ROWS_Y keys, H, B).
// Weights are computed again in both, so nothing is added to from two places. terms: see
// attention_backward.cl. Bound by arithmetic: 14·E operations for a query and a key.

// Queries and their dy; zeros for those before first, after last, or that ask for nothing.
INLINE void stage_queries(__local float *queries, __local float *asks, int count,
                          __global const storage *q, __global const storage *dy,
                          __global const float *minus_lse, rows_of_head rows, int E, int start, int first,
                          int last)
{
    for (int n = get_local_id(0); n < count * HEAD / 4; n += ITEMS) {
        const int j = n / (HEAD / 4), e = 4 * n - j * HEAD, token = start + j;
        const size_t row = token - rows.begin;
        float4 query = 0.0f, ask = 0.0f;
        if (token >= first && token <= last && minus_lse[rows.lse + row] != -INFINITY) {
            query = load_four(q, rows.query + row * rows.query_step, e, E);
            ask = load_four(dy, rows.out + row * rows.out_step, e, E);
        }
        FOUR(queries, j * ROW + e) = query;
        FOUR(asks, j * ROW + e) = ask;
    }
}

// The dot products of the rows along y with what each work-item has summed for them, in all.
INLINE void dot_rows(float dots[RY], __local float *y_rows, float4 sum[RY][COLUMNS],
                     __local float *of_items, int ty, int tx)
{
    barrier(CLK_LOCAL_MEM_FENCE);
    EACH(i, RY) {
        dots[i] = 0.0f;
        EACH(c, COLUMNS) dots[i] += dot(FOUR(y_rows, (ty + TY * i) * ROW + 4 * (tx + TX * c)), sum[i][c]);
    }
    sum_items(dots, of_items, ty, tx);
}

INLINE void clear_sums(float4 sum[RY][COLUMNS])
{
    EACH(i, RY)
        EACH(c, COLUMNS) sum[i][c] = 0.0f;
}

// The null key's part of dnull_kv from this tile: slopes · queries and weights · dy.
INLINE void store_null(__local const float *queries, __local const float *asks,
                       __local const float *slopes, __local const float *weights,
                       __global float *part, int h, int H, int E)
{
    for (int e = get_local_id(0); e < E; e += ITEMS) {
        float dkey = 0.0f, dvalue = 0.0f;
        for (int i = 0; i < ROWS_Y; i++) {
            dkey = fma(slopes[i], queries[i * ROW + e], dkey);
            dvalue = fma(weights[i], asks[i * ROW + e], dvalue);
        }
        part[h * E + e] = dkey;
        part[(H + h) * E + e] = dvalue;
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_tiles_dq(IN(q), IN(kv), IN(null_kv), IN_U8(mask), IN_F32(q_scores), IN_F32(kv_scores),
                   int multiply, IN(dy), IN_F32(terms), ulong plane, OUT(dq), OUT_F32(dscores),
                   OUT_F32(dnull), ATTENTION_SIZES)
{
    __local float queries[ROWS_Y * ROW] FOURS, asks[ROWS_Y * ROW] FOURS;
    __local float keys[ROWS_X * ROW] FOURS, values[ROWS_X * ROW] FOURS;
    __local float slopes[ROWS_Y * MATRIX] FOURS, of_items[ROWS_Y * TX] FOURS;
    __local float null_slopes[ROWS_Y], null_weights[ROWS_Y];
    __local int there[ROWS_X], odd;

    const int item = get_local_id(0), ty = item_y(item), tx = item_x(item);
    const size_t tile = get_group_id(0), h = get_group_id(1), b = get_group_id(2);
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int token = (rows.begin / ROWS_Y + (int)tile) * ROWS_Y;
    const int begin = max(token, rows.begin), end = min(token + ROWS_Y, rows.end);

    stage_queries(queries, asks, ROWS_Y, q_buffer + q_offset, dy_buffer + dy_offset, &at(terms, 0),
                  rows, (int)E, token, begin, end - 1);
    float4 sum[RY][COLUMNS];
    float minus_lse[RY], minus_mean[RY], scale[RY];
    int low[RY], high[RY];
    clear_sums(sum);
    EACH(i, RY) {
        const int query = token + ty + TY * i, n = query - rows.begin;
        const bool here = query >= begin && query < end;
        minus_lse[i] = here ? at(terms, rows.lse + n) : -INFINITY;
        minus_mean[i] = here ? at(terms, plane + rows.lse + n) : 0.0f;
        scale[i] = (here && present(q_scores) ? at(q_scores, b * Q + n) : 1.0f) * LOG2_E / sqrt((float)E);
        low[i] = minus_lse[i] == -INFINITY ? INT_MAX : LOCAL ? first_seen(rows, query) : NULL_KEY;
        high[i] = last_seen(rows, query);
    }

    const int null = present(null_kv) ? 1 : 0; // one key more, before the others
    const int first = LOCAL ? max(first_seen(rows, begin), 0) : -null;
    const int last = min(last_seen(rows, end - 1), rows.keys - 1);
    for (int start = first_seen(rows, token) - null; start <= last; start += ROWS_X) {
        if (start + ROWS_X <= first) continue;
        float weight[RY][RX], slope[RY][RX];
        stage_keys(keys, values, there, &odd, kv_buffer + kv_offset, null_kv_buffer + null_kv_offset,
                   present(mask) ? &at(mask, 0) : 0, present(kv_scores) ? &at(kv_scores, 0) : 0,
                   multiply, rows, (int)H, (int)E, start, first, last);
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_rows(weight, queries, keys, ty, tx);
        multiply_rows(slope, asks, values, ty, tx);
        EACH(i, RY)
            EACH(k, RX) {
                const int key = tx + TX * k;
                const bool seen = there[key] && start + key >= low[i] && start + key <= high[i];
                const float w = seen ? exp2(fma(weight[i][k], scale[i], minus_lse[i])) : 0.0f;
                const float s = seen ? w * (slope[i][k] + minus_mean[i]) : 0.0f;
                slopes[(ty + TY * i) * MATRIX + key] = s;
                if (!LOCAL && start + key == NULL_KEY) {
                    null_slopes[ty + TY * i] = s * scale[i] * LN_2;
                    null_weights[ty + TY * i] = w;
                }
            }
        barrier(CLK_LOCAL_MEM_FENCE);
        add_rows(sum, slopes, keys, ty, tx, false); // dquery += slope · key
        if (present(dnull) && start == NULL_KEY)
            store_null(queries, asks, null_slopes, null_weights,
                       &at(dnull, (b * get_num_groups(0) + tile) * 2 * H * E), (int)h, (int)H, (int)E);
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    float dots[RY]; // query · Σ slope · key: what a query's score gets, but for 1/√E
    dot_rows(dots, queries, sum, of_items, ty, tx);
    EACH(i, RY) {
        const int query = token + ty + TY * i;
        const size_t n = query - rows.begin;
        if (query < begin || query >= end) continue;
        if (present(dscores) && tx == 0) at(dscores, rows.lse + n) = dots[i] / sqrt((float)E);
        EACH(c, COLUMNS)
            if (present(dq))
                store_four(dq_buffer + dq_offset, rows.query + n * rows.query_step,
                           4 * (tx + TX * c), (int)E, sum[i][c] * (scale[i] * LN_2));
    }
}

// The keys and values of a tile along y, without their scores; zeros for hidden ones.
INLINE void stage_own_keys(__local float *keys, __local float *values, __global const storage *kv,
                           __global const uchar *mask, rows_of_head rows, int E, int M, int start)
{
    for (int n = get_local_id(0); n < ROWS_Y * HEAD / 4; n += ITEMS) {
        const int j = n / (HEAD / 4), e = 4 * n - j * HEAD;
        const size_t row = start + j;
        const bool seen = start + j < M && (!mask || mask[rows.mask + row] != 0);
        FOUR(keys, j * ROW + e) =
            seen ? load_four(kv, rows.key + row * rows.key_step, e, E) : (float4)(0.0f);
        FOUR(values, j * ROW + e) =
            seen ? load_four(kv, rows.value + row * rows.key_step, e, E) : (float4)(0.0f);
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_tiles_dkv(IN(q), IN(kv), IN_U8(mask), IN_F32(q_scores), IN_F32(kv_scores), int multiply,
                    IN(dy), IN_F32(terms), ulong plane, OUT(dkv), OUT_F32(dscores), ATTENTION_SIZES)
{
    __local float keys[ROWS_Y * ROW] FOURS, values[ROWS_Y * ROW] FOURS;
    __local float queries[ROWS_X * ROW] FOURS, asks[ROWS_X * ROW] FOURS;
    __local float weights[ROWS_Y * MATRIX] FOURS, slopes[ROWS_Y * MATRIX] FOURS;
    __local float minus_lse[ROWS_X], minus_mean[ROWS_X], scale[ROWS_X];

    const int item = get_local_id(0), ty = item_y(item), tx = item_x(item);
    const size_t h = get_group_id(1), b = get_group_id(2);
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int row = (int)get_group_id(0) * ROWS_Y, token = rows.first + row;
    const float root = LOG2_E / sqrt((float)E);

    stage_own_keys(keys, values, kv_buffer + kv_offset, present(mask) ? &at(mask, 0) : 0, rows, (int)E,
                   (int)M, row);
    float4 dkey[RY][COLUMNS], dvalue[RY][COLUMNS];
    float factor[RY];
    int low[RY], high[RY];
    clear_sums(dkey);
    clear_sums(dvalue);
    EACH(i, RY) {
        const int n = row + ty + TY * i;
        const bool here = n < (int)M && valid(mask, rows.mask + n);
        factor[i] = here && present(kv_scores) ? at(kv_scores, rows.mask + n) : 1.0f;
        low[i] = here ? first_seeing(rows, rows.first + n) : INT_MAX;
        high[i] = last_seeing(rows, rows.first + n);
    }

    const int first = max(first_seeing(rows, token), rows.begin);
    const int last = min(last_seeing(rows, token + ROWS_Y - 1), rows.end - 1);
    for (int start = first; start <= last; start += ROWS_X) {
        float weight[RY][RX], slope[RY][RX];
        stage_queries(queries, asks, ROWS_X, q_buffer + q_offset, dy_buffer + dy_offset,
                      &at(terms, 0), rows, (int)E, start, first, last);
        for (int j = item; j < ROWS_X; j += ITEMS) {
            const int n = start + j - rows.begin;
            const bool here = start + j <= last;
            minus_lse[j] = here ? at(terms, rows.lse + n) : -INFINITY;
            minus_mean[j] = here ? at(terms, plane + rows.lse + n) : 0.0f;
            scale[j] = here && present(q_scores) ? root * at(q_scores, b * Q + n) : root;
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        multiply_rows(weight, keys, queries, ty, tx);
        multiply_rows(slope, values, asks, ty, tx);
        EACH(i, RY)
            EACH(k, RX) {
                const int j = tx + TX * k, query = start + j;
                const bool seen = query >= low[i] && query <= high[i];
                const float by = scale[j] * (multiply ? factor[i] : 1.0f);
                const float w = seen ? exp2(fma(weight[i][k], by, minus_lse[j])) : 0.0f;
                const float s = seen ? w * fma(slope[i][k], factor[i], minus_mean[j]) : 0.0f;
                weights[(ty + TY * i) * MATRIX + j] = w;
                slopes[(ty + TY * i) * MATRIX + j] = s * scale[j] * LN_2;
            }
        barrier(CLK_LOCAL_MEM_FENCE);
        add_rows(dkey, slopes, queries, ty, tx, false); // dkey += slope · query
        add_rows(dvalue, weights, asks, ty, tx, false); // dvalue += weight · dy
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    float of_keys[RY], of_values[RY]; // what stands behind the factors, times key and value
    dot_rows(of_keys, keys, dkey, slopes, ty, tx);
    dot_rows(of_values, values, dvalue, weights, ty, tx);
    EACH(i, RY) {
        const size_t n = row + ty + TY * i;
        if (n >= M) continue;
        if (present(dscores) && tx == 0)
            at(dscores, (b * H + h) * M + n) = of_values[i] + (multiply ? of_keys[i] : 0.0f);
        EACH(c, COLUMNS) {
            const int e = 4 * (tx + TX * c);
            if (!present(dkv)) continue;
            store_four(dkv_buffer + dkv_offset, rows.key + n * rows.key_step, e, (int)E,
                       dkey[i][c] * (multiply ? factor[i] : 1.0f));
            store_four(dkv_buffer + dkv_offset, rows.value + n * rows.key_step, e, (int)E,
                       dvalue[i][c] * factor[i]);
        }
    }
}
