/* SPDX-License-Identifier: MIT */
/* Attention on NVIDIA's matrix units, by kernels/attention_mma.cl: f16 and bf16, forward. */
#include "ops/attention_mma.h"

#include <colt5/device.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/memory.h"
#include "runtime/probe.h"

#define ITEMS       128 /* as in the kernel, like the next two */
#define QUERIES     64
#define WIDEST      128
#define LOCAL_BYTES 34816 /* at most */

/* 32, 64 or 128: what E is rounded up to. */
static size_t head_of(size_t E)
{
    return E <= 32 ? 32 : E <= 64 ? 64 : 128;
}

colt5_status attention_mma(colt5_context *ctx, const struct attention_problem *a,
                           const colt5_tensor *y, const colt5_tensor *lse)
{
    return launch(
        ctx, KERNEL_ATTENTION_MMA,
        DEFINES(STORAGE(y->type), DEFINE("LOCAL", a->local), DEFINE("HEAD", head_of(a->E))),
        GROUPS(attention_query_tiles(a, QUERIES), a->H, a->B, ITEMS),
        ARGS(TENSOR(a->q), TENSOR(a->kv), TENSOR(a->null_kv), TENSOR(a->mask), TENSOR(a->q_scores),
             TENSOR(a->kv_scores), INT(a->multiply_keys), TENSOR(y), TENSOR(lse),
             ATTENTION_SIZES(a)));
}

/* ---- self-test ---- */

/* Tensors of a trial: a small problem with a ragged last tile, masked keys and all that multiplies.
 */
struct trial {
    colt5_tensor q, kv, null_kv, mask, q_scores, kv_scores, y[2];
    struct attention_problem problem;
};

#define TRIAL_TENSORS 8

static colt5_tensor *tensor_of(struct trial *trial, size_t i)
{
    colt5_tensor *const all[TRIAL_TENSORS] = {&trial->q,    &trial->kv,       &trial->null_kv,
                                              &trial->mask, &trial->q_scores, &trial->kv_scores,
                                              &trial->y[0], &trial->y[1]};
    return all[i];
}

#define TRIAL_N 150
#define TRIAL_H 2

static void describe(struct trial *trial, bool local, colt5_type type, size_t E)
{
    const size_t N = TRIAL_N, H = TRIAL_H;
    const colt5_tensor row = colt5_tensor_wrap(NULL, 0, type, 4, (size_t[]){1, N, H, E});
    trial->q = local ? colt5_tensor_wrap(NULL, 0, type, 5, (size_t[]){1, N, 3, H, E}) : row;
    trial->kv = colt5_tensor_wrap(NULL, 0, type, 5, (size_t[]){1, 1, N, H, 2 * E});
    trial->null_kv = colt5_tensor_wrap(NULL, 0, type, 3, (size_t[]){2, H, E});
    trial->mask = colt5_tensor_wrap(NULL, 0, COLT5_U8, 2, (size_t[]){1, N});
    trial->q_scores = colt5_tensor_wrap(NULL, 0, COLT5_F32, 2, (size_t[]){1, N});
    trial->kv_scores = colt5_tensor_wrap(NULL, 0, COLT5_F32, 3, (size_t[]){1, 1, N});
    trial->y[0] = trial->y[1] = row;
    trial->problem = (struct attention_problem){.local = local,
                                                .q = &trial->q,
                                                .kv = local ? &trial->q : &trial->kv,
                                                .mask = &trial->mask,
                                                .B = 1,
                                                .Q = N,
                                                .M = N,
                                                .H = H,
                                                .E = E,
                                                .R = 1,
                                                .N = N,
                                                .window = local ? 40 : 0};
    if (local) return;
    trial->problem.null_kv = &trial->null_kv;
    trial->problem.q_scores = &trial->q_scores;
    trial->problem.kv_scores = &trial->kv_scores;
    trial->problem.multiply_keys = 1;
}

/* Numbers between -1 and 1, or every seventh token masked. */
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

