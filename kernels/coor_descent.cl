// SPDX-License-Identifier: MIT
// Coordinate descent over rows of any length (solver.cl has the iteration).
//
// s, scores [B][R][N], mask [B][N], state [B][R][T][4]; a row is b·R + r. T+1 launches: _begin, _step
// T-1 times, _end: work-groups (rows, chunks), each summing all partials of the launch before for
// itself, in the same order. The scores' memory holds the row meanwhile, masked tokens as -infinity.
//
// between [rows][chunks + 2] pairs, read by one launch and written by the next: a; m and tokens;
// then a partial of each chunk, the largest s and the tokens (first) or both sums (then).

// Tokens' terms (or scores).
inline float8 terms(float8 s, float2 base, float scale)
{
    const float8 x = (s + base.x) + base.y;
    return select(exp2_normal(x * scale), (float8)1.0f, x > 0.0f);
}

__kernel void coor_descent_begin(IN_F32(s), IN_U8(mask), OUT_F32(scores), OUT_F32(after), ulong N,
                                 ulong R, ulong samples, ulong chunk, __local float2 *scratch)
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
    const float2 of_part = group_pair((float2)(max8(m), sum8(tokens)), true, 0, scratch);
    if (get_local_id(0) == 0)
        vstore2(of_part, row * (parts + 2) + 2 + part, &at(after, 0));
}

// The row after iteration t (from 0), from what the launch before left.
inline struct solver resume(__global const float *before, size_t parts, int t, float k, float e,
                            float2 *sums, __local float2 *scratch)
{
    const bool first = t == 0;
    float2 value = (float2)(first ? -INFINITY : 0.0f, 0.0f);
    for (size_t i = get_local_id(0); i < parts; i += get_local_size(0)) {
        const float2 partial = vload2(2 + i, before);
        value = (float2)(joined(value.x, partial.x, first), value.y + partial.y);
    }
    value = group_pair(value, first, 0, scratch);
    *sums = first ? (float2)(1.0f, 0.0f) : value;
    if (first) return first_step(value.x, value.y, k, e);
    struct solver row;
    row.a = vload2(0, before);
    row.m = before[2];
    row.tokens = before[3];
    return next_step(row, value.x, k, e);
}

__kernel void coor_descent_step(IN_F32(scores), IN_F32(before), OUT_F32(after), OUT_F32(state),
                                ulong N, ulong chunk, float k, float e, float next_e, int T, int t,
                                __local float2 *scratch)
{
    const size_t row = get_group_id(0), part = get_group_id(1), parts = get_num_groups(1);
    const size_t last = min((size_t)N, (part + 1) * chunk), pairs = row * (parts + 2);
    const size_t step = 8 * get_local_size(0);
    size_t n = part * chunk + 8 * get_local_id(0);
    float8 next = -INFINITY; // under way while the launch before is read
    if (n < last) next = load8_valid(&at(scores, row * N + n), 0, last - n);
    float2 sums;
    const struct solver solver =
        resume(&at(before, 2 * pairs), parts, t, k, e, &sums, scratch);
    if (part == 0 && get_local_id(0) == 0) {
        vstore4((float4)(solver.a.x, solver.a.y, solver.m, solver.tokens), 0, &at(after, 2 * pairs));
        if (present(state)) save(&at(state, 0), row * T + t, solver.a, sums, e);
    }

    const float2 base = base_of(solver);
    float8 sum = 0.0f, lost = 0.0f, ceiling = 0.0f;
    while (n < last) {
        float8 some = 0.0f; // a few terms by themselves: accumulate8 waits on itself
        for (int i = 0; i < 8 && n < last; i++) {
            const float8 v = next;
            n += step;
            if (n < last) next = load8_valid(&at(scores, row * N + n), 0, last - n);
            some += terms(v, base, LOG2E / next_e);
            ceiling += select((float8)0.0f, (float8)1.0f, (v + base.x) + base.y > 0.0f);
        }
        accumulate8(&sum, &lost, some);
    }
    sums = group_pair((float2)(sum8(sum), sum8(ceiling)), false, 1, scratch);
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
