/* SPDX-License-Identifier: MIT */
/* Checks of an op's tensors, before anything is launched. Each jumps out with a text that names. */
#ifndef COLT5_RUNTIME_CHECK_H
#define COLT5_RUNTIME_CHECK_H

#include "runtime/status.h"

#include <colt5/tensor.h>

/* rank dims must be those of the tensor, in order; the buffer must hold them. */
colt5_status check_shape(colt5_context *ctx, const char *op, const char *name,
                         const colt5_tensor *tensor, int rank, const size_t *dims);
colt5_status check_type(colt5_context *ctx, const char *op, const char *name,
                        const colt5_tensor *tensor, colt5_type type);
/* f32, f16 or bf16. */
colt5_status check_storage(colt5_context *ctx, const char *op, const char *name,
                           const colt5_tensor *tensor);
/* Not NULL, a buffer, a known type, this rank (0: any), a sane size, inside its buffer. */
colt5_status check_tensor(colt5_context *ctx, const char *op, const char *name,
                          const colt5_tensor *tensor, int rank);
/* "[2][3]", for messages; "[]" for rank 0. */
void dims_text(const size_t *dims, int rank, char *text, size_t size);
/* The two must not share an element. */
colt5_status check_apart(colt5_context *ctx, const char *op, const char *name_a,
                         const colt5_tensor *a, const char *name_b, const colt5_tensor *b);

/* As check_apart, but they may be one tensor: the same elements, each read before it is written. */
colt5_status check_apart_or_same(colt5_context *ctx, const char *op, const char *name_a,
                                 const colt5_tensor *a, const char *name_b, const colt5_tensor *b);
/* The same shape and type as another. */
colt5_status check_like(colt5_context *ctx, const char *op, const char *name,
                        const colt5_tensor *tensor, const colt5_tensor *other);

#define CHECK(call)                                                                                \
    do {                                                                                           \
        const colt5_status check_status = (call);                                                  \
        if (check_status != COLT5_OK) return check_status;                                         \
    } while (0)

#define REQUIRE_TENSOR(ctx, op, t, rank)     CHECK(check_tensor(ctx, op, #t, t, rank))
#define REQUIRE_TYPE(ctx, op, t, type)       CHECK(check_type(ctx, op, #t, t, type))
#define REQUIRE_STORAGE(ctx, op, t)          CHECK(check_storage(ctx, op, #t, t))
#define REQUIRE_APART(ctx, op, a, b)         CHECK(check_apart(ctx, op, #a, a, #b, b))
#define REQUIRE_APART_OR_SAME(ctx, op, a, b) CHECK(check_apart_or_same(ctx, op, #a, a, #b, b))
#define REQUIRE_LIKE(ctx, op, t, other)      CHECK(check_like(ctx, op, #t, t, other))
#define REQUIRE_SHAPE(ctx, op, t, ...)                                                             \
    CHECK(check_shape(ctx, op, #t, t, (int)(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)),     \
                      (size_t[]){__VA_ARGS__}))

#endif
