/* SPDX-License-Identifier: MIT */
#include "runtime/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "runtime/context.h"

static _Thread_local char thread_message[1024];

const char *colt5_status_text(colt5_status status)
{
    switch (status) {
#define TEXT(name, text)                                                                           \
    case COLT5_##name:                                                                             \
        return text;
        COLT5_STATUS_LIST(TEXT)
#undef TEXT
    }
    return "unknown status";
}

const char *colt5_message(const colt5_context *ctx)
{
    return ctx ? ctx->message : thread_message;
}

colt5_status fail(colt5_context *ctx, colt5_status code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    char text[sizeof(thread_message)]; /* the arguments may point into the old text */
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    memcpy(ctx ? ctx->message : thread_message, text, sizeof(text));
    if (ctx && code == COLT5_ERROR_LOST) ctx->lost = true;
    return code;
}

#define NVIDIA_ILLEGAL_ACCESS (-9999)

static colt5_status status_of_cl(cl_int error)
{
    switch (error) {
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_HOST_MEMORY:
    case CL_INVALID_BUFFER_SIZE:
        return COLT5_ERROR_MEMORY;
    case CL_DEVICE_NOT_AVAILABLE:
    case CL_INVALID_COMMAND_QUEUE: /* what NVIDIA's driver answers once a kernel has faulted */
    case NVIDIA_ILLEGAL_ACCESS:
        return COLT5_ERROR_LOST;
    default:
        return COLT5_ERROR_OPENCL;
    }
}

/*
 * CL_OUT_OF_RESOURCES is a launch that asks too much (local memory, say), and a blocking read on a
 * queue whose kernel has faulted: such a queue cannot be finished either.
 */
static bool queue_is_dead(const colt5_context *ctx)
{
    return ctx->queue && status_of_cl(clFinish(ctx->queue)) == COLT5_ERROR_LOST;
}

colt5_status fail_cl(colt5_context *ctx, const char *where, const char *call, cl_int error)
{
    colt5_status status = status_of_cl(error);
    if (ctx && error == CL_OUT_OF_RESOURCES && queue_is_dead(ctx)) status = COLT5_ERROR_LOST;
    return fail(ctx, status, "%s: %s: %s (%d)", where, call, cl_error_name(error), (int)error);
}

void say(colt5_context *ctx, const char *format, ...)
{
    if (!ctx->callbacks.log) return;
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    text[strcspn(text, "\n")] = '\0';
    ctx->callbacks.log(ctx->callbacks.user, text);
}

void say_progress(colt5_context *ctx, const char *what, size_t done, size_t total)
{
    if (ctx && ctx->callbacks.progress)
        ctx->callbacks.progress(ctx->callbacks.user, what, done, total);
}

const char *cl_error_name(cl_int error)
{
    switch (error) {
#define NAME(code)                                                                                 \
    case code:                                                                                     \
        return #code;
        NAME(CL_SUCCESS)
        NAME(CL_DEVICE_NOT_FOUND)
        NAME(CL_DEVICE_NOT_AVAILABLE)
        NAME(CL_COMPILER_NOT_AVAILABLE)
        NAME(CL_MEM_OBJECT_ALLOCATION_FAILURE)
        NAME(CL_OUT_OF_RESOURCES)
        NAME(CL_OUT_OF_HOST_MEMORY)
        NAME(CL_PROFILING_INFO_NOT_AVAILABLE)
        NAME(CL_MEM_COPY_OVERLAP)
        NAME(CL_BUILD_PROGRAM_FAILURE)
        NAME(CL_MAP_FAILURE)
        NAME(CL_MISALIGNED_SUB_BUFFER_OFFSET)
        NAME(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST)
        NAME(CL_COMPILE_PROGRAM_FAILURE)
        NAME(CL_LINKER_NOT_AVAILABLE)
        NAME(CL_LINK_PROGRAM_FAILURE)
        NAME(CL_INVALID_VALUE)
        NAME(CL_INVALID_DEVICE_TYPE)
        NAME(CL_INVALID_PLATFORM)
        NAME(CL_INVALID_DEVICE)
        NAME(CL_INVALID_CONTEXT)
        NAME(CL_INVALID_QUEUE_PROPERTIES)
        NAME(CL_INVALID_COMMAND_QUEUE)
        NAME(CL_INVALID_HOST_PTR)
        NAME(CL_INVALID_MEM_OBJECT)
        NAME(CL_INVALID_BINARY)
        NAME(CL_INVALID_BUILD_OPTIONS)
        NAME(CL_INVALID_PROGRAM)
        NAME(CL_INVALID_PROGRAM_EXECUTABLE)
        NAME(CL_INVALID_KERNEL_NAME)
        NAME(CL_INVALID_KERNEL_DEFINITION)
        NAME(CL_INVALID_KERNEL)
        NAME(CL_INVALID_ARG_INDEX)
        NAME(CL_INVALID_ARG_VALUE)
        NAME(CL_INVALID_ARG_SIZE)
        NAME(CL_INVALID_KERNEL_ARGS)
        NAME(CL_INVALID_WORK_DIMENSION)
        NAME(CL_INVALID_WORK_GROUP_SIZE)
        NAME(CL_INVALID_WORK_ITEM_SIZE)
        NAME(CL_INVALID_GLOBAL_OFFSET)
        NAME(CL_INVALID_EVENT_WAIT_LIST)
        NAME(CL_INVALID_EVENT)
        NAME(CL_INVALID_OPERATION)
        NAME(CL_INVALID_BUFFER_SIZE)
        NAME(CL_INVALID_GLOBAL_WORK_SIZE)
        NAME(CL_INVALID_COMPILER_OPTIONS)
        NAME(CL_INVALID_LINKER_OPTIONS)
#undef NAME
    case NVIDIA_ILLEGAL_ACCESS:
        return "NVIDIA: a kernel's illegal access";
    case -1001:
        return "CL_PLATFORM_NOT_FOUND_KHR";
    default:
        return "unknown error";
    }
}
