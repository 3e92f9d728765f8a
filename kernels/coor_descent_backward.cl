// SPDX-License-Identifier: MIT
// The gradient of coordinate descent (coor_descent.cl).
//
// s, dscores, ds [B][R][N], mask [B][N], state [B][R][T][4] (a_t in two floats, r_t, e_t), dk [B][R];
// a row is b·R + r. With u = [s + a_T <= 0], r_t = da_t/da_(t-1) and D_t the gradient of a_t:
//
//     scores = min(1, exp((s + a_T) / e'))   ->  ds = u dscores scores / e',  D_T = sum of ds
//     a_t of a_(t-1)                         ->  D_(t-1) = D_t r_t
//     a_t of s                               ->  ds -= D_t [s + a_(t-1) <= 0] exp((s + a_t) / e_t) / k
//     a_t of k                               ->  dk += D_t e_t / k
//
// One launch, few iterations: _backward (work-groups: rows, chunks), each of which sums the whole row
// and repeats the recursion for itself, in the same order. Three launches: _gradient (work-groups:
// rows, chunks), _recursion (a work-group a row), _spread (an item 8 tokens).

#define LOG2E 1.44269504f

// ds of the scores of tokens of the values v: u dscore score / e'; 0 where they are masked.
inline float8 direct8(float8 v, float8 dscore, float2 a, float last_e)
{
    const float8 x = (v + a.x) + a.y;
    const float8 gradient = dscore * exp2(x * (LOG2E / last_e)) / last_e;
    return select(gradient, (float8)0.0f, x > 0.0f || v == -INFINITY);
}

inline float direct(float v, float dscore, float2 a, float last_e)
{
    const float x = (v + a.x) + a.y;
    return x > 0.0f || v == -INFINITY ? 0.0f : dscore * exp2(x * (LOG2E / last_e)) / last_e;
}

__kernel void coor_descent_gradient(IN_F32(s), IN_U8(mask), IN_F32(state), IN_F32(dscores),
                                    OUT_F32(ds), OUT_F32(partials), ulong N, ulong R, ulong samples,
                                    ulong chunk, float last_e, int T, __local float *scratch)
{
    const size_t row = get_group_id(0), part = get_group_id(1);
    const size_t last = min((size_t)N, (part + 1) * chunk);
    const float2 a = vload4(row * T + T - 1, &at(state, 0)).xy;
    float8 sum = 0.0f, lost = 0.0f;

    for (size_t n = part * chunk + 8 * get_local_id(0); n < last; n += 8 * get_local_size(0)) {
        const size_t i = row * N + n;
        const float8 v = load8_valid(&at(s, i), mask_at(mask, row / R % samples * N + n), last - n);
        const float8 dscore = load8_valid(&at(dscores, i), 0, last - n);
        const float8 kept = direct8(v, dscore, a, last_e);
        accumulate8(&sum, &lost, kept);
        store8(&at(ds, i), kept, last - n);
    }
    const float total = group_sum(sum8(sum), scratch);
    if (get_local_id(0) == 0) at(partials, row * get_num_groups(1) + part) = total;
}

