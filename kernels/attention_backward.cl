// SPDX-License-Identifier: MIT
// What comes before and after the backward of attention. (CPUs have terms of their own:
// attention_vectors_queries.cl.)
//
// attention_terms: what a query brings along: terms [2][B][H][Q] floats, minus its lse times log2(e),
// and -Σ dy·y, which is -Σ of weight · (dy·value) over its keys. A query that asks for nothing (dy
// all 0, masked, or without keys) has -infinity for the first and is left out, so what its rows hold
// does not matter. One work-item a query of a head.
//
// attention_sum_heads: y[b,r,m] = the sum of x[b,h,m] over the heads of route r; [B][H][M] to
// [B][R][M]. One work-item a number.
//
// attention_add_null: y[n] += Σ over parts of x[part][n]. One work-item a number; the sum is in the
// order of the parts.

__kernel void attention_terms(IN(y), IN(dy), IN_F32(lse), IN_U8(mask), OUT_F32(terms), ulong plane,
                              ATTENTION_SIZES)
{
    const size_t i = get_global_id(0), h = get_global_id(1), b = get_global_id(2);
    if (i >= Q) return;

    rows_of_head rows;
    ATTENTION_ROWS(&rows, b, h);
    const size_t row = rows.out + i * rows.out_step, n = rows.lse + i;
    float sum = 0.0f;
    bool asks = false;
    for (int e = 0; e < (int)E; e += 4) {
        const float4 d = load_four(dy_buffer + dy_offset, row, e, (int)E);
        const float4 v = load_four(y_buffer + y_offset, row, e, (int)E);
        asks = asks || any(d != 0.0f);
        sum -= dot(d, v);
    }
    const bool hidden = LOCAL && !valid(mask, rows.mask + rows.begin - rows.first + i);
    const float of_row = at(lse, n);
    const bool counts = asks && !hidden && of_row != -INFINITY;
    at(terms, n) = counts ? of_row * -LOG2_E : -INFINITY;
    at(terms, plane + n) = counts ? sum : 0.0f;
}

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
