// SPDX-License-Identifier: MIT
// Attention on NVIDIA's matrix units: a tile of 64 queries of one head against
// tiles of keys and their values (attention_warps.cl). Tiles are cut by token number, so that a
// piece of a sequence gives the same bits as the whole.
//
// Where a value that a query does not see is not finite, 0 · it spoils the query's sums: then the query
// is done once more, one key at a time (attention_careful.cl).

// Scores times what belongs to them; those a query must not use become -infinity. A lane has the
// queries query and query + 8, and of each group two neighbouring keys from `column` on.
INLINE void finish_scores(float scores[GROUPS][4], const float scale[2], int multiply, bool whole,
                          __local const keys_of_tile *tile, const rows_of_head *rows, int query,
                          int start, uint column)
{
    const int low[2] = {first_seen(*rows, query), first_seen(*rows, query + 8)};
    const int high[2] = {last_seen(*rows, query), last_seen(*rows, query + 8)};
    EACH(j, GROUPS) EACH(e, 4) {
        const int key = j * 8 + column + e % 2;
        float score = scores[j][e] * scale[e / 2];
        if (multiply) score *= tile->score[key];
        if (!whole) {
            const int token = start + key;
            const bool near = !LOCAL || (token >= low[e / 2] && token <= high[e / 2]);
            score = near && tile->there[key] ? score : -INFINITY;
        }
        scores[j][e] = score;
    }
}

// Scores to weights; what was summed so far shrinks to what it is worth beside them.
INLINE void weigh(float scores[GROUPS][4], float best[2], float sum[2], float out[COLUMNS][4])
{
    EACH(row, 2) {
        float most = best[row];
        EACH(j, GROUPS) most = fmax(most, fmax(scores[j][2 * row], scores[j][2 * row + 1]));
        most = fmax(most, from_lane(most, 1)); // the four lanes that share a row
        most = fmax(most, from_lane(most, 2));
        const float base = most == -INFINITY ? 0.0f : most, factor = quick_exp2(best[row] - base);
        best[row] = most;
        sum[row] *= factor;
        EACH(c, COLUMNS) {
            out[c][2 * row] *= factor;
            out[c][2 * row + 1] *= factor;
        }
        EACH(j, GROUPS) EACH(e, 2) {
            const float weight = quick_exp2(scores[j][2 * row + e] - base);
            scores[j][2 * row + e] = weight;
            sum[row] += weight;
        }
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_mma(IN(q), IN(kv), IN(null_kv), IN_U8(mask), IN_F32(q_scores), IN_F32(kv_scores),
              int multiply, OUT(y), OUT_F32(lse), ATTENTION_SIZES)
{
    // Two tiles of keys and values; before the second one comes, the queries are in its place.
    __local uint4 waiting[2][2][KEYS * CHUNKS] __attribute__((aligned(256)));
    __local keys_of_tile tiles[2];

    const uint item = get_local_id(0), lane = item % 32;
    const size_t h = get_group_id(1), b = get_group_id(2);
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int token = (rows.begin / OWN + (int)get_group_id(0)) * OWN;
    const int begin = max(token, rows.begin), end = min(token + OWN, rows.end);
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

    __local uint4 *queries_tile = waiting[1][0];
    const row_filter filter = {begin - rows.begin, end - rows.begin, 0, 0};
    fetch_rows(queries_tile, OWN, q_buffer + q_offset + rows.query, rows.query_step, (int)E,
               token - rows.begin, &filter);
    if (start <= from.last)
        fetch_keys(waiting[0][0], waiting[0][1], &tiles[0], &from, &rows, start);
    end_batch();
    wait_batches(0);
    barrier(CLK_LOCAL_MEM_FENCE); // the queries are there for all

    const int query = token + (int)(item / 32 * 16 + lane / 4); // and 8 further
    const uint column = lane % 4 * 2;
    uint queries[STEPS][4];
    load_own(queries, queries_tile);
    const uint first_tile = shared_address(waiting[0][0]);
    const uint key_rows = operand_address(first_tile, 0);
    const uint value_lines = lines_address(first_tile + KEYS * ROW_BYTES, 0);
    float scale[2], best[2], sum[2], out[COLUMNS][4];
    EACH(row, 2) {
        const int i = query + 8 * row;
        scale[row] = LOG2_E / sqrt((float)E);
        if (present(q_scores) && i >= begin && i < end)
            scale[row] *= at(q_scores, b * Q + i - rows.begin);
        best[row] = -INFINITY;
        sum[row] = 0.0f;
    }
    EACH(c, COLUMNS) EACH(e, 4) out[c][e] = 0.0f;

    for (uint now = 0; start <= from.last; start += KEYS, now = 1 - now) {
        wait_batches(0);
        barrier(CLK_LOCAL_MEM_FENCE); // this tile is there for all, and none needs the other one
        if (start + KEYS <= from.last)
            fetch_keys(waiting[1 - now][0], waiting[1 - now][1], &tiles[1 - now], &from, &rows,
                       start + KEYS);
        end_batch();
        const bool near = !LOCAL || (start >= first_seen(rows, token + OWN - 1) &&
                                     start + KEYS - 1 <= last_seen(rows, token));
        const bool whole = near && !present(mask) && start >= from.first &&
                           start + KEYS - 1 <= from.last;
        float scores[GROUPS][4];
        multiply_rows(scores, queries, key_rows + now * TILE_BYTES);
        finish_scores(scores, scale, multiply, whole, &tiles[now], &rows, query, start, column);
        weigh(scores, best, sum, out);
        if (present(kv_scores))
            EACH(j, GROUPS) EACH(e, 4) scores[j][e] *= tiles[now].score[j * 8 + column + e % 2];
        add_rows(out, scores, value_lines + now * TILE_BYTES);
    }

    bool odd[2] = {false, false}, there[2];
    EACH(row, 2) {
        const int i = query + 8 * row;
        sum[row] += from_lane(sum[row], 1);
        sum[row] += from_lane(sum[row], 2);
        const float inverse = sum[row] == 0.0f ? 0.0f : 1.0f / sum[row];
        there[row] = i >= begin && i < end;
        if (!there[row]) continue;
        const size_t n = i - rows.begin;
        __global storage *y_row = y_buffer + y_offset + rows.out + n * rows.out_step;
        EACH(c, COLUMNS) {
            const float left = out[c][2 * row] * inverse, right = out[c][2 * row + 1] * inverse;
            odd[row] = odd[row] || !isfinite(left) || !isfinite(right);
            if (c * 8 + column < E)
                store_two(y_row + c * 8 + column, left, right);
        }
        if (present(lse) && column == 0)
            at(lse, rows.lse + n) = (best[row] + log2(sum[row])) * LN_2;
    }
    warp_barrier();
    // Of the four lanes that share two rows, the first does the one again, the second the other.
    EACH(row, 2) {
        if (!any_of_four(odd[row]) || !there[row] || lane % 4 != row) continue;
        // Copies: a struct whose address is given away stays in no register.
        const rows_of_head rows_again = rows;
        const key_source from_again = from;
        const int i = query + 8 * row;
        const float score = present(q_scores) ? at(q_scores, b * Q + i - rows.begin) : 1.0f;
        const float factor = LOG2_E / sqrt((float)E) * score;
        careful_row(&from_again, &rows_again, q_buffer + q_offset, y_buffer + y_offset,
                    present(lse) ? &at(lse, rows.lse) : 0, factor, multiply, i);
    }
}
