// SPDX-License-Identifier: MIT
// Raw scores of up to four routing tokens in one pass over x: s_t[b,n] = Σ_d x[b,n,d] · token_t[d].
//
// x [B][N][D] storage, each token [D] storage, `step` elements further for the next sample; each s
// f32 [N], s_step further for the next sample. COSINE only: factor f32 [B][all tokens]. NORMS only, where
// they are wanted: inverses f32 [B][N], 1/‖x‖.
// GROUPS(ceil(N / span), 1, B): LANES work-items share a row and read it side by side, each adding
// into sums of its own; those of a work-group's rows meet in local memory and are joined pairwise.
// A CPU has groups of one work-item. Bound by memory: one reading of x.
//
// Defines: STORAGE, WIDTH; TOKENS 1 to 4; COSINE 1 where x and tokens are normalised; NORMS 1 there, and
// where inverses are wanted.

#ifndef ROWS
    #define ROWS 4 // rows of x a work-item has in flight: loads to wait for, and uses of a token read
#endif
#ifndef TOKENS
    #define TOKENS 1
#endif
#ifndef COSINE
    #define COSINE 0
#endif
#ifndef NORMS
    #define NORMS COSINE
#endif

#ifndef AT_ONCE
    // Rows a work-item of score_backward, and half those that one of score_reduce, reads before it uses
    // them; 1 on CPUs.
    #define AT_ONCE 4
#endif
#define COLUMNS 16 // neighbouring d of a work-group of score_reduce: a line of the cache

#define SUMS    (TOKENS + NORMS) // a row's: its products, and its square
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
            if (NORMS) many[r][SUMS - 1] += v * v;
        }
    }
    for (int r = 0; r < ROWS; r++)
        for (int t = 0; t < SUMS; t++) sums[r][t] = sum_wide(many[r][t]);
}

__kernel void score_forward(IN(x), IN(token0), ulong step0, OUT_F32(s0), ulong s_step0, IN(token1),
                            ulong step1, OUT_F32(s1), ulong s_step1, IN(token2), ulong step2,
                            OUT_F32(s2), ulong s_step2, IN(token3), ulong step3, OUT_F32(s3),
                            ulong s_step3, IN_F32(factor), ulong all, OUT_F32(inverses), ulong N,
                            ulong D, ulong lanes, ulong span, __local float *partial)
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
            if (NORMS)
                inverse /= fmax(sqrt(joined(mine + (SUMS - 1) * column, lanes)), TINIEST);
            if (present(inverses)) at(inverses, b * N + n + row) = inverse;
            for (int t = 0; t < TOKENS; t++) {
                const float sum = joined(mine + t * column, lanes);
                s[t][n + row] = COSINE ? sum * (at(factor, b * all + t) * inverse) : sum;
            }
        }
        barrier(CLK_LOCAL_MEM_FENCE);
    }
}

// The backward pass of COSINE, made linear: with p = x̂·token̂ of a pair (s = scale · p),
//
//     ∂s/∂x     = scale (token/‖token‖ - p x/‖x‖) / ‖x‖      (no second term where ‖x‖ <= 1e-12)
//     ∂s/∂token = scale (x/‖x‖ - p token/‖token‖) / ‖token‖  (likewise)
//
// so that dx = Σ_t a_t token_t - e x and dtoken = Σ_n a x - token Σ_n q. One work-item a row of x:
// p [TOKENS][B][N] becomes a, inverses [B][N] becomes e.
__kernel void score_cosine(INOUT_F32(p), OUT_F32(q), INOUT_F32(inverses), IN_F32(ds0),
                           ulong ds_step0, IN_F32(ds1), ulong ds_step1, IN_F32(ds2), ulong ds_step2,
                           IN_F32(ds3), ulong ds_step3, IN_F32(factor), ulong all, float scale,
                           ulong N, ulong count)
{
    const size_t i = get_global_id(0);
    if (i >= count) return;
    const size_t b = i / N, n = i % N;
    __global const float *ds[] = {
        ds0_buffer + ds0_offset + b * ds_step0, ds1_buffer + ds1_offset + b * ds_step1,
        ds2_buffer + ds2_offset + b * ds_step2, ds3_buffer + ds3_offset + b * ds_step3};
    const float inverse = at(inverses, i);
    float e = 0;
    for (int t = 0; t < TOKENS; t++) {
        const float g = scale * ds[t][n], of_token = at(factor, b * all + t);
        const float along = g == 0 ? 0 : g * at(p, t * count + i);
        if (inverse < 1 / TINIEST) e += along * inverse * inverse;
        at(q, t * count + i) = of_token < 1 / TINIEST ? along * of_token * of_token : 0;
        at(p, t * count + i) = g == 0 ? 0 : g * inverse * of_token;
    }
    at(inverses, i) = e == 0 ? 0 : e;
}

