/* SPDX-License-Identifier: MIT */
#include "ops/select.h"

#include <math.h>

#include <colt5/device.h>

#include "ops/registers.h"
#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

#define KEY_BITS     33    /* of the order, as in select.cl */
#define COPY_PADDING 8     /* bins between copies of a histogram, as in selection.cl */
#define MOST_COUNTED 65535 /* elements of a chunk: two counts of them lie in 32 bits */

struct selection {
    const colt5_tensor *s, *mask, *index, *gates, *routed;
    size_t rows, R, N, K;
    size_t samples; /* of the mask */
    bool cpu;
    size_t bits;   /* of a digit */
    size_t copies; /* of a histogram in local memory */
    size_t chunk;  /* elements of a work-group */
    size_t parts;  /* work-groups of a row */
};

/* Few digits cost fewer readings of s, short ones less work per histogram. */
static size_t choose_bits(size_t N)
{
    return N < 256 ? 5 : N < 2048 ? 7 : N < 16384 ? 9 : 11;
}

static void plan_selection(const colt5_context *ctx, struct selection *call)
{
    call->cpu = device_is_cpu(ctx);
    call->rows = call->s->dims[0] * call->s->dims[1];
    call->R = call->s->dims[1];
    call->N = call->s->dims[2];
    call->K = call->index->dims[2];
    call->samples = call->mask ? call->mask->dims[0] : 1;
    call->bits = choose_bits(call->N);
    const bool roomy = colt5_context_device_info(ctx)->local_memory >= 48 * 1024;
    call->copies = !call->cpu && roomy ? 4 : 1;
    const size_t alone = call->cpu ? MOST_COUNTED : 32768;
    const size_t shared = call->cpu ? MOST_COUNTED : 8192;
    call->chunk = call->N <= alone ? call->N : shared;
    call->parts = (call->N + call->chunk - 1) / call->chunk;
}

/* Histogram, then two bits an element, in one place. */
static size_t local_bytes(size_t copies, size_t bits, size_t chunk)
{
    const size_t bins = copies * (((size_t)1 << bits) + COPY_PADDING);
    const size_t words = (chunk + 31) / 32 * 2;
    return (bins > words ? bins : words) * sizeof(cl_uint);
}

static colt5_status choose_group(colt5_context *ctx, enum kernel kernel,
                                 const struct selection *call, const struct define *defines,
                                 size_t *group)
{
    const size_t share = call->chunk / 8;
    const size_t wanted = call->cpu ? 1 : share < 64 ? 64 : share < 1024 ? share : 1024;
    return group_size(ctx, kernel, defines, wanted, group);
}

#define SELECT_DEFINES(call) DEFINES(DEFINE("SERIAL", (call)->cpu))
#define ROW_ARGS(call)                                                                             \
    TENSOR((call)->s), TENSOR((call)->mask), SIZE((call)->R), SIZE((call)->samples),               \
        SIZE((call)->N), SIZE((call)->chunk), INT((int)(call)->bits), INT((int)(call)->copies)
#define PICKS_ARGS(call)                                                                           \
    TENSOR((call)->index), TENSOR((call)->gates), TENSOR((call)->routed), SIZE((call)->K)
#define LOCAL_ARGS(bits, call, group)                                                              \
    LOCAL(local_bytes((call)->copies, bits, (call)->chunk)), LOCAL((group)*2 * sizeof(cl_uint))

/* A row's keys in registers: digits of 8 or 11 bits, as in select_registers.cl. */
static colt5_status select_registers(colt5_context *ctx, const struct selection *call,
                                     const struct register_plan *plan)
{
    const size_t held = plan->group * plan->values, bits = held > 8192 ? 11 : 8;
    return launch(
        ctx, KERNEL_SELECT_REGISTERS, plan->defines, GROUPS(call->rows, 1, 1, plan->group),
        ARGS(TENSOR(call->s), TENSOR(call->mask), SIZE(call->R), SIZE(call->samples), SIZE(call->N),
             INT((int)call->copies), PICKS_ARGS(call), LOCAL(local_bytes(call->copies, bits, held)),
             LOCAL(plan->group * 2 * sizeof(cl_uint))));
}

/* Whether index holds every token of the row from the least chosen one on, in ascending order. */
static bool are_first(const float *s, size_t N, const int32_t *index, size_t K)
{
    float least = INFINITY;
    for (size_t i = 0; i < K; i++) {
        if (index[i] < 0 || (size_t)index[i] >= N || (i > 0 && index[i] <= index[i - 1]))
            return false;
        least = fminf(least, s[index[i]]);
    }
    size_t above = 0;
    for (size_t n = 0; n < N; n++) above += s[n] >= least;
    return above == K;
}

static colt5_status try_registers(colt5_context *ctx, const struct register_plan *plan, size_t N,
                                  bool *works)
{
    const size_t K = N / 3 + 1;
    struct row_trial trial;
    colt5_tensor index;
    struct selection call = {.s = &trial.s, .mask = &trial.mask, .index = &index};
    colt5_status status;
    TRY(row_trial_make(ctx, N, &trial));
    TRY(scratch(ctx, COLT5_I32, 3, (size_t[]){1, 1, K}, &index));
    plan_selection(ctx, &call);
    TRY(select_registers(ctx, &call, plan));
    TRY(colt5_tensor_read(ctx, &index, trial.result));
    *works = are_first(trial.values, N, trial.result, K);
out:
    row_trial_release(ctx, &trial);
    return status;
}

