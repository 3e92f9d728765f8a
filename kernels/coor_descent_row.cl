// SPDX-License-Identifier: MIT
// Coordinate descent in one launch: a work-group a row, whose values stay in registers for all
// iterations (solver.cl); GPUs only.
//
// s, scores [B][R][N], mask [B][N], index, picked [B][R][K], state [B][R][T][4]; GROUPS(rows, 1, 1).
// What is beyond GROUP · VALUES is read again in each iteration. Bound by the powers of two: 16 a
// cycle on NVIDIA.
//
// Defines: GROUP, work-items, known to the compiler so that the registers are enough for as many;
// VALUES of each, a multiple of 8; WARPS as in row_warps.cl.

#ifndef GROUP
    #define GROUP 64
#endif
#ifndef VALUES
    #define VALUES 8
#endif

// Token n, or -infinity where it is masked or beyond the row. ints, to save registers.
inline float value_at(__global const float *s, __global const uchar *mask, int n, int N)
{
    return n < N && (!mask || mask[n] != 0) ? s[n] : -INFINITY;
}

// s + base as a power of two: s + base.x is exact where it matters.
inline float exponent(float s, float2 base, float scale)
{
    // Finite, so that it takes nothing from a masked token's -infinity.
    const float low = clamp(base.y * scale, -0x1p100f, 0x1p100f);
    return fma(s + base.x, scale, low);
}

inline float term(float x)
{
    return quick_exp2(x > 0.0f ? 0.0f : x);
}

// A token's score; 0 where it is masked.
inline float score_of(float s, float2 a, float scale)
{
    return s == -INFINITY ? 0.0f : term(exponent(s, a, scale));
}

// The next 8 of this work-item's values, from token n on.
inline void values_at(__global const float *s, __global const uchar *mask, int n, int left, float v[8])
{
#pragma unroll
    for (int i = 0; i < 8; i++) v[i] = value_at(s, mask, n + i * GROUP, left);
}

// Adds 8 terms to a sum, and counts those at their ceiling. The 8 are added up by themselves: less is
// rounded away, and they need not wait for the sum.
inline void add_terms(const float v[8], float2 base, float scale, float *sum, uint *ceiling)
{
    float some = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        const float x = exponent(v[i], base, scale);
        some += term(x);
        *ceiling += x > 0.0f;
    }
    *sum += some;
}

// This work-item's part of both.
inline float2 own_sums(const float v[VALUES], __global const float *s, __global const uchar *mask,
                       int left, float2 base, float scale)
{
    float beyond[8], sum = 0.0f;
    uint ceiling = 0;
#pragma unroll
    for (int i = 0; i < VALUES; i += 8) add_terms(v + i, base, scale, &sum, &ceiling);
    for (int n = VALUES * GROUP; n < left; n += 8 * GROUP) {
        values_at(s, mask, n, left, beyond);
        add_terms(beyond, base, scale, &sum, &ceiling);
    }
    return (float2)(sum, ceiling);
}

// The largest value, and how many are not -infinity.
inline float2 own_extent(const float v[VALUES], __global const float *s, __global const uchar *mask,
                         int left)
{
    float m = -INFINITY;
    uint tokens = 0;
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
        m = fmax(m, v[i]);
        tokens += v[i] != -INFINITY;
    }
    for (int n = VALUES * GROUP; n < left; n += GROUP) {
        const float value = value_at(s, mask, n, left);
        m = fmax(m, value);
        tokens += value != -INFINITY;
    }
    return (float2)(m, tokens);
}

// Scores of all tokens, or (index present) of K tokens of each row only; the other is absent. The
// mask's samples serve all rows in turn.
__kernel __attribute__((reqd_work_group_size(GROUP, 1, 1))) void
coor_descent_row(IN_F32(s), IN_U8(mask), OUT_F32(scores), IN_I32(index), OUT_F32(picked),
                 OUT_F32(state), ulong N, ulong R, ulong samples, ulong K, float k, int T, float eps,
                 float eps_init, float eps_decay, __local float2 *scratch)
{
    const size_t row = get_group_id(0);
    const int item = get_local_id(0), left = (int)N - item; // of the row, from this item's first on
    __global const float *of_s = &at(s, row * N + item);
    __global const uchar *of_mask = mask_at(mask, row / R % samples * N + item);
    float v[VALUES];

#pragma unroll
    for (int i = 0; i < VALUES; i++) v[i] = i * GROUP < left ? of_s[i * GROUP] : -INFINITY;
    if (of_mask) {
#pragma unroll
        for (int i = 0; i < VALUES; i++)
            if (i * GROUP < left && !of_mask[i * GROUP]) v[i] = -INFINITY;
    }
    float2 sums = group_pair(own_extent(v, of_s, of_mask, left), true, 1, scratch);

    float2 e = (float2)(fmax(eps_init, eps), 0.0f);
    struct solver solver = first_step(sums.x, sums.y, k, e.x);
    float scale = 0.0f;
    sums = (float2)(1.0f, 0.0f);
    for (int t = 0; t < T; t++) {
        const float2 next_e = decayed(e, eps_decay, eps);
        if (t > 0) {
            sums = own_sums(v, of_s, of_mask, left, base_of(solver), scale);
            sums = group_pair(sums, false, t + 1, scratch);
            solver = next_step(solver, sums.x, k, e.x);
        }
        if (item == 0 && present(state)) save(&at(state, 0), row * T + t, solver.a, sums, e.x);
        scale = LOG2E / next_e.x;
        e = next_e;
    }

    for (size_t i = item; present(index) && i < K; i += GROUP) {
        const int n = at(index, row * K + i);
        const float value = inside(n, N) ? value_at(of_s, of_mask, n - item, left) : -INFINITY;
        at(picked, row * K + i) = score_of(value, solver.a, scale);
    }
    if (present(index)) return;
    __global float *of_scores = &at(scores, row * N + item);
#pragma unroll
    for (int i = 0; i < VALUES; i++)
        if (i * GROUP < left) of_scores[i * GROUP] = score_of(v[i], solver.a, scale);
    for (int n = VALUES * GROUP; n < left; n += GROUP)
        of_scores[n] = score_of(value_at(of_s, of_mask, n, left), solver.a, scale);
}
