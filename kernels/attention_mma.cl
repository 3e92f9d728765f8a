// SPDX-License-Identifier: MIT
// Attention on NVIDIA's matrix units (mma, compute capability 8.0 on), for f16 and bf16.
//
// A work-group of four warps has a tile of 64 queries of one head, a warp 16 of them, against tiles
// of KEYS keys. Keys and values wait in local memory as they came, two tiles of each: while one is
// worked on the next is on its way. Scores stay in registers, spread over a warp as the unit left
// them (nvidia.cl), and as weights go back into it from there. Tiles are cut by token number, so
// that a piece of a sequence gives the same bits as the whole.
//
// Rows in local memory are HEAD long, in chunks of 8 elements, permuted by the row's number: eight
// rows that a warp reads at once lie in different banks.
//
// Where a value that a query does not see is not finite, 0 · it spoils the tile's sums: then the
// work-group does its queries once more, one key at a time (attention_careful.cl).
//
// Defines: STORAGE 1|2, LOCAL as in attention.cl, HEAD 32|64|128: E rounded up. E and all offsets
// are multiples of 8.

#define ITEMS   128
#define QUERIES 64
#if HEAD > 64
    #define KEYS 32 // 2·2·32·128 elements are 32 of the 48 KB there are
#else
    #define KEYS 64
#endif
#define CHUNKS  (HEAD / 8) // of a row
#define STEPS   (HEAD / 16)
#define COLUMNS (HEAD / 8) // groups of 8 columns of y
#define GROUPS  (KEYS / 8) // groups of 8 keys

#if STORAGE == 1
    #define multiply_add multiply_add_f16
    #define pack_pair    pack_pair_f16
#else
    #define multiply_add multiply_add_bf16
    #define pack_pair    pack_pair_bf16
#endif

// Where chunk `chunk` of a row lies in a tile.
INLINE uint place(uint row, uint chunk)
{
    return row * HEAD + (chunk ^ (HEAD == 32 ? row / 2 % 4 : row % 8)) * 8;
}

// What the keys of a tile are besides their rows.
typedef struct {
    int there[KEYS];    // whether the mask and the sequence let them through
    float score[KEYS];  // what multiplies their values
} keys_of_tile;

// The tile of keys from token `start` on begins to come; what is not there becomes zeros.
INLINE void fetch_keys(__local ushort *keys, __local ushort *values, __local keys_of_tile *tile,
                       const key_source *from, const rows_of_head *rows, int start)
{
    const uint item = get_local_id(0);
#pragma unroll 1
    for (uint n = item; n < KEYS * CHUNKS; n += ITEMS) {
        const uint row = n / CHUNKS, chunk = n % CHUNKS;
        const int token = start + (int)row;
        const bool there = (int)chunk * 8 < from->E && key_is_there(from, rows, token);
        const int safe = there ? token : from->last; // of the others nothing is read
        const size_t column = there ? chunk * 8 : 0;
        __global const storage *tensor = tensor_of(from, safe);
        copy_async(keys + place(row, chunk), tensor + key_of(from, rows, safe) + column,
                   there ? 16 : 0);
        copy_async(values + place(row, chunk), tensor + value_of(from, rows, safe) + column,
                   there ? 16 : 0);
    }
    if (item < KEYS) {
        const int token = start + (int)item;
        const bool there = key_is_there(from, rows, token);
        tile->there[item] = there;
        tile->score[item] = there ? worth_of(from, rows, token) : 1.0f;
    }
}

INLINE void fetch_queries(__local ushort *queries, __global const storage *q,
                          const rows_of_head *rows, int E, int token, int begin, int end)
{
#pragma unroll
    for (uint n = get_local_id(0); n < QUERIES * CHUNKS; n += ITEMS) {
        const uint row = n / CHUNKS, chunk = n % CHUNKS;
        const int query = token + (int)row;
        const bool there = query >= begin && query < end && (int)chunk * 8 < E;
        const size_t i = there ? query - rows->begin : 0, column = there ? chunk * 8 : 0;
        copy_async(queries + place(row, chunk),
                   q + rows->query + i * rows->query_step + column, there ? 16 : 0);
    }
}

// scores [16 queries][KEYS] of a warp.
INLINE void score_keys(float scores[GROUPS][4], uint queries[STEPS][4], __local const ushort *keys)
{
    const uint lane = get_local_id(0) % 8, low = get_local_id(0) / 8 % 2,
               high = get_local_id(0) / 16 % 2;
    EACH(j, GROUPS) EACH(e, 4) scores[j][e] = 0.0f;
    EACH(step, STEPS) {
        EACH(pair, GROUPS / 2) {
            uint key[4];
            load_matrices(key, keys + place(pair * 16 + high * 8 + lane, step * 2 + low));
            multiply_add(scores[2 * pair], queries[step], key);
            multiply_add(scores[2 * pair + 1], queries[step], key + 2);
        }
    }
}

