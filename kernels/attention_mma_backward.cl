// SPDX-License-Identifier: MIT
// Backward of attention on NVIDIA's matrix units, for f16 and bf16. The formulas are those of
// attention_tiles_backward.cl, the tiles those of attention_warps.cl: attention_mma_dq has queries
// that stay and keys that pass by, attention_mma_dkv the other way round. Weights are computed again
// in both, so nothing is added to from two places.

// A row's numbers in the order a lane has them: rows row and row + 8 of a warp's.
INLINE int own_row(void) { return get_local_id(0) / 32 * 16 + get_local_id(0) % 32 / 4; }
INLINE uint own_column(void) { return get_local_id(0) % 4 * 2; }

INLINE void clear_sums(float sums[COLUMNS][4]) { EACH(c, COLUMNS) EACH(e, 4) sums[c][e] = 0.0f; }

// The dot products of a warp's own rows with what was summed for them: sums lie as left operands do.
INLINE void dot_own(float dots[2], uint own[STEPS][4], float sums[COLUMNS][4])
{
    EACH(row, 2) {
        float dot = 0.0f;
        EACH(c, COLUMNS) {
            const float2 pair = unpack_pair(own[c / 2][c % 2 * 2 + row]);
            dot = fma(pair.x, sums[c][2 * row], fma(pair.y, sums[c][2 * row + 1], dot));
        }
        dot += from_lane(dot, 1);
        dots[row] = dot + from_lane(dot, 2);
    }
}

// One row of a warp's sums, times factor, to a row of the device's.
INLINE void store_sums(__global storage *to, float sums[COLUMNS][4], int row, float factor, int E)
{
    EACH(c, COLUMNS)
        if (c * 8 + (int)own_column() < E)
            *(__global uint *)(to + c * 8 + own_column()) =
                pack_pair(sums[c][2 * row] * factor, sums[c][2 * row + 1] * factor);
}

