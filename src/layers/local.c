/* SPDX-License-Identifier: MIT */
/* The light branch of SPEC 3.1: a chunk of queries at a time, with the keys on both its sides. */
#include <colt5/ops/linear.h>
#include <colt5/ops/local_attention.h>
#include <colt5/ops/norm.h>
#include <colt5/ops/rotary.h>

#include "layers/pass.h"

/* The tokens whose keys the queries of a chunk may look at. */
static struct chunk with_halo(struct chunk queries, size_t window, size_t N)
{
    struct chunk keys = queries;
    const size_t before = queries.n < window ? queries.n : window;
    const size_t behind = N - queries.n - queries.tokens;
    keys.n = queries.n - before;
    keys.tokens = queries.tokens + before + (behind < window ? behind : window);
    return keys;
}

static colt5_status rotate(struct pass *pass, const struct local_attention *local,
                           const colt5_tensor *qkv, size_t first_position)
{
    if (!local->rotary) return COLT5_OK;
    const size_t samples = qkv->dims[0], tokens = qkv->dims[1];
    const colt5_tensor heads = RESHAPED(qkv, samples, tokens, 3 * local->H, local->E);
    return colt5_rotary(pass->ctx, &heads, NULL,
                        &(colt5_rotary_options){.theta = 10000,
                                                .first_position = first_position,
                                                .heads = 2 * local->H,
                                                .head_step = 1,
                                                .length = first_position + tokens});
}

/* y = residual + to_out(attention(rotary(to_qkv(norm(x))))) */
static colt5_status chunk_forward(struct pass *pass, const struct local_attention *local,
                                  const colt5_tensor *x, struct chunk queries,
                                  const colt5_tensor *residual, const colt5_tensor *y)
{
    colt5_context *ctx = pass->ctx;
    const size_t N = x->dims[1], D = x->dims[2], H = local->H, E = local->E;
    const struct chunk keys = with_halo(queries, local->window, N);
    const struct workspace_mark mark = workspace_mark(ctx);
    const colt5_tensor some_x = chunk_of(x, keys);
    colt5_tensor normed, qkv, values, mask;
    colt5_status status;

    TRY(SCRATCH(pass, x->type, &qkv, keys.samples, keys.tokens, 3, H, E));
    TRY(SCRATCH(pass, x->type, &values, queries.samples, queries.tokens, H, E));
    TRY(SCRATCH(pass, x->type, &normed, keys.samples, keys.tokens, D));
    TRY(colt5_layer_norm_forward(ctx, &some_x, &local->norm_weight->tensor,
                                 &local->norm_bias->tensor, &normed, NULL, NULL));
    const colt5_tensor normed_rows = rows_of(&normed, D), qkv_rows = rows_of(&qkv, 3 * H * E);
    TRY(colt5_linear_forward(ctx, &normed_rows, &local->to_qkv->tensor, NULL, &qkv_rows));
    TRY(rotate(pass, local, &qkv, keys.n));
    if (pass->mask) mask = slice(pass->mask, queries.b, queries.samples);
    TRY(colt5_local_attention_forward(
        ctx, &qkv, pass->mask ? &mask : NULL,
        &(colt5_local_attention_options){
            .window = local->window, .length = N, .first_key = keys.n, .first_query = queries.n},
        &values, NULL));
    const colt5_tensor value_rows = rows_of(&values, H * E), y_rows = rows_of(y, D);
    const colt5_tensor residual_rows = rows_of(residual ? residual : y, D);
    TRY(colt5_linear_forward(ctx, &value_rows, &local->to_out->tensor,
                             &(colt5_linear_options){.residual = residual ? &residual_rows : NULL},
                             &y_rows));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status local_forward(struct pass *pass, const struct local_attention *local,
                           const colt5_tensor *x, const colt5_tensor *residual,
                           const colt5_tensor *y)
{
    const size_t B = x->dims[0], N = x->dims[1];
    for (struct chunk c = {0}; next_chunk(B, N, pass->chunk, &c);) {
        const colt5_tensor some_y = chunk_of(y, c);
        const colt5_tensor some_residual = chunk_of(residual ? residual : y, c);
        const colt5_status status =
            chunk_forward(pass, local, x, c, residual ? &some_residual : NULL, &some_y);
        if (status != COLT5_OK) return status;
    }
    return COLT5_OK;
}
