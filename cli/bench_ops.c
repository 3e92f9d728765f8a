/* SPDX-License-Identifier: MIT */
/*
 * Every op at the sizes it has inside the README's block: width 512, 8 heads of 64, window 128,
 * 1024 routed tokens. An op is a row of a table: its tensors by their dims' letters, and one call.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define OP_TENSORS 6

enum fill {
    FILL_NONE, /* an output */
    FILL_NORMAL,
    FILL_INDEX, /* ascending, spread over N */
    FILL_BYTES
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
#define BYTES(dims)                                                                                \
    {                                                                                              \
        dims, FILL_BYTES, true, COLT5_I32                                                          \
    }

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

OP(add, colt5_add(ctx, &t[0], &t[1], &t[2]))
OP(adamw, colt5_adamw(ctx, &t[0], NULL, &(colt5_adamw_options){1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1},
                      &(colt5_adamw_tensors){&t[1], &t[2], &t[3], &t[4]}))
OP(block_rows, colt5_block_rows(ctx, &t[0], NULL, c->N, &t[1], NULL))
OP(broadcast_row, colt5_broadcast_row(ctx, &t[0], &t[1], &t[2]))
OP(coor_descent, colt5_coor_descent_forward(ctx, &t[0], NULL,
                                            &(colt5_coor_descent_options){.k = (float)c->K * 1.125f,
                                                                          .n_iters = 20,
                                                                          .eps = 0.03f,
                                                                          .eps_init = 4,
                                                                          .eps_decay = 0.7f},
                                            &t[1], NULL))
OP(cross_entropy, colt5_cross_entropy_forward(ctx, &t[0], &t[1], &t[2], NULL, NULL, &t[3]))
OP(cross_entropy_backward, colt5_cross_entropy_backward(ctx, &t[0], &t[1], NULL, &t[2], 1, &t[3]))
OP(cum_softmax, colt5_cum_softmax_forward(ctx, &t[0], NULL, 1, &t[1]))
OP(embedding, colt5_embedding_forward(ctx, &t[0], &t[1], &t[2]))
OP(embedding_backward, colt5_embedding_backward(ctx, &t[0], &t[1], &t[2]))
OP(flash_attention, colt5_flash_attention_forward(ctx,
                                                  &(colt5_flash_attention_inputs){
                                                      .q = &t[0], .kv = &t[1], .null_kv = &t[2]},
                                                  &t[3], NULL))
OP(gather, colt5_gather(ctx, &t[0], &t[1], &t[2]))
OP(gather_scores, colt5_gather_scores(ctx, &t[0], &t[1], &t[2]))
OP(gelu, colt5_gelu_forward(ctx, &t[0], &t[1]))
OP(gradient_norm, colt5_gradient_norm(ctx, &t[0], 1, NULL, &t[1], NULL))
OP(layer_norm, colt5_layer_norm_forward(ctx, &t[0], &t[1], &t[2], &t[3], NULL, NULL))
OP(linear, colt5_linear_forward(ctx, &t[0], &t[1], NULL, &t[2]))
OP(linear_gelu,
   colt5_linear_forward(ctx, &t[0], &t[1],
                        &(colt5_linear_options){.bias = &t[2], .gelu = 1, .index = &t[3]}, &t[4]))
OP(local_attention,
   colt5_local_attention_forward(ctx, &t[0], NULL,
                                 &(colt5_local_attention_options){.window = 64, .length = c->N},
                                 &t[1], NULL))
OP(random_uniform, colt5_random_uniform(ctx, c->bench->seed, COLT5_STREAM_ROUTES, 0, 0, &t[0]))
OP(rms_norm, colt5_rms_norm_forward(ctx, &t[0], &t[1], &t[2], NULL))
OP(rotary, colt5_rotary(ctx, &t[0], NULL, NULL))
OP(scatter, colt5_scatter(ctx, &t[0], &t[1], NULL, &t[2], &t[3]))
OP(scatter_add, colt5_scatter_add(ctx, &t[0], &t[1], NULL, COLT5_INDEX_UNIQUE, &t[2]))
OP(scatter_mean, colt5_scatter_mean(ctx, &t[0], &t[1], NULL, &t[2], &t[3]))
OP(score, colt5_score_forward(ctx, &t[0], 2,
                              (const colt5_score_target[]){{&t[1], &t[2]}, {&t[3], &t[4]}}, NULL))
