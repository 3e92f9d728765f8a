/* SPDX-License-Identifier: MIT */
#include "bench_ops.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const struct op *ops_of(const struct bench *bench)
{
    return bench->backward ? backward_ops : forward_ops;
}

static bool is_wanted(const struct bench *bench, const char *name)
{
    for (size_t i = 0; i < bench->only.count; i++)
        if (!strcmp(bench->only.items[i], name)) return true;
    return bench->only.count == 0;
}

size_t bench_op_count(const struct bench *bench)
{
    size_t count = 0;
    for (const struct op *op = ops_of(bench); op->name; op++) count += is_wanted(bench, op->name);
    return count;
}

int bench_check_only(const struct bench *bench)
{
    for (size_t i = 0; i < bench->only.count; i++) {
        const struct op *op = ops_of(bench);
        while (op->name && strcmp(op->name, bench->only.items[i])) op++;
        if (op->name) continue;
        complain("--only is \"%s\", no op%s", bench->only.items[i],
                 bench->backward ? " that has a backward" : "");
        return EXIT_USAGE;
    }
    return EXIT_FINE;
}

static size_t dim_of(const struct op_call *c, char letter)
{
    switch (letter) {
    case 'B':
        return c->bench->batch;
    case 'N':
        return c->N;
    case 'K':
        return c->K;
    case 'D':
        return 512;
    case 'H':
        return 8;
    case 'T': /* steps of the solver */
        return SOLVER_STEPS;
    case 'S': /* Sinkhorn's slots and tokens */
        return c->K + c->N;
    case 'E':
        return 64;
    case 'F': /* a key and a value */
        return 128;
    case 'Q': /* queries, keys and values of all heads */
        return 1536;
    case 'V':
        return 258;
    default:
        return isdigit((unsigned char)letter) ? (size_t)(letter - '0') : 1;
    }
}

static void fill_values(const struct op_call *c, enum fill fill, colt5_type type, size_t count,
                        void *values)
{
    if (fill == FILL_NORMAL) {
        bench_noise(type, count, values);
        return;
    }
    if (fill == FILL_ONES) {
        memset(values, 1, count);
        return;
    }
    int32_t *integers = values;
    for (size_t i = 0; i < count; i++)
        integers[i] =
            fill == FILL_BYTES ? (int32_t)(i * 31 % 256) : (int32_t)(i % c->K * c->N / c->K);
}

static int make_tensor(struct op_call *c, const struct slot *slot, colt5_tensor *tensor)
{
    colt5_context *ctx = c->bench->session.ctx;
    const colt5_type type = slot->own_type ? slot->type : c->bench->type;
    size_t dims[COLT5_MAX_RANK];
    int rank = 0;
    for (; slot->dims[rank]; rank++) dims[rank] = dim_of(c, slot->dims[rank]);
    colt5_status status = colt5_tensor_create(ctx, type, rank, dims, tensor);
    if (status != COLT5_OK) return complain_status(ctx, status);
    const size_t count = colt5_tensor_count(tensor), bytes = count * colt5_type_size(type);
    if (slot->fill == FILL_NONE) c->outputs += bytes;
    void *values = calloc(bytes + 1, 1);
    if (!values) return complain_memory();
    if (slot->fill != FILL_NONE) fill_values(c, slot->fill, type, count, values);
    status = colt5_tensor_write(ctx, tensor, values);
    free(values);
    return status == COLT5_OK ? EXIT_FINE : complain_status(ctx, status);
}

colt5_status run_op(colt5_context *ctx, void *what)
{
    const struct op_call *c = what;
    return c->op->call(ctx, c);
}

int open_op(const struct bench *bench, const struct op *op, size_t N, size_t K,
            struct op_call *call)
{
    int code = EXIT_FINE;
    *call = (struct op_call){.op = op, .bench = bench, .N = N, .K = K};
    for (size_t i = 0; i < OP_TENSORS && op->slots[i].dims && code == EXIT_FINE; i++)
        code = make_tensor(call, &op->slots[i], &call->t[i]);
    return code;
}

void close_op(struct op_call *call)
{
    for (size_t i = 0; i < OP_TENSORS; i++)
        colt5_tensor_free(call->bench->session.ctx, &call->t[i]);
}

int measure_op(struct bench *bench, const struct op *op, size_t N, size_t K, struct bench_row *row)
{
    colt5_context *ctx = bench->session.ctx;
    struct op_call call;
    int code = open_op(bench, op, N, K, &call);
    if (code == EXIT_FINE) {
        colt5_status status = run_op(ctx, &call);
        if (status == COLT5_OK) status = colt5_context_finish(ctx);
        code = status == COLT5_OK ? bench_measure(bench, run_op, &call, call.outputs, row)
                                  : complain_status(ctx, status);
    }
    close_op(&call);
    return code;
}

size_t routed_of(const struct bench *bench)
{
    return bench->seq > 1024 ? 1024 : bench->seq;
}

int bench_ops(struct bench *bench)
{
    for (const struct op *op = ops_of(bench); op->name; op++) {
        const size_t K = routed_of(bench);
        if (!is_wanted(bench, op->name)) continue;
        struct bench_row row = bench_row_of(bench, op->name);
        show_progress(op->name, bench->steps_done++, bench->steps);
        int code = measure_op(bench, op, bench->seq, K, &row);
        if (code == EXIT_FINE) code = bench_add(bench, &row);
        if (code != EXIT_FINE) return code;
    }
    return EXIT_FINE;
}
