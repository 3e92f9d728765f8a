/* SPDX-License-Identifier: MIT */
/* ids -> x -> x + embed_attn(x) -> blocks -> RMSNorm: SPEC section 4, text_encoder. */
#include <colt5/ops/embedding.h>
#include <colt5/ops/norm.h>

#include "layers/pass.h"
#include "runtime/launch.h"

#define PADDING 256

colt5_status text_forward(struct pass *pass, const colt5_tensor *ids, const colt5_tensor *y)
{
    colt5_context *ctx = pass->ctx;
    const struct text_encoder *text = &pass->layer->text;
    const struct workspace_mark mark = workspace_mark(ctx);
    colt5_tensor x, mask;
    colt5_status status;

    TRY(SCRATCH(pass, COLT5_U8, &mask, ids->dims[0], ids->dims[1]));
    TRY(colt5_token_mask(ctx, ids, pass->mask, PADDING, &mask));
    pass->mask = &mask;
    TRY(scratch(ctx, y->type, y->rank, y->dims, &x));
    TRY(colt5_embedding_forward(ctx, ids, &text->token_emb->tensor, &x));
    TRY(local_forward(pass, &text->embed_attn, &x, &x, y));
    for (size_t i = 0; i < pass->layer->depth; i++)
        TRY(block_forward(pass, &pass->layer->blocks[i], y, y));
    TRY(colt5_rms_norm_forward(ctx, y, &text->norm_gamma->tensor, &x, NULL));
    TRY(copy_tensor(ctx, &x, y));
out:
    workspace_rewind(ctx, mark);
    return status;
}
