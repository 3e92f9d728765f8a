/* SPDX-License-Identifier: MIT */
#include <colt5/ops/cross_entropy.h>

#include "ops/rows.h"
#include "runtime/check.h"
#include "runtime/workspace.h"

#define CPU_WIDTH         8
#define MEAN_GROUP        1024 /* one work-group sums all rows: the more items, the sooner */
#define MEAN_GROUP_ON_CPU 16

/* Elements a work-item takes at once: load_part needs no alignment. */
static size_t width_of(const colt5_context *ctx)
{
    return device_is_cpu(ctx) ? CPU_WIDTH : 1;
}

struct cross_entropy {
    const char *op;
    const colt5_tensor *logits, *targets, *loss, *counted, *losses, *lse;
};

static colt5_status check_per_row(colt5_context *ctx, const struct cross_entropy *call,
                                  const char *name, const colt5_tensor *tensor, colt5_type type)
{
    const size_t rows = row_count(call->logits);
    CHECK(check_type(ctx, call->op, name, tensor, type));
    REQUIRE(ctx, colt5_tensor_count(tensor) == rows, COLT5_ERROR_SHAPE,
            "%s: %s has %zu elements for %zu rows", call->op, name, colt5_tensor_count(tensor),
            rows);
    return COLT5_OK;
}

static colt5_status check_number(colt5_context *ctx, const char *op, const char *name,
                                 const colt5_tensor *tensor, colt5_type type)
{
    const size_t one = 1;
    CHECK(check_type(ctx, op, name, tensor, type));
    return check_shape(ctx, op, name, tensor, 1, &one);
}

/* What forward and backward share. */
static colt5_status check_rows(colt5_context *ctx, const struct cross_entropy *call)
{
    REQUIRE_STORAGE(ctx, call->op, call->logits);
    REQUIRE(ctx, row_count(call->logits) <= INT32_MAX && row_width(call->logits) <= INT32_MAX,
            COLT5_ERROR_SHAPE, "%s: logits has more than 2^31 rows or symbols", call->op);
    CHECK(check_per_row(ctx, call, "targets", call->targets, COLT5_I32));
    if (call->counted) CHECK(check_number(ctx, call->op, "counted", call->counted, COLT5_I32));
    return COLT5_OK;
}

static colt5_status check_forward(colt5_context *ctx, const struct cross_entropy *call)
{
    CHECK(check_rows(ctx, call));
    CHECK(check_number(ctx, call->op, "loss", call->loss, COLT5_F32));
    const colt5_tensor *const outputs[] = {call->loss, call->losses, call->lse, call->counted};
    if (call->losses) CHECK(check_per_row(ctx, call, "losses", call->losses, COLT5_F32));
    if (call->lse) CHECK(check_per_row(ctx, call, "lse", call->lse, COLT5_F32));
    for (size_t i = 0; i < 4; i++) {
        if (!outputs[i]) continue;
        CHECK(check_apart(ctx, call->op, "logits", call->logits, "an output", outputs[i]));
        CHECK(check_apart(ctx, call->op, "targets", call->targets, "an output", outputs[i]));
        for (size_t j = 0; j < i; j++)
            if (outputs[j])
                CHECK(check_apart(ctx, call->op, "an output", outputs[j], "another", outputs[i]));
    }
    return COLT5_OK;
}

static colt5_status run_forward(colt5_context *ctx, void *argument)
{
    const struct cross_entropy *call = argument;
    const colt5_tensor *logits = call->logits;
    const size_t rows = row_count(logits), V = row_width(logits);
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor own = {0};
    const colt5_tensor *losses = call->losses ? call->losses : &own;
    struct row_plan plan;
    size_t group;
    colt5_status status;
    if (!call->losses) TRY(scratch(ctx, COLT5_F32, 1, &rows, &own));

    TRY(plan_rows(ctx, KERNEL_CROSS_ENTROPY_FORWARD, logits->type, V, width_of(ctx),
                  (struct row_limits){.steps = 8}, &plan));
    TRY(launch(ctx, KERNEL_CROSS_ENTROPY_FORWARD, plan.defines, row_groups(&plan, rows),
               ARGS(TENSOR(logits), TENSOR(call->targets), TENSOR(losses), TENSOR(call->lse),
                    SIZE(rows), SIZE(V), LOCAL(plan.group * sizeof(float)))));

    TRY(group_size(ctx, KERNEL_CROSS_ENTROPY_MEAN, plan.defines,
                   device_is_cpu(ctx) ? MEAN_GROUP_ON_CPU : MEAN_GROUP, &group));
    TRY(launch(ctx, KERNEL_CROSS_ENTROPY_MEAN, plan.defines, GROUPS(1, 1, 1, group),
               ARGS(TENSOR(losses), TENSOR(call->targets), TENSOR(call->loss),
                    TENSOR(call->counted), SIZE(rows), SIZE(V), LOCAL(group * sizeof(float)),
                    LOCAL(group * sizeof(int)))));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status colt5_cross_entropy_forward(colt5_context *ctx, const colt5_tensor *logits,
                                         const colt5_tensor *targets, const colt5_tensor *loss,
                                         const colt5_tensor *counted, const colt5_tensor *losses,
                                         const colt5_tensor *lse)
{
    struct cross_entropy call = {"cross_entropy", logits, targets, loss, counted, losses, lse};
    CHECK(check_forward(ctx, &call));
    count_work(ctx, 0, colt5_tensor_count(logits) * colt5_type_size(logits->type));
    return workspace_call(ctx, call.op, run_forward, &call, NULL, 0);
}

colt5_status colt5_cross_entropy_backward(colt5_context *ctx, const colt5_tensor *logits,
                                          const colt5_tensor *targets, const colt5_tensor *counted,
                                          const colt5_tensor *lse, float scale,
                                          const colt5_tensor *dlogits)
{
    const struct cross_entropy call = {
        .op = "cross_entropy", .logits = logits, .targets = targets, .counted = counted};
    CHECK(check_rows(ctx, &call));
    CHECK(check_per_row(ctx, &call, "lse", lse, COLT5_F32));
    REQUIRE_LIKE(ctx, "cross_entropy", dlogits, logits);
    REQUIRE_APART_OR_SAME(ctx, "cross_entropy", logits, dlogits);
    REQUIRE_APART(ctx, "cross_entropy", targets, dlogits);
    REQUIRE_APART(ctx, "cross_entropy", lse, dlogits);
    if (counted) REQUIRE_APART(ctx, "cross_entropy", counted, dlogits);

    const size_t rows = row_count(logits), V = row_width(logits);
    count_work(ctx, 0, 2 * colt5_tensor_count(logits) * colt5_type_size(logits->type));
    /* The forward's defines, so that one program holds both. */
    struct row_plan plan;
    CHECK(plan_rows(ctx, KERNEL_CROSS_ENTROPY_FORWARD, logits->type, V, width_of(ctx),
                    (struct row_limits){.steps = 8}, &plan));
    return launch(ctx, KERNEL_CROSS_ENTROPY_BACKWARD, plan.defines,
                  ROW_GRID((V + plan.width - 1) / plan.width, rows),
                  ARGS(TENSOR(logits), TENSOR(targets), TENSOR(counted), TENSOR(lse),
                       TENSOR(dlogits), SIZE(rows), SIZE(V), FLOAT(scale)));
}
