// SPDX-License-Identifier: MIT
// Raw scores of up to four routing tokens in one pass over x: s_t[b,n] = Σ_d x[b,n,d] · token_t[d].
//
// x [B][N][D] storage, each token [D] storage, `step` elements further for the next sample; each s
// f32 [N], s_step further for the next sample; factor f32 [B][all tokens] (COSINE only).
// GROUPS(ceil(N / span), 1, B): LANES work-items share a row and read it side by side, each adding
// into sums of its own; those of a work-group's rows meet in local memory and are joined pairwise.
// A CPU has groups of one work-item. Bound by memory: one reading of x.
//
// Defines: STORAGE, WIDTH; TOKENS 1 to 4; COSINE 1 where x and tokens are normalised.

#ifndef ROWS
    #define ROWS 4 // rows of x a work-item has in flight: loads to wait for, and uses of a token read
#endif
#ifndef TOKENS
    #define TOKENS 1
#endif
#ifndef COSINE
    #define COSINE 0
#endif

#define SUMS    (TOKENS + COSINE) // a row's: its products, and its square
#define TINIEST 1e-12f            // the least a norm counts as

// scale / max(‖token‖, 1e-12), once a token: GROUPS(R, 1, B), factor [B][all] from `first` on.
__kernel void score_factor(IN(token), ulong step, OUT_F32(factor), ulong all, float scale, ulong D,
                           __local float *scratch)
{
    const size_t r = get_group_id(0), b = get_group_id(2);
    float square = 0;
    for (size_t d = get_local_id(0); d < D; d += get_local_size(0)) {
        const float t = load(token, b * step + r * D + d);
        square += t * t;
    }
    square = group_sum(square, scratch);
    if (get_local_id(0) == 0) at(factor, b * all + r) = scale / fmax(sqrt(square), TINIEST);
}

// Joins one sum of `lanes` work-items; lanes is a power of two.
inline float joined(__local const float *partial, size_t lanes)
{
    float a = 0, b = 0, c = 0, d = 0;
    if (lanes < 4) {
        for (size_t i = 0; i < lanes; i++) a += partial[i];
        return a;
    }
    for (size_t i = 0; i < lanes; i += 4) {
        a += partial[i];
        b += partial[i + 1];
        c += partial[i + 2];
        d += partial[i + 3];
    }
    return (a + c) + (b + d);
}

// The sums of ROWS rows from row n on, of this lane's share of D. A row past the end reads the last.
inline void add_rows(__global const storage *x, __global const storage *const *token, size_t n,
                     size_t N, size_t D, size_t lane, size_t lanes, float sums[ROWS][SUMS])
{
    wide many[ROWS][SUMS];
    size_t start[ROWS];
    for (int r = 0; r < ROWS; r++) {
        start[r] = min(n + r, N - 1) * D;
        for (int t = 0; t < SUMS; t++) many[r][t] = 0;
    }
    for (size_t d = lane * WIDTH; d < D; d += lanes * WIDTH) {
        wide tokens[TOKENS];
        for (int t = 0; t < TOKENS; t++) tokens[t] = load_wide_storage(token[t], d);
        for (int r = 0; r < ROWS; r++) {
            const wide v = load_wide_storage(x, start[r] + d);
            for (int t = 0; t < TOKENS; t++) many[r][t] += v * tokens[t];
            if (COSINE) many[r][SUMS - 1] += v * v;
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int t = 0; t < SUMS; t++) sums[r][t] = sum_wide(many[r][t]);
}

__kernel void score_forward(IN(x), IN(token0), ulong step0, OUT_F32(s0), ulong s_step0, IN(token1),
                            ulong step1, OUT_F32(s1), ulong s_step1, IN(token2), ulong step2,
                            OUT_F32(s2), ulong s_step2, IN(token3), ulong step3, OUT_F32(s3),
                            ulong s_step3, IN_F32(factor), ulong all, ulong N, ulong D, ulong lanes,
                            ulong span, __local float *partial)
{
    const size_t b = get_group_id(2), item = get_local_id(0), items = get_local_size(0);
    const size_t lane = item % lanes, tile = item / lanes, tiles = items / lanes;
    const size_t column = items + tiles; // floats of one sum of all items; a tile takes lanes + 1
    const size_t first = get_group_id(0) * span, end = min(first + span, (size_t)N);
    __global const storage *token[] = {
        token0_buffer + token0_offset + b * step0, token1_buffer + token1_offset + b * step1,
        token2_buffer + token2_offset + b * step2, token3_buffer + token3_offset + b * step3};
    __global float *s[] = {s0_buffer + s0_offset + b * s_step0, s1_buffer + s1_offset + b * s_step1,
                           s2_buffer + s2_offset + b * s_step2, s3_buffer + s3_offset + b * s_step3};
    __global const storage *rows = x_buffer + x_offset + b * N * D;

    for (size_t n = first; n < end; n += tiles * ROWS) {
        float sums[ROWS][SUMS];
        add_rows(rows, token, n + tile * ROWS, N, D, lane, lanes, sums);
        for (int r = 0; r < ROWS; r++)
            for (int t = 0; t < SUMS; t++)
                partial[(r * SUMS + t) * column + tile * (lanes + 1) + lane] = sums[r][t];
        barrier(CLK_LOCAL_MEM_FENCE);
        for (size_t row = item; row < tiles * ROWS; row += items) {
            if (n + row >= end) continue;
            __local const float *mine =
                partial + row % ROWS * SUMS * column + row / ROWS * (lanes + 1);
            float inverse = 1;
            if (COSINE)
                inverse /= fmax(sqrt(joined(mine + (SUMS - 1) * column, lanes)), TINIEST);
            for (int t = 0; t < TOKENS; t++) {
                const float sum = joined(mine + t * column, lanes);
                s[t][n + row] = COSINE ? sum * (at(factor, b * all + t) * inverse) : sum;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}
