/* SPDX-License-Identifier: MIT */
#include "runtime/context.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/device.h"
#include "runtime/profile.h"

static colt5_status make_queue(colt5_context *ctx)
{
    cl_int error;
    ctx->cl = clCreateContext(NULL, 1, &ctx->device, NULL, NULL, &error);
    if (!ctx->cl) return fail_cl(NULL, ctx->info.name, "clCreateContext", error);
    ctx->queue = clCreateCommandQueue(ctx->cl, ctx->device, 0, &error);
    ctx->owns_queue = true;
    return ctx->queue ? COLT5_OK : fail_cl(NULL, ctx->info.name, "clCreateCommandQueue", error);
}

static colt5_status borrow_queue(colt5_context *ctx, cl_context cl, cl_command_queue queue)
{
    cl_command_queue_properties properties = 0;
    cl_context owner = NULL;
    cl_device_id device = NULL;
    cl_int error =
        clGetCommandQueueInfo(queue, CL_QUEUE_PROPERTIES, sizeof(properties), &properties, NULL);
    if (error == CL_SUCCESS)
        error = clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof(owner), &owner, NULL);
    if (error == CL_SUCCESS)
        error = clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof(device), &device, NULL);
    if (error != CL_SUCCESS) return fail_cl(NULL, "context", "clGetCommandQueueInfo", error);
    REQUIRE(NULL, owner == cl && device == ctx->device, COLT5_ERROR_ARGUMENT,
            "context: the queue is not of this OpenCL context and device");
    REQUIRE(NULL, !(properties & CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE), COLT5_ERROR_ARGUMENT,
            "context: the queue is out-of-order");
    clRetainContext(cl);
    clRetainCommandQueue(queue);
    ctx->cl = cl;
    ctx->queue = queue;
    return COLT5_OK;
}

/* The parts that do not depend on where the OpenCL objects came from. */
static colt5_status set_up(colt5_context *ctx)
{
    cl_int error;
    ctx->nothing = clCreateBuffer(ctx->cl, CL_MEM_READ_WRITE, 16, NULL, &error);
    if (!ctx->nothing) return fail_cl(NULL, "context", "clCreateBuffer", error);
    const char *separate = getenv("COLT5_WORKSPACE");
    ctx->workspace.separate = separate && !strcmp(separate, "separate");
    tuning_load(ctx);
    return COLT5_OK;
}

colt5_status colt5_context_create(const char *selector, colt5_context **out)
{
    REQUIRE(NULL, out, COLT5_ERROR_ARGUMENT, "context: ctx is NULL");
    *out = NULL;
    colt5_context *ctx = host_allocate_zeroed(1, sizeof(*ctx));
    REQUIRE(NULL, ctx, COLT5_ERROR_MEMORY, "context: no host memory");
    colt5_status status;
    TRY(device_select(selector, &ctx->info));
    ctx->device = ctx->info.device_id;
    TRY(make_queue(ctx));
    TRY(set_up(ctx));
    *out = ctx;
    return COLT5_OK;
out:
    colt5_context_destroy(ctx);
    return status;
}

colt5_status colt5_context_create_from_cl(cl_context cl, cl_device_id device,
                                          cl_command_queue queue, colt5_context **out)
{
    REQUIRE(NULL, out, COLT5_ERROR_ARGUMENT, "context: ctx is NULL");
    *out = NULL;
    REQUIRE(NULL, cl && device && queue, COLT5_ERROR_ARGUMENT,
            "context: an OpenCL context, a device and a queue are needed");
    colt5_context *ctx = host_allocate_zeroed(1, sizeof(*ctx));
    REQUIRE(NULL, ctx, COLT5_ERROR_MEMORY, "context: no host memory");
    colt5_status status;
    ctx->device = device;
    TRY(device_describe(device, &ctx->info));
    TRY(borrow_queue(ctx, cl, queue));
    TRY(set_up(ctx));
    *out = ctx;
    return COLT5_OK;
out:
    colt5_context_destroy(ctx);
    return status;
}

void colt5_context_destroy(colt5_context *ctx)
{
    if (!ctx) return;
    if (ctx->queue) clFinish(ctx->queue);
    for (size_t i = 0; i < sizeof(ctx->attached) / sizeof(ctx->attached[0]); i++)
        if (ctx->attached[i].state) ctx->attached[i].release(ctx, ctx->attached[i].state);
    profile_release(ctx);
    program_cache_release(ctx);
    workspace_release(ctx);
    if (ctx->nothing) clReleaseMemObject(ctx->nothing);
    if (ctx->queue) clReleaseCommandQueue(ctx->queue);
    if (ctx->cl) clReleaseContext(ctx->cl);
    host_release(ctx);
}

colt5_status colt5_context_finish(colt5_context *ctx)
{
    REQUIRE(NULL, ctx, COLT5_ERROR_ARGUMENT, "finish: ctx is NULL");
    REQUIRE(ctx, !ctx->lost, COLT5_ERROR_LOST, "finish: the device was lost");
    const cl_int error = clFinish(ctx->queue);
    return error == CL_SUCCESS ? COLT5_OK : fail_cl(ctx, "finish", "clFinish", error);
}

cl_context colt5_context_cl(const colt5_context *ctx)
{
    return ctx->cl;
}

cl_device_id colt5_context_device(const colt5_context *ctx)
{
    return ctx->device;
}

cl_command_queue colt5_context_queue(const colt5_context *ctx)
{
    return ctx->queue;
}

const colt5_device_info *colt5_context_device_info(const colt5_context *ctx)
{
    return &ctx->info;
}

void colt5_context_set_math(colt5_context *ctx, colt5_math math)
{
    ctx->math = math;
}

void colt5_context_set_callbacks(colt5_context *ctx, const colt5_callbacks *callbacks)
{
    ctx->callbacks = callbacks ? *callbacks : (colt5_callbacks){NULL, NULL, NULL, NULL};
    if (!ctx->callbacks.log || !ctx->tuning.notice[0]) return;
    say(ctx, "%s", ctx->tuning.notice);
    ctx->tuning.notice[0] = '\0';
}

colt5_status colt5_context_statistics(colt5_context *ctx, colt5_statistics *statistics)
{
    REQUIRE(NULL, ctx, COLT5_ERROR_ARGUMENT, "statistics: ctx is NULL");
    REQUIRE(ctx, statistics && statistics->struct_size == sizeof(*statistics), COLT5_ERROR_ARGUMENT,
            "statistics: struct_size is not %zu", sizeof(*statistics));
    *statistics = (colt5_statistics){
        .struct_size = sizeof(*statistics),
        .launches = ctx->launches,
        .flop = ctx->flop,
        .bytes = ctx->bytes,
        .workspace = workspace_held(ctx),
        .workspace_peak = ctx->workspace_peak,
        .buffers = ctx->buffer_bytes,
        .live_objects = ctx->live_tensors,
    };
    return COLT5_OK;
}

void colt5_context_reset_statistics(colt5_context *ctx)
{
    ctx->launches = ctx->flop = ctx->bytes = ctx->workspace_peak = 0;
}

void colt5_context_limit_workspace(colt5_context *ctx, size_t bytes)
{
    ctx->workspace.limit = bytes;
}
