/* SPDX-License-Identifier: MIT */
/* FeedForward of SPEC section 1, a chunk of rows at a time so that [rows][F] stays small. */
#include <math.h>

#include <colt5/ops/linear.h>
#include <colt5/ops/norm.h>

#include "layers/pass.h"
#include "ops/activation.h"

/* What a forward is over: rows of each, NULL what is absent. */
struct dense_rows {
    const colt5_tensor *x, *residual, *y;
    const colt5_tensor *pre;      /* in training: what GELU is taken of is kept */
    const colt5_tensor *weight;   /* W₁; with inverses, gamma is in it */
    const colt5_tensor *inverses; /* 1 / ‖x‖ */
    bool normed;                  /* x is rms(x) */
};

/* to = x W₁ᵀ + b₁, or gelu of it where that is not kept; with inverses x is √D · x / ‖x‖. */
static colt5_status map_in(struct pass *pass, const struct dense_feed_forward *dense,
                           const struct dense_rows *rows, const colt5_tensor *to)
{
    const bool scales = rows->inverses != NULL;
    const colt5_linear_options options = {.bias = &dense->in_bias->tensor,
                                          .gelu = !rows->pre,
                                          .scale = scales ? sqrtf((float)rows->x->dims[1]) : 1,
                                          .row_scale = rows->inverses,
                                          .scale_first = scales};
    return colt5_linear_forward(pass->ctx, rows->x, rows->weight, &options, to);
}

/* The same of rms(x). */
static colt5_status norm_and_map(struct pass *pass, const struct dense_feed_forward *dense,
                                 const struct dense_rows *rows, const colt5_tensor *to)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const colt5_tensor *x = rows->x;
    struct dense_rows of_normed = *rows;
    colt5_tensor normed;
    colt5_status status;
    TRY(SCRATCH(pass, x->type, &normed, x->dims[0], x->dims[1]));
    TRY(colt5_rms_norm_forward(pass->ctx, x, &dense->gamma->tensor, &normed, NULL));
    of_normed.x = &normed;
    TRY(map_in(pass, dense, &of_normed, to));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* hidden = gelu(rms(x) W₁ᵀ + b₁) */
static colt5_status hidden_forward(struct pass *pass, const struct dense_feed_forward *dense,
                                   const struct dense_rows *rows, const colt5_tensor *hidden)
{
    const colt5_tensor *to = rows->pre ? rows->pre : hidden;
    const bool needs_norm = !rows->normed && !rows->inverses;
    const colt5_status status = (needs_norm ? norm_and_map : map_in)(pass, dense, rows, to);
    if (status != COLT5_OK || !rows->pre) return status;
    return colt5_gelu_forward(pass->ctx, rows->pre, hidden);
}

/* y = residual + (hidden W₂ᵀ + b₂) */
static colt5_status rows_forward(struct pass *pass, const struct dense_feed_forward *dense,
                                 const struct dense_rows *rows)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const colt5_linear_options options = {.bias = &dense->out_bias->tensor,
                                          .residual = rows->residual};
    colt5_tensor hidden;
    colt5_status status;
    TRY(SCRATCH(pass, rows->x->type, &hidden, rows->x->dims[0], dense->F));
    TRY(hidden_forward(pass, dense, rows, &hidden));
    TRY(colt5_linear_forward(pass->ctx, &hidden, &dense->out_weight->tensor, &options, rows->y));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* All rows, some at a time. */
static colt5_status chunks_forward(struct pass *pass, const struct dense_feed_forward *dense,
                                   const struct dense_rows *all)
{
    const size_t rows = all->x->dims[0], limit = chunk_rows(pass, all->x->dims[1] + dense->F);
    for (size_t row = 0; row < rows; row += limit) {
        const size_t count = rows - row < limit ? rows - row : limit;
        const colt5_tensor x = slice(all->x, row, count), y = slice(all->y, row, count);
        const colt5_tensor residual = slice(all->residual ? all->residual : all->y, row, count);
        const colt5_tensor pre = slice(all->pre ? all->pre : all->x, row, count);
        const colt5_tensor inverses = slice(all->inverses ? all->inverses : all->x, row, count);
        const struct dense_rows some = {.x = &x,
                                        .residual = all->residual ? &residual : NULL,
                                        .y = &y,
                                        .pre = all->pre ? &pre : NULL,
                                        .weight = all->weight,
                                        .inverses = all->inverses ? &inverses : NULL,
                                        .normed = all->normed};
        const colt5_status status = rows_forward(pass, dense, &some);
        if (status != COLT5_OK) return status;
    }
    return COLT5_OK;
}

