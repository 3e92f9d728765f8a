// SPDX-License-Identifier: MIT
// Backward of local attention with short windows on NVIDIA's matrix units: attention_band.cl says how,
// and the formulas are those of attention_tiles_backward.cl. attention_band_dq has queries that stay and
// keys that pass by, attention_band_dkv the other way round. Weights are computed again in both, so
// nothing is added to from two places.

// Sums of a group of 16 near rows are done before the next is begun: registers hold no more. Weights are made
// for all, and taken back in groups that are not whole: a condition for each would be a branch for each.
#define EACH_GROUP(group) _Pragma("unroll 1") for (uint group = 0; group < NEAR / 16; group++)

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_band_dq(IN(qkv), IN_U8(mask), IN(dy), IN_F32(terms), ulong plane, OUT(dqkv), ATTENTION_SIZES)
{
    __local uint4 waiting[2][PASSING * CHUNKS] __attribute__((aligned(256))); // keys, values

    rows_of_head rows;
    ATTENTION_ROWS(&rows, get_group_id(2), head_of_group((uint)H));
    const int token = (rows.begin / OWN + tile_of_group((uint)H)) * OWN;
    const int begin = max(token, rows.begin), end = min(token + OWN, rows.end);
    const int first = first_seen(rows, token);
    const int least = max(first_seen(rows, begin), 0);
    const int most = min(last_seen(rows, end - 1), rows.keys - 1);
    // By the token, and by the row of qkv.
    __global const uchar *of_token =
        present(mask) ? mask_buffer + mask_offset + rows.mask - rows.first : 0;
    const row_filter keys = {least - rows.first, most + 1 - rows.first, 0,
                             of_token ? of_token + rows.first : 0};

    const uint tile = shared_address(waiting[0]);
    __global const storage *kv = qkv_buffer + qkv_offset;
    const uint passing = passing_there(first - rows.first, &keys);
    fetch_passing(tile, kv + rows.key, rows.key_step, (int)E, first - rows.first, passing);
    fetch_passing(tile + KIND, kv + rows.value, rows.key_step, (int)E, first - rows.first, passing);
    end_batch();

    const int of_warp = token + (int)(get_local_id(0) / 32 * 16), query = token + own_row();
    __global const float *asks = terms_buffer + terms_offset + rows.lse;
    const row_filter asking = {begin - rows.begin, end - rows.begin, asks, 0};
    bool there[2];
    float minus_lse[2], minus_mean[2];
    int low[2], high[2];
    EACH(row, 2) {
        const int n = query + 8 * row - rows.begin;
        there[row] = row_is_there(&asking, n);
        minus_lse[row] = there[row] ? asks[n] : 0.0f;
        minus_mean[row] = there[row] ? asks[plane + n] : 0.0f;
        low[row] = there[row] ? max(first_seen(rows, query + 8 * row), least) : INT_MAX;
        high[row] = min(last_seen(rows, query + 8 * row), most);
    }
    uint queries[STEPS][4], own_dy[STEPS][4];
    load_staying(queries, kv + row_start(rows.query, query - rows.begin, rows.query_step),
                 rows.query_step, (int)E, there);
    load_staying(own_dy, dy_buffer + dy_offset + row_start(rows.out, query - rows.begin, rows.out_step),
                 rows.out_step, (int)E, there);
    // What all queries of the warp see without a mask, whether they ask or not: 0 · it is nothing then.
    const int all_low = max(first_seen(rows, of_warp + 15), least);
    const int all_high = of_token ? -1 : min(last_seen(rows, of_warp), most);

    const int near = near_row(first_seen(rows, of_warp), first);
    const uint key_rows = operand_address(tile, near), key_lines = lines_address(tile, near);
    const float scale = LOG2_E / sqrt((float)E);
    float sums[COLUMNS][4];
    clear_sums(sums);
    wait_batches(0);
    barrier(CLK_LOCAL_MEM_FENCE); // keys and values are there for all
    EACH_GROUP(group) {
        const int start = first + near + (int)group * 16;
        float weights[2][4], slopes[2][4];
        multiply_near(weights, queries, key_rows, group);
        multiply_near(slopes, own_dy, key_rows + KIND, group);
        const bool whole = start >= all_low && start + 15 <= all_high;
        EACH(j, 2) EACH(e, 4) {
            const float weight = quick_exp2(fma(weights[j][e], scale, minus_lse[e / 2]));
            slopes[j][e] = weight * (slopes[j][e] + minus_mean[e / 2]);
        }
        if (!whole) EACH(j, 2) EACH(e, 4) {
            const int row = e / 2, key = start + j * 8 + (int)own_column() + e % 2;
            const bool seen = key >= low[row] && key <= high[row] && (!of_token || of_token[key]);
            slopes[j][e] = seen ? slopes[j][e] : 0.0f;
        }
        add_near(sums, slopes, key_lines, group); // dquery += slope · key
    }
    barrier(CLK_LOCAL_MEM_FENCE); // all are done with the keys
    const float factor[2] = {there[0] ? scale * LN_2 : 0.0f, there[1] ? scale * LN_2 : 0.0f};
    store_staying(waiting[0], sums, factor, dqkv_buffer + dqkv_offset + rows.query, rows.query_step,
                  (int)E, of_warp - rows.begin, begin - rows.begin, end - rows.begin);
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_band_dkv(IN(qkv), IN_U8(mask), IN(dy), IN_F32(terms), ulong plane, OUT(dqkv), ATTENTION_SIZES)
{
    __local uint4 waiting[2][PASSING * CHUNKS] __attribute__((aligned(256))); // queries, their dy

    rows_of_head rows;
    ATTENTION_ROWS(&rows, get_group_id(2), head_of_group((uint)H));
    const int own = tile_of_group((uint)H) * OWN, token = rows.first + own;
    const int first = first_seeing(rows, token);
    const int least = max(first, rows.begin), most = min(last_seeing(rows, token + OWN - 1), rows.end - 1);
    __global const float *asks = terms_buffer + terms_offset + rows.lse;
    const row_filter asking = {least - rows.begin, most + 1 - rows.begin, asks, 0};

    const uint tile = shared_address(waiting[0]);
    __global const storage *qkv_rows = qkv_buffer + qkv_offset;
    const uint passing = passing_there(first - rows.begin, &asking);
    fetch_passing(tile, qkv_rows + rows.query, rows.query_step, (int)E, first - rows.begin, passing);
    fetch_passing(tile + KIND, dy_buffer + dy_offset + rows.out, rows.out_step, (int)E,
                  first - rows.begin, passing);
    end_batch();

    const int of_warp = own + (int)(get_local_id(0) / 32 * 16);
    const row_filter of_keys = {0, (int)M, 0, present(mask) ? mask_buffer + mask_offset + rows.mask : 0};
    bool there[2];
    int low[2], high[2];
    EACH(row, 2) {
        const int n = own + own_row() + 8 * row;
        there[row] = row_is_there(&of_keys, n);
        low[row] = there[row] ? max(first_seeing(rows, rows.first + n), least) : INT_MAX;
        high[row] = min(last_seeing(rows, rows.first + n), most);
    }
    uint keys[STEPS][4], values[STEPS][4];
    load_staying(keys, qkv_rows + row_start(rows.key, own + own_row(), rows.key_step), rows.key_step,
                 (int)E, there);
    load_staying(values, qkv_rows + row_start(rows.value, own + own_row(), rows.key_step), rows.key_step,
                 (int)E, there);
    // The queries that see all keys of the warp, without a mask.
    const int all_low = max(first_seeing(rows, rows.first + of_warp + 15), least);
    const int all_high = present(mask) || of_warp + 16 > (int)M
                             ? -1
                             : min(last_seeing(rows, rows.first + of_warp), most);

    const int near = near_row(first_seeing(rows, rows.first + of_warp), first);
    const uint query_rows = operand_address(tile, near), query_lines = lines_address(tile, near);
    const float scale = LOG2_E / sqrt((float)E);
    float dkey[COLUMNS][4], dvalue[COLUMNS][4];
    clear_sums(dkey);
    clear_sums(dvalue);
    wait_batches(0);
    barrier(CLK_LOCAL_MEM_FENCE); // queries and their dy are there for all
    EACH_GROUP(group) {
        const int start = first + near + (int)group * 16;
        float minus_lse[4], minus_mean[4]; // of the lane's queries
        EACH(i, 4) {
            const int query = start + i / 2 * 8 + (int)own_column() + i % 2, n = query - rows.begin;
            const bool asked = query >= least && query <= most;
            minus_lse[i] = asked ? asks[n] : -INFINITY;
            minus_mean[i] = asked ? asks[plane + n] : 0.0f;
        }
        float weights[2][4], slopes[2][4];
        multiply_near(weights, keys, query_rows, group);
        multiply_near(slopes, values, query_rows + KIND, group);
        const bool whole = start >= all_low && start + 15 <= all_high;
        EACH(j, 2) EACH(e, 4) {
            const int i = j * 2 + e % 2;
            const float weight = quick_exp2(fma(weights[j][e], scale, minus_lse[i]));
            weights[j][e] = minus_lse[i] != -INFINITY ? weight : 0.0f;
        }
        if (!whole) EACH(j, 2) EACH(e, 4) {
            const int row = e / 2, query = start + j * 8 + (int)own_column() + e % 2;
            weights[j][e] = query >= low[row] && query <= high[row] ? weights[j][e] : 0.0f;
        }
        EACH(j, 2) EACH(e, 4) slopes[j][e] = weights[j][e] * (slopes[j][e] + minus_mean[j * 2 + e % 2]);
        add_near(dkey, slopes, query_lines, group);           // dkey += slope · query
        add_near(dvalue, weights, query_lines + KIND, group); // dvalue += weight · dy
    }
    barrier(CLK_LOCAL_MEM_FENCE); // all are done with the queries
    const float of_key[2] = {scale * LN_2, scale * LN_2}, of_value[2] = {1.0f, 1.0f};
    __global storage *to = dqkv_buffer + dqkv_offset;
    store_staying(waiting[0], dkey, of_key, to + rows.key, rows.key_step, (int)E, of_warp, 0, (int)M);
    store_staying(waiting[1], dvalue, of_value, to + rows.value, rows.key_step, (int)E, of_warp, 0,
                  (int)M);
}
