/* SPDX-License-Identifier: MIT */
/* y = light(x) + scatter(heavy(x[iq], x[ikv]) · score): SPEC section 4, attention. */
#include "layers/heavy.h"

/* Both routers, scored in one pass over x. */
static colt5_status route(struct pass *pass, const struct attention *layer, const colt5_tensor *x,
                          struct saved_attention *saved)
{
    const size_t B = x->dims[0], N = x->dims[1];
    const colt5_config *config = &pass->layer->config;
    const colt5_token_counts *counts = &pass->forward->num_heavy_tokens;
    const size_t Kq = counts->q ? counts->q : config->num_heavy_tokens_q;
    const size_t Kkv = counts->kv ? counts->kv : config->num_heavy_tokens_kv;
    const struct router *routers[] = {&layer->q_router, &layer->kv_router};
    const bool needed[] = {router_needs_scores(pass, routers[0], N, Kq),
                           router_needs_scores(pass, routers[1], N, Kkv)};
    colt5_tensor s[2];
    colt5_status status;
    profile_part(pass->ctx, "router");
    TRY(router_scores(pass, x, 2, routers, needed, s, NULL));
    TRY(router_pair_forward(pass, routers, B, N, (const size_t[]){Kq, Kkv}, s,
                            (struct routed *const[]){&saved->q, &saved->kv}));
out:
    profile_part(pass->ctx, NULL);
    return status;
}

static struct heavy_branch branch_of(const struct attention *layer,
                                     const struct saved_attention *saved)
{
    return (struct heavy_branch){&layer->heavy, layer->null_q, &saved->q, &saved->kv,
                                 layer->has_light};
}

colt5_status attention_layer_forward(struct pass *pass, const struct attention *layer,
                                     const colt5_tensor *x, const colt5_tensor *residual,
                                     const colt5_tensor *y, struct saved_attention *saved)
{
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_status status;

    TRY(route(pass, layer, x, saved));
    const struct heavy_branch branch = branch_of(layer, saved);
    /* The light branch writes every row, null_q with them; the heavy one those of its queries. */
    const colt5_tensor *row = layer->null_q && !saved->q.all ? &layer->null_q->tensor : NULL;
    if (layer->has_light)
        TRY(local_forward(pass, &layer->light, x, row, residual, y, &saved->light));
    TRY(heavy_forward(pass, &branch, x, residual, y, &saved->heavy));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

colt5_status attention_layer_backward(struct pass *pass, const struct attention *layer,
                                      const colt5_tensor *x, const struct saved_attention *saved,
                                      const colt5_tensor *dy, const colt5_tensor *base,
                                      const colt5_tensor *dx)
{
    const struct routed *q = &saved->q, *kv = &saved->kv;
    const struct stack_mark mark = workspace_mark(pass->ctx);
    const struct heavy_branch branch = branch_of(layer, saved);
    struct heavy_projected heavy;
    struct learning learnings[2];
    colt5_tensor dq_scores, dkv_scores;
    size_t count = 0;
    colt5_status status;

    if (q->learns) {
        TRY(SCRATCH(pass, COLT5_F32, &dq_scores, x->dims[0], 1, q->K));
        learnings[count++] = (struct learning){&layer->q_router, q, &dq_scores};
    }
    if (kv->learns) {
        TRY(SCRATCH(pass, COLT5_F32, &dkv_scores, x->dims[0], kv->R, kv->K));
        learnings[count++] = (struct learning){&layer->kv_router, kv, &dkv_scores};
    }
    TRY(heavy_attend_backward(pass, &branch, x, &saved->heavy, dy, q->learns ? &dq_scores : NULL,
                              kv->learns ? &dkv_scores : NULL, &heavy));
    if (layer->has_light)
        TRY(local_backward(pass, &layer->light, x, &saved->light, dy, base, dx));
    else
        TRY(begin_gradient(pass, base, dx));
    TRY(heavy_project_backward(pass, &branch, x, &heavy, dx));
    TRY(routers_backward(pass, x, count, learnings, dx));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}
