/* SPDX-License-Identifier: MIT */
/* Counters that kernels leave at zero, as they found them: made once for a context. */
#include "gemm/arrivals.h"

#include "runtime/check.h"
#include "runtime/context.h"
#include "runtime/launch.h"

static void release_arrivals(colt5_context *ctx, void *state)
{
    cl_mem buffer = state;
    ctx->buffer_bytes -= ARRIVALS * sizeof(int32_t);
    buffer_release(&buffer);
}

colt5_status gemm_arrivals(colt5_context *ctx, colt5_tensor *arrivals)
{
    const size_t count = ARRIVALS;
    *arrivals = colt5_tensor_wrap(ctx->attached[ATTACHED_ARRIVALS].state, 0, COLT5_I32, 1, &count);
    if (arrivals->buffer || ctx->planning) return COLT5_OK;
    void *zeros = host_allocate_zeroed(ARRIVALS, sizeof(int32_t));
    REQUIRE(ctx, zeros, COLT5_ERROR_MEMORY, "gemm: no host memory");
    colt5_status status = buffer_create(ctx, ARRIVALS * sizeof(int32_t), &arrivals->buffer);
    if (status == COLT5_OK) status = upload_tensor(ctx, zeros, arrivals);
    host_release(zeros);
    if (status != COLT5_OK) {
        buffer_release(&arrivals->buffer);
        return status;
    }
    ctx->buffer_bytes += ARRIVALS * sizeof(int32_t);
    ctx->attached[ATTACHED_ARRIVALS].state = arrivals->buffer;
    ctx->attached[ATTACHED_ARRIVALS].release = release_arrivals;
    return COLT5_OK;
}
