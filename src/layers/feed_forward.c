/* SPDX-License-Identifier: MIT */
/* y = light(x) + scatter(heavy(x[index]) · score): SPEC section 4, feed_forward. */
#include <colt5/ops/gather.h>
#include <colt5/ops/linear.h>
#include <colt5/ops/scatter.h>

#include "layers/router.h"
#include "ops/norm.h"
#include "runtime/launch.h"

/* tokens [B][K][D]: the rows of x that were routed. */
static colt5_status pick(struct pass *pass, const colt5_tensor *x, const colt5_tensor *index,
                         colt5_tensor *tokens)
{
    const colt5_status status =
        SCRATCH(pass, x->type, tokens, index->dims[0], index->dims[1], x->dims[2]);
    return status == COLT5_OK ? colt5_gather(pass->ctx, x, index, tokens) : status;
}

/* saved->out = heavy(x[index]) */
static colt5_status routed_forward(struct pass *pass, const struct dense_feed_forward *heavy,
                                   const colt5_tensor *x, struct saved_feed_forward *saved)
{
    const struct routed *routed = &saved->routed;
    const size_t B = x->dims[0], D = x->dims[2], K = routed->K;
    const colt5_tensor index = RESHAPED(&routed->index, B, K);
    colt5_tensor normed;
    colt5_status status;

    if (routed->learns)
        TRY(KEPT(pass, x->type, &saved->out, B, K, D));
    else
        TRY(SCRATCH(pass, x->type, &saved->out, B, K, D));
    const struct stack_mark mark = workspace_mark(pass->ctx);
    TRY(SCRATCH(pass, x->type, &normed, B, K, D));
    TRY(rms_norm_picked(pass->ctx, x, &index, &heavy->gamma->tensor, &normed));
    TRY(dense_forward(pass, heavy, &(struct dense_input){.x = &normed, .normed = true}, NULL,
                      &saved->out, &saved->heavy));
    workspace_rewind(pass->ctx, mark);
out:
    return status;
}

/* y += scatter(out · score); repeated tokens get the mean of their slots. */
static colt5_status put_back(struct pass *pass, const struct saved_feed_forward *saved,
                             const colt5_tensor *y)
{
    const struct routed *routed = &saved->routed;
    const size_t B = y->dims[0], K = routed->K;
    const colt5_tensor index = RESHAPED(&routed->index, B, K), *scores = routed_scores(routed);
    const colt5_tensor row_scores = scores ? RESHAPED(scores, B, K) : index;
    return (routed->repeated ? colt5_scatter_mean : colt5_scatter)(
        pass->ctx, &saved->out, &index, scores ? &row_scores : NULL, y, y);
}

