/* SPDX-License-Identifier: MIT */
#include "runtime/probe.h"

#include <string.h>

#include "runtime/context.h"

enum { UNTRIED, WORKS, FAILED };

static unsigned char try_out(colt5_context *ctx, const char *what, probe_test test, void *call)
{
    const uint64_t launches = ctx->launches, flop = ctx->flop, bytes = ctx->bytes;
    bool works = false;
    char message[sizeof(ctx->message)];
    memcpy(message, ctx->message, sizeof(message));
    /* Its scratch was not planned: each tensor gets a buffer, and no peak is counted. */
    const bool separate = ctx->workspace.separate;
    struct stack *scratch = &ctx->workspace.scratch, before = *scratch;
    ctx->workspace.separate = true;
    const colt5_status status = test(ctx, call, &works);
    ctx->workspace.separate = separate;
    memcpy(scratch->slabs, before.slabs, sizeof(before.slabs));
    if (status != COLT5_OK) works = false;
    if (!works)
        say(ctx, "%s left out on this device: %s", what,
            status == COLT5_OK ? "wrong results" : ctx->message);
    memcpy(ctx->message, message, sizeof(message));
    ctx->launches = launches;
    ctx->flop = flop;
    ctx->bytes = bytes;
    return works ? WORKS : FAILED;
}

bool probe(colt5_context *ctx, size_t number, const char *what, probe_test test, void *call)
{
    unsigned char *verdict = &ctx->probes[number];
    if (*verdict == UNTRIED && ctx->planning) return true;
    if (*verdict == UNTRIED) *verdict = try_out(ctx, what, test, call);
    return *verdict == WORKS;
}
