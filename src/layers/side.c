/* SPDX-License-Identifier: MIT */
#include "layers/side.h"

#include <colt5/ops/gather.h>
#include <colt5/ops/linear.h>
#include <colt5/ops/rotary.h>

#include "ops/norm.h"

struct side side_of(const struct routed *routed, const colt5_tensor *x)
{
    const size_t B = x->dims[0];
    struct side side = {.routed = routed, .B = B, .R = 1, .M = x->dims[1]};
    if (routed->all) return side;
    side.R = routed->R;
    side.M = routed->K;
    side.index = RESHAPED(&routed->index, B, side.R * side.M);
    return side;
}

/* tokens [B·R·M][D] */
static colt5_status side_tokens(struct pass *pass, const struct side *side, const colt5_tensor *x,
                                colt5_tensor *tokens)
{
    const size_t rows = side->R * side->M, D = x->dims[2];
    *tokens = rows_of(x, D);
    if (side->routed->all) return COLT5_OK;
    const colt5_status status = SCRATCH(pass, x->type, tokens, side->B, rows, D);
    const colt5_tensor picked = *tokens;
    *tokens = RESHAPED(tokens, side->B * rows, D);
    return status == COLT5_OK ? colt5_gather(pass->ctx, x, &side->index, &picked) : status;
}

colt5_status side_rotate(struct pass *pass, const struct side *side, const colt5_tensor *x,
                         size_t step, size_t N, bool inverse)
{
    const size_t rows = side->B * side->R, heads = x->dims[2];
    const bool all = side->routed->all;
    const colt5_tensor rows_x = RESHAPED(x, rows, side->M, heads, x->dims[3]);
    const colt5_tensor positions = all ? *x : RESHAPED(&side->index, rows, side->M);
    return colt5_rotary(pass->ctx, &rows_x, all ? NULL : &positions,
                        &(colt5_rotary_options){.theta = 10000,
                                                .first_position = side->first_position,
                                                .heads = heads / step,
                                                .head_step = step,
                                                .length = N,
                                                .inverse = inverse});
}

/* The rows of tokens [B·R·M][D] and of out [B·R·M][..] that are one route's, with its weight. */
struct product {
    colt5_tensor tokens, out, weight;
    colt5_tensor dweight; /* of a backward */
};

/* Number of products of a side: one for the batch, or one for each sample and route. */
static size_t product_count(const struct side *side)
{
    return side->R == 1 ? 1 : side->B * side->R;
}

static struct product product_of(struct pass *pass, const struct side *side, size_t i,
                                 const struct parameter *weight, const colt5_tensor *tokens,
                                 const colt5_tensor *out)
{
    const colt5_tensor *dweight = GRADIENT(pass, weight);
    struct product product = {*tokens, *out, weight->tensor, dweight ? *dweight : *out};
    if (side->R == 1) return product;
    const size_t M = side->M, width = weight->tensor.dims[0] / side->R, first = i % side->R * width;
    product.tokens = slice(tokens, i * M, M);
    product.out = slice(out, i * M, M);
    product.weight = slice(&weight->tensor, first, width);
    if (dweight) product.dweight = slice(dweight, first, width);
    return product;
}

static colt5_status normalise(struct pass *pass, const struct heavy_attention *heavy,
                              const colt5_tensor *x, colt5_tensor *normed)
{
    const colt5_status status = SCRATCH(pass, x->type, normed, x->dims[0], x->dims[1]);
    if (status != COLT5_OK) return status;
    return colt5_rms_norm_forward(pass->ctx, x, &heavy->gamma->tensor, normed, NULL);
}

/* normed [B·R·M][D] of tokens that were routed */
static colt5_status normalise_routed(struct pass *pass, const struct heavy_attention *heavy,
                                     const struct side *side, const colt5_tensor *x,
                                     colt5_tensor *normed)
{
    const size_t rows = side->R * side->M, D = x->dims[2];
    const colt5_status status = SCRATCH(pass, x->type, normed, side->B, rows, D);
    const colt5_tensor picked = *normed;
    *normed = RESHAPED(normed, side->B * rows, D);
    if (status != COLT5_OK) return status;
    return rms_norm_picked(pass->ctx, x, &side->index, &heavy->gamma->tensor, &picked);
}

