// SPDX-License-Identifier: MIT
// What becomes of sums of pairs (tf32_pairs.cl): each column has the scale of its largest. Where that will not
// do, lanes make their sums anew, as float32: where values of a column of B lie too far apart for pairs, and
// where what comes out is not finite, which parts of an infinity, or scales of huge numbers, may be to blame for.

// A product of floats as they lie in memory; it is so far from one k of B to the next, and from one column.
typedef struct {
    __global const float *a, *b;
    __global const int2 *ranges; // of the columns of B
    uint M, N, K, b_k, b_n;
} plain_product;

// A lane's sums of 64 rows from m on, and 128 columns from n on, of k from `first` on, up to `end`.
inlined void multiply_plainly(float *sums, const plain_product *p, uint m, uint n, uint first, uint end)
{
    const uint lane = this_lane(), column = n + lane % 4 * 2;
    uint rows[2];
#pragma unroll
    for (uint i = 0; i < SUMS; i++) sums[i] = 0.0f;
#pragma unroll
    for (uint r = 0; r < 2; r++) rows[r] = min(m + this_warp() % 4 * 16 + lane / 4 + 8 * r, p->M - 1);
#pragma unroll 1
    for (uint k = first; k < min(end, p->K); k++) {
        float a[2];
#pragma unroll
        for (uint r = 0; r < 2; r++) a[r] = p->a[TRANSPOSE_A ? (size_t)k * p->M + rows[r] : (size_t)rows[r] * p->K + k];
#pragma unroll
        for (uint i = 0; i < SUMS; i += 4)
#pragma unroll
            for (uint e = 0; e < 2; e++) {
                const uint own = min(column + 2 * i + e, p->N - 1);
                const float b = p->b[(size_t)k * p->b_k + (size_t)own * p->b_n];
                sums[i + e] = fma(a[0], b, sums[i + e]);
                sums[i + 2 + e] = fma(a[1], b, sums[i + 2 + e]);
            }
    }
}

// Those of columns from n on get their own scale, or are made anew.
inlined void settle_pairs(float *sums, const plain_product *p, uint m, uint n, uint first, uint end)
{
    const uint column = n + this_lane() % 4 * 2;
    bool hold = true;
    float zero = 0.0f; // as long as all are finite
#pragma unroll
    for (uint i = 0; i < SUMS; i += 4)
#pragma unroll
        for (uint e = 0; e < 2; e++) {
            const int2 range = p->ranges[min(column + 2 * i + e, p->N - 1)];
            const float scale = range.x == 0 ? 1.0f : as_float(range.x & 0x7F800000);
            hold = hold && pairs_hold_column(range);
            sums[i + e] *= scale;
            sums[i + 2 + e] *= scale;
            zero = fma(sums[i + e], 0.0f, fma(sums[i + 2 + e], 0.0f, zero));
        }
    if (!hold || zero != 0.0f) multiply_plainly(sums, p, m, n, first, end);
}
