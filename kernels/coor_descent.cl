// SPDX-License-Identifier: MIT
// Coordinate descent over the valid tokens of each row, in its scalar form.
//
// s, scores [B][R][N], mask [B][N], state [B][R][T][4]; a row is b·R + r.
// The whole state of a row is one number a. With m the largest s, and base = max(a, -m),
//
//     a' = base + e log(k / S),   S = sum of exp(min(s + base, 0) / e),   1 <= S <= tokens
//
// which is SPEC's iteration with its largest term taken out where all would vanish (a < -m): then
// log S grows by (m + a)/e, and a falls out. An error of a is divided by e, so a is kept in two
// floats, high and low; s + high is exact where it matters, near 0.
//
// Forward, one launch:  coor_descent_row: a work-group a row, values in registers for all T; what is
//     beyond GROUP · VALUES is read again in each.
// Forward, T+1 launches: _begin, _step T-1 times, _end: work-groups (rows, chunks), each summing
//     all partials of the launch before for itself, in the same order. The scores' memory holds
//     the row meanwhile, masked tokens as -infinity.

#ifndef GROUP
    #define GROUP 64 // work-items of coor_descent_row, so that the compiler leaves registers for all
#endif
#ifndef VALUES
    #define VALUES 8 // of a row in each work-item's registers
#endif

#define LOG2E 1.44269504f

// ---- a number in two floats: x the rounded sum, y what it lacks ----

inline float2 two_sum(float a, float b)
{
    const float sum = a + b, of_b = sum - a;
    return (float2)(sum, (a - (sum - of_b)) + (b - of_b));
}

inline float2 add(float2 a, float b)
{
    const float2 sum = two_sum(a.x, b);
    return two_sum(sum.x, sum.y + a.y);
}

// e of the next iteration. Two floats, since T roundings would show in the scores.
inline float2 decayed(float2 e, float decay, float eps)
{
    const float product = e.x * decay;
    const float2 next = (float2)(product, fma(e.x, decay, -product) + e.y * decay);
    return next.x < eps ? (float2)(eps, 0.0f) : next;
}

// ---- one iteration ----

struct solver {
    float2 a;     // after the iteration
    float m;      // the largest s
    float tokens; // valid ones, of -infinity left out
};

inline float2 base_of(struct solver row)
{
    return row.a.x + row.m < 0.0f ? (float2)(-row.m, 0.0f) : row.a;
}

// The first iteration: b = -s, every term is 1. A row of no valid token must only stay finite.
inline struct solver first_step(float m, float tokens, float k, float e)
{
    struct solver row;
    row.a = (float2)(e * log(k / fmax(tokens, 1.0f)), 0.0f);
    row.m = tokens > 0.0f ? m : 0.0f;
    row.tokens = tokens;
    return row;
}

// Every other: from the sum of all terms.
inline struct solver next_step(struct solver row, float sum, float k, float e)
{
    row.a = add(base_of(row), e * log(k / (row.tokens > 0.0f ? sum : 1.0f)));
    return row;
}

// What the backward needs: a, da/d(a before) = the terms at their ceiling / the sum, and e.
inline void save(__global float *state, size_t step, float2 a, float2 sums, float e)
{
    vstore4((float4)(a.x, a.y, sums.y > 0.0f ? sums.y / sums.x : 0.0f, e), step, state);
}

// Tokens' terms (or scores).
inline float8 terms(float8 s, float2 base, float scale)
{
    const float8 x = (s + base.x) + base.y;
    return select(exp2_normal(x * scale), (float8)1.0f, x > 0.0f);
}

// ---- forward, one launch ----

// Token n, or -infinity where it is masked or beyond the row. ints, to save registers.
inline float value_at(__global const float *s, __global const uchar *mask, int n, int N)
{
    return n < N && (!mask || mask[n] != 0) ? s[n] : -INFINITY;
}