/* out = norm(tokens) · weightᵀ, a chunk of rows at a time */
static colt5_status project(struct pass *pass, const struct heavy_attention *heavy,
                            const struct product *product)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const size_t rows = product->tokens.dims[0];
    const size_t limit = chunk_rows(pass, product->tokens.dims[1]);
    colt5_status status = COLT5_OK;
    for (size_t row = 0; row < rows; row += limit) {
        const size_t count = rows - row < limit ? rows - row : limit;
        const colt5_tensor tokens = slice(&product->tokens, row, count);
        const colt5_tensor out = slice(&product->out, row, count);
        colt5_tensor normed;
        TRY(normalise(pass, heavy, &tokens, &normed));
        TRY(colt5_linear_forward(pass->ctx, &normed, &product->weight, NULL, &out));
        workspace_rewind(pass->ctx, mark);
    }
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

colt5_status side_forward(struct pass *pass, const struct heavy_attention *heavy,
                          const struct side *side, const struct parameter *weight,
                          const colt5_tensor *x, const colt5_tensor *out)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const size_t width = weight->tensor.dims[0] / side->R;
    const colt5_tensor out_rows = rows_of(out, width);
    const bool all = side->routed->all;
    colt5_tensor tokens = rows_of(x, x->dims[2]);
    colt5_status status;
    if (!all) TRY(normalise_routed(pass, heavy, side, x, &tokens));
    for (size_t i = 0; i < product_count(side); i++) {
        const struct product product = product_of(pass, side, i, weight, &tokens, &out_rows);
        if (all)
            TRY(project(pass, heavy, &product));
        else
            TRY(colt5_linear_forward(pass->ctx, &product.tokens, &product.weight, NULL,
                                     &product.out));
    }
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* dtokens (or, where add is set, dtokens +=) the gradient of a product, a chunk of rows at a time;
 * product->out is its dy */
static colt5_status project_backward(struct pass *pass, const struct heavy_attention *heavy,
                                     const struct product *product, bool add,
                                     const colt5_tensor *dtokens)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const size_t rows = product->tokens.dims[0];
    const size_t limit = chunk_rows(pass, product->tokens.dims[1]);
    colt5_status status = COLT5_OK;
    for (size_t row = 0; row < rows; row += limit) {
        const size_t count = rows - row < limit ? rows - row : limit;
        const colt5_tensor tokens = slice(&product->tokens, row, count);
        const colt5_tensor dy = slice(&product->out, row, count);
        const colt5_tensor dx = slice(dtokens, row, count);
        colt5_tensor normed;
        TRY(normalise(pass, heavy, &tokens, &normed));
        TRY(linear_backward_in_place(pass, &normed, &product->weight, &dy,
                                     pass->gradients ? &product->dweight : NULL, NULL));
        TRY(colt5_rms_norm_backward(pass->ctx, &tokens, &heavy->gamma->tensor, &normed,
                                    add ? &dx : NULL, &dx, GRADIENT(pass, heavy->gamma)));
        workspace_rewind(pass->ctx, mark);
    }
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

colt5_status side_backward(struct pass *pass, const struct heavy_attention *heavy,
                           const struct side *side, const struct parameter *weight,
                           const colt5_tensor *x, const colt5_tensor *dout, const colt5_tensor *dx)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const size_t D = x->dims[2], rows = side->R * side->M;
    const colt5_tensor dout_rows = rows_of(dout, weight->tensor.dims[0] / side->R);
    const bool all = side->routed->all;
    colt5_tensor tokens, dtokens = rows_of(dx, D);
    colt5_status status;
    TRY(side_tokens(pass, side, x, &tokens));
    if (!all) TRY(SCRATCH(pass, x->type, &dtokens, side->B * rows, D));
    for (size_t i = 0; i < product_count(side); i++) {
        const struct product product = product_of(pass, side, i, weight, &tokens, &dout_rows);
        const colt5_tensor part = side->R == 1 ? dtokens : slice(&dtokens, i * side->M, side->M);
        TRY(project_backward(pass, heavy, &product, all, &part));
    }
    const colt5_tensor picked = RESHAPED(&dtokens, side->B, rows, D);
    /* Routes may share a token. */
    const colt5_index_kind kind = side->R == 1 ? index_kind(side->routed) : COLT5_INDEX_REPEATED;
    if (!all) TRY(colt5_scatter_add(pass->ctx, &picked, &side->index, NULL, kind, dx));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}
