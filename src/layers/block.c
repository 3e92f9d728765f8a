/* SPDX-License-Identifier: MIT */
/* x = attention(x) + x;  x = feed_forward(x) + x: SPEC section 4, transformer_block. */
#include "layers/pass.h"

colt5_status block_forward(struct pass *pass, const struct transformer_block *block,
                           const colt5_tensor *x, const colt5_tensor *y)
{
    const struct workspace_mark mark = workspace_mark(pass->ctx);
    colt5_tensor attended;
    colt5_status status;
    TRY(scratch(pass->ctx, x->type, x->rank, x->dims, &attended));
    TRY(attention_layer_forward(pass, &block->attention, x, x, &attended));
    TRY(feed_forward_forward(pass, &block->feed_forward, &attended, &attended, y));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}
