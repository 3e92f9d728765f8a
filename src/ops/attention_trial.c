/* SPDX-License-Identifier: MIT */
#include "ops/attention_trial.h"

#include <math.h>

#include "runtime/check.h"
#include "runtime/context.h"
#include "runtime/memory.h"

#define TOKENS 200 /* the second of four tiles of 64 has a whole window of 64 on both sides */
#define HEADS  2

struct attention_trial {
    struct attention_problem problem;
    colt5_tensor q, kv, null_kv, mask, q_scores, kv_scores; /* q: queries, keys, values if local */
    colt5_tensor lse, dy;
    colt5_tensor y[2], dq[2], dkv[2]; /* by the plain kernels, and by those that are tried */
};

/* Of the results only those of the problem's kind have a shape. */
static void describe(struct attention_trial *trial, bool local, colt5_type type, size_t E)
{
    const colt5_tensor row = colt5_tensor_wrap(NULL, 0, type, 4, (size_t[]){1, TOKENS, HEADS, E});
    const colt5_tensor qkv =
        colt5_tensor_wrap(NULL, 0, type, 5, (size_t[]){1, TOKENS, 3, HEADS, E});
    *trial = (struct attention_trial){
        .q = local ? qkv : row,
        .kv = colt5_tensor_wrap(NULL, 0, type, 5, (size_t[]){1, 1, TOKENS, HEADS, 2 * E}),
        .null_kv = colt5_tensor_wrap(NULL, 0, type, 3, (size_t[]){2, HEADS, E}),
        .mask = colt5_tensor_wrap(NULL, 0, COLT5_U8, 2, (size_t[]){1, TOKENS}),
        .q_scores = colt5_tensor_wrap(NULL, 0, COLT5_F32, 2, (size_t[]){1, TOKENS}),
        .kv_scores = colt5_tensor_wrap(NULL, 0, COLT5_F32, 3, (size_t[]){1, 1, TOKENS}),
        .lse = colt5_tensor_wrap(NULL, 0, COLT5_F32, 3, (size_t[]){1, HEADS, TOKENS}),
        .dy = row,
        .y = {row, row},
    };
    for (int i = 0; i < 2; i++) {
        trial->dq[i] = trial->q;
        trial->dkv[i] = trial->kv;
    }
    trial->problem = (struct attention_problem){.local = local,
                                                .q = &trial->q,
                                                .kv = local ? &trial->q : &trial->kv,
                                                .mask = &trial->mask,
                                                .B = 1,
                                                .Q = TOKENS,
                                                .M = TOKENS,
                                                .H = HEADS,
                                                .E = E,
                                                .R = 1,
                                                .N = TOKENS,
                                                .window = local ? 40 : 0};
    if (local) return;
    trial->problem.null_kv = &trial->null_kv;
    trial->problem.q_scores = &trial->q_scores;
    trial->problem.kv_scores = &trial->kv_scores;
    trial->problem.multiply_keys = 1;
}

/* Numbers between -1 and 1; a mask that hides every seventh token. */
static colt5_status fill(colt5_context *ctx, const colt5_tensor *tensor, uint32_t salt)
{
    const size_t count = colt5_tensor_count(tensor);
    float *values = host_allocate(count * sizeof(*values));
    REQUIRE(ctx, values, COLT5_ERROR_MEMORY, "attention: no host memory");
    unsigned char *bytes = (unsigned char *)values;
    for (size_t i = 0; i < count; i++) {
        const uint32_t bits = ((uint32_t)i + salt) * 2654435761u;
        if (tensor->type == COLT5_U8)
            bytes[i] = i % 7 != 3;
        else
            values[i] = (float)(bits >> 8) / (float)(1 << 23) - 1;
    }
    /* In place: a 16-bit value never lies behind the float it comes from. */
    if (tensor->type != COLT5_U8) colt5_convert(COLT5_F32, values, tensor->type, values, count);
    const colt5_status status = colt5_tensor_write(ctx, tensor, values);
    host_release(values);
    return status;
}

#define TENSORS 14

static colt5_tensor *tensor_of(struct attention_trial *trial, size_t i)
{
    colt5_tensor *const all[TENSORS] = {
        &trial->q,         &trial->kv,    &trial->null_kv, &trial->mask,  &trial->q_scores,
        &trial->kv_scores, &trial->lse,   &trial->dy,      &trial->y[0],  &trial->y[1],
        &trial->dq[0],     &trial->dq[1], &trial->dkv[0],  &trial->dkv[1]};
    return all[i];
}

