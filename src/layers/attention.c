/* SPDX-License-Identifier: MIT */
/* y = light(x) + scatter(heavy(x[iq], x[ikv]) · score): SPEC section 4, attention. */
#include "layers/heavy.h"

struct routes_of {
    struct routed q, kv;
};

/* Both routers, scored in one pass over x. */
static colt5_status route(struct pass *pass, const struct attention *layer, const colt5_tensor *x,
                          struct routes_of *routes)
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
    TRY(router_scores(pass, x, 2, routers, needed, s));
    TRY(router_forward(pass, routers[0], B, N, Kq, &s[0], &routes->q));
    TRY(router_forward(pass, routers[1], B, N, Kkv, &s[1], &routes->kv));
out:
    return status;
}

colt5_status attention_layer_forward(struct pass *pass, const struct attention *layer,
                                     const colt5_tensor *x, const colt5_tensor *residual,
                                     const colt5_tensor *y)
{
    const struct workspace_mark mark = workspace_mark(pass->ctx);
    struct routes_of routes;
    colt5_status status;

    TRY(route(pass, layer, x, &routes));
    TRY(heavy_forward(pass, &layer->heavy, layer->null_q, x, &routes.q, &routes.kv, residual, y));
    workspace_rewind(pass->ctx, mark);
    if (layer->has_light) TRY(local_forward(pass, &layer->light, x, y, y));
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}
