/* SPDX-License-Identifier: MIT */
#include "layers/heavy.h"

#include <colt5/ops/activation.h>
#include <colt5/ops/flash_attention.h>
#include <colt5/ops/linear.h>

#include "layers/side.h"
#include "ops/scatter.h"

/* The inputs of flash attention, with tensors they point to. */
struct inputs {
    colt5_tensor q, kv, mask, q_scores, kv_scores;
    colt5_flash_attention_inputs flash;
};

/* For queries of samples b .. b+samples-1. */
static void fill_inputs(struct pass *pass, const struct heavy_attention *heavy,
                        const struct side *q, const struct side *kv, size_t b, size_t samples,
                        const struct saved_heavy *saved, struct inputs *inputs)
{
    const colt5_tensor *q_scores = routed_scores(q->routed), *kv_scores = routed_scores(kv->routed);
    const struct routed *context = kv->routed;
    const colt5_tensor *mask = context->all ? pass->mask : context->masked ? &context->mask : NULL;
    inputs->q = saved->queries;
    inputs->kv = slice(&saved->kv, b, samples);
    inputs->flash = (colt5_flash_attention_inputs){
        .q = &inputs->q, .kv = &inputs->kv, .null_kv = &heavy->null_kv->tensor};
    if (mask) {
        const colt5_tensor whole = RESHAPED(mask, kv->B, kv->R, kv->M);
        inputs->mask = slice(&whole, b, samples);
        inputs->flash.mask = &inputs->mask;
    }
    if (heavy->multiply_queries && q_scores) {
        const colt5_tensor whole = RESHAPED(q_scores, q->B, q->M);
        inputs->q_scores = slice(&whole, b, samples);
        inputs->flash.q_scores = &inputs->q_scores;
    }
    if (kv_scores) {
        inputs->kv_scores = slice(kv_scores, b, samples);
        inputs->flash.kv_scores = &inputs->kv_scores;
        inputs->flash.multiply_keys = heavy->multiply_keys;
    }
}

/* The key halves of kv, or of its gradient: every second head of [..][M][2·heads][E]. */
static colt5_status rotate_keys(struct pass *pass, const struct heavy_attention *heavy,
                                const struct side *side, const colt5_tensor *kv, size_t N,
                                bool inverse)
{
    if (!heavy->rotary) return COLT5_OK;
    const colt5_tensor halves =
        RESHAPED(kv, side->B * side->R, side->M, 2 * heavy->H / side->R, heavy->E);
    return side_rotate(pass, side, &halves, 2, N, inverse);
}

static colt5_status rotate_queries(struct pass *pass, const struct heavy_attention *heavy,
                                   const struct side *side, const colt5_tensor *queries, size_t N,
                                   bool inverse)
{
    return heavy->rotary ? side_rotate(pass, side, queries, 1, N, inverse) : COLT5_OK;
}

static colt5_status make_context(struct pass *pass, const struct heavy_attention *heavy,
                                 const struct side *kv, const colt5_tensor *x,
                                 struct saved_heavy *saved)
{
    colt5_status status;
    TRY(KEPT(pass, x->type, &saved->kv, kv->B, kv->R, kv->M, heavy->H / kv->R, 2 * heavy->E));
    TRY(side_forward(pass, heavy, kv, heavy->to_kv, x, &saved->kv));
    TRY(rotate_keys(pass, heavy, kv, &saved->kv, x->dims[1], false));
out:
    return status;
}

/* saved->values [b][n][H][E] for a chunk of the queries. */
static colt5_status attend(struct pass *pass, const struct heavy_attention *heavy,
                           const struct side *q, const struct side *kv, struct chunk c,
                           const colt5_tensor *x, struct saved_heavy *saved)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const colt5_tensor some_x = q->routed->all ? chunk_of(x, c) : *x;
    struct side some = *q;
    some.B = c.samples;
    some.M = c.tokens;
    some.first_position = c.n;
    struct inputs inputs;
    colt5_status status;
    TRY(KEPT(pass, x->type, &saved->queries, c.samples, c.tokens, heavy->H, heavy->E));
    TRY(side_forward(pass, heavy, &some, heavy->to_q, &some_x, &saved->queries));
    TRY(rotate_queries(pass, heavy, &some, &saved->queries, x->dims[1], false));
    fill_inputs(pass, heavy, q, kv, c.b, c.samples, saved, &inputs);
    TRY(colt5_flash_attention_forward(pass->ctx, &inputs.flash, &saved->values,
                                      pass->saving ? &saved->lse : NULL));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* y = residual + score · to_out(values) at the tokens they came from, residual + null_q elsewhere.
 */