// steps [rows][T]: a_t in two floats, log2(e)/e_t, D_t/k; from the last iteration to the first.
__kernel void coor_descent_recursion(IN_F32(state), IN_F32(partials), OUT_F32(steps), OUT_F32(dk),
                                     ulong parts, float k, int T, __local float *scratch,
                                     __local float *factors)
{
    const size_t row = get_group_id(0);
    const int item = get_local_id(0), items = get_local_size(0);
    float sum = 0.0f, of_k = 0.0f;
    for (size_t i = item; i < parts; i += items) sum += at(partials, row * parts + i);
    float D = group_sum(sum, scratch);

    for (int top = T - 1; top >= 0; top -= items) {
        const int t = top - item;
        const float4 saved = vload4(row * T + max(t, 0), &at(state, 0));
        factors[item] = saved.z;
        barrier(CLK_LOCAL_MEM_FENCE);
        float mine = D;
        for (int i = 0; i < items; i++) {
            if (i == item) mine = D;
            D *= factors[i];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        if (t >= 0) {
            vstore4((float4)(saved.x, saved.y, LOG2E / saved.w, mine / k), row * T + t, &at(steps, 0));
            of_k += mine * saved.w;
        }
    }
    of_k = group_sum(of_k, scratch);
    if (item == 0 && present(dk)) at(dk, row) = of_k / k;
}

__kernel void coor_descent_spread(IN_F32(s), IN_U8(mask), IN_F32(steps), INOUT_F32(ds), ulong N,
                                  ulong R, ulong samples, ulong items, int T)
{
    const size_t i = get_global_id(0), in_row = (N + 7) / 8, row = i / in_row;
    const size_t n = 8 * (i - row * in_row);
    if (i >= items) return;
    const float8 v = load8_valid(&at(s, row * N + n), mask_at(mask, row / R % samples * N + n), N - n);
    float8 sum = 0.0f, lost = 0.0f;
    float4 before = vload4(row * T, &at(steps, 0));

    for (int t = 1; t < T; t++) {
        const float4 step = vload4(row * T + t, &at(steps, 0));
        if (step.w != 0.0f) {
            const float8 x = (v + step.x) + step.y, was = (v + before.x) + before.y;
            accumulate8(&sum, &lost,
                        select(step.w * exp2_normal(x * step.z), (float8)0.0f, was > 0.0f));
        }
        before = step;
    }
    __global float *d = &at(ds, row * N + n);
    const float8 direct = load8_valid(d, 0, N - n);
    store8(d, select(direct - sum, (float8)0.0f, v == -INFINITY), N - n);
}

// The sum of what the scores' own gradients are: of all N, or (index present) of the K picked.
inline float sum_direct(__global const float *s, __global const uchar *mask,
                        __global const float *dscores, __global const int *index, size_t N, size_t K,
                        float2 a, float last_e, __local float *scratch)
{
    float8 sum = 0.0f, lost = 0.0f;
    for (size_t n = 8 * get_local_id(0); !index && n < N; n += 8 * get_local_size(0)) {
        const float8 v = load8_valid(s + n, mask ? mask + n : 0, N - n);
        accumulate8(&sum, &lost, direct8(v, load8_valid(dscores + n, 0, N - n), a, last_e));
    }
    float of_picked = 0.0f, missing = 0.0f;
    for (size_t i = get_local_id(0); index && i < K; i += get_local_size(0)) {
        const int n = index[i];
        if (!inside(n, N) || (mask && !mask[n])) continue;
        const float wanted = direct(s[n], dscores[i], a, last_e) - missing;
        const float next = of_picked + wanted;
        missing = (next - of_picked) - wanted;
        of_picked = next;
    }
    return group_sum(sum8(sum) + of_picked, scratch);
}

// dscores [rows][N], or (index present) [rows][K] of the picked tokens alone. steps: a_t in two
// floats, log2(e)/e_t and e_t; of_steps: D_t and r_t. The mask's samples serve all rows in turn.
__kernel void coor_descent_backward(IN_F32(s), IN_U8(mask), IN_F32(state), IN_F32(dscores),
                                    IN_I32(index), OUT_F32(ds), OUT_F32(dk), ulong N, ulong R,
                                    ulong samples, ulong K, ulong chunk, float k, float last_e,
                                    int T, __local float *scratch, __local float4 *steps,
                                    __local float *of_steps)
{
    const size_t row = get_group_id(0), part = get_group_id(1);
    const int item = get_local_id(0), items = get_local_size(0);
    const size_t first = part * chunk, last = min((size_t)N, first + chunk);
    __global const float *of_s = &at(s, row * N);
    __global const uchar *of_mask = mask_at(mask, row / R % samples * N);
    __global const int *of_index = present(index) ? &at(index, row * K) : 0;
    __global const float *of_dscores = &at(dscores, row * (of_index ? K : N));
    __global float *of_ds = &at(ds, row * N);
    const float2 a = vload4(row * T + T - 1, &at(state, 0)).xy;
    const float D = sum_direct(of_s, of_mask, of_dscores, of_index, N, K, a, last_e, scratch);

    for (int t = item; t < T; t += items) {
        const float4 saved = vload4(row * T + t, &at(state, 0));
        steps[t] = (float4)(saved.x, saved.y, LOG2E / saved.w, saved.w);
        of_steps[T + t] = saved.z;
    }
    barrier(CLK_LOCAL_MEM_FENCE);
    float of_k = 0.0f;
    for (int t = item; t < T; t += items) {
        float mine = D;
        for (int later = T - 1; later > t; later--) mine *= of_steps[T + later];
        of_steps[t] = mine;
        of_k += mine * steps[t].w;
    }
    of_k = group_sum(of_k, scratch);
    if (item == 0 && part == 0 && present(dk)) at(dk, row) = of_k / k;

    for (size_t n = first + 8 * item; n < last; n += 8 * items) {
        const float8 v = load8_valid(of_s + n, of_mask ? of_mask + n : 0, last - n);
        float8 sum = 0.0f, lost = 0.0f, own = 0.0f;
        for (int t = 1; t < T; t++) {
            const float4 step = steps[t], before = steps[t - 1];
            const float8 x = (v + step.x) + step.y, was = (v + before.x) + before.y;
            if (of_steps[t] != 0.0f)
                accumulate8(&sum, &lost,
                            select(of_steps[t] / k * exp2_normal(x * step.z), (float8)0.0f,
                                   was > 0.0f));
        }
        if (!of_index) own = direct8(v, load8_valid(of_dscores + n, 0, last - n), a, last_e);
        store8(of_ds + n, select(own - sum, (float8)0.0f, v == -INFINITY), last - n);
    }
    barrier(CLK_GLOBAL_MEM_FENCE);
    for (size_t i = item; of_index && i < K; i += items) {
        const int n = of_index[i];
        if (inside(n, N) && (size_t)n >= first && (size_t)n < last && (!of_mask || of_mask[n]))
            of_ds[n] += direct(of_s[n], of_dscores[i], a, last_e);
    }
}
