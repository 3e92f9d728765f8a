/* SPDX-License-Identifier: MIT */
#include "runtime/profile.h"

#include "runtime/context.h"

cl_event *profile_slot(colt5_context *ctx, const char *name)
{
    (void)name;
    return ctx->profile ? NULL : NULL;
}

void profile_release(colt5_context *ctx)
{
    ctx->profile = NULL;
}

colt5_status colt5_context_set_profiling(colt5_context *ctx, int on)
{
    (void)on;
    return fail(ctx, COLT5_ERROR_ARGUMENT, "profiling: not available");
}

colt5_status colt5_context_profile(colt5_context *ctx, colt5_profile_row *rows, size_t capacity,
                                   size_t *count)
{
    (void)ctx, (void)rows, (void)capacity;
    *count = 0;
    return COLT5_OK;
}
