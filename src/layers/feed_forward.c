/* SPDX-License-Identifier: MIT */
/* y = light(x) + scatter(heavy(x[index]) · score): SPEC section 4, feed_forward. */
#include <colt5/ops/gather.h>
#include <colt5/ops/linear.h>
#include <colt5/ops/norm.h>
#include <colt5/ops/scatter.h>

#include "layers/router.h"

/* y += scatter(heavy(x[index]) · score); repeated tokens get the mean of their slots. */
static colt5_status routed_forward(struct pass *pass, const struct dense_feed_forward *heavy,
                                   const colt5_tensor *x, const struct routed *routed,
                                   const colt5_tensor *y)
{
    colt5_context *ctx = pass->ctx;
    const size_t B = x->dims[0], D = x->dims[2], K = routed->K;
    const colt5_tensor index = RESHAPED(&routed->index, B, K), *scores = routed_scores(routed);
    const colt5_tensor row_scores = scores ? RESHAPED(scores, B, K) : index;
    const struct workspace_mark mark = workspace_mark(ctx);
    colt5_tensor tokens;
    colt5_status status;

    TRY(SCRATCH(pass, x->type, &tokens, B, K, D));
    TRY(colt5_gather(ctx, x, &index, &tokens));
    TRY(dense_forward(pass, heavy, &tokens, NULL, &tokens));
    if (routed->repeated)
        TRY(colt5_scatter_mean(ctx, &tokens, &index, scores ? &row_scores : NULL, y, y));
    else
        TRY(colt5_scatter(ctx, &tokens, &index, scores ? &row_scores : NULL, y, y));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status feed_forward_forward(struct pass *pass, const struct feed_forward *layer,
                                  const colt5_tensor *x, const colt5_tensor *residual,
                                  const colt5_tensor *y)
{
    const size_t B = x->dims[0], N = x->dims[1];
    const colt5_token_counts *counts = &pass->forward->num_heavy_tokens;
    const size_t K = counts->ff ? counts->ff : pass->layer->config.num_heavy_tokens_ff;
    const struct router *router = &layer->router;
    const bool needed = router_needs_scores(pass, router, N, K);
    const struct workspace_mark mark = workspace_mark(pass->ctx);
    struct routed routed;
    colt5_tensor s;
    colt5_status status;

    TRY(router_scores(pass, x, 1, &router, &needed, &s));
    TRY(router_forward(pass, router, B, N, K, &s, &routed));
    TRY(dense_forward(pass, &layer->light, x, residual, y));
    if (routed.all)
        TRY(dense_forward(pass, &layer->heavy, x, y, y));
    else
        TRY(routed_forward(pass, &layer->heavy, x, &routed, y));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}
