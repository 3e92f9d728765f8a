/* SPDX-License-Identifier: MIT */
/* x = attention(x) + x;  x = feed_forward(x) + x: SPEC section 4, transformer_block, and a layer's
 * blocks one after the other. */
#include "layers/pass.h"
#include "runtime/launch.h"

/* y = block(x); y may be x, by the same pointer. */
static colt5_status block_forward(struct pass *pass, const struct transformer_block *block,
                                  const colt5_tensor *x, const colt5_tensor *y,
                                  struct saved_block *saved)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    /* y can hold what is between the halves where nothing else wants that, or x stands there. */
    const colt5_tensor *attended = !pass->saving && y != x ? y : &saved->attended;
    colt5_status status;
    if (attended != y)
        TRY(KEPT(pass, x->type, &saved->attended, x->dims[0], x->dims[1], x->dims[2]));
    TRY(attention_layer_forward(pass, &block->attention, x, x, attended, &saved->attention));
    TRY(feed_forward_forward(pass, &block->feed_forward, attended, attended, y,
                             &saved->feed_forward));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* Blocks in training: each one's input is kept, what is within it with saving. */
static colt5_status training_forward(struct pass *pass, const colt5_tensor *x,
                                     const colt5_tensor *y)
{
    const colt5_layer *layer = pass->layer;
    struct pass inner = *pass;
    inner.saving = !pass->forward->recompute;
    colt5_tensor in = *x;
    colt5_status status = COLT5_OK;
    for (size_t i = 0; i < layer->depth; i++) {
        struct saved_block *saved = &pass->saved->blocks[i];
        colt5_tensor out = *y;
        saved->x = in;
        if (i + 1 < layer->depth) TRY(keep(pass->ctx, x->type, x->rank, x->dims, &out));
        TRY(block_forward(&inner, &layer->blocks[i], &in, &out, saved));
        in = out;
    }
    pass->next_seed = inner.next_seed;
out:
    return status;
}

colt5_status blocks_forward(struct pass *pass, const colt5_tensor *x, const colt5_tensor *y)
{
    if (pass->saved) return training_forward(pass, x, y);
    for (size_t i = 0; i < pass->layer->depth; i++) {
        struct saved_block unsaved;
        const colt5_status status =
            block_forward(pass, &pass->layer->blocks[i], i ? y : x, y, &unsaved);
        if (status != COLT5_OK) return status;
    }
    return COLT5_OK;
}

/* d: the gradient of the block's input, and before that of what is between its halves; d may be dy.
 */
static colt5_status block_backward(struct pass *pass, const struct transformer_block *block,
                                   const struct saved_block *saved, const colt5_tensor *dy,
                                   const colt5_tensor *d)
{
    const colt5_status status = feed_forward_backward(pass, &block->feed_forward, &saved->attended,
                                                      &saved->feed_forward, dy, dy, d);
    if (status != COLT5_OK) return status;
    return attention_layer_backward(pass, &block->attention, &saved->x, &saved->attention, d, d, d);
}

/* The block's forward once more, with the routes it took, for what was not kept of it. */
static colt5_status block_again(struct pass *pass, const struct transformer_block *block,
                                struct saved_block *saved)
{
    struct pass again = *pass;
    again.saving = again.again = true;
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_tensor y;
    colt5_status status;
    TRY(scratch(pass->ctx, saved->x.type, saved->x.rank, saved->x.dims, &y));
    TRY(block_forward(&again, block, &saved->x, &y, saved));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

colt5_status blocks_backward(struct pass *pass, const colt5_tensor *dy, const colt5_tensor *d)
{
    const struct stack_mark mark = keep_mark(pass->ctx);
    colt5_status status = COLT5_OK;
    for (size_t i = pass->layer->depth; i-- > 0; dy = d) {
        struct saved_block saved = pass->saved->blocks[i];
        if (pass->forward->recompute) TRY(block_again(pass, &pass->layer->blocks[i], &saved));
        TRY(block_backward(pass, &pass->layer->blocks[i], &saved, dy, d));
        keep_rewind(pass->ctx, mark);
    }
out:
    keep_rewind(pass->ctx, mark);
    return status;
}