// The null key's part of dnull_kv from a tile of queries: slopes · queries and weights · dy.
INLINE void store_null(__local const float *slopes, __local const float *weights,
                       __global const storage *q, __global const storage *dy,
                       const rows_of_head *rows, int first, int end, __global float *part, int H,
                       int E)
{
    for (int e = get_local_id(0); e < E; e += ITEMS) {
        float dkey = 0.0f, dvalue = 0.0f;
        for (int i = 0; i < OWN; i++) {
            const size_t n = first + i;
            if (first + i < 0 || first + i >= end || weights[i] == 0.0f) continue;
            dkey = fma(slopes[i], load_storage(q, rows->query + n * rows->query_step + e), dkey);
            dvalue = fma(weights[i], load_storage(dy, rows->out + n * rows->out_step + e), dvalue);
        }
        part[rows->head * E + e] = dkey;
        part[(H + rows->head) * E + e] = dvalue;
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_mma_dq(IN(q), IN(kv), IN(null_kv), IN_U8(mask), IN_F32(q_scores), IN_F32(kv_scores),
                 int multiply, IN(dy), IN_F32(terms), ulong plane, OUT(dq), OUT_F32(dscores),
                 OUT_F32(dnull), ATTENTION_SIZES)
{
    // Two tiles of keys and values; before they come, the queries and their dy are in their place.
    __local ushort waiting[2][2][KEYS * HEAD] __attribute__((aligned(256)));
    __local keys_of_tile tiles[2];
    __local float null_slopes[OWN], null_weights[OWN];

    const size_t tile = get_group_id(0), h = get_group_id(1), b = get_group_id(2);
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int token = (rows.begin / OWN + (int)tile) * OWN;
    const int begin = max(token, rows.begin), end = min(token + OWN, rows.end);
    __global const float *asks = terms_buffer + terms_offset + rows.lse;
    const row_filter filter = {begin - rows.begin, end - rows.begin, asks, 0};

    fetch_rows(waiting[0][0], OWN, q_buffer + q_offset + rows.query, rows.query_step, (int)E,
               token - rows.begin, &filter);
    fetch_rows(waiting[1][0], OWN, dy_buffer + dy_offset + rows.out, rows.out_step, (int)E,
               token - rows.begin, &filter);
    end_batch();
    wait_batches(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    uint queries[STEPS][4], own_dy[STEPS][4];
    load_own(queries, waiting[0][0]);
    load_own(own_dy, waiting[1][0]);
    barrier(CLK_LOCAL_MEM_FENCE); // they have been read

    float minus_lse[2], minus_mean[2], scale[2], sums[COLUMNS][4];
    int low[2], high[2];
    EACH(row, 2) {
        const int query = token + own_row() + 8 * row, n = query - rows.begin;
        const bool asking = row_is_there(&filter, n);
        minus_lse[row] = asking ? asks[n] : 0.0f;
        minus_mean[row] = asking ? asks[plane + n] : 0.0f;
        scale[row] = LOG2_E / sqrt((float)E);
        if (asking && present(q_scores)) scale[row] *= at(q_scores, b * Q + n);
        low[row] = !asking ? INT_MAX : LOCAL ? first_seen(rows, query) : NULL_KEY;
        high[row] = last_seen(rows, query);
    }
    clear_sums(sums);

    const int null = present(null_kv) ? 1 : 0; // one key more, before the others
    const key_source from = {kv_buffer + kv_offset,
                             null_kv_buffer + null_kv_offset,
                             present(mask) ? mask_buffer + mask_offset : 0,
                             present(kv_scores) ? kv_scores_buffer + kv_scores_offset : 0,
                             H * E,
                             (int)E,
                             LOCAL ? max(first_seen(rows, begin), 0) : -null,
                             min(last_seen(rows, end - 1), rows.keys - 1)};
    int start = first_seen(rows, token) - null;
    while (start + KEYS <= from.first) start += KEYS;
    if (start <= from.last) fetch_keys(waiting[0][0], waiting[0][1], &tiles[0], &from, &rows, start);
    end_batch();
    for (uint now = 0; start <= from.last; start += KEYS, now = 1 - now) {
        if (start + KEYS <= from.last)
            fetch_keys(waiting[1 - now][0], waiting[1 - now][1], &tiles[1 - now], &from, &rows,
                       start + KEYS);
        end_batch();
        wait_batches(1);
        barrier(CLK_LOCAL_MEM_FENCE); // this tile is there for all
        float weights[GROUPS][4], slopes[GROUPS][4];
        multiply_rows(weights, queries, waiting[now][0]);
        multiply_rows(slopes, own_dy, waiting[now][1]);
        EACH(j, GROUPS) EACH(e, 4) {
            const int row = e / 2, key = j * 8 + own_column() + e % 2;
            const float worth = tiles[now].score[key], of_key = multiply ? worth : 1.0f;
            const bool seen =
                tiles[now].there[key] && start + key >= low[row] && start + key <= high[row];
            const float weight =
                seen ? native_exp2(fma(weights[j][e], scale[row] * of_key, minus_lse[row])) : 0.0f;
            const float slope = seen ? weight * fma(slopes[j][e], worth, minus_mean[row]) : 0.0f;
            if (!LOCAL && start + key == NULL_KEY) {
                null_slopes[own_row() + 8 * row] = slope * scale[row] * LN_2;
                null_weights[own_row() + 8 * row] = weight;
            }
            slopes[j][e] = slope * of_key;
        }
        add_rows(sums, slopes, waiting[now][0]); // dquery += slope · key
        barrier(CLK_LOCAL_MEM_FENCE); // all are done with the tile
    }

    if (present(dnull))
        store_null(null_slopes, null_weights, q_buffer + q_offset, dy_buffer + dy_offset, &rows,
                   token - rows.begin, end - rows.begin,
                   &at(dnull, (b * get_num_groups(0) + tile) * 2 * H * E), (int)H, (int)E);
    float dots[2]; // query · Σ slope · key: what a query's score gets, but for 1/√E
    dot_own(dots, queries, sums);
    EACH(row, 2) {
        const int query = token + own_row() + 8 * row;
        const size_t n = query - rows.begin;
        if (query < begin || query >= end) continue;
        if (present(dscores) && own_column() == 0) at(dscores, rows.lse + n) = dots[row] / sqrt((float)E);
        if (present(dq))
            store_sums(dq_buffer + dq_offset + rows.query + n * rows.query_step, sums, row,
                       scale[row] * LN_2, (int)E);
    }
}

// What queries that pass by bring along.
typedef struct {
    float minus_lse[KEYS], minus_mean[KEYS], scale[KEYS];
} queries_of_tile;

// The tile of queries from row number `first` on, with their dy, begins to come.
INLINE void fetch_tile(__local ushort *queries, __local ushort *asked, __local queries_of_tile *tile,
                       __global const storage *q, __global const storage *dy,
                       __global const float *q_scores, size_t plane, const rows_of_head *rows, int E,
                       int first, const row_filter *filter)
{
    fetch_rows(queries, KEYS, q + rows->query, rows->query_step, E, first, filter);
    fetch_rows(asked, KEYS, dy + rows->out, rows->out_step, E, first, filter);
    const int item = get_local_id(0), n = first + item;
    if (item >= KEYS) return;
    const bool there = row_is_there(filter, n);
    tile->minus_lse[item] = there ? filter->asks[n] : -INFINITY;
    tile->minus_mean[item] = there ? filter->asks[plane + n] : 0.0f;
    tile->scale[item] = LOG2_E / sqrt((float)E) * (there && q_scores ? q_scores[n] : 1.0f);
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_mma_dkv(IN(q), IN(kv), IN_U8(mask), IN_F32(q_scores), IN_F32(kv_scores), int multiply,
                  IN(dy), IN_F32(terms), ulong plane, OUT(dkv), OUT_F32(dscores), ATTENTION_SIZES)
{
    // Two tiles of queries and their dy; before they come, the keys and values are in their place.
    __local ushort waiting[2][2][KEYS * HEAD] __attribute__((aligned(256)));
    __local queries_of_tile tiles[2];

    const size_t h = get_group_id(1), b = get_group_id(2);
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int own = (int)get_group_id(0) * OWN, token = rows.first + own;
    const row_filter of_keys = {0, (int)M, 0,
                                present(mask) ? mask_buffer + mask_offset + rows.mask : 0};

    fetch_rows(waiting[0][0], OWN, kv_buffer + kv_offset + rows.key, rows.key_step, (int)E, own,
               &of_keys);
    fetch_rows(waiting[1][0], OWN, kv_buffer + kv_offset + rows.value, rows.key_step, (int)E, own,
               &of_keys);
    end_batch();
    wait_batches(0);
    barrier(CLK_LOCAL_MEM_FENCE);
    uint keys[STEPS][4], values[STEPS][4];
    load_own(keys, waiting[0][0]);
    load_own(values, waiting[1][0]);
    barrier(CLK_LOCAL_MEM_FENCE); // they have been read

    float worth[2], dkey[COLUMNS][4], dvalue[COLUMNS][4];
    int low[2], high[2];
    EACH(row, 2) {
        const int n = own + own_row() + 8 * row;
        const bool there = row_is_there(&of_keys, n);
        worth[row] = there && present(kv_scores) ? at(kv_scores, rows.mask + n) : 1.0f;
        low[row] = there ? first_seeing(rows, rows.first + n) : INT_MAX;
        high[row] = last_seeing(rows, rows.first + n);
    }
    clear_sums(dkey);
    clear_sums(dvalue);

    int start = max(first_seeing(rows, token), rows.begin);
    const int last = min(last_seeing(rows, token + OWN - 1), rows.end - 1);
    const row_filter filter = {start - rows.begin, last + 1 - rows.begin,
                               terms_buffer + terms_offset + rows.lse, 0};
    __global const float *scores = present(q_scores) ? &at(q_scores, b * Q) : 0;
    if (start <= last)
        fetch_tile(waiting[0][0], waiting[0][1], &tiles[0], q_buffer + q_offset, dy_buffer + dy_offset,
                   scores, plane, &rows, (int)E, start - rows.begin, &filter);
    end_batch();
    for (uint now = 0; start <= last; start += KEYS, now = 1 - now) {
        if (start + KEYS <= last)
            fetch_tile(waiting[1 - now][0], waiting[1 - now][1], &tiles[1 - now],
                       q_buffer + q_offset, dy_buffer + dy_offset, scores, plane, &rows, (int)E,
                       start + KEYS - rows.begin, &filter);
        end_batch();
        wait_batches(1);
        barrier(CLK_LOCAL_MEM_FENCE); // this tile is there for all
        float weights[GROUPS][4], slopes[GROUPS][4];
        multiply_rows(weights, keys, waiting[now][0]);
        multiply_rows(slopes, values, waiting[now][1]);
        EACH(j, GROUPS) EACH(e, 4) {
            const int row = e / 2, i = j * 8 + own_column() + e % 2, query = start + i;
            const float minus_lse = tiles[now].minus_lse[i], scale = tiles[now].scale[i];
            const bool seen = query >= low[row] && query <= high[row] && minus_lse != -INFINITY;
            const float by = scale * (multiply ? worth[row] : 1.0f);
            const float weight = seen ? native_exp2(fma(weights[j][e], by, minus_lse)) : 0.0f;
            const float slope = weight * fma(slopes[j][e], worth[row], tiles[now].minus_mean[i]);
            weights[j][e] = weight;
            slopes[j][e] = slope * scale * LN_2;
        }
        add_rows(dkey, slopes, waiting[now][0]);    // dkey += slope · query
        add_rows(dvalue, weights, waiting[now][1]); // dvalue += weight · dy
        barrier(CLK_LOCAL_MEM_FENCE); // all are done with the tile
    }

    float of_key[2], of_value[2]; // what stands behind the factors, times key and value
    dot_own(of_key, keys, dkey);
    dot_own(of_value, values, dvalue);
    EACH(row, 2) {
        const size_t n = own + own_row() + 8 * row;
        if (n >= M) continue;
        if (present(dscores) && own_column() == 0)
            at(dscores, (b * H + h) * M + n) = of_value[row] + (multiply ? of_key[row] : 0.0f);
        if (!present(dkv)) continue;
        store_sums(dkv_buffer + dkv_offset + rows.key + n * rows.key_step, dkey, row,
                   multiply ? worth[row] : 1.0f, (int)E);
        store_sums(dkv_buffer + dkv_offset + rows.value + n * rows.key_step, dvalue, row, worth[row],
                   (int)E);
    }
}
