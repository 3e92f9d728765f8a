/* SPDX-License-Identifier: MIT */
#include "runtime/probe.h"

#include <string.h>

#include "runtime/context.h"

enum { UNTRIED, WORKS, FAILED };

static bool tells_nothing(colt5_status status)
{
    return status == COLT5_CANCELLED || status == COLT5_ERROR_LOST || status == COLT5_ERROR_MEMORY;
}

static colt5_status try_out(colt5_context *ctx, const char *what, probe_test test, void *call,
                            unsigned char *verdict)
{
    const uint64_t launches = ctx->launches, flop = ctx->flop, bytes = ctx->bytes;
    bool works = false;
    char message[sizeof(ctx->message)];
    memcpy(message, ctx->message, sizeof(message));
    /* Its scratch was not planned: each tensor gets a buffer, and no peak is counted. */
    const bool separate = ctx->workspace.separate;
    struct stack *scratch = &ctx->workspace.scratch, before = *scratch;
    const struct stack_mark mark = workspace_mark(ctx);
    ctx->workspace.separate = true;
    const colt5_status status = test(ctx, call, &works);
    workspace_rewind(ctx, mark);
    ctx->workspace.separate = separate;
    memcpy(scratch->slabs, before.slabs, sizeof(before.slabs));
    ctx->launches = launches;
    ctx->flop = flop;
    ctx->bytes = bytes;
    if (tells_nothing(status)) return status;
    if (status != COLT5_OK) works = false;
    if (!works)
        say(ctx, "%s left out on this device: %s", what,
            status == COLT5_OK ? "wrong results" : ctx->message);
    memcpy(ctx->message, message, sizeof(message));
    *verdict = works ? WORKS : FAILED;
    return COLT5_OK;
}

colt5_status probe_unless_stopped(colt5_context *ctx, size_t number, const char *what,
                                  probe_test test, void *call, bool *works)
{
    unsigned char *verdict = &ctx->probes[number];
    colt5_status status = COLT5_OK;
    if (*verdict == UNTRIED && !ctx->planning) status = try_out(ctx, what, test, call, verdict);
    *works = *verdict == WORKS || (*verdict == UNTRIED && ctx->planning);
    return status;
}

bool probe(colt5_context *ctx, size_t number, const char *what, probe_test test, void *call)
{
    bool works;
    /* What stopped it will stop the plain way as well, which says so. */
    return probe_unless_stopped(ctx, number, what, test, call, &works) == COLT5_OK && works;
}