/* Both branches of every token; x is read by the second when the first has written y. */
static colt5_status all_forward(struct pass *pass, const struct feed_forward *layer,
                                const colt5_tensor *x, const colt5_tensor *residual,
                                const colt5_tensor *y, struct saved_feed_forward *saved)
{
    colt5_tensor apart = *x;
    const struct dense_input input = {.x = &apart};
    colt5_status status;
    if (x == y) {
        TRY(SCRATCH(pass, x->type, &apart, x->dims[0], x->dims[1], x->dims[2]));
        TRY(copy_tensor(pass->ctx, x, &apart));
    }
    profile_part(pass->ctx, "light feedforward");
    TRY(dense_forward(pass, &layer->light, &input, residual, y, &saved->light));
    profile_part(pass->ctx, "heavy feedforward");
    TRY(dense_forward(pass, &layer->heavy, &input, y, y, &saved->heavy));
out:
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
    const bool routes = N > K;
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_tensor s, inverses;
    const struct dense_input input = {.x = x, .inverses = &inverses};
    colt5_status status;

    profile_part(pass->ctx, "router");
    if (routes) TRY(SCRATCH(pass, COLT5_F32, &inverses, B, N));
    TRY(router_scores(pass, x, 1, &router, &needed, &s, routes ? &inverses : NULL));
    TRY(router_forward(pass, router, B, N, K, &s, &saved->routed));
    if (saved->routed.all) {
        TRY(all_forward(pass, layer, x, residual, y, saved));
        goto out;
    }
    profile_part(pass->ctx, "heavy feedforward");
    TRY(routed_forward(pass, &layer->heavy, x, saved));
    profile_part(pass->ctx, "light feedforward");
    TRY(dense_forward(pass, &layer->light, &input, residual, y, &saved->light));
    profile_part(pass->ctx, "heavy feedforward");
    TRY(put_back(pass, saved, y));
out:
    profile_part(pass->ctx, NULL);
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* dtokens [B][K][D] of the tokens of the heavy branch, scratch; dscores, where not NULL, of their
 * scores. */
static colt5_status heavy_backward(struct pass *pass, const struct dense_feed_forward *heavy,
                                   const colt5_tensor *x, const struct saved_feed_forward *saved,
                                   const colt5_tensor *dy, const colt5_tensor *dscores,
                                   colt5_tensor *dtokens)
{
    const struct routed *routed = &saved->routed;
    const size_t B = x->dims[0], K = routed->K;
    const colt5_tensor index = RESHAPED(&routed->index, B, K);
    colt5_tensor tokens, dout;
    colt5_status status;

    profile_part(pass->ctx, "heavy feedforward");
    TRY(SCRATCH(pass, x->type, dtokens, B, K, x->dims[2]));
    const struct stack_mark mark = workspace_mark(pass->ctx);
    TRY(SCRATCH(pass, x->type, &dout, B, K, x->dims[2]));
    TRY(scattered_backward(pass, dy, routed, &saved->out, &dout, dscores));
    TRY(pick(pass, x, &index, &tokens));
    TRY(dense_backward(pass, heavy, &tokens, &saved->heavy, &dout, NULL, dtokens));
    workspace_rewind(pass->ctx, mark);
out:
    return status;
}

/* The heavy branch reads dy before dx takes its place. */
static colt5_status routed_backward(struct pass *pass, const struct feed_forward *layer,
                                    const colt5_tensor *x, const struct saved_feed_forward *saved,
                                    const colt5_tensor *dy, const colt5_tensor *base,
                                    const colt5_tensor *dx)
{
    const struct routed *routed = &saved->routed;
    const colt5_tensor index = RESHAPED(&routed->index, x->dims[0], routed->K);
    colt5_tensor dscores, dtokens;
    colt5_status status;

    if (routed->learns) TRY(SCRATCH(pass, COLT5_F32, &dscores, x->dims[0], 1, routed->K));
    TRY(heavy_backward(pass, &layer->heavy, x, saved, dy, routed->learns ? &dscores : NULL,
                       &dtokens));
    profile_part(pass->ctx, "light feedforward");
    TRY(dense_backward(pass, &layer->light, x, &saved->light, dy, base, dx));
    profile_part(pass->ctx, "heavy feedforward");
    TRY(colt5_scatter_add(pass->ctx, &dtokens, &index, NULL, index_kind(routed), dx));
    const struct learning learning = {&layer->router, routed, &dscores};
    if (routed->learns) TRY(routers_backward(pass, x, 1, &learning, dx));
out:
    return status;
}

static colt5_status all_backward(struct pass *pass, const struct feed_forward *layer,
                                 const colt5_tensor *x, const struct saved_feed_forward *saved,
                                 const colt5_tensor *dy, const colt5_tensor *base,
                                 const colt5_tensor *dx)
{
    colt5_tensor apart = *dy;
    colt5_status status;
    if (dy == dx) {
        TRY(SCRATCH(pass, dy->type, &apart, dy->dims[0], dy->dims[1], dy->dims[2]));
        TRY(copy_tensor(pass->ctx, dy, &apart));
    }
    profile_part(pass->ctx, "light feedforward");
    TRY(dense_backward(pass, &layer->light, x, &saved->light, &apart, base, dx));
    profile_part(pass->ctx, "heavy feedforward");
    TRY(dense_backward(pass, &layer->heavy, x, &saved->heavy, &apart, dx, dx));
out:
    return status;
}

colt5_status feed_forward_backward(struct pass *pass, const struct feed_forward *layer,
                                   const colt5_tensor *x, const struct saved_feed_forward *saved,
                                   const colt5_tensor *dy, const colt5_tensor *base,
                                   const colt5_tensor *dx)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const colt5_status status =
        (saved->routed.all ? all_backward : routed_backward)(pass, layer, x, saved, dy, base, dx);
    profile_part(pass->ctx, NULL);
    workspace_rewind(pass->ctx, mark);
    return status;
}