static colt5_status read_y(colt5_context *ctx, const colt5_tensor *y, uint16_t *stored,
                           float *values)
{
    const colt5_status status = colt5_tensor_read(ctx, y, stored);
    colt5_convert(y->type, stored, COLT5_F32, values, colt5_tensor_count(y));
    return status;
}

/* Whether both ways came to about the same; the plain one is right. */
static colt5_status compare(colt5_context *ctx, const struct trial *trial, bool *works)
{
    const size_t count = colt5_tensor_count(&trial->y[0]);
    uint16_t *stored = host_allocate(count * sizeof(*stored));
    float *values = host_allocate(2 * count * sizeof(*values));
    colt5_status status =
        stored && values ? COLT5_OK : fail(ctx, COLT5_ERROR_MEMORY, "attention: no host memory");
    for (size_t i = 0; i < 2 && status == COLT5_OK; i++)
        status = read_y(ctx, &trial->y[i], stored, values + i * count);
    *works = status == COLT5_OK;
    for (size_t i = 0; *works && i < count; i++)
        *works = fabsf(values[i] - values[count + i]) < 0.02f;
    host_release(stored);
    host_release(values);
    return status;
}

/* What a kernel is tried with. */
struct trial_call {
    const struct attention_problem *like;
    attention_way plain;
};

static colt5_status run_trial(colt5_context *ctx, void *data, bool *works)
{
    const struct trial_call *call = data;
    struct trial trial;
    describe(&trial, call->like->local, call->like->q->type, head_of(call->like->E) - 8);
    colt5_status status = COLT5_OK;
    for (size_t i = 0; i < TRIAL_TENSORS && status == COLT5_OK; i++) {
        colt5_tensor *tensor = tensor_of(&trial, i);
        status = buffer_create(ctx, colt5_tensor_count(tensor) * colt5_type_size(tensor->type),
                               &tensor->buffer);
        if (status == COLT5_OK) status = fill(ctx, tensor, (uint32_t)i << 20);
    }
    if (status == COLT5_OK) status = call->plain(ctx, &trial.problem, &trial.y[0], NULL);
    if (status == COLT5_OK) status = attention_mma(ctx, &trial.problem, &trial.y[1], NULL);
    if (status == COLT5_OK) status = compare(ctx, &trial, works);
    for (size_t i = 0; i < TRIAL_TENSORS; i++) buffer_release(&tensor_of(&trial, i)->buffer);
    return status;
}

/* Of each kernel that is built: f16 or bf16, local or not, three widths. */
static size_t variant(const struct attention_problem *a)
{
    const size_t type = a->q->type == COLT5_BF16, width = head_of(a->E) / 64; /* 0, 1, 2 */
    return PROBE_ATTENTION_MMA + (type * 2 + a->local) * 3 + width;
}

/* ---- the door ---- */

static bool multiple_of_8(const colt5_tensor *tensor)
{
    return !tensor || tensor->offset % 8 == 0;
}

static bool rows_are_aligned(const struct attention_problem *a, const colt5_tensor *y)
{
    return a->E % 8 == 0 && multiple_of_8(a->q) && multiple_of_8(a->kv) &&
           multiple_of_8(a->null_kv) && y->offset % 2 == 0;
}

bool attention_mma_can(colt5_context *ctx, const struct attention_problem *a, const colt5_tensor *y,
                       attention_way plain)
{
    const colt5_device_info *device = colt5_context_device_info(ctx);
    const char *wanted = getenv("COLT5_ATTENTION");
    const bool units =
        !strcmp(device->matrix_units, "mma") || !strcmp(device->matrix_units, "wgmma");
    if (!units || a->q->type == COLT5_F32 || (wanted && !strcmp(wanted, "tiles"))) return false;
    if (device->largest_group < ITEMS || device->local_memory < LOCAL_BYTES) return false;
    if (a->E > WIDEST || !rows_are_aligned(a, y)) return false;
    struct trial_call call = {a, plain};
    return probe(ctx, variant(a), "attention: matrix units are", run_trial, &call);
}
