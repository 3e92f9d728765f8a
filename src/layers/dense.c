/* SPDX-License-Identifier: MIT */
/* FeedForward of SPEC section 1, a chunk of rows at a time so that [rows][F] stays small. */
#include <colt5/ops/activation.h>
#include <colt5/ops/linear.h>
#include <colt5/ops/norm.h>

#include "layers/pass.h"

/* hidden = gelu(rms(x) W₁ᵀ + b₁); what GELU is taken of goes to pre, where there is one */
static colt5_status hidden_forward(struct pass *pass, const struct dense_feed_forward *dense,
                                   const colt5_tensor *x, const colt5_tensor *pre,
                                   const colt5_tensor *hidden)
{
    colt5_context *ctx = pass->ctx;
    const struct stack_mark mark = workspace_mark(ctx);
    const colt5_linear_options options = {.bias = &dense->in_bias->tensor, .gelu = !pre};
    colt5_tensor normed;
    colt5_status status;
    TRY(SCRATCH(pass, x->type, &normed, x->dims[0], x->dims[1]));
    TRY(colt5_rms_norm_forward(ctx, x, &dense->gamma->tensor, &normed, NULL));
    TRY(colt5_linear_forward(ctx, &normed, &dense->in_weight->tensor, &options,
                             pre ? pre : hidden));
    if (pre) TRY(colt5_gelu_forward(ctx, pre, hidden));
out:
    workspace_rewind(ctx, mark);
    return status;
}

/* y = residual + (hidden W₂ᵀ + b₂) */
static colt5_status rows_forward(struct pass *pass, const struct dense_feed_forward *dense,
                                 const colt5_tensor *x, const colt5_tensor *residual,
                                 const colt5_tensor *y, const colt5_tensor *pre)
{
    colt5_context *ctx = pass->ctx;
    const struct stack_mark mark = workspace_mark(ctx);
    const colt5_linear_options options = {.bias = &dense->out_bias->tensor, .residual = residual};
    colt5_tensor hidden;
    colt5_status status;
    TRY(SCRATCH(pass, x->type, &hidden, x->dims[0], dense->F));
    TRY(hidden_forward(pass, dense, x, pre, &hidden));
    TRY(colt5_linear_forward(ctx, &hidden, &dense->out_weight->tensor, &options, y));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status dense_forward(struct pass *pass, const struct dense_feed_forward *dense,
                           const colt5_tensor *x, const colt5_tensor *residual,
                           const colt5_tensor *y, struct saved_dense *saved)
{
    const size_t D = x->dims[x->rank - 1], rows = colt5_tensor_count(x) / D;
    const colt5_tensor all_x = RESHAPED(x, rows, D), all_y = RESHAPED(y, rows, D);
    const colt5_tensor all_residual = residual ? RESHAPED(residual, rows, D) : all_y;
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_status status = COLT5_OK;

    if (pass->saved) TRY(KEPT(pass, x->type, &saved->pre, rows, dense->F));
    const size_t limit = chunk_rows(pass, D + dense->F);
    for (size_t row = 0; row < rows; row += limit) {
        const size_t count = rows - row < limit ? rows - row : limit;
        const colt5_tensor some_x = slice(&all_x, row, count), some_y = slice(&all_y, row, count);
        const colt5_tensor some_residual = slice(&all_residual, row, count);
        const colt5_tensor some_pre = pass->saved ? slice(&saved->pre, row, count) : some_x;
        TRY(rows_forward(pass, dense, &some_x, residual ? &some_residual : NULL, &some_y,
                         pass->saved ? &some_pre : NULL));
    }
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
