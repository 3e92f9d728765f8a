/* SPDX-License-Identifier: MIT */
#include <colt5/ops/flash_attention.h>

#include "ops/attention.h"
#include "runtime/check.h"

static colt5_status check_scores(colt5_context *ctx, const colt5_flash_attention_inputs *inputs,
                                 const struct attention_problem *a)
{
    const colt5_tensor *q_scores = inputs->q_scores, *kv_scores = inputs->kv_scores;
    if (q_scores) {
        REQUIRE_TYPE(ctx, "flash_attention", q_scores, COLT5_F32);
        REQUIRE_SHAPE(ctx, "flash_attention", q_scores, a->B, a->Q);
    }
    if (kv_scores) {
        REQUIRE_TYPE(ctx, "flash_attention", kv_scores, COLT5_F32);
        REQUIRE_SHAPE(ctx, "flash_attention", kv_scores, a->B, a->R, a->M);
    }
    REQUIRE(ctx, kv_scores || !inputs->multiply_keys, COLT5_ERROR_ARGUMENT,
            "flash_attention: multiply_keys without kv_scores");
    return COLT5_OK;
}

static colt5_status check_keys(colt5_context *ctx, const colt5_flash_attention_inputs *inputs,
                               const struct attention_problem *a)
{
    const colt5_tensor *kv = inputs->kv, *null_kv = inputs->null_kv, *mask = inputs->mask;
    REQUIRE(ctx, a->R >= 1 && a->H % a->R == 0, COLT5_ERROR_SHAPE,
            "flash_attention: %zu routes do not divide %zu heads", a->R, a->H);
    REQUIRE_TYPE(ctx, "flash_attention", kv, a->q->type);
    REQUIRE_SHAPE(ctx, "flash_attention", kv, a->B, a->R, a->M, a->H / a->R, 2 * a->E);
    REQUIRE(ctx, a->M < ATTENTION_LONGEST && a->Q < ATTENTION_LONGEST, COLT5_ERROR_SHAPE,
            "flash_attention: %zu queries, %zu keys: not below 2^30", a->Q, a->M);
    if (null_kv) {
        REQUIRE_TYPE(ctx, "flash_attention", null_kv, a->q->type);
        REQUIRE_SHAPE(ctx, "flash_attention", null_kv, 2, a->H, a->E);
    }
    if (mask) {
        REQUIRE_TYPE(ctx, "flash_attention", mask, COLT5_U8);
        REQUIRE_SHAPE(ctx, "flash_attention", mask, a->B, a->R, a->M);
    }
    return COLT5_OK;
}

/* Checks what forward and backward share, and describes it. */
static colt5_status describe(colt5_context *ctx, const colt5_flash_attention_inputs *inputs,
                             const colt5_tensor *y, struct attention_problem *a)
{
    REQUIRE(NULL, ctx, COLT5_ERROR_ARGUMENT, "flash_attention: ctx is NULL");
    REQUIRE(ctx, inputs, COLT5_ERROR_ARGUMENT, "flash_attention: inputs is NULL");
    const colt5_tensor *q = inputs->q, *kv = inputs->kv;
    REQUIRE_TENSOR(ctx, "flash_attention", q, 4);
    REQUIRE_TENSOR(ctx, "flash_attention", kv, 5);
    REQUIRE_STORAGE(ctx, "flash_attention", q);
    const size_t B = q->dims[0], Q = q->dims[1], H = q->dims[2], E = q->dims[3];
    REQUIRE(ctx, E >= 1 && E <= ATTENTION_WIDEST, COLT5_ERROR_SHAPE,
            "flash_attention: a head of width %zu, not 1 to %d", E, ATTENTION_WIDEST);
    *a = (struct attention_problem){.q = q,
                                    .kv = kv,
                                    .null_kv = inputs->null_kv,
                                    .mask = inputs->mask,
                                    .q_scores = inputs->q_scores,
                                    .kv_scores = inputs->kv_scores,
                                    .multiply_keys = inputs->multiply_keys != 0,
                                    .B = B,
                                    .Q = Q,
                                    .M = kv->dims[2],
                                    .H = H,
                                    .E = E,
                                    .R = kv->dims[1],
                                    .N = kv->dims[2],
                                    .window = 1,
                                    .pairs = Q * (kv->dims[2] + (inputs->null_kv ? 1 : 0))};
    CHECK(check_keys(ctx, inputs, a));
    CHECK(check_scores(ctx, inputs, a));
    REQUIRE_TYPE(ctx, "flash_attention", y, q->type);
    REQUIRE_SHAPE(ctx, "flash_attention", y, B, Q, H, E);
    return COLT5_OK;
}

/* Nothing written may lie on anything read. */
static colt5_status check_output(colt5_context *ctx, const colt5_flash_attention_inputs *inputs,
                                 const char *name, const colt5_tensor *output)
{
    const struct {
        const char *name;
        const colt5_tensor *tensor;
    } read[] = {{"q", inputs->q},
                {"kv", inputs->kv},
                {"null_kv", inputs->null_kv},
                {"mask", inputs->mask},
                {"q_scores", inputs->q_scores},
                {"kv_scores", inputs->kv_scores}};
    for (size_t i = 0; i < sizeof(read) / sizeof(read[0]); i++)
        if (read[i].tensor)
            CHECK(check_apart(ctx, "flash_attention", read[i].name, read[i].tensor, name, output));
    return COLT5_OK;
}

