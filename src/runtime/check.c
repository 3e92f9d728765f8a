/* SPDX-License-Identifier: MIT */
#include "runtime/check.h"

#include <stdio.h>

#include "runtime/context.h"

void dims_text(const size_t *dims, int rank, char *text, size_t size)
{
    size_t used = 0;
    snprintf(text, size, rank ? "" : "[]");
    for (int i = 0; i < rank && used < size; i++)
        used += (size_t)snprintf(text + used, size - used, "[%zu]", dims[i]);
}

colt5_status check_tensor(colt5_context *ctx, const char *op, const char *name,
                          const colt5_tensor *tensor, int rank)
{
    REQUIRE(NULL, ctx, COLT5_ERROR_ARGUMENT, "%s: ctx is NULL", op);
    REQUIRE(ctx, tensor, COLT5_ERROR_ARGUMENT, "%s: %s is NULL", op, name);
    REQUIRE(ctx, colt5_type_size(tensor->type) > 0, COLT5_ERROR_TYPE, "%s: %s has no known type",
            op, name);
    REQUIRE(ctx, tensor->rank >= 1 && tensor->rank <= COLT5_MAX_RANK, COLT5_ERROR_SHAPE,
            "%s: %s has rank %d", op, name, tensor->rank);
    REQUIRE(ctx, rank == 0 || tensor->rank == rank, COLT5_ERROR_SHAPE, "%s: %s has rank %d, not %d",
            op, name, tensor->rank, rank);
    REQUIRE(ctx, tensor->buffer || ctx->planning, COLT5_ERROR_ARGUMENT, "%s: %s has no buffer", op,
            name);
    size_t bytes = colt5_tensor_count(tensor);
    const bool sane = size_add(bytes, tensor->offset, &bytes) &&
                      size_multiply(bytes, colt5_type_size(tensor->type), &bytes);
    REQUIRE(ctx, sane, COLT5_ERROR_SHAPE, "%s: %s is larger than memory can be", op, name);
    if (ctx->planning) return COLT5_OK;
    const size_t held = buffer_size(tensor->buffer);
    REQUIRE(ctx, bytes <= held, COLT5_ERROR_SHAPE,
            "%s: %s ends at byte %zu of a buffer of %zu bytes", op, name, bytes, held);
    return COLT5_OK;
}

colt5_status check_shape(colt5_context *ctx, const char *op, const char *name,
                         const colt5_tensor *tensor, int rank, const size_t *dims)
{
    CHECK(check_tensor(ctx, op, name, tensor, 0));
    bool same = tensor->rank == rank;
    for (int i = 0; same && i < rank; i++) same = tensor->dims[i] == dims[i];
    if (same) return COLT5_OK;
    char have[128], want[128];
    dims_text(tensor->dims, tensor->rank, have, sizeof(have));
    dims_text(dims, rank, want, sizeof(want));
    return fail(ctx, COLT5_ERROR_SHAPE, "%s: %s is %s, not %s", op, name, have, want);
}

colt5_status check_type(colt5_context *ctx, const char *op, const char *name,
                        const colt5_tensor *tensor, colt5_type type)
{
    CHECK(check_tensor(ctx, op, name, tensor, 0));
    REQUIRE(ctx, tensor->type == type, COLT5_ERROR_TYPE, "%s: %s is %s, not %s", op, name,
            colt5_type_name(tensor->type), colt5_type_name(type));
    return COLT5_OK;
}

colt5_status check_storage(colt5_context *ctx, const char *op, const char *name,
                           const colt5_tensor *tensor)
{
    CHECK(check_tensor(ctx, op, name, tensor, 0));
    REQUIRE(ctx, tensor->type <= COLT5_BF16, COLT5_ERROR_TYPE, "%s: %s is %s, not f32, f16 or bf16",
            op, name, colt5_type_name(tensor->type));
    return COLT5_OK;
}

colt5_status check_apart(colt5_context *ctx, const char *op, const char *name_a,
                         const colt5_tensor *a, const char *name_b, const colt5_tensor *b)
{
    const size_t size_a = colt5_type_size(a->type), size_b = colt5_type_size(b->type);
    const size_t start_a = a->offset * size_a, start_b = b->offset * size_b;
    const size_t end_a = start_a + colt5_tensor_count(a) * size_a;
    const size_t end_b = start_b + colt5_tensor_count(b) * size_b;
    REQUIRE(ctx, ctx->planning || a->buffer != b->buffer || end_a <= start_b || end_b <= start_a,
            COLT5_ERROR_ARGUMENT, "%s: %s and %s overlap", op, name_a, name_b);
    return COLT5_OK;
}

colt5_status check_apart_or_same(colt5_context *ctx, const char *op, const char *name_a,
                                 const colt5_tensor *a, const char *name_b, const colt5_tensor *b)
{
    const bool same = a->buffer == b->buffer && a->offset == b->offset && a->type == b->type &&
                      colt5_tensor_count(a) == colt5_tensor_count(b);
    return same ? COLT5_OK : check_apart(ctx, op, name_a, a, name_b, b);
}

colt5_status check_like(colt5_context *ctx, const char *op, const char *name,
                        const colt5_tensor *tensor, const colt5_tensor *other)
{
    CHECK(check_type(ctx, op, name, tensor, other->type));
    return check_shape(ctx, op, name, tensor, other->rank, other->dims);
}
