/* SPDX-License-Identifier: MIT */
/* The door: picks a backend, proves it once, and does around it what it does not do itself. */
#include "gemm/gemm.h"

#include <colt5/ops/gather.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

#include "gemm/backend.h"
#include "runtime/context.h"
#include "runtime/launch.h"

#define LARGEST  0x7FFFFFFF /* rows, columns and depth of a product: kernels count them with int */
#define BACKENDS 7          /* at most, in an order */

/* What a context keeps: the backends in the order they are tried, which of their kernels have shown
 * that they multiply, and of which one has not: it is left out. */
struct gemm_state {
    const struct gemm_backend *order[BACKENDS + 1]; /* NULL ends */
    bool proved[BACKENDS][GEMM_VARIANTS], failed[BACKENDS];
    bool by_name;   /* the first was asked for by its name */
    bool unplanned; /* a backend failed since the last plan, which was made for it */
};

/*
 * NVIDIA, and whatever is neither GPU nor CPU: matrix units where there are some, the latest
 * instructions first; on the older ones large products of float32 by f16 where math is fast. Our
 * tiles do what CLBlast does at twice the speed (an H200 is not among the devices it is tuned for),
 * and fuse. Other GPUs: their matrix units for what CLBlast cannot do (f16, bf16); CLBlast has
 * tuned them one by one. CPUs: our panels beat OpenBLAS, whose threads moreover quarrel with those
 * of the OpenCL device; CLBlast is far behind.
 */
static const struct gemm_backend *const on_nvidia[] = {&gemm_wgmma,       &gemm_mma,
                                                       &gemm_split,       &gemm_tiled,
#ifdef HAVE_CLBLAST
                                                       &gemm_clblast,
#endif
                                                       &gemm_small_tiles, NULL};
static const struct gemm_backend *const on_gpu[] = {&gemm_mma,
#ifdef HAVE_CLBLAST
                                                    &gemm_clblast,
#endif
                                                    &gemm_tiled, &gemm_small_tiles, NULL};
static const struct gemm_backend *const on_cpu[] = {&gemm_packed,
#ifdef HAVE_CBLAS
                                                    &gemm_cblas,
#endif
                                                    &gemm_tiled,
#ifdef HAVE_CLBLAST
                                                    &gemm_clblast,
#endif
                                                    NULL};

static const struct gemm_backend *const *device_order(const colt5_context *ctx)
{
    const bool gpu = ctx->info.kind == COLT5_DEVICE_DISCRETE_GPU ||
                     ctx->info.kind == COLT5_DEVICE_INTEGRATED_GPU;
    if (device_is_cpu(ctx)) return on_cpu;
    return gpu && !strstr(ctx->info.vendor, "NVIDIA") ? on_gpu : on_nvidia;
}

static void release_state(colt5_context *ctx, void *kept)
{
    struct gemm_state *state = kept;
    for (size_t i = 0; state->order[i]; i++)
        if (state->order[i]->release) state->order[i]->release(ctx);
    host_release(state);
}

/* The device's order, with the one of this name (NULL or "": none) before the others. */
static bool set_order(const colt5_context *ctx, struct gemm_state *state, const char *name)
{
    const struct gemm_backend *const *order = device_order(ctx);
    size_t count = 0;
    memset(state->proved, 0, sizeof(state->proved));
    memset(state->failed, 0, sizeof(state->failed));
    for (size_t i = 0; name && order[i]; i++)
        if (!strcmp(order[i]->name, name)) state->order[count++] = order[i];
    state->by_name = count > 0;
    const bool found = count > 0 || !name || !*name;
    for (size_t i = 0; order[i]; i++)
        if (count == 0 || order[i] != state->order[0]) state->order[count++] = order[i];
    state->order[count] = NULL;
    return found;
}

static bool takes(const colt5_context *ctx, const struct gemm_state *state, size_t i,
                  const struct gemm *product)
{
    const struct gemm_backend *backend = state->order[i];
    return !state->failed[i] && backend->can(ctx, product) &&
           (!backend->pays || (state->by_name && i == 0) || backend->pays(ctx, product));
}

