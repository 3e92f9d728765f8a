/* SPDX-License-Identifier: MIT */
/*
 * CLBlast: float32, tuned for many vendors' devices. It has its own cache of programs, one per
 * process and keyed by device name, that is not safe for two threads before 1.6.1: one lock for
 * all of its calls.
 */
#include "config.h"

#ifdef HAVE_CLBLAST

    #include <clblast_c.h>
    #include <pthread.h>

    #include "gemm/backend.h"
    #include "runtime/context.h"
    #include "runtime/launch.h"
    #include "runtime/profile.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* Elements are counted with int in its kernels: every operand must end below this. */
    #define LARGEST 0x7FFFFFFFu

static bool ends_below(const colt5_tensor *tensor, size_t rows, size_t columns)
{
    size_t count;
    return size_multiply(rows, columns, &count) && size_add(count, tensor->offset, &count) &&
           count <= LARGEST;
}

static bool can(const colt5_context *ctx, const struct gemm *product)
{
    (void)ctx;
    return product->a->type == COLT5_F32 && product->K > 0 &&
           ends_below(product->a, product->M, product->K) &&
           ends_below(product->b, product->K, product->N) &&
           ends_below(product->c, product->M, product->N);
}

/* Its small and its large kernel, for each layout of A and B, are more than one program. */
static unsigned variant(const colt5_context *ctx, const struct gemm *product)
{
    (void)ctx;
    return 2 * product->transpose_a + product->transpose_b;
}

static CLBlastTranspose transposed(bool yes)
{
    return yes ? CLBlastTransposeYes : CLBlastTransposeNo;
}

/* Scratch for its padded copies, as a buffer of its own: it takes no offset. */
static colt5_status take_copies(colt5_context *ctx, const struct gemm *p, cl_mem *copies)
{
    size_t bytes = 0;
    const size_t a_ld = p->transpose_a ? p->M : p->K, b_ld = p->transpose_b ? p->K : p->N;
    pthread_mutex_lock(&lock);
    const CLBlastStatusCode code = CLBlastSGemmTempBufferSize(
        CLBlastLayoutRowMajor, transposed(p->transpose_a), transposed(p->transpose_b), p->M, p->N,
        p->K, p->a->offset, a_ld, p->b->offset, b_ld, p->c->offset, p->N, &ctx->queue, &bytes);
    pthread_mutex_unlock(&lock);
    REQUIRE(ctx, code == CLBlastSuccess, COLT5_ERROR_OPENCL,
            "%s: CLBlastSGemmTempBufferSize: status %d", p->op, (int)code);
    colt5_tensor whole;
    const colt5_status status = scratch(ctx, COLT5_U8, 1, &bytes, &whole);
    if (status != COLT5_OK || bytes == 0 || ctx->planning) return status;
    cl_int error;
    const cl_buffer_region region = {whole.offset, bytes};
    *copies = clCreateSubBuffer(whole.buffer, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &error);
    return *copies ? COLT5_OK : fail_cl(ctx, p->op, "clCreateSubBuffer", error);
}

static colt5_status run(colt5_context *ctx, const struct gemm *p)
{
    const size_t a_ld = p->transpose_a ? p->M : p->K, b_ld = p->transpose_b ? p->K : p->N;
    const struct stack_mark mark = workspace_mark(ctx);
    cl_mem copies = NULL;
    colt5_status status = take_copies(ctx, p, &copies);
    ctx->launches++;
    if (status == COLT5_OK && !ctx->planning) status = may_enqueue(ctx, p->op);
    if (status == COLT5_OK && !ctx->planning) {
        pthread_mutex_lock(&lock);
        const CLBlastStatusCode code = CLBlastSgemmWithTempBuffer(
            CLBlastLayoutRowMajor, transposed(p->transpose_a), transposed(p->transpose_b), p->M,
            p->N, p->K, gemm_alpha(p), p->a->buffer, p->a->offset, a_ld, p->b->buffer, p->b->offset,
            b_ld, p->residual ? 1.0f : 0.0f, p->c->buffer, p->c->offset, p->N, &ctx->queue,
            profile_slot(ctx, "clblast"), copies);
        pthread_mutex_unlock(&lock);
        if (code != CLBlastSuccess)
            status = fail(ctx, COLT5_ERROR_OPENCL, "%s: CLBlastSgemm: status %d", p->op, (int)code);
    }
    if (copies) clReleaseMemObject(copies);
    workspace_rewind(ctx, mark);
    return status;
}

/* Its programs outlive the context they were built in, and a later one may get its address. */
static void release(colt5_context *ctx)
{
    (void)ctx;
    pthread_mutex_lock(&lock);
    CLBlastClearCache();
    pthread_mutex_unlock(&lock);
}

const struct gemm_backend gemm_clblast = {
    .name = "clblast", .can = can, .variant = variant, .run = run, .release = release};

#endif
