/* SPDX-License-Identifier: MIT */
#include "ops/registers.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <colt5/device.h>
#include <colt5/tensor.h>

#include "ops/warps.h"
#include "runtime/check.h"
#include "runtime/memory.h"
#include "runtime/probe.h"

#define MOST_ITEMS  1024 /* of a work-group that holds a row */
#define MOST_VALUES 32   /* of each, in a group of as many items as there may be */
#define FEW_VALUES  8    /* the same for shorter rows */
#define LENGTHS     4    /* of rows, and */
#define SHAPES      2    /* for each */

/*
 * Few sizes, since each is a build: small ones for short rows, else as many items as there may be,
 * or (halved) half of them with twice the values each, which wait less for one another but need
 * more registers. values 0: no work-group holds such a row.
 */
static struct register_plan plan_of(const colt5_context *ctx, size_t N, bool halved)
{
    const size_t device = colt5_context_device_info(ctx)->largest_group;
    size_t largest = 1;
    while (largest * 2 <= device && largest < MOST_ITEMS) largest *= 2;
    size_t group = N <= 512 && largest > 64 ? 64 : N <= 2048 && largest > 256 ? 256 : largest;
    size_t values = N <= group * FEW_VALUES ? FEW_VALUES : MOST_VALUES;
    const size_t held = group * values;
    if (N > held) return (struct register_plan){.values = 0};
    halved = halved && group == largest;
    if (halved) {
        group /= 2;
        values *= 2;
    }
    const size_t length = held <= 512 ? 0 : held <= 2048 ? 1 : held <= 8192 ? 2 : 3;
    return (struct register_plan){length * SHAPES + halved,
                                  group,
                                  values,
                                  {DEFINE("GROUP", group),
                                   DEFINE("VALUES", values),
                                   DEFINE("WARPS", warps_wanted(ctx)),
                                   {NULL, 0}}};
}

struct attempt {
    const struct register_kernel *kernel;
    const struct register_plan *plan;
};

/*
 * A launch tells whether a work-group fits. CL_KERNEL_WORK_GROUP_SIZE does not: NVIDIA's driver
 * says 256 of every kernel, also of those compiled for larger ones (reqd_work_group_size), which
 * run.
 */
static colt5_status try_shape(colt5_context *ctx, void *call, bool *works)
{
    const struct attempt *attempt = call;
    const struct register_plan *plan = attempt->plan;
    return attempt->kernel->trial(ctx, plan, plan->group * plan->values - 37, works);
}

static colt5_status takes(colt5_context *ctx, const struct register_kernel *kernel,
                          const struct register_plan *plan, bool *works)
{
    struct attempt attempt = {kernel, plan};
    const size_t number = PROBE_REGISTERS + kernel->number * LENGTHS * SHAPES + plan->number;
    char what[96];
    snprintf(what, sizeof(what), "%s: work-groups of %zu with %zu values each are", kernel->what,
             plan->group, plan->values);
    return probe_unless_stopped(ctx, number, what, try_shape, &attempt, works);
}

/* An item of NVIDIA's has 128 registers even where 512 share them: which shape is first is a
 * question of speed. */
colt5_status plan_registers(colt5_context *ctx, const struct register_kernel *kernel, size_t N,
                            struct register_plan *plan)
{
    const bool halved_first = kernel->halved && warps_there(ctx);
    for (int i = 0; i < SHAPES; i++) {
        bool works;
        *plan = plan_of(ctx, N, halved_first ? i == 0 : i == 1);
        if (plan->values == 0) break;
        CHECK(takes(ctx, kernel, plan, &works));
        if (works) return COLT5_OK;
    }
    plan->group = 0;
    return COLT5_OK;
}

/* ---- what a trial runs on ---- */

static colt5_status fill(colt5_context *ctx, struct row_trial *trial)
{
    unsigned char *mask = trial->result;
    for (size_t i = 0; i < trial->N; i++) { /* 65521 is a prime: no two are equal */
        trial->values[i] = (float)(i * 40503 % 65521) / 8192 - 4;
        mask[i] = i % 7 != 3;
    }
    CHECK(colt5_tensor_write(ctx, &trial->s, trial->values));
    CHECK(colt5_tensor_write(ctx, &trial->mask, mask));
    for (size_t i = 0; i < trial->N; i++) {
        trial->valid += mask[i];
        if (!mask[i]) trial->values[i] = -INFINITY;
    }
    return COLT5_OK;
}

colt5_status row_trial_make(colt5_context *ctx, size_t N, struct row_trial *trial)
{
    *trial = (struct row_trial){.N = N, .mark = workspace_mark(ctx)};
    trial->values = host_allocate(N * sizeof(*trial->values));
    trial->result = host_allocate(N * 4);
    REQUIRE(ctx, trial->values && trial->result, COLT5_ERROR_MEMORY, "rows: no host memory");
    CHECK(scratch(ctx, COLT5_F32, 3, (size_t[]){1, 1, N}, &trial->s));
    CHECK(scratch(ctx, COLT5_U8, 2, (size_t[]){1, N}, &trial->mask));
    return fill(ctx, trial);
}

void row_trial_release(colt5_context *ctx, struct row_trial *trial)
{
    workspace_rewind(ctx, trial->mark);
    host_release(trial->values);
    host_release(trial->result);
}