// A token's term alone.
inline float one_term(float s, float2 base, float scale)
{
    const float x = (s + base.x) + base.y;
    return exp2((x > 0.0f ? 0.0f : x) * scale);
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
    float v[VALUES], m = -INFINITY, tokens = 0.0f;

#pragma unroll
    for (int i = 0; i < VALUES; i++) v[i] = i * GROUP < left ? of_s[i * GROUP] : -INFINITY;
    if (of_mask) {
#pragma unroll
        for (int i = 0; i < VALUES; i++)
            if (i * GROUP < left && !of_mask[i * GROUP]) v[i] = -INFINITY;
    }
#pragma unroll
    for (int i = 0; i < VALUES; i++) {
        m = fmax(m, v[i]);
        tokens += v[i] == -INFINITY ? 0.0f : 1.0f;
    }
    for (int n = VALUES * GROUP; n < left; n += GROUP) {
        const float value = value_at(of_s, of_mask, n, left);
        m = fmax(m, value);
        tokens += value == -INFINITY ? 0.0f : 1.0f;
    }
    m = group_max(m, (__local float *)scratch);
    tokens = group_sum(tokens, (__local float *)scratch);

    float2 e = (float2)(fmax(eps_init, eps), 0.0f), sums = (float2)(1.0f, 0.0f);
    struct solver solver = first_step(m, tokens, k, e.x);
    for (int t = 0; t < T; t++) {
        if (t > 0) {
            const float2 base = base_of(solver);
            const float scale = LOG2E / e.x;
            sums = (float2)(0.0f, 0.0f);
#pragma unroll
            for (int i = 0; i < VALUES; i++) sums.x += one_term(v[i], base, scale);
            for (int n = VALUES * GROUP; n < left; n += GROUP)
                sums.x += one_term(value_at(of_s, of_mask, n, left), base, scale);
            if (present(state)) {
#pragma unroll
                for (int i = 0; i < VALUES; i++) sums.y += (v[i] + base.x) + base.y > 0.0f;
                for (int n = VALUES * GROUP; n < left; n += GROUP)
                    sums.y += (value_at(of_s, of_mask, n, left) + base.x) + base.y > 0.0f;
            }
            sums = group_sum_pair(sums, scratch);
            solver = next_step(solver, sums.x, k, e.x);
        }
        if (item == 0 && present(state)) save(&at(state, 0), row * T + t, solver.a, sums, e.x);
        e = decayed(e, eps_decay, eps);
    }

    const float scale = LOG2E / e.x;
    for (size_t i = item; present(index) && i < K; i += GROUP) {
        const int n = at(index, row * K + i);
        const float value = inside(n, N) ? value_at(of_s, of_mask, n - item, left) : -INFINITY;
        at(picked, row * K + i) = value == -INFINITY ? 0.0f : one_term(value, solver.a, scale);
    }
    for (int n = 0; !present(index) && n < left; n += GROUP) {
        const float value = value_at(of_s, of_mask, n, left);
        at(scores, row * N + item + n) = value == -INFINITY ? 0.0f : one_term(value, solver.a, scale);
    }
}

// ---- forward, a launch per iteration ----
//
// between [rows][chunks + 2] pairs, read by one launch and written by the next: a; m and tokens;
// then a partial of each chunk, the largest s and the tokens (first) or both sums (then).

__kernel void coor_descent_begin(IN_F32(s), IN_U8(mask), OUT_F32(scores), OUT_F32(after), ulong N,
                                 ulong R, ulong samples, ulong chunk, __local float *scratch)
{
    const size_t row = get_group_id(0), part = get_group_id(1), parts = get_num_groups(1);
    const size_t last = min((size_t)N, (part + 1) * chunk);
    float8 m = -INFINITY, tokens = 0.0f;

    for (size_t n = part * chunk + 8 * get_local_id(0); n < last; n += 8 * get_local_size(0)) {
        const float8 v =
            load8_valid(&at(s, row * N + n), mask_at(mask, row / R % samples * N + n), last - n);
        m = fmax(m, v);
        tokens += select((float8)1.0f, (float8)0.0f, v == -INFINITY);
        store8(&at(scores, row * N + n), v, last - n);
    }
    const float largest = group_max(max8(m), scratch);
    const float all = group_sum(sum8(tokens), scratch);
    if (get_local_id(0) == 0)
        vstore2((float2)(largest, all), row * (parts + 2) + 2 + part, &at(after, 0));
}

