// SPDX-License-Identifier: MIT
// Raw scores of up to four routing tokens in one pass over x, as score_forward of score.cl, for GPUs and
// rows that fit the registers: LANES neighbouring work-items keep the tokens in STEPS vectors each, and
// take row after row of a sample. GROUPS(…, 1, B). Bound by memory: one reading of x.
//
// Defines: STORAGE, WIDTH, LANES, STEPS; WHOLE 1 where a row has LANES · STEPS vectors; WARPS (warps.cl);
// TOKENS 1 to 4; COSINE 1 where x and tokens are normalised; NORMS 1 there, and where inverses are wanted.

#ifndef TOKENS
    #define TOKENS 1
#endif
#ifndef COSINE
    #define COSINE 0
#endif
#ifndef NORMS
    #define NORMS COSINE
#endif

#define SUMS      (TOKENS + NORMS) // a row's: its products, and its square
#define SLOTS     (STEPS ? STEPS : 1) // the host has no use for 0, but asks what it comes to
#define TINIEST   1e-12f            // the least a norm counts as
#define COLUMN(s) (((size_t)(s) * LANES + lane) * WIDTH)
#define EACH_VECTOR(s)                                                                              \
    _Pragma("unroll") for (uint s = 0; s < STEPS; s++) if (WHOLE || COLUMN(s) < D)

__kernel void score_rows(IN(x), IN(token0), ulong step0, OUT_F32(s0), ulong s_step0, IN(token1),
                         ulong step1, OUT_F32(s1), ulong s_step1, IN(token2), ulong step2,
                         OUT_F32(s2), ulong s_step2, IN(token3), ulong step3, OUT_F32(s3),
                         ulong s_step3, IN_F32(factor), ulong all, OUT_F32(inverses), ulong N,
                         ulong D, __local float *scratch)
{
    const size_t b = get_group_id(2), lane = get_local_id(0) % LANES;
    const size_t tile = get_local_id(0) / LANES, tiles = get_local_size(0) / LANES;
    __global const storage *token[] = {
        token0_buffer + token0_offset + b * step0, token1_buffer + token1_offset + b * step1,
        token2_buffer + token2_offset + b * step2, token3_buffer + token3_offset + b * step3};
    __global float *s[] = {s0_buffer + s0_offset + b * s_step0, s1_buffer + s1_offset + b * s_step1,
                           s2_buffer + s2_offset + b * s_step2, s3_buffer + s3_offset + b * s_step3};
    wide tokens[TOKENS][SLOTS];
    for (int t = 0; t < TOKENS; t++)
        EACH_VECTOR(v) tokens[t][v] = get_wide_storage(token[t], COLUMN(v));

    for (size_t side = get_group_id(0) * tiles; side < N; side += get_num_groups(0) * tiles) {
        const size_t n = side + tile, start = (b * N + min(n, (size_t)N - 1)) * D;
        raw row[SLOTS];
        wide many[SUMS];
        for (int t = 0; t < SUMS; t++) many[t] = 0.0f;
        EACH_VECTOR(v) row[v] = get_raw(x, start + COLUMN(v));
        EACH_VECTOR(v) {
            for (int t = 0; t < TOKENS; t++) many[t] += widened(row[v]) * tokens[t][v];
            if (NORMS) many[SUMS - 1] += widened(row[v]) * widened(row[v]);
        }
        float sums[SUMS];
        for (int t = 0; t < SUMS; t++) sums[t] = row_sum(sum_wide(many[t]), scratch);

        const float inverse = NORMS ? 1.0f / fmax(sqrt(sums[SUMS - 1]), TINIEST) : 1.0f;
        const bool mine = lane == 0 && n < N;
        if (mine && present(inverses)) at(inverses, b * N + n) = inverse;
        for (int t = 0; mine && t < TOKENS; t++)
            s[t][n] = COSINE ? sums[t] * (at(factor, b * all + t) * inverse) : sums[t];
    }
}
