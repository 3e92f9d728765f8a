// SPDX-License-Identifier: MIT
// One query, one key at a time, by one work-item, slowly: only what it sees is read, so that no
// value it does not see, however odd, can reach it.

// Where keys come from.
typedef struct {
    __global const storage *kv, *null_kv;
    __global const uchar *mask;   // NULL: none
    __global const float *scores; // NULL: all 1
    size_t null_value;            // elements from the null key to the null value
    int E, first, last;           // the tokens that may be there
} key_source;

// Whether the sequence and the mask let a token through.
INLINE bool key_is_there(const key_source *from, const rows_of_head *rows, int token)
{
    if (token < from->first || token > from->last) return false;
    return token == NULL_KEY || !from->mask || from->mask[rows->mask + token - rows->first];
}

// Where the key of a token begins, and its value; the null key's are in null_kv.
INLINE bool is_null(int token) { return !LOCAL && token == NULL_KEY; }
INLINE __global const storage *tensor_of(const key_source *from, int token)
{
    return is_null(token) ? from->null_kv : from->kv;
}
INLINE size_t key_of(const key_source *from, const rows_of_head *rows, int token)
{
    return is_null(token) ? rows->head * from->E
                          : rows->key + (size_t)(token - rows->first) * rows->key_step;
}
INLINE size_t value_of(const key_source *from, const rows_of_head *rows, int token)
{
    return key_of(from, rows, token) +
           (is_null(token) ? from->null_value : rows->value - rows->key);
}

// What multiplies the value of a token.
INLINE float worth_of(const key_source *from, const rows_of_head *rows, int token)
{
    return from->scores && !is_null(token) ? from->scores[rows->mask + token - rows->first] : 1.0f;
}

// The score of the query whose row begins at `query`, times scale.
INLINE float score_of(const key_source *from, const rows_of_head *rows, __global const storage *q,
                      size_t query, float scale, int multiply, int token)
{
    __global const storage *tensor = tensor_of(from, token);
    const size_t key = key_of(from, rows, token);
    float score = 0.0f;
#pragma unroll 1
    for (int e = 0; e < from->E; e++)
        score = fma(load_storage(q, query + e), load_storage(tensor, key + e), score);
    return score * scale * (multiply ? worth_of(from, rows, token) : 1.0f);
}

// The query at a token: its row of y and its lse, if there is one. Every score is computed anew for
// each column: registers hold no row.
void careful_row(const key_source *from, const rows_of_head *rows, __global const storage *q,
                 __global storage *y, __global float *lse, float scale, int multiply, int query)
{
    const size_t n = query - rows->begin, row = rows->query + n * rows->query_step;
    const int low = max(first_seen(*rows, query), from->first);
    const int begin = LOCAL ? low : from->first, end = min(last_seen(*rows, query), from->last);
    float best = -INFINITY;
#pragma unroll 1
    for (int token = begin; token <= end; token++)
        if (key_is_there(from, rows, token))
            best = fmax(best, score_of(from, rows, q, row, scale, multiply, token));
    const float base = best == -INFINITY ? 0.0f : best;
    float sum = 0.0f;
#pragma unroll 1
    for (int e = 0; e < from->E; e++) {
        float out = 0.0f;
        sum = 0.0f;
#pragma unroll 1
        for (int token = begin; token <= end; token++) {
            if (!key_is_there(from, rows, token)) continue;
            const float weight =
                exp2(score_of(from, rows, q, row, scale, multiply, token) - base);
            const float value =
                load_storage(tensor_of(from, token), value_of(from, rows, token) + e);
            sum += weight;
            out = fma(weight * worth_of(from, rows, token), value, out);
        }
        store_storage(y, rows->out + n * rows->out_step + e, sum == 0.0f ? 0.0f : out / sum);
    }
    if (lse) lse[n] = (best + log2(sum)) * LN_2;
}
