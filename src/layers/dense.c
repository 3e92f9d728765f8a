/* SPDX-License-Identifier: MIT */
/* FeedForward of SPEC section 1, a chunk of rows at a time so that [rows][F] stays small. */
#include <colt5/ops/linear.h>
#include <colt5/ops/norm.h>

#include "layers/pass.h"

/* y = residual + (gelu(rms(x) W₁ᵀ + b₁) W₂ᵀ + b₂) */
static colt5_status rows_forward(struct pass *pass, const struct dense_feed_forward *dense,
                                 const colt5_tensor *x, const colt5_tensor *residual,
                                 const colt5_tensor *y)
{
    colt5_context *ctx = pass->ctx;
    const size_t rows = x->dims[0], D = x->dims[1];
    const struct workspace_mark mark = workspace_mark(ctx);
    colt5_tensor normed, hidden;
    colt5_status status;

    TRY(SCRATCH(pass, x->type, &normed, rows, D));
    TRY(SCRATCH(pass, x->type, &hidden, rows, dense->F));
    TRY(colt5_rms_norm_forward(ctx, x, &dense->gamma->tensor, &normed, NULL));
    TRY(colt5_linear_forward(ctx, &normed, &dense->in_weight->tensor,
                             &(colt5_linear_options){.bias = &dense->in_bias->tensor, .gelu = 1},
                             &hidden));
    TRY(colt5_linear_forward(
        ctx, &hidden, &dense->out_weight->tensor,
        &(colt5_linear_options){.bias = &dense->out_bias->tensor, .residual = residual}, y));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status dense_forward(struct pass *pass, const struct dense_feed_forward *dense,
                           const colt5_tensor *x, const colt5_tensor *residual,
                           const colt5_tensor *y)
{
    const size_t D = x->dims[x->rank - 1], rows = colt5_tensor_count(x) / D;
    const colt5_tensor all_x = RESHAPED(x, rows, D), all_y = RESHAPED(y, rows, D);
    const colt5_tensor all_residual = residual ? RESHAPED(residual, rows, D) : all_y;

    for (size_t row = 0; row < rows; row += pass->chunk) {
        const size_t count = rows - row < pass->chunk ? rows - row : pass->chunk;
        const colt5_tensor some_x = slice(&all_x, row, count), some_y = slice(&all_y, row, count);
        const colt5_tensor some_residual = slice(&all_residual, row, count);
        const colt5_status status =
            rows_forward(pass, dense, &some_x, residual ? &some_residual : NULL, &some_y);
        if (status != COLT5_OK) return status;
    }
    return COLT5_OK;
}