static colt5_status put_back(struct pass *pass, const struct heavy_branch *branch, struct chunk c,
                             const colt5_tensor *residual, const colt5_tensor *y,
                             struct saved_heavy *saved)
{
    colt5_context *ctx = pass->ctx;
    const struct routed *q = branch->q;
    const colt5_tensor *weight = &branch->heavy->to_out->tensor, *scores = routed_scores(q);
    const colt5_tensor value_rows = rows_of(&saved->values, branch->heavy->H * branch->heavy->E);
    const size_t B = y->dims[0], D = y->dims[2], Q = q->K;
    if (branch->beside_light) residual = y;
    if (q->all) {
        const colt5_tensor some_y = chunk_of(y, c),
                           some_base = chunk_of(residual ? residual : y, c);
        const colt5_tensor y_rows = rows_of(&some_y, D), base_rows = rows_of(&some_base, D);
        const colt5_linear_options options = {.residual = residual ? &base_rows : NULL};
        return colt5_linear_forward(ctx, &value_rows, weight, &options, &y_rows);
    }
    const colt5_tensor index = RESHAPED(&q->index, B, Q);
    const colt5_tensor rows = scores ? RESHAPED(scores, B, Q) : index;
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_status status;
    if (q->learns)
        TRY(KEPT(pass, y->type, &saved->out, B, Q, D));
    else
        TRY(SCRATCH(pass, y->type, &saved->out, B, Q, D));
    const colt5_tensor out_rows = rows_of(&saved->out, D);
    TRY(colt5_linear_forward(ctx, &value_rows, weight, NULL, &out_rows));
    const colt5_tensor *row = branch->null_q ? &branch->null_q->tensor : NULL;
    if (branch->beside_light)
        TRY(scatter_instead(ctx, &saved->out, &index, scores ? &rows : NULL, index_kind(q), row,
                            y));
    else
        TRY(colt5_scatter_fill(ctx, &saved->out, &index, scores ? &rows : NULL, index_kind(q), row,
                               residual, y));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status heavy_forward(struct pass *pass, const struct heavy_branch *branch,
                           const colt5_tensor *x, const colt5_tensor *residual,
                           const colt5_tensor *y, struct saved_heavy *saved)
{
    colt5_context *ctx = pass->ctx;
    const struct heavy_attention *heavy = branch->heavy;
    const struct side q = side_of(branch->q, x), kv = side_of(branch->kv, x);
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_status status;

    profile_part(ctx, "heavy attention");
    TRY(make_context(pass, heavy, &kv, x, saved));
    /* Routed queries go back in one piece: a chunk of them has no place of its own in y. What is
     * saved is of the whole. */
    const size_t limit = q.routed->all && !pass->saving ? pass->chunk : q.B * q.M;
    for (struct chunk c = {0}; next_chunk(q.B, q.M, limit, &c);) {
        const struct stack_mark inner = workspace_mark(ctx);
        TRY(KEPT(pass, x->type, &saved->values, c.samples, c.tokens, heavy->H, heavy->E));
        if (pass->saving) TRY(KEPT(pass, COLT5_F32, &saved->lse, c.samples, heavy->H, c.tokens));
        TRY(attend(pass, heavy, &q, &kv, c, x, saved));
        TRY(put_back(pass, branch, c, residual, y, saved));
        workspace_rewind(ctx, inner);
    }
out:
    profile_part(ctx, NULL);
    workspace_rewind(ctx, mark);
    return status;
}

/* ---- backward ---- */

/* null_q's gradient: the sum of dy over the tokens that were not queries. */
static colt5_status null_q_backward(struct pass *pass, const struct heavy_branch *branch,
                                    const colt5_tensor *dy)
{
    const colt5_tensor *drow = GRADIENT(pass, branch->null_q);
    if (!drow) return COLT5_OK;
    const size_t B = dy->dims[0], N = dy->dims[1];
    const colt5_tensor index = RESHAPED(&branch->q->index, B, branch->q->K);
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_tensor rows;
    colt5_status status;
    TRY(SCRATCH(pass, COLT5_U8, &rows, B, N));
    TRY(colt5_unrouted_rows(pass->ctx, &index, pass->mask, &rows));
    TRY(colt5_broadcast_row_backward(pass->ctx, dy, &rows, drow));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* dvalues [B][Q][H][E], and dq_scores of what was put back. */
static colt5_status put_back_backward(struct pass *pass, const struct heavy_branch *branch,
                                      const struct saved_heavy *saved, const colt5_tensor *dy,
                                      const colt5_tensor *dvalues, const colt5_tensor *dq_scores)
{
    const struct heavy_attention *heavy = branch->heavy;
    const size_t width = heavy->H * heavy->E, D = dy->dims[2];
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_tensor dout = *dy;
    colt5_status status;
    if (!branch->q->all) {
        TRY(null_q_backward(pass, branch, dy));
        TRY(SCRATCH(pass, dy->type, &dout, dy->dims[0], branch->q->K, D));
        TRY(scattered_backward(pass, dy, branch->q, &saved->out, &dout, dq_scores));
    }
    const colt5_tensor values = rows_of(&saved->values, width),
                       dvalue_rows = rows_of(dvalues, width);
    const colt5_tensor dout_rows = rows_of(&dout, D);
    const colt5_linear_gradients gradients = {.dx = &dvalue_rows,
                                              .dweight = GRADIENT(pass, heavy->to_out)};
    TRY(colt5_linear_backward(pass->ctx, &values, &heavy->to_out->tensor, NULL, &dout_rows,
                              &gradients));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* dq and dkv of queries and keys before they were rotated; the scores' gradients: dkv_scores is
 * written, dq_scores added to. */
static colt5_status attend_backward(struct pass *pass, const struct heavy_branch *branch,
                                    const struct side *q, const struct side *kv,
                                    const struct saved_heavy *saved, const colt5_tensor *dvalues,
                                    const colt5_flash_attention_gradients *gradients, size_t N)
{
    const struct heavy_attention *heavy = branch->heavy;
    const colt5_tensor *dq_scores = gradients->dq_scores;
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_flash_attention_gradients own = *gradients;
    struct inputs inputs;
    colt5_tensor more;
    colt5_status status;
    fill_inputs(pass, heavy, q, kv, 0, q->B, saved, &inputs);
    if (dq_scores) {
        TRY(SCRATCH(pass, COLT5_F32, &more, q->B, q->M));
        own.dq_scores = &more;
    }
    TRY(colt5_flash_attention_backward(pass->ctx, &inputs.flash, &saved->values, &saved->lse,
                                       dvalues, &own));
    const colt5_tensor so_far = dq_scores ? RESHAPED(dq_scores, q->B, q->M) : *dvalues;
    if (dq_scores) TRY(colt5_add(pass->ctx, &so_far, &more, &so_far));
    TRY(rotate_queries(pass, heavy, q, gradients->dq, N, true));
    TRY(rotate_keys(pass, heavy, kv, gradients->dkv, N, true));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

colt5_status heavy_attend_backward(struct pass *pass, const struct heavy_branch *branch,
                                   const colt5_tensor *x, const struct saved_heavy *saved,
                                   const colt5_tensor *dy, const colt5_tensor *dq_scores,
                                   const colt5_tensor *dkv_scores,
                                   struct heavy_projected *gradients)
{
    const struct heavy_attention *heavy = branch->heavy;
    const struct side q = side_of(branch->q, x), kv = side_of(branch->kv, x);
    colt5_tensor dvalues, *dq = &gradients->dq, *dkv = &gradients->dkv;
    colt5_status status;

    profile_part(pass->ctx, "heavy attention");
    TRY(SCRATCH(pass, x->type, dq, q.B, q.M, heavy->H, heavy->E));
    TRY(SCRATCH(pass, x->type, dkv, kv.B, kv.R, kv.M, heavy->H / kv.R, 2 * heavy->E));
    const struct stack_mark mark = workspace_mark(pass->ctx);
    TRY(SCRATCH(pass, x->type, &dvalues, q.B, q.M, heavy->H, heavy->E));
    TRY(put_back_backward(pass, branch, saved, dy, &dvalues, dq_scores));
    const colt5_flash_attention_gradients wanted = {.dq = dq,
                                                    .dkv = dkv,
                                                    .dnull_kv = GRADIENT(pass, heavy->null_kv),
                                                    .dq_scores =
                                                        heavy->multiply_queries ? dq_scores : NULL,
                                                    .dkv_scores = dkv_scores};
    TRY(attend_backward(pass, branch, &q, &kv, saved, &dvalues, &wanted, x->dims[1]));
    workspace_rewind(pass->ctx, mark);
out:
    profile_part(pass->ctx, NULL);
    return status;
}

colt5_status heavy_project_backward(struct pass *pass, const struct heavy_branch *branch,
                                    const colt5_tensor *x, const struct heavy_projected *gradients,
                                    const colt5_tensor *dx)
{
    const struct heavy_attention *heavy = branch->heavy;
    const struct side q = side_of(branch->q, x), kv = side_of(branch->kv, x);
    colt5_status status;
    profile_part(pass->ctx, "heavy attention");
    TRY(side_backward(pass, heavy, &q, heavy->to_q, x, &gradients->dq, dx));
    TRY(side_backward(pass, heavy, &kv, heavy->to_kv, x, &gradients->dkv, dx));
out:
    profile_part(pass->ctx, NULL);
    return status;
}
