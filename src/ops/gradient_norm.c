/* SPDX-License-Identifier: MIT */
#include <colt5/ops/gradient_norm.h>

#include <math.h>

#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

#define PIECE        16384 /* elements a work-group sums: a multiple of every vector's width */
#define GROUP        256
#define GROUP_ON_CPU 8

struct norm_call {
    const colt5_tensor *gradients;
    size_t count;
    colt5_clip_options options;
    const colt5_tensor *norm, *factor;
};

static size_t pieces_of(const colt5_tensor *gradient)
{
    return (colt5_tensor_count(gradient) + PIECE - 1) / PIECE;
}

static colt5_status check_number(colt5_context *ctx, const char *op, const char *name,
                                 const colt5_tensor *number)
{
    const size_t one = 1;
    CHECK(check_type(ctx, op, name, number, COLT5_F32));
    return check_shape(ctx, op, name, number, 1, &one);
}

static colt5_status check_gradients(colt5_context *ctx, const char *op,
                                    const colt5_tensor *gradients, size_t count,
                                    const colt5_tensor *number)
{
    REQUIRE(ctx, gradients || count == 0, COLT5_ERROR_ARGUMENT, "%s: gradients is NULL", op);
    for (size_t i = 0; i < count; i++) {
        CHECK(check_storage(ctx, op, "a gradient", &gradients[i]));
        CHECK(check_apart(ctx, op, "a gradient", &gradients[i], "a number", number));
    }
    return COLT5_OK;
}

static colt5_status check_norm(colt5_context *ctx, const struct norm_call *call)
{
    const float max_norm = call->options.max_norm, scale = call->options.loss_scale;
    CHECK(check_number(ctx, "gradient_norm", "norm", call->norm));
    CHECK(check_gradients(ctx, "gradient_norm", call->gradients, call->count, call->norm));
    REQUIRE(ctx, max_norm >= 0 && isfinite(max_norm), COLT5_ERROR_ARGUMENT,
            "gradient_norm: max_norm is %g, not in 0 to infinity", (double)max_norm);
    REQUIRE(ctx, scale > 0 && isfinite(scale), COLT5_ERROR_ARGUMENT,
            "gradient_norm: loss_scale is %g, not above 0 and finite", (double)scale);
    if (!call->factor) return COLT5_OK;
    CHECK(check_number(ctx, "gradient_norm", "factor", call->factor));
    CHECK(check_apart(ctx, "gradient_norm", "norm", call->norm, "factor", call->factor));
    return check_gradients(ctx, "gradient_norm", call->gradients, call->count, call->factor);
}

static size_t wanted_group(const colt5_context *ctx)
{
    return device_is_cpu(ctx) ? GROUP_ON_CPU : GROUP;
}

static colt5_status sum_squares(colt5_context *ctx, const colt5_tensor *x,
                                const colt5_tensor *partial, size_t first)
{
    const size_t count = colt5_tensor_count(x), width = vector_width(ctx, x->type, count, x);
    const struct define *defines = DEFINES(STORAGE(x->type), DEFINE("WIDTH", width));
    size_t group;
    CHECK(group_size(ctx, KERNEL_SUM_SQUARES, defines, wanted_group(ctx), &group));
    return launch(ctx, KERNEL_SUM_SQUARES, defines, GROUPS(pieces_of(x), 1, 1, group),
                  ARGS(TENSOR(x), TENSOR(partial), SIZE(first), SIZE(count), SIZE(PIECE),
                       LOCAL(group * sizeof(float))));
}

static colt5_status run_norm(colt5_context *ctx, void *argument)
{
    const struct norm_call *call = argument;
    const struct define *defines = DEFINES(STORAGE(COLT5_F32), DEFINE("WIDTH", 1));
    const struct stack_mark mark = workspace_mark(ctx);
    size_t pieces = 0, first = 0, group;
    colt5_tensor partial;
    colt5_status status;
    for (size_t i = 0; i < call->count; i++) pieces += pieces_of(&call->gradients[i]);
    TRY(scratch(ctx, COLT5_F32, 1, &pieces, &partial));
    for (size_t i = 0; i < call->count; i++) {
        TRY(sum_squares(ctx, &call->gradients[i], &partial, first));
        first += pieces_of(&call->gradients[i]);
    }
    TRY(group_size(ctx, KERNEL_GRADIENT_NORM, defines, wanted_group(ctx), &group));
    TRY(launch(ctx, KERNEL_GRADIENT_NORM, defines, GROUPS(1, 1, 1, group),
               ARGS(TENSOR(&partial), TENSOR(call->norm), TENSOR(call->factor), SIZE(pieces),
                    FLOAT(call->options.max_norm), FLOAT(call->options.loss_scale),
                    LOCAL(group * sizeof(float)))));
out:
    workspace_rewind(ctx, mark);
    return status;
}

static void count_bytes(colt5_context *ctx, const colt5_tensor *gradients, size_t count,
                        uint64_t times)
{
    for (size_t i = 0; i < count; i++)
        count_work(ctx, 0,
                   times * colt5_tensor_count(&gradients[i]) * colt5_type_size(gradients[i].type));
}

colt5_status colt5_gradient_norm(colt5_context *ctx, const colt5_tensor *gradients, size_t count,
                                 const colt5_clip_options *options, const colt5_tensor *norm,
                                 const colt5_tensor *factor)
{
    struct norm_call call = {
        .gradients = gradients, .count = count, .norm = norm, .factor = factor};
    if (options) call.options = *options;
    if (call.options.loss_scale == 0) call.options.loss_scale = 1;
    CHECK(check_norm(ctx, &call));
    count_bytes(ctx, gradients, count, 1);
    return workspace_call(ctx, "gradient_norm", run_norm, &call, NULL, 0);
}

colt5_status colt5_gradient_scale(colt5_context *ctx, const colt5_tensor *gradients, size_t count,
                                  const colt5_tensor *factor)
{
    CHECK(check_number(ctx, "gradient_scale", "factor", factor));
    CHECK(check_gradients(ctx, "gradient_scale", gradients, count, factor));
    count_bytes(ctx, gradients, count, 2);
    for (size_t i = 0; i < count; i++) {
        const colt5_tensor *x = &gradients[i];
        const size_t elements = colt5_tensor_count(x);
        const size_t width = vector_width(ctx, x->type, elements, x);
        CHECK(launch(ctx, KERNEL_GRADIENT_SCALE, DEFINES(STORAGE(x->type), DEFINE("WIDTH", width)),
                     GRID(elements / width, 1, 1),
                     ARGS(TENSOR(x), TENSOR(factor), SIZE(elements / width))));
    }
    return COLT5_OK;
}
