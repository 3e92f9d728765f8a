/* SPDX-License-Identifier: MIT */
/*
 * Ops to be timed, at the sizes they have inside the README's block: width 512, 8 heads of 64,
 * window 128, 1024 routed tokens. An op is a row of a table: its tensors by their dims' letters,
 * and one call.
 */
#ifndef CLI_BENCH_OPS_H
#define CLI_BENCH_OPS_H

#include "bench.h"

#define OP_TENSORS   10
#define SOLVER_STEPS 20

enum fill {
    FILL_NONE, /* an output */
    FILL_NORMAL,
    FILL_INDEX, /* ascending, spread over N */
    FILL_BYTES,
    FILL_ONES
};

/* A tensor: "BND" and so on, a digit for itself; the type of the run, or its own. */
struct slot {
    const char *dims; /* NULL ends the list */
    enum fill fill;
    bool own_type;
    colt5_type type;
};

#define IN(dims)                                                                                   \
    {                                                                                              \
        dims, FILL_NORMAL                                                                          \
    }
#define OUT(dims)                                                                                  \
    {                                                                                              \
        dims, FILL_NONE                                                                            \
    }
#define IN_F32(dims)                                                                               \
    {                                                                                              \
        dims, FILL_NORMAL, true, COLT5_F32                                                         \
    }
#define OUT_F32(dims)                                                                              \
    {                                                                                              \
        dims, FILL_NONE, true, COLT5_F32                                                           \
    }
#define OUT_I32(dims)                                                                              \
    {                                                                                              \
        dims, FILL_NONE, true, COLT5_I32                                                           \
    }
#define OUT_U8(dims)                                                                               \
    {                                                                                              \
        dims, FILL_NONE, true, COLT5_U8                                                            \
    }
#define INDEX(dims)                                                                                \
    {                                                                                              \
        dims, FILL_INDEX, true, COLT5_I32                                                          \
    }
#define MASK(dims)                                                                                 \
    {                                                                                              \
        dims, FILL_ONES, true, COLT5_U8                                                            \
    }
#define BYTES(dims)                                                                                \
    {                                                                                              \
        dims, FILL_BYTES, true, COLT5_I32                                                          \
    }

struct op;
struct op_call {
    const struct op *op;
    const struct bench *bench;
    size_t N, K;
    colt5_tensor t[OP_TENSORS];
    uint64_t outputs;
};

struct op {
    const char *name;
    colt5_status (*call)(colt5_context *ctx, const struct op_call *c);
    struct slot slots[OP_TENSORS];
};

/* An op whose call is one expression of its tensors t and the call c. */
#define OP(name, expression)                                                                       \
    static colt5_status call_##name(colt5_context *ctx, const struct op_call *c)                   \
    {                                                                                              \
        const colt5_tensor *t = c->t;                                                              \
        return expression;                                                                         \
    }

/* The same with two calls, forward and backward. */
#define OP_BACKWARD(name, forward, backward)                                                       \
    static colt5_status call_##name(colt5_context *ctx, const struct op_call *c)                   \
    {                                                                                              \
        const colt5_tensor *t = c->t;                                                              \
        const colt5_status status = forward;                                                       \
        return status == COLT5_OK ? backward : status;                                             \
    }

/* Ended by a NULL name. */
extern const struct op forward_ops[];  /* bench_ops_forward.c */
extern const struct op backward_ops[]; /* bench_ops_backward.c: forward, then backward */

/* bench_ops.c: an op's tensors, and one call of it (a bench_call). What was opened is closed, also
 * where opening it failed. */
int open_op(const struct bench *bench, const struct op *op, size_t N, size_t K,
            struct op_call *call);
colt5_status run_op(colt5_context *ctx, void *call);
void close_op(struct op_call *call);
/* Tokens that ops of the report route. */
size_t routed_of(const struct bench *bench);

/* Times an op with N tokens, K of them routed. */
int measure_op(struct bench *bench, const struct op *op, size_t N, size_t K, struct bench_row *row);

#endif