static colt5_status get_state(colt5_context *ctx, struct gemm_state **state)
{
    *state = ctx->attached[ATTACHED_GEMM].state;
    if (*state) return COLT5_OK;
    *state = host_allocate_zeroed(1, sizeof(**state));
    REQUIRE(ctx, *state, COLT5_ERROR_MEMORY, "gemm: no host memory");
    const char *name = getenv("COLT5_GEMM");
    if (!set_order(ctx, *state, name))
        say(ctx, "COLT5_GEMM=%s is no way to multiply on this device; it is left out", name);
    ctx->attached[ATTACHED_GEMM].state = *state;
    ctx->attached[ATTACHED_GEMM].release = release_state;
    return COLT5_OK;
}

colt5_status gemm_prefer(colt5_context *ctx, const char *name)
{
    struct gemm_state *state;
    const colt5_status status = get_state(ctx, &state);
    if (status != COLT5_OK) return status;
    REQUIRE(ctx, set_order(ctx, state, name), COLT5_ERROR_ARGUMENT, "gemm: no backend is named %s",
            name);
    return COLT5_OK;
}

const char *gemm_backend_name(colt5_context *ctx, const struct gemm *product)
{
    struct gemm_state *state;
    if (get_state(ctx, &state) != COLT5_OK) return "";
    for (size_t i = 0; state->order[i]; i++)
        if (takes(ctx, state, i, product)) return state->order[i]->name;
    return "";
}

static colt5_status run_with(colt5_context *ctx, const struct gemm_backend *backend,
                             const struct gemm *product)
{
    return backend->fuses ? backend->run(ctx, product) : gemm_run_around(ctx, backend, product);
}

/* The first use of one of a backend's kernels: a product whose answer is known. A backend of which
 * one kernel fails is not trusted with any other. */
static colt5_status try_out(colt5_context *ctx, struct gemm_state *state, size_t i,
                            const struct gemm *product)
{
    const struct gemm_backend *backend = state->order[i];
    bool works;
    const colt5_status status = gemm_self_test(ctx, backend, product, &works);
    if (status != COLT5_OK) return status;
    if (works)
        state->proved[i][backend->variant(ctx, product)] = true;
    else
        state->failed[i] = state->unplanned = true;
    return COLT5_OK;
}

/* Runs it with scratch as planned or, when the plan was for a backend that then failed, with a
 * buffer of its own for every tensor. */
static colt5_status run_proved(colt5_context *ctx, const struct gemm_state *state,
                               const struct gemm_backend *backend, const struct gemm *product)
{
    const bool separate = ctx->workspace.separate;
    ctx->workspace.separate = separate || state->unplanned;
    const colt5_status status = run_with(ctx, backend, product);
    ctx->workspace.separate = separate;
    return status;
}

/* While the context plans, for the first backend that has not failed. */
static colt5_status run_product(colt5_context *ctx, void *call)
{
    const struct gemm *product = call;
    struct gemm_state *state;
    colt5_status status = get_state(ctx, &state);
    if (status != COLT5_OK) return status;
    if (ctx->planning) state->unplanned = false;
    for (size_t i = 0; state->order[i]; i++) {
        const struct gemm_backend *backend = state->order[i];
        if (!takes(ctx, state, i, product)) continue;
        if (ctx->planning) return run_with(ctx, backend, product);
        const bool *proved = &state->proved[i][backend->variant(ctx, product)];
        if (!*proved) status = try_out(ctx, state, i, product);
        if (status != COLT5_OK) return status;
        if (*proved) return run_proved(ctx, state, backend, product);
    }
    return fail(ctx, COLT5_ERROR_INTERNAL, "%s: no backend multiplies %s rightly on this device",
                product->op, colt5_type_name(product->a->type));
}

static uint64_t bytes_of(const struct gemm *product)
{
    const uint64_t M = product->M, N = product->N, K = product->K;
    const uint64_t c = M * N * colt5_type_size(product->c->type);
    return (M * K + K * N) * colt5_type_size(product->a->type) + (gemm_beside(product) ? 2 * c : c);
}

colt5_status gemm(colt5_context *ctx, const struct gemm *product)
{
    const size_t M = product->M, N = product->N, K = product->K;
    if (M == 0 || N == 0) return COLT5_OK;
    REQUIRE(ctx,
            M <= LARGEST && N <= LARGEST && K <= LARGEST && product->a_rows <= LARGEST &&
                product->c_rows <= LARGEST,
            COLT5_ERROR_SHAPE, "%s: a product of %zu × %zu × %zu is too large", product->op, M, N,
            K);
    struct gemm call = *product;
    count_work(ctx, 2 * (uint64_t)M * N * K, bytes_of(product));
    return workspace_call(ctx, product->op, run_product, &call, NULL, 0);
}