OP(select, colt5_select(ctx, &t[0], NULL, &t[1]))
OP(sinkhorn, colt5_sinkhorn_forward(ctx, &t[0], NULL,
                                    &(colt5_sinkhorn_options){
                                        .temperature = 0.7f, .n_iters = 8, .seed = c->bench->seed},
                                    &t[1], &t[2], NULL))
OP(token_mask, colt5_token_mask(ctx, &t[0], NULL, 256, &t[1]))
OP(topk, colt5_topk_forward(ctx, &t[0], NULL, NULL, &t[1], &t[2], &t[3], NULL, NULL))

static const struct op ops[] = {
    {"add", call_add, {IN("BND"), IN("BND"), OUT("BND")}},
    {"adamw", call_adamw, {IN_F32("QD"), OUT("QD"), OUT_F32("QD"), OUT_F32("QD"), OUT_F32("QD")}},
    {"block_rows", call_block_rows, {IN_F32("B1N"), OUT_F32("B1N")}},
    {"broadcast_row", call_broadcast_row, {IN("D"), IN("BND"), OUT("BND")}},
    {"coor_descent", call_coor_descent, {IN_F32("B1N"), OUT_F32("B1N")}},
    {"cross_entropy", call_cross_entropy, {IN("BNV"), BYTES("BN"), OUT_F32("1"), OUT_F32("BN")}},
    {"cross_entropy_backward",
     call_cross_entropy_backward,
     {IN("BNV"), BYTES("BN"), IN_F32("BN"), OUT("BNV")}},
    {"cum_softmax", call_cum_softmax, {IN_F32("B1N"), OUT_F32("B1N")}},
    {"embedding", call_embedding, {BYTES("BN"), IN("VD"), OUT("BND")}},
    {"embedding_backward", call_embedding_backward, {BYTES("BN"), IN("BND"), OUT_F32("VD")}},
    {"flash_attention", call_flash_attention, {IN("BKHE"), IN("B1KHF"), IN("2HE"), OUT("BKHE")}},
    {"gather", call_gather, {IN("BND"), INDEX("BK"), OUT("BKD")}},
    {"gather_scores", call_gather_scores, {IN_F32("B1N"), INDEX("B1K"), OUT_F32("B1K")}},
    {"gelu", call_gelu, {IN("BND"), OUT("BND")}},
    {"gradient_norm", call_gradient_norm, {IN_F32("QD"), OUT_F32("1")}},
    {"layer_norm", call_layer_norm, {IN("BND"), IN("D"), IN("D"), OUT("BND")}},
    {"linear", call_linear, {IN("BND"), IN("QD"), OUT("BNQ")}},
    {"linear_gelu", call_linear_gelu, {IN("BND"), IN("QD"), IN("Q"), INDEX("BK"), OUT("BKQ")}},
    {"local_attention", call_local_attention, {IN("BN3HE"), OUT("BNHE")}},
    {"random_uniform", call_random_uniform, {OUT_F32("BN")}},
    {"rms_norm", call_rms_norm, {IN("BND"), IN("D"), OUT("BND")}},
    {"rotary", call_rotary, {IN("BNHE")}},
    {"scatter", call_scatter, {IN("BKD"), INDEX("BK"), IN("BND"), OUT("BND")}},
    {"scatter_add", call_scatter_add, {IN("BKD"), INDEX("BK"), OUT("BND")}},
    {"scatter_mean", call_scatter_mean, {IN("BKD"), INDEX("BK"), IN("BND"), OUT("BND")}},
    {"score", call_score, {IN("BND"), IN("1D"), OUT_F32("B1N"), IN("1D"), OUT_F32("B1N")}},
    {"select", call_select, {IN_F32("B1N"), OUT_I32("B1K")}},
    {"sinkhorn", call_sinkhorn, {IN_F32("B1N"), OUT_I32("B1K"), OUT_F32("B1K")}},
    {"token_mask", call_token_mask, {BYTES("BN"), OUT_U8("BN")}},
    {"topk", call_topk, {IN_F32("B1N"), OUT_F32("B1K"), OUT_I32("B1K"), OUT_F32("B1K")}},
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

size_t bench_op_count(void)
{
    return OPS;
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

static colt5_status run_op(colt5_context *ctx, void *what)
{
    const struct op_call *c = what;
    return c->op->call(ctx, c);
}

/* Times an op with N tokens, K of them routed. */
static int measure_op(struct bench *bench, const struct op *op, size_t N, size_t K,
                      struct bench_row *row)
{
    colt5_context *ctx = bench->session.ctx;
    struct op_call call = {.op = op, .bench = bench, .N = N, .K = K};
    int code = EXIT_FINE;
    for (size_t i = 0; i < OP_TENSORS && op->slots[i].dims && code == EXIT_FINE; i++)
        code = make_tensor(&call, &op->slots[i], &call.t[i]);
    if (code == EXIT_FINE) {
        colt5_status status = run_op(ctx, &call);
        if (status == COLT5_OK) status = colt5_context_finish(ctx);
        code = status == COLT5_OK ? bench_measure(bench, run_op, &call, call.outputs, row)
                                  : complain_status(ctx, status);
    }
    for (size_t i = 0; i < OP_TENSORS; i++) colt5_tensor_free(ctx, &call.t[i]);
    return code;
}

int bench_ops(struct bench *bench)
{
    for (size_t i = 0; i < OPS; i++) {
        const size_t K = bench->seq > 1024 ? 1024 : bench->seq;
        struct bench_row row = {.batch = bench->batch, .seq = bench->seq};
        snprintf(row.name, sizeof(row.name), "%s", ops[i].name);
        show_progress(ops[i].name, bench->steps_done++, bench->steps);
        int code = measure_op(bench, &ops[i], bench->seq, K, &row);
        if (code == EXIT_FINE) code = bench_add(bench, &row);
        if (code != EXIT_FINE) return code;
    }
    return EXIT_FINE;
}

/* The op's best rate, in bytes or in operations a second, where it is above *best. */
static int reach(struct bench *bench, const struct op *op, size_t N, bool bytes, double *best)
{
    struct bench_row row = {.batch = 1};
    const int code = measure_op(bench, op, N, N, &row);
    if (code != EXIT_FINE) return code;
    const double rate = (double)(bytes ? row.bytes : row.flop) / (row.min_ms * 1e-3);
    if (rate > *best) *best = rate;
    return EXIT_FINE;
}

int bench_ceilings(struct bench *bench)
{
    static const struct op copies[] = {
        {"gather", call_gather, {IN("BND"), INDEX("BN"), OUT("BND")}},
        {"add", call_add, {IN("BND"), IN("BND"), OUT("BND")}},
    };
    static const struct op product = {"linear", call_linear, {IN("1ND"), IN("QD"), OUT("1NQ")}};
    const size_t batch = bench->batch;
    struct ceilings *ceilings = &bench->ceilings;
    bench->batch = 1;
    show_progress("the device at its best", bench->steps_done++, bench->steps);
    int code = EXIT_FINE;
    for (size_t i = 0; i < 2 && code == EXIT_FINE; i++)
        code = reach(bench, &copies[i], bench->cpu ? 32768 : 131072, true,
                     &ceilings->bytes_per_second);
    if (code == EXIT_FINE)
        code = reach(bench, &product, bench->cpu ? 8192 : 65536, false, &ceilings->flop_per_second);
    bench->batch = batch;
    return code;
}