// out [16 queries][HEAD] += weights [16][KEYS] · values
INLINE void add_values(float out[COLUMNS][4], float weights[GROUPS][4],
                       __local const ushort *values)
{
    const uint lane = get_local_id(0) % 8, low = get_local_id(0) / 8 % 2,
               high = get_local_id(0) / 16 % 2;
    EACH(step, KEYS / 16) {
        // Sums lie as the unit wants its left operand, two groups of 8 columns for 16 k.
        const uint left[4] = {pack_pair(weights[2 * step][0], weights[2 * step][1]),
                              pack_pair(weights[2 * step][2], weights[2 * step][3]),
                              pack_pair(weights[2 * step + 1][0], weights[2 * step + 1][1]),
                              pack_pair(weights[2 * step + 1][2], weights[2 * step + 1][3])};
        EACH(pair, COLUMNS / 2) {
            uint value[4];
            load_transposed(value, values + place(step * 16 + low * 8 + lane, pair * 2 + high));
            multiply_add(out[2 * pair], left, value);
            multiply_add(out[2 * pair + 1], left, value + 2);
        }
    }
}

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
        const float base = most == -INFINITY ? 0.0f : most, factor = native_exp2(best[row] - base);
        best[row] = most;
        sum[row] *= factor;
        EACH(c, COLUMNS) {
            out[c][2 * row] *= factor;
            out[c][2 * row + 1] *= factor;
        }
        EACH(j, GROUPS) EACH(e, 2) {
            const float weight = native_exp2(scores[j][2 * row + e] - base);
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
    __local ushort waiting[2][2][KEYS * HEAD] __attribute__((aligned(256)));
    __local keys_of_tile tiles[2];
    __local int spoiled;

    const uint item = get_local_id(0), lane = item % 32;
    const size_t h = get_group_id(1), b = get_group_id(2);
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const int token = (rows.begin / QUERIES + (int)get_group_id(0)) * QUERIES;
    const int begin = max(token, rows.begin), end = min(token + QUERIES, rows.end);
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

    __local ushort *queries_tile = waiting[1][0];
    fetch_queries(queries_tile, q_buffer + q_offset, &rows, (int)E, token, begin, end);
    if (start <= from.last)
        fetch_keys(waiting[0][0], waiting[0][1], &tiles[0], &from, &rows, start);
    end_batch();
    if (item == 0) spoiled = 0;
    wait_batches(0);
    barrier(CLK_LOCAL_MEM_FENCE);

    const int query = token + (int)(item / 32 * 16 + lane / 4); // and 8 further
    const uint column = lane % 4 * 2;
    uint queries[STEPS][4];
    EACH(step, STEPS)
        load_matrices(queries[step], queries_tile + place(item / 32 * 16 + lane % 16,
                                                          step * 2 + lane / 16));
    barrier(CLK_LOCAL_MEM_FENCE); // the queries have been read
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
        if (start + KEYS <= from.last)
            fetch_keys(waiting[1 - now][0], waiting[1 - now][1], &tiles[1 - now], &from, &rows,
                       start + KEYS);
        end_batch();
        wait_batches(1);
        barrier(CLK_LOCAL_MEM_FENCE); // this tile is there for all
        const bool near = !LOCAL || (start >= first_seen(rows, token + QUERIES - 1) &&
                                     start + KEYS - 1 <= last_seen(rows, token));
        const bool whole = near && !present(mask) && start >= from.first &&
                           start + KEYS - 1 <= from.last;
        float scores[GROUPS][4];
        score_keys(scores, queries, waiting[now][0]);
        finish_scores(scores, scale, multiply, whole, &tiles[now], &rows, query, start, column);
        weigh(scores, best, sum, out);
        if (present(kv_scores))
            EACH(j, GROUPS) EACH(e, 4) scores[j][e] *= tiles[now].score[j * 8 + column + e % 2];
        add_values(out, scores, waiting[now][1]);
        barrier(CLK_LOCAL_MEM_FENCE); // all are done with it
    }

    bool odd = false;
    EACH(row, 2) {
        const int i = query + 8 * row;
        sum[row] += from_lane(sum[row], 1);
        sum[row] += from_lane(sum[row], 2);
        const float inverse = sum[row] == 0.0f ? 0.0f : 1.0f / sum[row];
        if (i < begin || i >= end) continue;
        const size_t n = i - rows.begin;
        __global storage *y_row = y_buffer + y_offset + rows.out + n * rows.out_step;
        EACH(c, COLUMNS) {
            const float left = out[c][2 * row] * inverse, right = out[c][2 * row + 1] * inverse;
            odd = odd || !isfinite(left) || !isfinite(right);
            if (c * 8 + column < E)
                *(__global uint *)(y_row + c * 8 + column) = pack_pair(left, right);
        }
        if (present(lse) && column == 0)
            at(lse, rows.lse + n) = (best[row] + log2(sum[row])) * LN_2;
    }
    if (odd) spoiled = 1;
    barrier(CLK_LOCAL_MEM_FENCE | CLK_GLOBAL_MEM_FENCE);
    const int i = token + (int)item;
    if (!spoiled || item >= QUERIES || i < begin || i >= end) return;
    const float score = present(q_scores) ? at(q_scores, b * Q + i - rows.begin) : 1.0f;
    const float factor = LOG2_E / sqrt((float)E) * score;
    careful_row(&from, &rows, q_buffer + q_offset, y_buffer + y_offset,
                present(lse) ? &at(lse, rows.lse) : 0, factor, multiply, i);
}
