// SPDX-License-Identifier: MIT
// What the attention kernels begin with: where rows lie, and which keys a query sees.
//
//   LOCAL 1   q and kv are one tensor [B][P][3][H][E] (queries, keys, values of a token), M = P;
//             a query sees an interval of keys around it. Row i of y is the token first_query + i,
//             row j of kv the token first_key + j.
//   LOCAL 0   q [B][Q][H][E], kv [B][R][M][H/R][2E] (per head a key, then a value); a query sees
//             every key of its head's route and the null key.
//
// A key that the mask hides is never read. Scores are kept times log2(e), so that exp is exp2.

#ifndef LOCAL
    #define LOCAL 0
#endif

#define LOG2_E 1.44269504088896340736f
#define LN_2   0.693147180559945309417f

#define NULL_KEY (-1) // the token that the null key stands for

// Arrays of the caller's must stay in registers, and a plain inline function that a compiler finds
// too large to inline is a function without a body.
#define INLINE inline __attribute__((always_inline))

// A loop over an array that is to live in registers.
#define EACH(i, n) _Pragma("unroll") for (int i = 0; i < (n); i++)

#define ATTENTION_SIZES                                                                            \
    ulong Q, ulong M, ulong H, ulong E, ulong R, ulong N, ulong first_key, ulong first_query,      \
        ulong window, int causal
#define ATTENTION_ROWS(rows, b, h)                                                                 \
    attention_rows(rows, Q, M, H, E, R, N, first_key, first_query, window, causal, b, h)

// The rows of one head of one sample, as element numbers.
typedef struct {
    size_t query, query_step;      // row i of q at query + i·query_step
    size_t key, value, key_step;   // row j of kv
    size_t mask;                   // of row j at mask + j; kv_scores too where LOCAL is 0
    size_t out, out_step;          // row i of y
    size_t lse;                    // of row i at lse + i
    size_t head;
    int begin, end;                // the queries are the tokens begin … end - 1
    int first, keys;               // the token of row 0 of kv, and one past the last token
    int window, causal;
} rows_of_head;

// Not returned: Oclgrind cannot follow what becomes of an inlined function that returns a struct.
INLINE void attention_rows(rows_of_head *rows, size_t Q, size_t M, size_t H, size_t E, size_t R,
                           size_t N, size_t first_key, size_t first_query, size_t window,
                           int causal, size_t b, size_t h)
{
#if LOCAL
    rows->query_step = rows->key_step = 3 * H * E;
    rows->query = (b * M + first_query - first_key) * 3 * H * E + h * E;
    rows->key = (b * M * 3 + 1) * H * E + h * E;
    rows->value = rows->key + H * E;
    rows->mask = b * N + first_key;
    rows->keys = (int)N;
#else
    const size_t heads = H / R, r = h / heads;
    rows->query_step = H * E;
    rows->query = b * Q * H * E + h * E;
    rows->key_step = heads * 2 * E;
    rows->key = ((b * R + r) * M * heads + h - r * heads) * 2 * E;
    rows->value = rows->key + E;
    rows->mask = (b * R + r) * M;
    rows->keys = (int)M;
#endif
    rows->out_step = H * E;
    rows->out = b * Q * H * E + h * E;
    rows->lse = (b * H + h) * Q;
    rows->head = h;
    rows->begin = (int)first_query;
    rows->end = (int)(first_query + Q);
    rows->first = (int)first_key;
    rows->window = (int)window;
    rows->causal = causal;
}

// The first and the last token the query at a token may see, the ends of the sequence not yet cut
// off: a token of the sequence between them is seen where the mask lets it through.
INLINE int first_seen(rows_of_head rows, int token)
{
#if LOCAL
    return (rows.causal ? token / rows.window * rows.window : token) - rows.window;
#else
    return 0;
#endif
}

INLINE int last_seen(rows_of_head rows, int token)
{
#if LOCAL
    return rows.causal ? token : token + rows.window;
#else
    return rows.keys - 1;
#endif
}

// The first and the last token whose query may see a key, the queries' ends not yet cut off.
INLINE int first_seeing(rows_of_head rows, int token)
{
#if LOCAL
    return rows.causal ? token : token - rows.window;
#else
    return rows.begin;
#endif
}

INLINE int last_seeing(rows_of_head rows, int token)
{
#if LOCAL
    return rows.causal ? (token / rows.window + 2) * rows.window - 1 : token + rows.window;
#else
    return rows.end - 1;
#endif
}

// Four numbers of a row of E that begins at element row, from column e on; zeros after its end.
// Built with -D WIDTH=4 where all such rows are aligned (common.cl), else with 1.
INLINE float4 load_four(__global const storage *p, size_t row, int e, int E)
{
#if defined(WIDTH) && WIDTH == 4
    return e < E ? load_wide_storage(p, row + e) : (float4)(0.0f);
#else
    return (float4)(e < E ? load_storage(p, row + e) : 0.0f,
                    e + 1 < E ? load_storage(p, row + e + 1) : 0.0f,
                    e + 2 < E ? load_storage(p, row + e + 2) : 0.0f,
                    e + 3 < E ? load_storage(p, row + e + 3) : 0.0f);
#endif
}

INLINE void store_four(__global storage *p, size_t row, int e, int E, float4 x)
{
#if defined(WIDTH) && WIDTH == 4
    if (e < E) store_wide_storage(p, row + e, x);
#else
    if (e < E) store_storage(p, row + e, x.x);
    if (e + 1 < E) store_storage(p, row + e + 1, x.y);
    if (e + 2 < E) store_storage(p, row + e + 2, x.z);
    if (e + 3 < E) store_storage(p, row + e + 3, x.w);
#endif
}
