/* SPDX-License-Identifier: MIT */
/* logits = text_encoder(ids) · token_embᵀ / √D + to_logits.bias: SPEC section 4. */
#include <math.h>

#include <colt5/ops/linear.h>
#include <colt5/ops/norm.h>
#include <colt5/ops/scatter.h>

#include "layers/pass.h"
#include "runtime/launch.h"

static float scale_of(size_t D)
{
    return (float)(1 / sqrt((double)D));
}

/* The rows whose logits are wanted, as an index of [1][B·N] rows; NULL: all. */
static const colt5_tensor *index_of(const struct pass *pass, colt5_tensor *index)
{
    const colt5_tensor *positions = pass->forward->positions;
    if (!positions) return NULL;
    *index = RESHAPED(positions, 1, positions->dims[0]);
    return index;
}

/* Logits, or their gradient, as [1][M][V]. */
static colt5_tensor logit_rows(const struct pass *pass, const colt5_tensor *y)
{
    const size_t V = pass->layer->config.vocab_size;
    return RESHAPED(y, 1, colt5_tensor_count(y) / V, V);
}

colt5_status masked_language_model_forward(struct pass *pass, const colt5_tensor *ids,
                                           const colt5_tensor *y)
{
    colt5_context *ctx = pass->ctx;
    const struct text_encoder *text = &pass->layer->text;
    const size_t B = ids->dims[0], N = ids->dims[1], D = pass->layer->config.dim;
    const struct stack_mark mark = workspace_mark(ctx);
    const colt5_tensor logits = logit_rows(pass, y);
    colt5_tensor x, index;
    colt5_status status;

    TRY(SCRATCH(pass, pass->layer->type, &x, B, N, D));
    TRY(text_forward(pass, ids, &x));
    const colt5_tensor rows = RESHAPED(&x, 1, B * N, D);
    const colt5_linear_options options = {.bias = &text->to_logits_bias->tensor,
                                          .scale = scale_of(D),
                                          .index = index_of(pass, &index)};
    TRY(colt5_linear_forward(ctx, &rows, &text->token_emb->tensor, &options, &logits));
out:
    workspace_rewind(ctx, mark);
    return status;
}

/* d [1][B·N][D], of the encoder's result. */
static colt5_status logits_backward(struct pass *pass, const colt5_tensor *dy,
                                    const colt5_tensor *d)
{
    colt5_context *ctx = pass->ctx;
    const struct text_encoder *text = &pass->layer->text;
    const size_t D = d->dims[2];
    const colt5_tensor last = RESHAPED(&pass->saved->text.last, 1, d->dims[1], D);
    const colt5_tensor dlogits = logit_rows(pass, dy);
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor x, dpicked = *d, index;
    colt5_status status;

    const colt5_linear_options options = {.scale = scale_of(D), .index = index_of(pass, &index)};
    TRY(SCRATCH(pass, d->type, &x, 1, d->dims[1], D));
    TRY(colt5_rms_norm_forward(ctx, &last, &text->norm_gamma->tensor, &x, NULL));
    if (options.index) TRY(SCRATCH(pass, d->type, &dpicked, 1, dlogits.dims[1], D));
    const colt5_linear_gradients gradients = {.dx = &dpicked,
                                              .dweight = GRADIENT(pass, text->token_emb),
                                              .dbias = GRADIENT(pass, text->to_logits_bias)};
    TRY(colt5_linear_backward(ctx, &x, &text->token_emb->tensor, &options, &dlogits, &gradients));
    if (!options.index) goto out;
    TRY(clear_tensor(ctx, d));
    TRY(colt5_scatter_add(ctx, &dpicked, options.index, NULL, COLT5_INDEX_REPEATED, d));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status masked_language_model_backward(struct pass *pass, const colt5_tensor *ids,
                                            const colt5_tensor *dy)
{
    const size_t B = ids->dims[0], N = ids->dims[1], D = pass->layer->config.dim;
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_tensor d;
    colt5_status status;
    TRY(SCRATCH(pass, pass->layer->type, &d, B, N, D));
    const colt5_tensor rows = RESHAPED(&d, 1, B * N, D);
    TRY(logits_backward(pass, dy, &rows));
    TRY(text_backward(pass, ids, &d));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}
