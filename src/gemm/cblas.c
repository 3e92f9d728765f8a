/* SPDX-License-Identifier: MIT */
/*
 * A CBLAS on the memory of a CPU device, float32, from within its queue: the operands are mapped, a
 * native kernel multiplies them where they lie, and they are unmapped, all without waiting. (A list
 * of buffers for the native kernel itself would do, but PoCL mixes up its order.)
 */
#include "config.h"

#ifdef HAVE_CBLAS

    #include <cblas.h>

    #include "gemm/backend.h"
    #include "runtime/context.h"
    #include "runtime/launch.h"
    #include "runtime/profile.h"

/* What the native kernel gets. */
struct call {
    float *a, *b, *c;
    int M, N, K;
    bool transpose_a, transpose_b;
    float alpha, beta;
};

static void CL_CALLBACK multiply(void *arguments)
{
    const struct call *call = arguments;
    const int M = call->M, N = call->N, K = call->K;
    cblas_sgemm(CblasRowMajor, call->transpose_a ? CblasTrans : CblasNoTrans,
                call->transpose_b ? CblasTrans : CblasNoTrans, M, N, K, call->alpha, call->a,
                call->transpose_a ? M : K, call->b, call->transpose_b ? K : N, call->beta, call->c,
                N);
}

static bool can(const colt5_context *ctx, const struct gemm *product)
{
    cl_device_exec_capabilities able = 0;
    clGetDeviceInfo(ctx->device, CL_DEVICE_EXECUTION_CAPABILITIES, sizeof(able), &able, NULL);
    return device_is_cpu(ctx) && (able & CL_EXEC_NATIVE_KERNEL) && product->a->type == COLT5_F32 &&
           product->K > 0;
}

static unsigned variant(const colt5_context *ctx, const struct gemm *product)
{
    (void)ctx;
    return 2 * product->transpose_a + product->transpose_b;
}

static float *map(colt5_context *ctx, const colt5_tensor *tensor, size_t rows, size_t columns,
                  cl_map_flags flags, cl_int *error)
{
    if (*error != CL_SUCCESS) return NULL;
    return clEnqueueMapBuffer(ctx->queue, tensor->buffer, CL_FALSE, flags,
                              tensor->offset * sizeof(float), rows * columns * sizeof(float), 0,
                              NULL, NULL, error);
}

static void unmap(colt5_context *ctx, const colt5_tensor *tensor, float *mapped)
{
    if (mapped) clEnqueueUnmapMemObject(ctx->queue, tensor->buffer, mapped, 0, NULL, NULL);
}

static colt5_status run(colt5_context *ctx, const struct gemm *p)
{
    ctx->launches++;
    if (ctx->planning) return COLT5_OK;
    const colt5_status may = may_enqueue(ctx, p->op);
    if (may != COLT5_OK) return may;
    cl_int error = CL_SUCCESS;
    struct call call = {.a = map(ctx, p->a, p->M, p->K, CL_MAP_READ, &error),
                        .M = (int)p->M,
                        .N = (int)p->N,
                        .K = (int)p->K,
                        .transpose_a = p->transpose_a,
                        .transpose_b = p->transpose_b,
                        .alpha = gemm_alpha(p),
                        .beta = p->residual ? 1.0f : 0.0f};
    call.b = map(ctx, p->b, p->K, p->N, CL_MAP_READ, &error);
    call.c = map(ctx, p->c, p->M, p->N, CL_MAP_READ | CL_MAP_WRITE, &error);
    if (error == CL_SUCCESS)
        error = clEnqueueNativeKernel(ctx->queue, multiply, &call, sizeof(call), 0, NULL, NULL, 0,
                                      NULL, profile_slot(ctx, "cblas"));
    unmap(ctx, p->a, call.a), unmap(ctx, p->b, call.b), unmap(ctx, p->c, call.c);
    return error == CL_SUCCESS ? COLT5_OK : fail_cl(ctx, p->op, "clEnqueueNativeKernel", error);
}

const struct gemm_backend gemm_cblas = {
    .name = "cblas", .can = can, .variant = variant, .run = run};

#endif