/* Filled and, but for the results, with values; to be released whatever becomes of it. */
static colt5_status make(colt5_context *ctx, bool local, colt5_type type, size_t E,
                         struct attention_trial *trial)
{
    describe(trial, local, type, E);
    colt5_status status = COLT5_OK;
    for (size_t i = 0; i < TENSORS && status == COLT5_OK; i++) {
        colt5_tensor *tensor = tensor_of(trial, i);
        status = buffer_create(ctx, colt5_tensor_count(tensor) * colt5_type_size(tensor->type),
                               &tensor->buffer);
        if (status == COLT5_OK) status = fill(ctx, tensor, (uint32_t)i << 20);
    }
    return status;
}

static void release(struct attention_trial *trial)
{
    for (size_t i = 0; i < TENSORS; i++) buffer_release(&tensor_of(trial, i)->buffer);
}

static colt5_status read_values(colt5_context *ctx, const colt5_tensor *tensor, void *stored,
                                float *values)
{
    const colt5_status status = colt5_tensor_read(ctx, tensor, stored);
    colt5_convert(tensor->type, stored, COLT5_F32, values, colt5_tensor_count(tensor));
    return status;
}

/* What two ways may differ by, of numbers up to a few ones. */
static float tolerance(const colt5_context *ctx, colt5_type type)
{
    return type == COLT5_F32 && ctx->math == COLT5_MATH_STRICT ? 2e-5f : 0.03f;
}

/* Whether two results are about the same. Waits for the device. */
static colt5_status compare(colt5_context *ctx, const colt5_tensor results[2], bool *alike)
{
    const size_t count = colt5_tensor_count(&results[0]);
    const float most = tolerance(ctx, results[0].type);
    float *stored = host_allocate(count * sizeof(*stored));
    float *values = host_allocate(2 * count * sizeof(*values));
    colt5_status status =
        stored && values ? COLT5_OK : fail(ctx, COLT5_ERROR_MEMORY, "attention: no host memory");
    for (size_t i = 0; i < 2 && status == COLT5_OK; i++)
        status = read_values(ctx, &results[i], stored, values + i * count);
    *alike = status == COLT5_OK;
    for (size_t i = 0; *alike && i < count; i++)
        *alike = fabsf(values[i] - values[count + i]) < most;
    host_release(stored);
    host_release(values);
    return status;
}

static colt5_status try_forward(colt5_context *ctx, const struct attention_try *call,
                                struct attention_trial *trial, bool *works)
{
    CHECK(call->plain(ctx, &trial->problem, &trial->y[0], NULL));
    CHECK(call->tried(ctx, &trial->problem, &trial->y[1], NULL));
    return compare(ctx, trial->y, works);
}

static colt5_status go_back(colt5_context *ctx, attention_way_back way,
                            struct attention_trial *trial, size_t i)
{
    const bool local = trial->problem.local;
    const struct attention_backward backward = {.op = "attention",
                                                .problem = &trial->problem,
                                                .y = &trial->y[0],
                                                .lse = &trial->lse,
                                                .dy = &trial->dy,
                                                .dq = &trial->dq[i],
                                                .dkv = local ? &trial->dq[i] : &trial->dkv[i]};
    return way(ctx, &backward);
}

static colt5_status try_backward(colt5_context *ctx, const struct attention_try *call,
                                 struct attention_trial *trial, bool *works)
{
    bool alike = true;
    CHECK(call->plain(ctx, &trial->problem, &trial->y[0], &trial->lse));
    CHECK(go_back(ctx, call->plain_back, trial, 0));
    CHECK(go_back(ctx, call->tried_back, trial, 1));
    CHECK(compare(ctx, trial->dq, works));
    if (!trial->problem.local) CHECK(compare(ctx, trial->dkv, &alike));
    *works = *works && alike;
    return COLT5_OK;
}

colt5_status attention_try_out(colt5_context *ctx, void *data, bool *works)
{
    const struct attention_try *call = data;
    struct attention_trial trial;
    colt5_status status = make(ctx, call->like->local, call->like->q->type, call->E, &trial);
    *works = true;
    for (int masked = 1; masked >= 0 && status == COLT5_OK && *works; masked--) {
        trial.problem.mask = masked ? &trial.mask : NULL;
        if (trial.problem.local && !masked) trial.problem.window = 64;
        status = (call->tried_back ? try_backward : try_forward)(ctx, call, &trial, works);
    }
    release(&trial);
    return status;
}
