/* SPDX-License-Identifier: MIT */
#include "layers/heavy.h"

#include <colt5/ops/flash_attention.h>
#include <colt5/ops/gather.h>
#include <colt5/ops/linear.h>
#include <colt5/ops/norm.h>
#include <colt5/ops/rotary.h>
#include <colt5/ops/scatter.h>

/* What the queries attend to. */
struct context {
    colt5_tensor kv; /* [B][R][M][H/R][2E] */
    const colt5_tensor *mask, *scores;
    colt5_tensor mask_view;
};

/* Rotates keys or queries [B][M][heads][E], every step-th head, at their original positions. */
static colt5_status rotate(struct pass *pass, const struct heavy_attention *heavy,
                           const colt5_tensor *x, size_t step, const colt5_tensor *positions,
                           size_t first_position, size_t N)
{
    if (!heavy->rotary) return COLT5_OK;
    return colt5_rotary(pass->ctx, x, positions,
                        &(colt5_rotary_options){.theta = 10000,
                                                .first_position = first_position,
                                                .heads = x->dims[2] / step,
                                                .head_step = step,
                                                .length = N});
}

/* kv [rows][width] = to_kv(norm(x)) for rows of a sample and the heads of one route. */
static colt5_status project_rows(struct pass *pass, const struct heavy_attention *heavy,
                                 const colt5_tensor *weight, const colt5_tensor *x,
                                 const colt5_tensor *kv)
{
    const struct workspace_mark mark = workspace_mark(pass->ctx);
    colt5_status status = COLT5_OK;
    for (size_t row = 0; row < x->dims[0]; row += pass->chunk) {
        const size_t left = x->dims[0] - row, count = left < pass->chunk ? left : pass->chunk;
        const colt5_tensor some_x = slice(x, row, count), some_kv = slice(kv, row, count);
        colt5_tensor normed;
        TRY(SCRATCH(pass, x->type, &normed, count, x->dims[1]));
        TRY(colt5_rms_norm_forward(pass->ctx, &some_x, &heavy->gamma->tensor, &normed, NULL));
        TRY(colt5_linear_forward(pass->ctx, &normed, weight, NULL, &some_kv));
        workspace_rewind(pass->ctx, mark);
    }
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* Keys and values of tokens [B][R][M][D]: route r gives those of its own heads. */
static colt5_status project(struct pass *pass, const struct heavy_attention *heavy,
                            const colt5_tensor *tokens, const colt5_tensor *kv)
{
    const size_t B = tokens->dims[0], R = tokens->dims[1], M = tokens->dims[2];
    const size_t D = tokens->dims[3], width = heavy->H / R * 2 * heavy->E;
    if (R == 1) { /* one product for the whole batch */
        const colt5_tensor rows = RESHAPED(tokens, B * M, D), out = RESHAPED(kv, B * M, width);
        return project_rows(pass, heavy, &heavy->to_kv->tensor, &rows, &out);
    }
    const colt5_tensor samples = RESHAPED(tokens, B * R * M, D),
                       outs = RESHAPED(kv, B * R * M, width);
    for (size_t i = 0; i < B * R; i++) {
        const colt5_tensor rows = slice(&samples, i * M, M), out = slice(&outs, i * M, M);
        const colt5_tensor weight = slice(&heavy->to_kv->tensor, i % R * width, width);
        const colt5_status status = project_rows(pass, heavy, &weight, &rows, &out);
        if (status != COLT5_OK) return status;
    }
    return COLT5_OK;
}

static colt5_status make_context(struct pass *pass, const struct heavy_attention *heavy,
                                 const colt5_tensor *x, const struct routed *routed,
                                 struct context *context)
{
    colt5_context *ctx = pass->ctx;
    const size_t B = x->dims[0], N = x->dims[1], D = x->dims[2], E = heavy->E;
    const size_t R = routed->all ? 1 : routed->R, M = routed->all ? N : routed->K, H = heavy->H / R;
    colt5_status status;
    TRY(SCRATCH(pass, x->type, &context->kv, B, R, M, H, 2 * E));
    const struct workspace_mark mark = workspace_mark(ctx);
    colt5_tensor tokens = RESHAPED(x, B, 1, M, D), index;
    if (!routed->all) {
        index = RESHAPED(&routed->index, B, R * M);
        TRY(SCRATCH(pass, x->type, &tokens, B, R * M, D));
        TRY(colt5_gather(ctx, x, &index, &tokens));
        tokens = RESHAPED(&tokens, B, R, M, D);
        index = RESHAPED(&routed->index, B * R, M);
    }
    TRY(project(pass, heavy, &tokens, &context->kv));
    workspace_rewind(ctx, mark);

    const colt5_tensor halves = RESHAPED(&context->kv, B * R, M, 2 * H, E);
    TRY(rotate(pass, heavy, &halves, 2, routed->all ? NULL : &index, 0, N));
    context->scores = routed_scores(routed);
    context->mask = NULL;
    if (routed->all ? pass->mask != NULL : routed->masked) {
        context->mask_view = RESHAPED(routed->all ? pass->mask : &routed->mask, B, R, M);
        context->mask = &context->mask_view;
    }
out:
    return status;
}

/* values [b][n][H][E] for a chunk of the queries. */
static colt5_status attend(struct pass *pass, const struct heavy_attention *heavy,
                           const colt5_tensor *tokens, const struct routed *q, struct chunk c,
                           size_t N, const struct context *context, const colt5_tensor *values)
{
    colt5_context *ctx = pass->ctx;
    const size_t B = tokens->dims[0], Q = tokens->dims[1], D = tokens->dims[2];
    const struct workspace_mark mark = workspace_mark(ctx);
    const colt5_tensor some = chunk_of(tokens, c), *scores = routed_scores(q);
    colt5_tensor normed, queries, positions, some_scores;
    colt5_status status;
    TRY(SCRATCH(pass, tokens->type, &queries, c.samples, c.tokens, heavy->H, heavy->E));
    TRY(SCRATCH(pass, tokens->type, &normed, c.samples, c.tokens, D));
    TRY(colt5_rms_norm_forward(ctx, &some, &heavy->gamma->tensor, &normed, NULL));
    const colt5_tensor normed_rows = rows_of(&normed, D);
    const colt5_tensor query_rows = rows_of(&queries, heavy->H * heavy->E);
    TRY(colt5_linear_forward(ctx, &normed_rows, &heavy->to_q->tensor, NULL, &query_rows));
    if (!q->all) {
        const colt5_tensor index = RESHAPED(&q->index, B, Q);
        positions = chunk_of(&index, c);
    }
    TRY(rotate(pass, heavy, &queries, 1, q->all ? NULL : &positions, c.n, N));
    if (scores) {
        const colt5_tensor rows = RESHAPED(scores, B, Q);
        some_scores = chunk_of(&rows, c);
    }
    const size_t b = c.b, samples = c.samples;
    const colt5_tensor kv = slice(&context->kv, b, samples);
    const colt5_tensor mask = context->mask ? slice(context->mask, b, samples) : kv;
    const colt5_tensor kv_scores = context->scores ? slice(context->scores, b, samples) : kv;
    TRY(colt5_flash_attention_forward(
        ctx,
        &(colt5_flash_attention_inputs){.q = &queries,
                                        .kv = &kv,
                                        .null_kv = &heavy->null_kv->tensor,
                                        .mask = context->mask ? &mask : NULL,
                                        .q_scores =
                                            heavy->multiply_queries && scores ? &some_scores : NULL,
                                        .kv_scores = context->scores ? &kv_scores : NULL,
                                        .multiply_keys = heavy->multiply_keys && context->scores},
        values, NULL));
out:
    workspace_rewind(ctx, mark);
    return status;
}

/* y = residual + score · to_out(values) at the tokens they came from, residual + null_q elsewhere.
 */
static colt5_status put_back(struct pass *pass, const struct heavy_attention *heavy,
                             const struct parameter *null_q, const colt5_tensor *values,
                             const struct routed *q, struct chunk c, const colt5_tensor *residual,
                             const colt5_tensor *y)
{
    colt5_context *ctx = pass->ctx;
    const colt5_tensor *weight = &heavy->to_out->tensor, *scores = routed_scores(q);
    const colt5_tensor value_rows = rows_of(values, heavy->H * heavy->E);
    const size_t B = y->dims[0], D = y->dims[2], Q = q->K;
    if (q->all) {
        const colt5_tensor some_y = chunk_of(y, c),
                           some_base = chunk_of(residual ? residual : y, c);
        const colt5_tensor y_rows = rows_of(&some_y, D), base_rows = rows_of(&some_base, D);
        const colt5_linear_options options = {.residual = residual ? &base_rows : NULL};
        return colt5_linear_forward(ctx, &value_rows, weight, &options, &y_rows);
    }
    const colt5_tensor index = RESHAPED(&q->index, B, Q);
    const colt5_tensor rows = scores ? RESHAPED(scores, B, Q) : index;
    const struct workspace_mark mark = workspace_mark(ctx);
    colt5_tensor out;
    colt5_status status;
    TRY(SCRATCH(pass, y->type, &out, B, Q, D));
    const colt5_tensor out_rows = rows_of(&out, D);
    TRY(colt5_linear_forward(ctx, &value_rows, weight, NULL, &out_rows));
    TRY(colt5_scatter_fill(ctx, &out, &index, scores ? &rows : NULL,
                           q->repeated ? COLT5_INDEX_REPEATED : COLT5_INDEX_UNIQUE,
                           null_q ? &null_q->tensor : NULL, residual, y));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status heavy_forward(struct pass *pass, const struct heavy_attention *heavy,
                           const struct parameter *null_q, const colt5_tensor *x,
                           const struct routed *q, const struct routed *kv,
                           const colt5_tensor *residual, const colt5_tensor *y)
{
    colt5_context *ctx = pass->ctx;
    const size_t B = x->dims[0], N = x->dims[1], D = x->dims[2], Q = q->all ? N : q->K;
    const struct workspace_mark mark = workspace_mark(ctx);
    struct context context;
    colt5_tensor tokens = *x, values;
    colt5_status status;

    TRY(make_context(pass, heavy, x, kv, &context));
    if (!q->all) {
        const colt5_tensor index = RESHAPED(&q->index, B, Q);
        TRY(SCRATCH(pass, x->type, &tokens, B, Q, D));
        TRY(colt5_gather(ctx, x, &index, &tokens));
    }
    /* Routed queries go back in one piece: a chunk of them has no place of its own in y. */
    const size_t limit = q->all ? pass->chunk : B * Q;
    for (struct chunk c = {0}; next_chunk(B, Q, limit, &c);) {
        const struct workspace_mark inner = workspace_mark(ctx);
        TRY(SCRATCH(pass, x->type, &values, c.samples, c.tokens, heavy->H, heavy->E));
        TRY(attend(pass, heavy, &tokens, q, c, N, &context, &values));
        TRY(put_back(pass, heavy, null_q, &values, q, c, residual, y));
        workspace_rewind(ctx, inner);
    }
out:
    workspace_rewind(ctx, mark);
    return status;
}