// The row after iteration t (from 0), from what the launch before left.
inline struct solver resume(__global const float *before, size_t parts, int t, float k, float e,
                            float2 *sums, __local float2 *scratch)
{
    float2 value = t == 0 ? (float2)(-INFINITY, 0.0f) : (float2)(0.0f, 0.0f);
    for (size_t i = get_local_id(0); i < parts; i += get_local_size(0)) {
        const float2 partial = vload2(2 + i, before);
        value = t == 0 ? (float2)(fmax(value.x, partial.x), value.y + partial.y) : value + partial;
    }
    if (t == 0) {
        const float m = group_max(value.x, (__local float *)scratch);
        *sums = (float2)(1.0f, 0.0f);
        return first_step(m, group_sum(value.y, (__local float *)scratch), k, e);
    }
    struct solver row;
    row.a = vload2(0, before);
    row.m = before[2];
    row.tokens = before[3];
    *sums = group_sum_pair(value, scratch);
    return next_step(row, sums->x, k, e);
}

__kernel void coor_descent_step(IN_F32(scores), IN_F32(before), OUT_F32(after), OUT_F32(state),
                                ulong N, ulong chunk, float k, float e, float next_e, int T, int t,
                                __local float2 *scratch)
{
    const size_t row = get_group_id(0), part = get_group_id(1), parts = get_num_groups(1);
    const size_t last = min((size_t)N, (part + 1) * chunk), pairs = row * (parts + 2);
    float2 sums;
    const struct solver solver =
        resume(&at(before, 2 * pairs), parts, t, k, e, &sums, scratch);
    if (part == 0 && get_local_id(0) == 0) {
        vstore4((float4)(solver.a.x, solver.a.y, solver.m, solver.tokens), 0, &at(after, 2 * pairs));
        if (present(state)) save(&at(state, 0), row * T + t, solver.a, sums, e);
    }

    const float2 base = base_of(solver);
    float8 sum = 0.0f, lost = 0.0f, ceiling = 0.0f;
    size_t n = part * chunk + 8 * get_local_id(0);
    while (n < last) {
        float8 some = 0.0f; // a few terms by themselves: accumulate8 waits on itself
        for (int i = 0; i < 8 && n < last; i++, n += 8 * get_local_size(0)) {
            const float8 v = load8_valid(&at(scores, row * N + n), 0, last - n);
            some += terms(v, base, LOG2E / next_e);
            ceiling += select((float8)0.0f, (float8)1.0f, (v + base.x) + base.y > 0.0f);
        }
        accumulate8(&sum, &lost, some);
    }
    sums = group_sum_pair((float2)(sum8(sum), sum8(ceiling)), scratch);
    if (get_local_id(0) == 0) vstore2(sums, pairs + 2 + part, &at(after, 0));
}

__kernel void coor_descent_end(INOUT_F32(scores), IN_F32(before), OUT_F32(state), ulong N,
                               ulong chunk, float k, float e, float next_e, int T,
                               __local float2 *scratch)
{
    const size_t row = get_group_id(0), part = get_group_id(1), parts = get_num_groups(1);
    const size_t last = min((size_t)N, (part + 1) * chunk);
    float2 sums;
    const struct solver solver =
        resume(&at(before, 2 * row * (parts + 2)), parts, T - 1, k, e, &sums, scratch);
    if (part == 0 && get_local_id(0) == 0 && present(state))
        save(&at(state, 0), row * T + T - 1, solver.a, sums, e);

    for (size_t n = part * chunk + 8 * get_local_id(0); n < last; n += 8 * get_local_size(0)) {
        __global float *x = &at(scores, row * N + n);
        const float8 v = load8_valid(x, 0, last - n);
        const float8 score = terms(v, solver.a, LOG2E / next_e);
        store8(x, select(score, (float8)0.0f, score <= 0x1p-126f || v == -INFINITY),
               last - n);
    }
}
