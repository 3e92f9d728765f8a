/* SPDX-License-Identifier: MIT */
#include <colt5/ops/local_attention.h>

#include "ops/attention.h"
#include "runtime/check.h"

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Pairs of a query among the first n tokens and a key it may see. */
static size_t pairs_before(const struct attention_problem *a, size_t n)
{
    const size_t w = a->window;
    if (a->causal) { /* its block up to itself; from the second block on, the w tokens before too */
        const size_t blocks = n / w, rest = n % w;
        return blocks * (w * (w + 1) / 2) + rest * (rest + 1) / 2 + (n > w ? (n - w) * w : 0);
    }
    const size_t m = smaller(n, w);                   /* query i < w lacks w - i keys on the left */
    const size_t c = n + w > a->N ? n + w - a->N : 0; /* the last w lack 1, 2, … on the right */
    return n * (2 * w + 1) - (m * (2 * w + 1 - m)) / 2 - c * (c + 1) / 2;
}

/* The first and the last token that query i may see. */
static size_t first_seen(const struct attention_problem *a, size_t i)
{
    const size_t from = a->causal ? i / a->window * a->window : i;
    return from > a->window ? from - a->window : 0;
}

static size_t last_seen(const struct attention_problem *a, size_t i)
{
    return a->causal ? i : smaller(i + a->window, a->N - 1);
}

static colt5_status check_tokens(colt5_context *ctx, const struct attention_problem *a)
{
    const size_t keys_end = a->first_key + a->M;
    REQUIRE(ctx, a->first_key <= a->N && a->M <= a->N - a->first_key, COLT5_ERROR_ARGUMENT,
            "local_attention: qkv has the tokens %zu to %zu of %zu", a->first_key, keys_end, a->N);
    REQUIRE(ctx, a->first_query <= a->N && a->Q <= a->N - a->first_query, COLT5_ERROR_ARGUMENT,
            "local_attention: y has the tokens %zu to %zu of %zu", a->first_query,
            a->first_query + a->Q, a->N);
    if (a->Q == 0) return COLT5_OK;
    const size_t first = first_seen(a, a->first_query);
    const size_t last = last_seen(a, a->first_query + a->Q - 1);
    REQUIRE(ctx, a->first_key <= first && last < keys_end, COLT5_ERROR_ARGUMENT,
            "local_attention: the queries see the tokens %zu to %zu, qkv has %zu to %zu", first,
            last, a->first_key, keys_end);
    return COLT5_OK;
}

/* Checks what forward and backward share, and describes it. */
static colt5_status describe(colt5_context *ctx, const colt5_tensor *qkv, const colt5_tensor *mask,
                             const colt5_local_attention_options *options, const colt5_tensor *y,
                             struct attention_problem *a)
{
    REQUIRE_TENSOR(ctx, "local_attention", qkv, 5);
    REQUIRE_STORAGE(ctx, "local_attention", qkv);
    REQUIRE(ctx, options, COLT5_ERROR_ARGUMENT, "local_attention: options is NULL");
    REQUIRE(ctx, options->window >= 1, COLT5_ERROR_ARGUMENT, "local_attention: window is 0");
    REQUIRE(ctx, options->length < ATTENTION_LONGEST, COLT5_ERROR_ARGUMENT,
            "local_attention: length is %zu, not below 2^30", options->length);
    const size_t B = qkv->dims[0], P = qkv->dims[1], H = qkv->dims[3], E = qkv->dims[4];
    REQUIRE_SHAPE(ctx, "local_attention", qkv, B, P, 3, H, E);
    REQUIRE(ctx, E >= 1 && E <= ATTENTION_WIDEST, COLT5_ERROR_SHAPE,
            "local_attention: a head of width %zu, not 1 to %d", E, ATTENTION_WIDEST);
    REQUIRE_TENSOR(ctx, "local_attention", y, 4);
    const size_t Q = y->dims[1];
    REQUIRE_SHAPE(ctx, "local_attention", y, B, Q, H, E);
    REQUIRE_TYPE(ctx, "local_attention", y, qkv->type);
    if (mask) {
        REQUIRE_TYPE(ctx, "local_attention", mask, COLT5_U8);
        REQUIRE_SHAPE(ctx, "local_attention", mask, B, options->length);
    }
    /* A window longer than N changes nothing. */
    *a = (struct attention_problem){.local = true,
                                    .q = qkv,
                                    .kv = qkv,
                                    .mask = mask,
                                    .B = B,
                                    .Q = Q,
                                    .M = P,
                                    .H = H,
                                    .E = E,
                                    .R = 1,
                                    .N = options->length,
                                    .first_key = options->first_key,
                                    .first_query = options->first_query,
                                    .window = smaller(options->window, options->length),
                                    .causal = options->causal != 0};
    const colt5_status status = check_tokens(ctx, a);
    if (status == COLT5_OK && a->N > 0)
        a->pairs = pairs_before(a, a->first_query + Q) - pairs_before(a, a->first_query);
    return status;
}

colt5_status colt5_local_attention_forward(colt5_context *ctx, const colt5_tensor *qkv,
                                           const colt5_tensor *mask,
                                           const colt5_local_attention_options *options,
                                           const colt5_tensor *y, const colt5_tensor *lse)
{
    struct attention_problem attention;
    CHECK(describe(ctx, qkv, mask, options, y, &attention));
    REQUIRE_APART(ctx, "local_attention", qkv, y);
    if (lse) {
        REQUIRE_TYPE(ctx, "local_attention", lse, COLT5_F32);
        REQUIRE_SHAPE(ctx, "local_attention", lse, attention.B, attention.H, attention.Q);
        REQUIRE_APART(ctx, "local_attention", qkv, lse);
        REQUIRE_APART(ctx, "local_attention", y, lse);
    }
    return attend_forward(ctx, &attention, y, lse);
}

colt5_status colt5_local_attention_backward(colt5_context *ctx, const colt5_tensor *qkv,
                                            const colt5_tensor *mask,
                                            const colt5_local_attention_options *options,
                                            const colt5_tensor *y, const colt5_tensor *lse,
                                            const colt5_tensor *dy, const colt5_tensor *dqkv)
{
    struct attention_problem a;
    CHECK(describe(ctx, qkv, mask, options, y, &a));
    REQUIRE_TYPE(ctx, "local_attention", lse, COLT5_F32);
    REQUIRE_SHAPE(ctx, "local_attention", lse, a.B, a.H, a.Q);
    REQUIRE_TYPE(ctx, "local_attention", dy, qkv->type);
    REQUIRE_SHAPE(ctx, "local_attention", dy, a.B, a.Q, a.H, a.E);
    REQUIRE_TYPE(ctx, "local_attention", dqkv, qkv->type);
    REQUIRE_SHAPE(ctx, "local_attention", dqkv, a.B, a.M, 3, a.H, a.E);
    REQUIRE_APART(ctx, "local_attention", qkv, dqkv);
    REQUIRE_APART(ctx, "local_attention", y, dqkv);
    REQUIRE_APART(ctx, "local_attention", lse, dqkv);
    REQUIRE_APART(ctx, "local_attention", dy, dqkv);
    struct attention_backward backward = {.op = "local_attention",
                                          .problem = &a,
                                          .y = y,
                                          .lse = lse,
                                          .dy = dy,
                                          .dq = dqkv,
                                          .dkv = dqkv};
    return attend_backward(ctx, &backward);
}
