// SPDX-License-Identifier: MIT
// Backward of attention on NVIDIA's matrix units. The formulas are those of
// attention_tiles_backward.cl, the tiles those of attention_warps.cl: attention_mma_dq has queries
// that stay and keys that pass by, attention_mma_dkv the other way round. Weights are computed again
// in both, so nothing is added to from two places.

// The null key's part of dnull_kv from a tile of queries: slopes · queries and weights · dy. Both halves
// of the work-group have half of the queries; what one whose weight is 0 holds does not matter.
INLINE void store_null(__local const float *slopes, __local const float *weights,
                       __local float (*halves)[2][HEAD], __global const storage *q,
                       __global const storage *dy, const rows_of_head *rows, int first, int end,
                       __global float *part, int H, int E)
{
    const int part_of = get_local_id(0) / (ITEMS / 2);
    for (int e = get_local_id(0) % (ITEMS / 2); e < HEAD; e += ITEMS / 2) {
        float dkey = 0.0f, dvalue = 0.0f;
#pragma unroll 8
        for (int n = 0; n < OWN / 2; n++) {
            const int i = part_of * (OWN / 2) + n;
            const bool counts = e < E && first + i >= 0 && first + i < end && weights[i] != 0.0f;
            const size_t row = counts ? first + i : 0, column = counts ? e : 0;
            const float query = load_storage(q, rows->query + row * rows->query_step + column);
            const float of_dy = load_storage(dy, rows->out + row * rows->out_step + column);
            dkey = counts ? fma(slopes[i], query, dkey) : dkey;
            dvalue = counts ? fma(weights[i], of_dy, dvalue) : dvalue;
        }
        halves[part_of][0][e] = dkey;
        halves[part_of][1][e] = dvalue;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int n = get_local_id(0); n < 2 * E; n += ITEMS) {
        const int kind = n / E, e = n % E;
        part[(kind * H + rows->head) * E + e] = halves[0][kind][e] + halves[1][kind][e];
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_mma_dq(IN(q), IN(kv), IN(null_kv), IN_U8(mask), IN_F32(q_scores), IN_F32(kv_scores),
                 int multiply, IN(dy), IN_F32(terms), ulong plane, OUT(dq), OUT_F32(dscores),
                 OUT_F32(dnull), ATTENTION_SIZES)
{
    // Two tiles of keys and values; before they come, the queries and their dy are in their place.
    __local uint4 waiting[2][2][KEYS * CHUNKS] __attribute__((aligned(256)));
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
    const uint first_tile = shared_address(waiting[0][0]);
    const uint key_rows = operand_address(first_tile, 0), key_lines = lines_address(first_tile, 0);

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
        wait_batches(0);
        barrier(CLK_LOCAL_MEM_FENCE); // this tile is there for all, and none needs the other one
        if (start + KEYS <= from.last)
            fetch_keys(waiting[1 - now][0], waiting[1 - now][1], &tiles[1 - now], &from, &rows,
                       start + KEYS);
        end_batch();
        const uint at_tile = now * TILE_BYTES;
        const bool near = !LOCAL || (start >= first_seen(rows, token + OWN - 1) &&
                                     start + KEYS - 1 <= last_seen(rows, token));
        const bool whole = near && !present(mask) && start >= max(from.first, 0) &&
                           start + KEYS - 1 <= from.last;
        float weights[GROUPS][4], slopes[GROUPS][4];
        multiply_rows(weights, queries, key_rows + at_tile);
        multiply_rows(slopes, own_dy, key_rows + KEYS * ROW_BYTES + at_tile);
        if (present(kv_scores))
            EACH(j, GROUPS) EACH(e, 4) {
                const float worth = tiles[now].score[j * 8 + own_column() + e % 2];
                if (multiply) weights[j][e] *= worth;
                slopes[j][e] *= worth;
            }
        EACH(j, GROUPS) EACH(e, 4) {
            weights[j][e] = quick_exp2(fma(weights[j][e], scale[e / 2], minus_lse[e / 2]));
            slopes[j][e] = weights[j][e] * (slopes[j][e] + minus_mean[e / 2]);
        }
        if (!whole) EACH(j, GROUPS) EACH(e, 4) { // the null key's tile is never whole
            const int row = e / 2, key = j * 8 + own_column() + e % 2;
            const bool seen =
                tiles[now].there[key] && start + key >= low[row] && start + key <= high[row];
            slopes[j][e] = seen ? slopes[j][e] : 0.0f;
            if (!LOCAL && start + key == NULL_KEY) {
                null_slopes[own_row() + 8 * row] = slopes[j][e] * scale[row] * LN_2;
                null_weights[own_row() + 8 * row] = seen ? weights[j][e] : 0.0f;
            }
        }
        if (multiply)
            EACH(j, GROUPS) EACH(e, 4) slopes[j][e] *= tiles[now].score[j * 8 + own_column() + e % 2];
        add_rows(sums, slopes, key_lines + at_tile); // dquery += slope · key
    }

    barrier(CLK_LOCAL_MEM_FENCE); // all are done with the tiles
    if (present(dnull))
        store_null(null_slopes, null_weights, (__local float(*)[2][HEAD])waiting,
                   q_buffer + q_offset, dy_buffer + dy_offset, &rows, token - rows.begin,
                   end - rows.begin,
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

// The tile of queries from row number `first` on, with their dy, begins to come; what is not there
// becomes zeros.
INLINE void fetch_tile(__local uint4 *queries, __local uint4 *asked, __local queries_of_tile *tile,
                       __global const storage *q, __global const storage *dy,
                       __global const float *q_scores, size_t plane, const rows_of_head *rows, int E,
                       int first, const row_filter *filter)
{
    const int item = get_local_id(0), row = item / CHUNKS, chunk = item % CHUNKS;
    const int bytes = chunk * CHUNK < E ? 16 : 0, column = bytes ? chunk * CHUNK : 0;
    const uint to = place(row, chunk);
    const uint all_there = rows_there(filter, first + row, AT_ONCE, KEYS / AT_ONCE);
    EACH(n, KEYS / AT_ONCE) {
        const bool there = all_there >> n & 1;
        const size_t from = there ? first + row + n * AT_ONCE : 0;
        copy_async(queries + to + n * AT_ONCE * CHUNKS, q + rows->query + from * rows->query_step + column,
                   there ? bytes : 0);
        copy_async(asked + to + n * AT_ONCE * CHUNKS, dy + rows->out + from * rows->out_step + column,
                   there ? bytes : 0);
    }
    const int n = first + item;
    if (item >= KEYS) return;
    const bool there = row_is_there(filter, n);
    tile->minus_lse[item] = there ? filter->asks[n] : -INFINITY;
    tile->minus_mean[item] = there ? filter->asks[plane + n] : 0.0f;
    tile->scale[item] = LOG2_E / sqrt((float)E) * (there && q_scores ? q_scores[n] : 1.0f);
}

// Two neighbours of those, from an even one on.
INLINE float2 two_of(__local const float *x) { return *(__local const float2 *)x; }

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_mma_dkv(IN(q), IN(kv), IN_U8(mask), IN_F32(q_scores), IN_F32(kv_scores), int multiply,
                  IN(dy), IN_F32(terms), ulong plane, OUT(dkv), OUT_F32(dscores), ATTENTION_SIZES)
{
    // Two tiles of queries and their dy; before they come, the keys and values are in their place.
    __local uint4 waiting[2][2][KEYS * CHUNKS] __attribute__((aligned(256)));
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
    const uint first_tile = shared_address(waiting[0][0]);
    const uint query_rows = operand_address(first_tile, 0);
    const uint query_lines = lines_address(first_tile, 0);

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
        wait_batches(0);
        barrier(CLK_LOCAL_MEM_FENCE); // this tile is there for all, and none needs the other one
        if (start + KEYS <= last)
            fetch_tile(waiting[1 - now][0], waiting[1 - now][1], &tiles[1 - now],
                       q_buffer + q_offset, dy_buffer + dy_offset, scores, plane, &rows, (int)E,
                       start + KEYS - rows.begin, &filter);
        end_batch();
        const uint at_tile = now * TILE_BYTES;
        // Whether all queries of the tile see all keys; those that ask for nothing aside.
        const bool near = !LOCAL || (start >= first_seeing(rows, token + OWN - 1) &&
                                     start + KEYS - 1 <= last_seeing(rows, token));
        const bool whole = near && !present(mask) && own + OWN <= (int)M;
        float weights[GROUPS][4], slopes[GROUPS][4];
        multiply_rows(weights, keys, query_rows + at_tile);
        multiply_rows(slopes, values, query_rows + KEYS * ROW_BYTES + at_tile);
        EACH(j, GROUPS) EACH(e, 2) {
            const int i = j * 8 + own_column() + e, query = start + i;
            const float minus_lse = two_of(tiles[now].minus_lse + (i - e))[e];
            const float minus_mean = two_of(tiles[now].minus_mean + (i - e))[e];
            const float scale = two_of(tiles[now].scale + (i - e))[e];
            EACH(row, 2) {
                // For all, seen or not: a condition before an instruction would be a branch.
                const bool near = whole | ((query >= low[row]) & (query <= high[row]));
                const float by = multiply ? scale * worth[row] : scale;
                const float product = weights[j][2 * row + e], dot = slopes[j][2 * row + e];
                const float power = quick_exp2(fma(product, by, minus_lse));
                const float weight = near & (minus_lse != -INFINITY) ? power : 0.0f;
                weights[j][2 * row + e] = weight;
                slopes[j][2 * row + e] = weight * fma(dot, worth[row], minus_mean) * (scale * LN_2);
            }
        }
        add_rows(dkey, slopes, query_lines + at_tile);                       // dkey += slope · query
        add_rows(dvalue, weights, query_lines + KEYS * ROW_BYTES + at_tile); // dvalue += weight · dy
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