colt5_status dense_forward(struct pass *pass, const struct dense_feed_forward *dense,
                           const struct dense_input *input, const colt5_tensor *residual,
                           const colt5_tensor *y, struct saved_dense *saved)
{
    const size_t D = y->dims[y->rank - 1], F = dense->F;
    const colt5_tensor x = rows_of(input->x, D), all_y = rows_of(y, D);
    const colt5_tensor base = rows_of(residual ? residual : y, D);
    const colt5_tensor inverses = rows_of(input->inverses ? input->inverses : y, 1);
    const struct stack_mark mark = workspace_mark(pass->ctx);
    struct dense_rows all = {.x = &x,
                             .residual = residual ? &base : NULL,
                             .y = &all_y,
                             .weight = &dense->in_weight->tensor,
                             .normed = input->normed};
    colt5_tensor folded;
    colt5_status status = COLT5_OK;

    if (pass->saved) {
        TRY(KEPT(pass, x.type, &saved->pre, x.dims[0], F));
        all.pre = &saved->pre;
    }
    if (input->inverses) {
        TRY(SCRATCH(pass, x.type, &folded, F, D));
        TRY(scale_columns(pass->ctx, all.weight, &dense->gamma->tensor, &folded));
        all.weight = &folded;
        all.inverses = &inverses;
    }
    TRY(chunks_forward(pass, dense, &all));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* dhidden [rows][F], of what GELU was taken of. */
static colt5_status hidden_backward(struct pass *pass, const struct dense_feed_forward *dense,
                                    const colt5_tensor *pre, const colt5_tensor *dy,
                                    const colt5_tensor *dhidden)
{
    colt5_context *ctx = pass->ctx;
    const struct stack_mark mark = workspace_mark(ctx);
    const colt5_linear_gradients gradients = {.dx = dhidden,
                                              .dweight = GRADIENT(pass, dense->out_weight),
                                              .dbias = GRADIENT(pass, dense->out_bias)};
    const colt5_linear_options options = {.gelu_input = pre};
    colt5_tensor hidden;
    colt5_status status;
    TRY(SCRATCH(pass, pre->type, &hidden, pre->dims[0], pre->dims[1]));
    TRY(colt5_gelu_forward(ctx, pre, &hidden));
    TRY(colt5_linear_backward(ctx, &hidden, &dense->out_weight->tensor, &options, dy, &gradients));
out:
    workspace_rewind(ctx, mark);
    return status;
}

static colt5_status rows_backward(struct pass *pass, const struct dense_feed_forward *dense,
                                  const colt5_tensor *x, const colt5_tensor *pre,
                                  const colt5_tensor *dy, const colt5_tensor *base,
                                  const colt5_tensor *dx)
{
    colt5_context *ctx = pass->ctx;
    const size_t rows = x->dims[0], D = x->dims[1];
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor dhidden, normed;
    colt5_status status;

    TRY(SCRATCH(pass, x->type, &dhidden, rows, dense->F));
    TRY(hidden_backward(pass, dense, pre, dy, &dhidden));
    TRY(SCRATCH(pass, x->type, &normed, rows, D));
    TRY(colt5_rms_norm_forward(ctx, x, &dense->gamma->tensor, &normed, NULL));
    TRY(linear_backward_in_place(pass, &normed, &dense->in_weight->tensor, &dhidden,
                                 GRADIENT(pass, dense->in_weight), GRADIENT(pass, dense->in_bias)));
    TRY(colt5_rms_norm_backward(ctx, x, &dense->gamma->tensor, &normed, base, dx,
                                GRADIENT(pass, dense->gamma)));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status dense_backward(struct pass *pass, const struct dense_feed_forward *dense,
                            const colt5_tensor *x, const struct saved_dense *saved,
                            const colt5_tensor *dy, const colt5_tensor *base,
                            const colt5_tensor *dx)
{
    const size_t D = x->dims[x->rank - 1], limit = chunk_rows(pass, D + dense->F);
    const colt5_tensor all_x = rows_of(x, D), all_dy = rows_of(dy, D), all_dx = rows_of(dx, D);
    const colt5_tensor all_base = rows_of(base ? base : dx, D);
    const size_t rows = all_x.dims[0];

    for (size_t row = 0; row < rows; row += limit) {
        const size_t count = rows - row < limit ? rows - row : limit;
        const colt5_tensor some_x = slice(&all_x, row, count), some_dy = slice(&all_dy, row, count);
        const colt5_tensor some_base = slice(&all_base, row, count);
        const colt5_tensor some_dx = slice(&all_dx, row, count);
        const colt5_tensor some_pre = slice(&saved->pre, row, count);
        const colt5_status status = rows_backward(pass, dense, &some_x, &some_pre, &some_dy,
                                                  base ? &some_base : NULL, &some_dx);
        if (status != COLT5_OK) return status;
    }
    return COLT5_OK;
}
