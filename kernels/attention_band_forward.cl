// SPDX-License-Identifier: MIT
// Local attention with short windows on NVIDIA's matrix units: attention_band.cl says how.
//
// Where a value that a query does not see is not finite, 0 · it spoils the query's sums: then the query
// is done once more, one key at a time (attention_careful.cl).

#ifndef ROUND
    #define ROUND 3 // of a warp's groups of 16 keys, how many are weighed at once: 1, 3 or 9
#endif
#define ROUNDS (NEAR / 16 / ROUND)

// Scores of 16 keys from `start` on: those that a query must not use become -infinity.
INLINE void hide(float scores[2][4], const int low[2], const int high[2], __global const uchar *mask,
                 int start)
{
    EACH(j, 2) EACH(e, 4) {
        const int token = start + j * 8 + (int)own_column() + e % 2;
        const bool seen = token >= low[e / 2] && token <= high[e / 2] && (!mask || mask[token]);
        scores[j][e] = seen ? scores[j][e] : -INFINITY;
    }
}

// Scores to weights; what was summed so far, if anything, shrinks to what it is worth beside them. best is
// times scale, scores are not yet.
INLINE void weigh(float scores[2 * ROUND][4], bool any, float scale, float best[2], float sum[2],
                  float out[COLUMNS][4])
{
    EACH(row, 2) {
        float most = -INFINITY;
        EACH(j, 2 * ROUND) most = fmax(most, fmax(scores[j][2 * row], scores[j][2 * row + 1]));
        most = fmax(most, from_lane(most, 1)); // the four lanes that share a row
        most = fmax(best[row], fmax(most, from_lane(most, 2)) * scale);
        const float base = most == -INFINITY ? 0.0f : most;
        if (any) {
            const float factor = quick_exp2(best[row] - base);
            sum[row] *= factor;
            EACH(c, COLUMNS) {
                out[c][2 * row] *= factor;
                out[c][2 * row + 1] *= factor;
            }
        }
        best[row] = most;
        EACH(j, 2 * ROUND) EACH(e, 2) {
            const float weight = quick_exp2(fma(scores[j][2 * row + e], scale, -base));
            scores[j][2 * row + e] = weight;
            sum[row] += weight;
        }
    }
}

// What a query is done again with.
INLINE void do_again(IN(qkv), IN_U8(mask), OUT(y), OUT_F32(lse), ATTENTION_SIZES, int query)
{
    rows_of_head rows;
    ATTENTION_ROWS(&rows, get_group_id(2), head_of_group((uint)H));
    const key_source from = {qkv_buffer + qkv_offset,
                             0,
                             present(mask) ? mask_buffer + mask_offset : 0,
                             0,
                             0,
                             (int)E,
                             max(first_seen(rows, query), 0),
                             min(last_seen(rows, query), rows.keys - 1)};
    careful_row(&from, &rows, qkv_buffer + qkv_offset, y_buffer + y_offset,
                present(lse) ? &at(lse, rows.lse) : 0, LOG2_E / sqrt((float)E), 0, query);
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
attention_band(IN(qkv), IN_U8(mask), OUT(y), OUT_F32(lse), ATTENTION_SIZES)
{
    __local uint4 waiting[2][PASSING * CHUNKS] __attribute__((aligned(256))); // keys, values

    const uint lane = get_local_id(0) % 32;
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
    end_batch();
    fetch_passing(tile + KIND, kv + rows.value, rows.key_step, (int)E, first - rows.first, passing);
    end_batch();

    const int of_warp = token + (int)(get_local_id(0) / 32 * 16), query = of_warp + (int)(lane / 4);
    const bool there[2] = {query >= begin && query < end, query + 8 >= begin && query + 8 < end};
    const int low[2] = {max(first_seen(rows, query), least), max(first_seen(rows, query + 8), least)};
    const int high[2] = {min(last_seen(rows, query), most), min(last_seen(rows, query + 8), most)};
    // What all queries of the warp see without a mask.
    const int all_low = max(first_seen(rows, of_warp + 15), least);
    const int all_high = of_token ? -1 : min(last_seen(rows, of_warp), most);
    uint queries[STEPS][4];
    load_staying(queries, kv + row_start(rows.query, query - rows.begin, rows.query_step),
                 rows.query_step, (int)E, there);

    const int near = near_row(first_seen(rows, of_warp), first);
    const uint key_rows = operand_address(tile, near), value_lines = lines_address(tile + KIND, near);
    const float scale = LOG2_E / sqrt((float)E);
    float best[2] = {-INFINITY, -INFINITY}, sum[2] = {0.0f, 0.0f}, out[COLUMNS][4];
    clear_sums(out);
    wait_batches(1);
    barrier(CLK_LOCAL_MEM_FENCE); // the keys are there for all
    EACH(round, ROUNDS) {
        float scores[2 * ROUND][4];
        EACH(i, ROUND) {
            const int group = round * ROUND + i, start = first + near + group * 16;
            multiply_near(scores + 2 * i, queries, key_rows, group);
            if (start < all_low || start + 15 > all_high)
                hide(scores + 2 * i, low, high, of_token, start);
        }
        weigh(scores, round > 0, scale, best, sum, out);
        if (round == 0) {
            wait_batches(0);
            barrier(CLK_LOCAL_MEM_FENCE); // and the values
        }
        EACH(i, ROUND)
            add_near(out, scores + 2 * i, value_lines, round * ROUND + i);
    }

    float inverse[2];
    bool odd[2] = {false, false};
    EACH(row, 2) {
        sum[row] += from_lane(sum[row], 1);
        sum[row] += from_lane(sum[row], 2);
        inverse[row] = sum[row] == 0.0f ? 0.0f : 1.0f / sum[row];
        float zeros = 0.0f; // 0 · infinity is NaN, which stays
        EACH(c, COLUMNS) zeros = fma(out[c][2 * row], 0.0f, fma(out[c][2 * row + 1], 0.0f, zeros));
        odd[row] = zeros != 0.0f;
        if (present(lse) && lane % 4 == 0 && there[row])
            at(lse, rows.lse + (query + 8 * row - rows.begin)) = (best[row] + log2(sum[row])) * LN_2;
    }
    barrier(CLK_LOCAL_MEM_FENCE); // all are done with the keys
    store_staying(waiting[0], out, inverse, y_buffer + y_offset + rows.out, rows.out_step, (int)E,
                  of_warp - rows.begin, begin - rows.begin, end - rows.begin);
    // Of the four lanes that share two rows, the first does the one again, the second the other.
    EACH(row, 2) {
        if (any_of_four(odd[row]) && there[row] && (int)(lane % 4) == row)
            do_again(qkv_buffer, qkv_offset, mask_buffer, mask_offset, y_buffer, y_offset, lse_buffer,
                     lse_offset, Q, M, H, E, R, N, first_key, first_query, window, causal,
                     query + 8 * row);
    }
}
