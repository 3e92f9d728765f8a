/* SPDX-License-Identifier: MIT */
/* logits = text_encoder(ids) · token_embᵀ / √D + to_logits.bias: SPEC section 4. */
#include <math.h>

#include <colt5/ops/linear.h>

#include "layers/pass.h"

/* The logits of all rows of x [B][N][D], or of those that positions [M] names. */
static colt5_status logits_forward(struct pass *pass, const colt5_tensor *x,
                                   const colt5_tensor *positions, const colt5_tensor *y)
{
    const struct text_encoder *text = &pass->layer->text;
    const size_t D = x->dims[2], rows = x->dims[0] * x->dims[1];
    const size_t M = positions ? positions->dims[0] : rows;
    const colt5_tensor all_x = RESHAPED(x, 1, rows, D);
    const colt5_tensor wanted_y = RESHAPED(y, 1, M, pass->layer->config.vocab_size);
    colt5_linear_options options = {.bias = &text->to_logits_bias->tensor,
                                    .scale = (float)(1 / sqrt((double)D))};
    colt5_tensor index;
    if (positions) {
        index = RESHAPED(positions, 1, M);
        options.index = &index;
    }
    return colt5_linear_forward(pass->ctx, &all_x, &text->token_emb->tensor, &options, &wanted_y);
}

colt5_status masked_language_model_forward(struct pass *pass, const colt5_tensor *ids,
                                           const colt5_tensor *y)
{
    colt5_context *ctx = pass->ctx;
    const colt5_layer *layer = pass->layer;
    const struct workspace_mark mark = workspace_mark(ctx);
    colt5_tensor x;
    colt5_status status;

    TRY(SCRATCH(pass, layer->type, &x, ids->dims[0], ids->dims[1], layer->config.dim));
    TRY(text_forward(pass, ids, &x));
    TRY(logits_forward(pass, &x, pass->forward->positions, y));
out:
    workspace_rewind(ctx, mark);
    return status;
}
