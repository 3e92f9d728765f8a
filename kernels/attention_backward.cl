// SPDX-License-Identifier: MIT
// What comes before and after the backward of attention. (CPUs have terms of their own:
// attention_vectors_queries.cl.)
//
// attention_terms: what a query brings along: terms [2][B][H][Q] floats, minus its lse times log2(e),
// and -Σ dy·y, which is -Σ of weight · (dy·value) over its keys. A query that asks for nothing (dy
// all 0, masked, or without keys) has -infinity for the first and is left out, so what its rows hold
// does not matter. LANES neighbouring work-items a query of a head, so that they read neighbours; a
// work-group of at most TERMS_ITEMS has several queries of one head, the next one those of the next head.
//
// attention_sum_heads: y[b,r,m] = the sum of x[b,h,m] over the heads of route r; [B][H][M] to
// [B][R][M]. One work-item a number.
//
// attention_add_null: y[n] += Σ over parts of x[part][n]. One work-item a number; the sum is in the
// order of the parts.

#ifdef LANES
    #define TERMS_ITEMS 256
__kernel void attention_terms(IN(y), IN(dy), IN_F32(lse), IN_U8(mask), OUT_F32(terms), ulong plane,
                              ATTENTION_SIZES)
{
    __local float scratch[TERMS_ITEMS];
    const size_t h = get_group_id(0) % H, b = get_group_id(2), queries = get_local_size(0) / LANES;
    const size_t i = get_group_id(0) / H * queries + get_local_id(0) / LANES;
    const int lane = get_local_id(0) % LANES;
    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const size_t row = rows.out + i * rows.out_step, n = rows.lse + i;
    float sum = 0.0f, asks = 0.0f;
    for (int e = lane * 4; i < Q && e < (int)E; e += LANES * 4) {
        const float4 d = load_four(dy_buffer + dy_offset, row, e, (int)E);
        const float4 v = load_four(y_buffer + y_offset, row, e, (int)E);
        if (any(d != 0.0f)) asks = 1.0f;
        sum -= dot(d, v);
    }
    sum = lanes_sum(sum, scratch);
    asks = lanes_sum(asks, scratch);
    if (lane > 0 || i >= Q) return;
    const bool hidden = LOCAL && !valid(mask, rows.mask + rows.begin - rows.first + i);
    const float of_row = at(lse, n);
    const bool counts = asks > 0.0f && !hidden && of_row != -INFINITY;
    at(terms, n) = counts ? of_row * -LOG2_E : -INFINITY;
    at(terms, plane + n) = counts ? sum : 0.0f;
}
#endif

__kernel void attention_sum_heads(IN_F32(x), OUT_F32(y), ulong M, ulong H, ulong R)
{
    const size_t m = get_global_id(0), r = get_global_id(1), b = get_global_id(2), heads = H / R;
    if (m >= M) return;

    float sum = 0.0f;
    for (size_t g = 0; g < heads; g++) sum += at(x, (b * H + r * heads + g) * M + m);
    at(y, (b * R + r) * M + m) = sum;
}

__kernel void attention_add_null(IN_F32(x), INOUT(y), ulong parts, ulong count)
{
    const size_t n = get_global_id(0);
    if (n >= count) return;

    float sum = 0.0f;
    for (size_t part = 0; part < parts; part++) sum += at(x, part * count + n);
    store(y, n, load(y, n) + sum);
}
