/* SPDX-License-Identifier: MIT */
/*
 * A small product of known answer: whole numbers, so small that every type and every order of
 * summing holds them exactly, in a size with more than one tile and ragged edges. What C is made of
 * is multiples of 16, of which GELU is x or 0, and its slope 1 or 0.
 */
#include <math.h>

#include "gemm/backend.h"
#include "runtime/context.h"
#include "runtime/launch.h"

#define LARGEST_K 111 /* see choose_sizes */
#define UNIT      16  /* what C is made of are multiples of it: sums by alpha, the rest as it is */
#define NOTHING   1e-30f /* more than GELU and its slope leave of a negative UNIT */

struct trial {
    struct gemm product;
    colt5_tensor a, b, c, bias, row_scale, residual, order; /* order: index and scatter */
};

/* -1, 0 or 1, without an order that a mix-up of rows, columns or k could keep. */
static int value_of(size_t line, size_t k, uint32_t salt)
{
    uint32_t bits = ((uint32_t)line * 0x9E3779B1u ^ (uint32_t)k * 0x85EBCA77u ^ salt) * 0xC2B2AE3Du;
    bits ^= bits >> 15;
    return (int)((bits * 0x27D4EB2Fu >> 16) % 3) - 1;
}

static int a_value(size_t m, size_t k)
{
    return value_of(m, k, 1);
}

static int b_value(size_t k, size_t n)
{
    return value_of(n, k, 2);
}

static int bias_value(size_t n)
{
    return (int)(n % 3) - 1;
}

/* Never 0, where GELU's slope is a half, but for its last digit. */
static int residual_value(size_t row, size_t n)
{
    return 2 * value_of(row, n, 3) + 1;
}

static int scale_value(size_t m)
{
    return 1 + (int)(m % 2);
}

/* Sizes by eight, M by sixteen, as divisible as those of the product in question, K such that bf16
 * holds every sum to the last digit and C is the largest matrix; small ones for checkers, which
 * take a thousand times as long. */
static void choose_sizes(bool small, struct gemm *test, const struct gemm *like)
{
    test->M = (small ? 32 : 144) + like->M % 16;
    test->N = (small ? 32 : 272) + like->N % 8;
    test->K = (small ? 16 : 104) + like->K % 8;
}

static colt5_status take_tensors(colt5_context *ctx, struct trial *trial, colt5_type type,
                                 colt5_type c_type)
{
    const size_t M = trial->product.M, N = trial->product.N, K = trial->product.K;
    colt5_status status = scratch(ctx, type, 2, (size_t[]){M, K}, &trial->a);
    if (status == COLT5_OK) status = scratch(ctx, type, 2, (size_t[]){K, N}, &trial->b);
    if (status == COLT5_OK) status = scratch(ctx, c_type, 2, (size_t[]){M, N}, &trial->c);
    if (status == COLT5_OK) status = scratch(ctx, c_type, 2, (size_t[]){M, N}, &trial->residual);
    if (status == COLT5_OK) status = scratch(ctx, type, 1, &N, &trial->bias);
    if (status == COLT5_OK) status = scratch(ctx, COLT5_F32, 1, &M, &trial->row_scale);
    if (status == COLT5_OK) status = scratch(ctx, COLT5_I32, 1, &M, &trial->order);
    return status;
}

static colt5_status upload_values(colt5_context *ctx, float *values, void *stored,
                                  const colt5_tensor *tensor)
{
    colt5_convert(COLT5_F32, values, tensor->type, stored, colt5_tensor_count(tensor));
    return upload_tensor(ctx, stored, tensor);
}

static colt5_status fill(colt5_context *ctx, const struct trial *trial, float *values, void *stored)
{
    const struct gemm *p = &trial->product;
    colt5_status status;
    for (size_t m = 0; m < p->M; m++)
        for (size_t k = 0; k < p->K; k++)
            values[p->transpose_a ? k * p->M + m : m * p->K + k] = (float)a_value(m, k);
    TRY(upload_values(ctx, values, stored, &trial->a));
    for (size_t k = 0; k < p->K; k++)
        for (size_t n = 0; n < p->N; n++)
            values[p->transpose_b ? n * p->K + k : k * p->N + n] = (float)b_value(k, n);
    TRY(upload_values(ctx, values, stored, &trial->b));
    for (size_t i = 0; i < p->M * p->N; i++) values[i] = -1000;
    TRY(upload_values(ctx, values, stored, &trial->c));
    for (size_t i = 0; i < p->M * p->N; i++)
        values[i] = (float)(UNIT * residual_value(i / p->N, i % p->N));
    TRY(upload_values(ctx, values, stored, &trial->residual));
    for (size_t n = 0; n < p->N; n++) values[n] = (float)(UNIT * bias_value(n));
    TRY(upload_values(ctx, values, stored, &trial->bias));
    for (size_t m = 0; m < p->M; m++) values[m] = (float)scale_value(m);
    TRY(upload_values(ctx, values, stored, &trial->row_scale));
    for (size_t m = 0; m < p->M; m++) ((int32_t *)stored)[m] = (int32_t)(p->M - 1 - m);
    TRY(upload_tensor(ctx, stored, &trial->order));
out:
    return status;
}