static const struct register_kernel in_registers = {REGISTERS_OF_SELECT, "select", try_registers};

static colt5_status select_row(colt5_context *ctx, const struct selection *call)
{
    const struct define *defines = SELECT_DEFINES(call);
    struct register_plan plan = {.group = 0};
    size_t group;
    if (!call->cpu) CHECK(plan_registers(ctx, &in_registers, call->N, &plan));
    if (plan.group) return select_registers(ctx, call, &plan);
    CHECK(choose_group(ctx, KERNEL_SELECT_ROW, call, defines, &group));
    return launch(ctx, KERNEL_SELECT_ROW, defines, GROUPS(call->rows, 1, 1, group),
                  ARGS(ROW_ARGS(call), PICKS_ARGS(call), LOCAL_ARGS(call->bits, call, group)));
}

static colt5_status fill_histograms(colt5_context *ctx, const struct selection *call, size_t digits,
                                    const colt5_tensor *histogram)
{
    const struct define *defines = SELECT_DEFINES(call);
    size_t group;
    CHECK(choose_group(ctx, KERNEL_SELECT_HISTOGRAM, call, defines, &group));
    CHECK(clear_tensor(ctx, histogram));
    for (size_t known = 0; known < digits; known++)
        CHECK(launch(ctx, KERNEL_SELECT_HISTOGRAM, defines,
                     GROUPS(call->rows * call->parts, 1, 1, group),
                     ARGS(ROW_ARGS(call), TENSOR(histogram), SIZE(call->K), SIZE(call->parts),
                          INT((int)known), LOCAL_ARGS(call->bits, call, group))));
    return COLT5_OK;
}

static colt5_status write_parts(colt5_context *ctx, const struct selection *call,
                                const colt5_tensor *histogram, const colt5_tensor *counts)
{
    const struct define *defines = SELECT_DEFINES(call);
    const size_t groups = call->rows * call->parts;
    size_t group;
    CHECK(choose_group(ctx, KERNEL_SELECT_COUNT, call, defines, &group));
    CHECK(launch(ctx, KERNEL_SELECT_COUNT, defines, GROUPS(groups, 1, 1, group),
                 ARGS(ROW_ARGS(call), TENSOR(histogram), TENSOR(counts), SIZE(call->K),
                      SIZE(call->parts), LOCAL_ARGS(call->bits, call, group))));
    CHECK(choose_group(ctx, KERNEL_SELECT_WRITE, call, defines, &group));
    return launch(ctx, KERNEL_SELECT_WRITE, defines, GROUPS(groups, 1, 1, group),
                  ARGS(ROW_ARGS(call), TENSOR(histogram), TENSOR(counts), PICKS_ARGS(call),
                       SIZE(call->parts), LOCAL_ARGS(call->bits, call, group)));
}

static colt5_status select_long(colt5_context *ctx, void *argument)
{
    const struct selection *call = argument;
    const size_t digits = (KEY_BITS + call->bits - 1) / call->bits;
    colt5_tensor histogram, counts;
    CHECK(scratch(ctx, COLT5_I32, 3, (const size_t[]){call->rows, digits, (size_t)1 << call->bits},
                  &histogram));
    CHECK(scratch(ctx, COLT5_I32, 3, (const size_t[]){call->rows, call->parts, 2}, &counts));
    CHECK(fill_histograms(ctx, call, digits, &histogram));
    return write_parts(ctx, call, &histogram, &counts);
}

colt5_status select_tokens(colt5_context *ctx, const colt5_tensor *s, const colt5_tensor *mask,
                           const colt5_tensor *index, const colt5_tensor *gates,
                           const colt5_tensor *routed)
{
    struct selection call = {
        .s = s, .mask = mask, .index = index, .gates = gates, .routed = routed};
    plan_selection(ctx, &call);
    const size_t picked = call.rows * call.K * (4 + (gates ? 4 : 0) + (routed ? 1 : 0));
    count_work(ctx, 0, call.rows * 4 * call.N + picked + (mask ? colt5_tensor_count(mask) : 0));
    return call.parts == 1 ? select_row(ctx, &call)
                           : workspace_call(ctx, "select", select_long, &call, NULL, 0);
}

colt5_status colt5_select(colt5_context *ctx, const colt5_tensor *s, const colt5_tensor *mask,
                          const colt5_tensor *index)
{
    REQUIRE_TENSOR(ctx, "select", s, 3);
    REQUIRE_TENSOR(ctx, "select", index, 3);
    const size_t B = s->dims[0], R = s->dims[1], N = s->dims[2], K = index->dims[2];

    REQUIRE_TYPE(ctx, "select", s, COLT5_F32);
    REQUIRE_TYPE(ctx, "select", index, COLT5_I32);
    REQUIRE_SHAPE(ctx, "select", index, B, R, K);
    if (mask) {
        REQUIRE_TYPE(ctx, "select", mask, COLT5_U8);
        REQUIRE_SHAPE(ctx, "select", mask, B, N);
    }
    REQUIRE(ctx, N <= INT32_MAX, COLT5_ERROR_SHAPE, "select: N is %zu, the largest index %d", N,
            INT32_MAX);
    REQUIRE(ctx, K >= 1 && K <= N, COLT5_ERROR_SHAPE, "select: K is %zu, not in 1 to N = %zu", K,
            N);

    return select_tokens(ctx, s, mask, index, NULL, NULL);
}