// s = Σ_d x token: dx = Σ_t a_t token_t, and of each part of the rows Σ_n a x in sums. A work-item
// has WIDTH neighbouring d of `span` rows: GRID(D / WIDTH, parts, B). a is ds, or what score_cosine
// made; q and e are absent without COSINE. sums f32 [TOKENS][B][parts][D]. Where a is 0, the row may
// hold NaN: it is left out, not multiplied. Reads x and writes dx once.
__kernel void score_backward(IN(x), IN(token0), ulong step0, IN_F32(a0), ulong a_step0, IN(token1),
                             ulong step1, IN_F32(a1), ulong a_step1, IN(token2), ulong step2,
                             IN_F32(a2), ulong a_step2, IN(token3), ulong step3, IN_F32(a3),
                             ulong a_step3, IN_F32(q), IN_F32(e), INOUT(dx), int accumulate,
                             OUT_F32(sums), ulong N, ulong D, ulong span)
{
    const size_t d = get_global_id(0) * WIDTH, part = get_global_id(1), b = get_global_id(2);
    if (d >= D) return;
    const size_t B = get_global_size(2), parts = get_global_size(1);
    __global const storage *token[] = {
        token0_buffer + token0_offset + b * step0, token1_buffer + token1_offset + b * step1,
        token2_buffer + token2_offset + b * step2, token3_buffer + token3_offset + b * step3};
    __global const float *a[] = {a0_buffer + a0_offset + b * a_step0,
                                 a1_buffer + a1_offset + b * a_step1,
                                 a2_buffer + a2_offset + b * a_step2,
                                 a3_buffer + a3_offset + b * a_step3};
    wide tokens[TOKENS], sum[TOKENS];
    float q_sum[TOKENS];
    for (int t = 0; t < TOKENS; t++) {
        tokens[t] = get_wide_storage(token[t], d);
        sum[t] = 0;
        q_sum[t] = 0;
    }
    const size_t end = min((part + 1) * span, (size_t)N);
    for (size_t first = part * span; first < end; first += AT_ONCE) {
        raw x_row[AT_ONCE], dx_row[AT_ONCE];
        float slopes[AT_ONCE][TOKENS];
        for (int r = 0; r < AT_ONCE; r++) {
            const size_t n = AT_ONCE == 1 ? first : min(first + r, end - 1);
            const size_t row = (b * N + n) * D + d;
            bool any = AT_ONCE > 1;
            for (int t = 0; t < TOKENS; t++) slopes[r][t] = a[t][n];
            for (int t = 0; t < TOKENS; t++) any = any || slopes[r][t] != 0;
            x_row[r] = any ? get_raw(x, row) : (raw)0;
            dx_row[r] = accumulate && present(dx) ? get_raw(dx, row) : (raw)0;
        }
#pragma unroll // registers have no index
        for (int r = 0; r < AT_ONCE; r++) {
            if (AT_ONCE > 1 && first + r >= end) continue;
            const size_t n = first + r, row = (b * N + n) * D + d;
            const float back = COSINE ? at(e, b * N + n) : 0;
            const wide v = widened(x_row[r]);
            wide change = 0;
            for (int t = 0; t < TOKENS; t++) {
                const float slope = slopes[r][t];
                if (slope == 0) continue;
                change += slope * tokens[t];
                sum[t] += slope * v;
                if (COSINE) q_sum[t] += at(q, (t * B + b) * N + n);
            }
            if (back != 0) change -= back * v;
            if (present(dx)) put_wide(dx, row, widened(dx_row[r]) + change);
        }
    }
    if (!present(sums)) return;
    for (int t = 0; t < TOKENS; t++)
        at_wide(sums, ((t * B + b) * parts + part) * D + d) = sum[t] - q_sum[t] * tokens[t];
}

// dtoken[d] += Σ of `rows` rows of sums [rows][D], those of sample b from row b·rows on: COLUMNS
// neighbouring d a work-group, whose lines of work-items take the rows in turn and are then joined.
// GROUPS(ceil(D / COLUMNS), tokens, samples). dtoken is storage, step further for the next sample; sums
// of the next token are `all` further.
__kernel void score_reduce(IN_F32(sums), ulong all, INOUT(dtoken0), ulong step0, INOUT(dtoken1),
                           ulong step1, INOUT(dtoken2), ulong step2, INOUT(dtoken3), ulong step3,
                           ulong rows, ulong D, __local float *scratch)
{
    const size_t item = get_local_id(0), line = item / COLUMNS, b = get_group_id(2);
    const size_t d = get_group_id(0) * COLUMNS + item % COLUMNS, t = get_group_id(1);
    __global storage *dtoken[] = {
        dtoken0_buffer + dtoken0_offset + b * step0, dtoken1_buffer + dtoken1_offset + b * step1,
        dtoken2_buffer + dtoken2_offset + b * step2, dtoken3_buffer + dtoken3_offset + b * step3};
    const bool wanted[] = {present(dtoken0), present(dtoken1), present(dtoken2), present(dtoken3)};
    const size_t lines = get_local_size(0) / COLUMNS;
    float even = 0, odd = 0;
    for (size_t i = line; d < D && i < rows; i += 2 * AT_ONCE * lines) {
        float v[2 * AT_ONCE]; // the last row again where there are fewer
        for (uint n = 0; n < 2 * AT_ONCE; n++)
            v[n] = at(sums, t * all + (b * rows + min(i + n * lines, (size_t)rows - 1)) * D + d);
        for (uint n = 0; n < 2 * AT_ONCE; n += 2) {
            if (i + n * lines < rows) even += v[n];
            if (i + (n + 1) * lines < rows) odd += v[n + 1];
        }
    }
    scratch[item] = even + odd;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (size_t step_down = get_local_size(0) / 2; step_down >= COLUMNS; step_down /= 2) {
        if (item < step_down) scratch[item] += scratch[item + step_down];
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    if (item < COLUMNS && d < D && wanted[t])
        store_storage(dtoken[t], d, load_storage(dtoken[t], d) + scratch[item]);
}