/* Row `row` of C as it must be: its m has been picked as the last but m, or put there, or both. */
static bool is_right_row(const struct gemm *p, size_t row, const signed char *b, const float *have)
{
    const size_t m = p->scatter ? p->M - 1 - row : row, from = p->index ? p->M - 1 - m : m;
    int a[LARGEST_K];
    for (size_t k = 0; k < p->K; k++) a[k] = a_value(from, k);
    for (size_t n = 0; n < p->N; n++) {
        int sum = p->bias ? bias_value(n) : 0;
        for (size_t k = 0; k < p->K; k++) sum += a[k] * b[n * p->K + k];
        if (p->gelu && sum < 0) sum = 0;
        if (p->row_scale) sum *= scale_value(m);
        if (p->residual) sum += residual_value(row, n);
        if (p->gelu_input && residual_value(row, n) < 0) sum = 0;
        if (!(fabsf(have[n] - (float)(UNIT * sum)) <= NOTHING)) return false;
    }
    return true;
}

/* b: [N][K] of host memory to work in. */
static bool is_right(const struct gemm *p, signed char *b, const float *have)
{
    for (size_t n = 0; n < p->N; n++)
        for (size_t k = 0; k < p->K; k++) b[n * p->K + k] = (signed char)b_value(k, n);
    bool right = true;
    for (size_t row = 0; row < p->M && right; row++)
        right = is_right_row(p, row, b, have + row * p->N);
    return right;
}

/* All that a kernel may fuse, but for GELU's slope, or as much of it as `like` has. */
static void add_extras(struct trial *trial, const struct gemm *like, bool all)
{
    struct gemm *product = &trial->product;
    if (all || like->bias) product->bias = &trial->bias;
    product->gelu = all || like->gelu;
    if (all || like->row_scale) product->row_scale = &trial->row_scale;
    if (all || like->residual) product->residual = &trial->residual;
    if (all || like->scatter) product->scatter = &trial->order;
    if ((all && !like->transpose_a) || like->index) product->index = &trial->order;
    product->scatter_rows = product->c_rows = product->index_rows = product->a_rows = product->M;
}

/* GELU's slope, and of the extras those that may be beside it. */
static void take_slopes(struct trial *trial)
{
    struct gemm *product = &trial->product;
    product->gelu_input = &trial->residual;
    product->gelu = false;
    product->bias = product->residual = product->scatter = NULL;
}

static colt5_status run_trial(colt5_context *ctx, const struct gemm_backend *backend,
                              const struct trial *trial, bool *right)
{
    const size_t count = trial->product.M * trial->product.N;
    float *values = host_allocate(count * sizeof(*values));
    float *stored = host_allocate(count * sizeof(*stored));
    colt5_status status = COLT5_OK;
    if (!values || !stored) status = fail(ctx, COLT5_ERROR_MEMORY, "gemm: no host memory");
    if (status == COLT5_OK) status = fill(ctx, trial, values, stored);
    if (status == COLT5_OK) status = backend->run(ctx, &trial->product);
    if (status == COLT5_OK) status = colt5_tensor_read(ctx, &trial->c, stored);
    if (status == COLT5_OK) {
        colt5_convert(trial->c.type, stored, COLT5_F32, values, count);
        *right = is_right(&trial->product, (signed char *)stored, values);
    }
    host_release(values);
    host_release(stored);
    return status;
}

/* Kernels that are the same for every product are tried with all they fuse. */
static colt5_status run_trials(colt5_context *ctx, const struct gemm_backend *backend,
                               struct trial *trial, bool *right)
{
    const struct gemm *like = trial->product.like;
    const bool all = backend->fuses && !backend->specialised;
    if (backend->fuses) add_extras(trial, like, all);
    if (backend->specialised && like->gelu_input) take_slopes(trial);
    const colt5_status status = run_trial(ctx, backend, trial, right);
    if (status != COLT5_OK || !*right || !all) return status;
    take_slopes(trial);
    return run_trial(ctx, backend, trial, right);
}

colt5_status gemm_self_test(colt5_context *ctx, const struct gemm_backend *backend,
                            const struct gemm *like, bool *works)
{
    const uint64_t launches = ctx->launches;
    const struct stack_mark mark = workspace_mark(ctx);
    struct trial trial;
    trial.product = (struct gemm){.op = "gemm self-test",
                                  .transpose_a = like->transpose_a,
                                  .transpose_b = like->transpose_b,
                                  .alpha = UNIT,
                                  .a = &trial.a,
                                  .b = &trial.b,
                                  .c = &trial.c,
                                  .like = like};
    const bool checked = ctx->workspace.separate; /* what checkers are run with */
    choose_sizes(checked, &trial.product, like);
    const colt5_type c_type = backend->fuses ? like->c->type : COLT5_F32;
    ctx->workspace.separate = true; /* no plan knows of this */
    colt5_status status = take_tensors(ctx, &trial, like->a->type, c_type);
    *works = false;
    if (status == COLT5_OK) status = run_trials(ctx, backend, &trial, works);
    workspace_rewind(ctx, mark);
    ctx->workspace.separate = checked;
    ctx->launches = launches;
    if (status == COLT5_OK && !*works)
        say(ctx, "gemm: %s gives wrong products of %s on this device and is left out",
            backend->name, colt5_type_name(like->a->type));
    if (status == COLT5_ERROR_OPENCL || status == COLT5_ERROR_BUILD) {
        say(ctx, "gemm: %s is left out on this device: %s", backend->name, colt5_message(ctx));
        status = COLT5_OK;
    }
    return status;
}