colt5_status colt5_flash_attention_forward(colt5_context *ctx,
                                           const colt5_flash_attention_inputs *inputs,
                                           const colt5_tensor *y, const colt5_tensor *lse)
{
    struct attention_problem attention;
    CHECK(describe(ctx, inputs, y, &attention));
    CHECK(check_output(ctx, inputs, "y", y));
    if (lse) {
        REQUIRE_TYPE(ctx, "flash_attention", lse, COLT5_F32);
        REQUIRE_SHAPE(ctx, "flash_attention", lse, attention.B, attention.H, attention.Q);
        CHECK(check_output(ctx, inputs, "lse", lse));
        REQUIRE_APART(ctx, "flash_attention", y, lse);
    }
    return attend_forward(ctx, &attention, y, lse);
}

/* What the backward reads. */
struct backward_tensors {
    const colt5_flash_attention_inputs *inputs;
    const colt5_tensor *y, *lse, *dy;
};

/* A gradient, where it is wanted, is of an input, has its shape and lies on nothing read. */
static colt5_status check_gradient(colt5_context *ctx, const struct backward_tensors *read,
                                   const char *name, const colt5_tensor *gradient,
                                   const colt5_tensor *of)
{
    if (!gradient) return COLT5_OK;
    REQUIRE(ctx, of, COLT5_ERROR_ARGUMENT, "flash_attention: %s of an input that is absent", name);
    CHECK(check_shape(ctx, "flash_attention", name, gradient, of->rank, of->dims));
    CHECK(check_output(ctx, read->inputs, name, gradient));
    CHECK(check_apart(ctx, "flash_attention", "y", read->y, name, gradient));
    CHECK(check_apart(ctx, "flash_attention", "lse", read->lse, name, gradient));
    return check_apart(ctx, "flash_attention", "dy", read->dy, name, gradient);
}

static colt5_status check_gradients(colt5_context *ctx, const struct backward_tensors *read,
                                    const colt5_flash_attention_gradients *d)
{
    const colt5_flash_attention_inputs *inputs = read->inputs;
    const colt5_type type = inputs->q->type;
    CHECK(check_gradient(ctx, read, "dq", d->dq, inputs->q));
    CHECK(check_gradient(ctx, read, "dkv", d->dkv, inputs->kv));
    CHECK(check_gradient(ctx, read, "dnull_kv", d->dnull_kv, inputs->null_kv));
    CHECK(check_gradient(ctx, read, "dq_scores", d->dq_scores, inputs->q_scores));
    CHECK(check_gradient(ctx, read, "dkv_scores", d->dkv_scores, inputs->kv_scores));
    if (d->dq) CHECK(check_type(ctx, "flash_attention", "dq", d->dq, type));
    if (d->dkv) CHECK(check_type(ctx, "flash_attention", "dkv", d->dkv, type));
    if (d->dnull_kv) CHECK(check_storage(ctx, "flash_attention", "dnull_kv", d->dnull_kv));
    if (d->dq_scores)
        CHECK(check_type(ctx, "flash_attention", "dq_scores", d->dq_scores, COLT5_F32));
    if (d->dkv_scores)
        CHECK(check_type(ctx, "flash_attention", "dkv_scores", d->dkv_scores, COLT5_F32));
    return COLT5_OK;
}

colt5_status colt5_flash_attention_backward(colt5_context *ctx,
                                            const colt5_flash_attention_inputs *inputs,
                                            const colt5_tensor *y, const colt5_tensor *lse,
                                            const colt5_tensor *dy,
                                            const colt5_flash_attention_gradients *gradients)
{
    struct attention_problem a;
    CHECK(describe(ctx, inputs, y, &a));
    REQUIRE_TYPE(ctx, "flash_attention", lse, COLT5_F32);
    REQUIRE_SHAPE(ctx, "flash_attention", lse, a.B, a.H, a.Q);
    REQUIRE_TYPE(ctx, "flash_attention", dy, a.q->type);
    REQUIRE_SHAPE(ctx, "flash_attention", dy, a.B, a.Q, a.H, a.E);
    REQUIRE(ctx, gradients, COLT5_ERROR_ARGUMENT, "flash_attention: gradients is NULL");
    CHECK(check_gradients(ctx, &(struct backward_tensors){inputs, y, lse, dy}, gradients));
    struct attention_backward backward = {.op = "flash_attention",
                                          .problem = &a,
                                          .y = y,
                                          .lse = lse,
                                          .dy = dy,
                                          .dq = gradients->dq,
                                          .dkv = gradients->dkv,
                                          .dnull_kv = gradients->dnull_kv,
                                          .dq_scores = gradients->dq_scores,
                                          .dkv_scores = gradients->dkv_scores};
    return attend_backward(ctx, &backward);
}
