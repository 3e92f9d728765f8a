/* SPDX-License-Identifier: MIT */
/* y = light(x) + scatter(heavy(x[index]) · score): SPEC section 4, feed_forward. */
#include <colt5/ops/gather.h>
#include <colt5/ops/linear.h>
#include <colt5/ops/norm.h>
#include <colt5/ops/scatter.h>

#include "layers/router.h"
#include "runtime/launch.h"

/* tokens [B][K][D]: the rows of x that were routed. */
static colt5_status pick(struct pass *pass, const colt5_tensor *x, const colt5_tensor *index,
                         colt5_tensor *tokens)
{
    const colt5_status status =
        SCRATCH(pass, x->type, tokens, index->dims[0], index->dims[1], x->dims[2]);
    return status == COLT5_OK ? colt5_gather(pass->ctx, x, index, tokens) : status;
}

/* y += scatter(heavy(x[index]) · score); repeated tokens get the mean of their slots. */
static colt5_status routed_forward(struct pass *pass, const struct dense_feed_forward *heavy,
                                   const colt5_tensor *x, const colt5_tensor *y,
                                   struct saved_feed_forward *saved)
{
    colt5_context *ctx = pass->ctx;
    const struct routed *routed = &saved->routed;
    const size_t B = x->dims[0], D = x->dims[2], K = routed->K;
    const colt5_tensor index = RESHAPED(&routed->index, B, K), *scores = routed_scores(routed);
    const colt5_tensor row_scores = scores ? RESHAPED(scores, B, K) : index;
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor tokens;
    colt5_status status;

    if (routed->learns)
        TRY(KEPT(pass, x->type, &saved->out, B, K, D));
    else
        TRY(SCRATCH(pass, x->type, &saved->out, B, K, D));
    TRY(pick(pass, x, &index, &tokens));
    TRY(dense_forward(pass, heavy, &tokens, NULL, &saved->out, &saved->heavy));
    if (routed->repeated)
        TRY(colt5_scatter_mean(ctx, &saved->out, &index, scores ? &row_scores : NULL, y, y));
    else
        TRY(colt5_scatter(ctx, &saved->out, &index, scores ? &row_scores : NULL, y, y));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status feed_forward_forward(struct pass *pass, const struct feed_forward *layer,
                                  const colt5_tensor *x, const colt5_tensor *residual,
                                  const colt5_tensor *y, struct saved_feed_forward *saved)
{
    const size_t B = x->dims[0], N = x->dims[1];
    const colt5_token_counts *counts = &pass->forward->num_heavy_tokens;
    const size_t K = counts->ff ? counts->ff : pass->layer->config.num_heavy_tokens_ff;
    const struct router *router = &layer->router;
    const bool needed = router_needs_scores(pass, router, N, K);
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_tensor s;
    colt5_status status;

    profile_part(pass->ctx, "router");
    TRY(router_scores(pass, x, 1, &router, &needed, &s));
    TRY(router_forward(pass, router, B, N, K, &s, &saved->routed));
    profile_part(pass->ctx, "light feedforward");
    TRY(dense_forward(pass, &layer->light, x, residual, y, &saved->light));
    profile_part(pass->ctx, "heavy feedforward");
    if (saved->routed.all)
        TRY(dense_forward(pass, &layer->heavy, x, y, y, &saved->heavy));
    else
        TRY(routed_forward(pass, &layer->heavy, x, y, saved));
out:
    profile_part(pass->ctx, NULL);
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* dx += the gradient of the heavy branch; dscores, where not NULL, that of the scores. */
static colt5_status heavy_backward(struct pass *pass, const struct dense_feed_forward *heavy,
                                   const colt5_tensor *x, const struct saved_feed_forward *saved,
                                   const colt5_tensor *dy, const colt5_tensor *dx,
                                   const colt5_tensor *dscores)
{
    colt5_context *ctx = pass->ctx;
    const struct routed *routed = &saved->routed;
    const size_t B = x->dims[0], K = routed->K;
    const colt5_tensor index = RESHAPED(&routed->index, B, K);
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor tokens, dout, dtokens;
    colt5_status status;

    TRY(SCRATCH(pass, x->type, &dout, B, K, x->dims[2]));
    TRY(scattered_backward(pass, dy, routed, &saved->out, &dout, dscores));
    TRY(pick(pass, x, &index, &tokens));
    TRY(SCRATCH(pass, x->type, &dtokens, B, K, x->dims[2]));
    TRY(clear_tensor(ctx, &dtokens));
    TRY(dense_backward(pass, heavy, &tokens, &saved->heavy, &dout, &dtokens));
    TRY(colt5_scatter_add(ctx, &dtokens, &index, NULL, index_kind(routed), dx));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status feed_forward_backward(struct pass *pass, const struct feed_forward *layer,
                                   const colt5_tensor *x, const struct saved_feed_forward *saved,
                                   const colt5_tensor *dy, const colt5_tensor *dx)
{
    const struct routed *routed = &saved->routed;
    const struct router *router = &layer->router;
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_tensor dscores;
    colt5_status status;

    profile_part(pass->ctx, "light feedforward");
    TRY(dense_backward(pass, &layer->light, x, &saved->light, dy, dx));
    profile_part(pass->ctx, "heavy feedforward");
    if (routed->all)
        TRY(dense_backward(pass, &layer->heavy, x, &saved->heavy, dy, dx));
    else {
        if (routed->learns) TRY(SCRATCH(pass, COLT5_F32, &dscores, x->dims[0], 1, routed->K));
        TRY(heavy_backward(pass, &layer->heavy, x, saved, dy, dx,
                           routed->learns ? &dscores : NULL));
        const struct learning learning = {router, routed, &dscores};
        if (routed->learns) TRY(routers_backward(pass, x, 1, &learning, dx));
    }
out:
    profile_part(pass->ctx, NULL);
    workspace_rewind(pass->ctx, mark);
    return status;
}
