/* SPDX-License-Identifier: MIT */
/* ids -> x -> x + embed_attn(x) -> blocks -> RMSNorm: SPEC section 4, text_encoder. */
#include <colt5/ops/embedding.h>
#include <colt5/ops/norm.h>

#include "layers/pass.h"
#include "runtime/launch.h"

#define PADDING 256

/* In training x, the blocks' input and what the last norm is taken of are kept apart. */
static colt5_status training_forward(struct pass *pass, const colt5_tensor *ids,
                                     const colt5_tensor *y)
{
    colt5_context *ctx = pass->ctx;
    const struct text_encoder *text = &pass->layer->text;
    struct saved_text *saved = &pass->saved->text;
    struct pass saving = *pass;
    saving.saving = true;
    colt5_tensor x;
    colt5_status status;
    TRY(keep(ctx, y->type, y->rank, y->dims, &saved->x));
    TRY(keep(ctx, y->type, y->rank, y->dims, &x));
    TRY(keep(ctx, y->type, y->rank, y->dims, &saved->last));
    TRY(colt5_embedding_forward(ctx, ids, &text->token_emb->tensor, &saved->x));
    TRY(local_forward(&saving, &text->embed_attn, &saved->x, NULL, &saved->x, &x,
                      &saved->embed_attn));
    TRY(blocks_forward(pass, &x, &saved->last));
    TRY(colt5_rms_norm_forward(ctx, &saved->last, &text->norm_gamma->tensor, y, NULL));
out:
    return status;
}

static colt5_status plain_forward(struct pass *pass, const colt5_tensor *ids, const colt5_tensor *y)
{
    colt5_context *ctx = pass->ctx;
    const struct text_encoder *text = &pass->layer->text;
    struct saved_local unsaved;
    colt5_tensor x;
    colt5_status status;
    TRY(scratch(ctx, y->type, y->rank, y->dims, &x));
    TRY(colt5_embedding_forward(ctx, ids, &text->token_emb->tensor, &x));
    TRY(local_forward(pass, &text->embed_attn, &x, NULL, &x, y, &unsaved));
    TRY(blocks_forward(pass, y, y));
    TRY(colt5_rms_norm_forward(ctx, y, &text->norm_gamma->tensor, &x, NULL));
    TRY(copy_tensor(ctx, &x, y));
out:
    return status;
}

colt5_status text_forward(struct pass *pass, const colt5_tensor *ids, const colt5_tensor *y)
{
    const size_t mask_dims[] = {ids->dims[0], ids->dims[1]};
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_tensor unsaved, *mask = pass->saved ? &pass->saved->text.mask : &unsaved;
    colt5_status status;
    TRY((pass->saved ? keep : scratch)(pass->ctx, COLT5_U8, 2, mask_dims, mask));
    TRY(colt5_token_mask(pass->ctx, ids, pass->mask, PADDING, mask));
    pass->mask = mask;
    TRY((pass->saved ? training_forward : plain_forward)(pass, ids, y));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

colt5_status text_backward(struct pass *pass, const colt5_tensor *ids, const colt5_tensor *d)
{
    colt5_context *ctx = pass->ctx;
    const struct text_encoder *text = &pass->layer->text;
    const struct saved_text *saved = &pass->saved->text;
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_status status;
    TRY(colt5_rms_norm_backward(ctx, &saved->last, &text->norm_gamma->tensor, d, NULL, d,
                                GRADIENT(pass, text->norm_gamma)));
    TRY(blocks_backward(pass, d, d));
    TRY(local_backward(pass, &text->embed_attn, &saved->x, &saved->embed_attn, d, d, d));
    if (pass->gradients)
        TRY(colt5_embedding_backward(ctx, ids, d, GRADIENT(pass, text->token_emb)));
out:
    workspace_rewind(ctx, mark);
    return status;
}
