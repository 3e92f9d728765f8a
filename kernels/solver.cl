// SPDX-License-Identifier: MIT
// One iteration of coordinate descent over the valid tokens of a row, in its scalar form.
//
// The whole state of a row is one number a. With m the largest s, and base = max(a, -m),
//
//     a' = base + e log(k / S),   S = sum of exp(min(s + base, 0) / e),   1 <= S <= tokens
//
// which is SPEC's iteration with its largest term taken out where all would vanish (a < -m): then
// log S grows by (m + a)/e, and a falls out. An error of a is divided by e, so a is kept in two
// floats, high and low; s + high is exact where it matters, near 0.

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
