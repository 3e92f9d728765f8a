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

/* Queries and keys of qkv [b][n][3][H][E] by their positions, or back. */
static colt5_status rotate(struct pass *pass, const struct local_attention *local,
                           const colt5_tensor *qkv, size_t first_position, bool inverse)
{
    if (!local->rotary) return COLT5_OK;
    const size_t samples = qkv->dims[0], tokens = qkv->dims[1];
    const colt5_tensor heads = RESHAPED(qkv, samples, tokens, 3 * local->H, local->E);
    return colt5_rotary(pass->ctx, &heads, NULL,
                        &(colt5_rotary_options){.theta = 10000,
                                                .first_position = first_position,
                                                .heads = 2 * local->H,
                                                .head_step = 1,
                                                .length = first_position + tokens,
                                                .inverse = inverse});
}

static colt5_status normalise(struct pass *pass, const struct local_attention *local,
                              const colt5_tensor *x, colt5_tensor *normed)
{
    const colt5_status status = SCRATCH(pass, x->type, normed, x->dims[0], x->dims[1]);
    if (status != COLT5_OK) return status;
    return colt5_layer_norm_forward(pass->ctx, x, &local->norm_weight->tensor,
                                    &local->norm_bias->tensor, normed, NULL, NULL);
}

/* qkv = to_qkv(norm(x)), rows [rows][..]: a chunk's, or those of the whole where it is saved. */
static colt5_status project(struct pass *pass, const struct local_attention *local,
                            const colt5_tensor *x, const colt5_tensor *qkv)
{
    const size_t limit = pass->saving ? chunk_rows(pass, x->dims[1]) : x->dims[0];
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_status status = COLT5_OK;
    for (size_t row = 0; row < x->dims[0]; row += limit) {
        const size_t count = x->dims[0] - row < limit ? x->dims[0] - row : limit;
        const colt5_tensor some_x = slice(x, row, count), some_qkv = slice(qkv, row, count);
        colt5_tensor normed;
        TRY(normalise(pass, local, &some_x, &normed));
        TRY(colt5_linear_forward(pass->ctx, &normed, &local->to_qkv->tensor, NULL, &some_qkv));
        workspace_rewind(pass->ctx, mark);
    }
out:
    workspace_rewind(pass->ctx, mark);
    return status;
}

/* y = residual + to_out(attention(rotary(to_qkv(norm(x))))) for the queries of a chunk */
static colt5_status chunk_forward(struct pass *pass, const struct local_attention *local,
                                  const colt5_tensor *x, struct chunk queries,
                                  const colt5_tensor *row, const colt5_tensor *residual,
                                  const colt5_tensor *y, struct saved_local *saved)
{
    colt5_context *ctx = pass->ctx;
    const size_t N = x->dims[1], H = local->H, E = local->E;
    const struct chunk keys = with_halo(queries, local->window, N);
    const struct stack_mark mark = workspace_mark(ctx);
    const colt5_tensor some_x = chunk_of(x, keys), x_rows = rows_of(&some_x, x->dims[2]);
    colt5_tensor mask;
    colt5_status status;

    TRY(KEPT(pass, x->type, &saved->qkv, keys.samples, keys.tokens, 3, H, E));
    const colt5_tensor qkv_rows = rows_of(&saved->qkv, 3 * H * E);
    TRY(project(pass, local, &x_rows, &qkv_rows));
    /* Only now: what was scratch of the projection serves again. */
    TRY(KEPT(pass, x->type, &saved->values, queries.samples, queries.tokens, H, E));
    if (pass->saving) TRY(KEPT(pass, COLT5_F32, &saved->lse, queries.samples, H, queries.tokens));
    TRY(rotate(pass, local, &saved->qkv, keys.n, false));
    if (pass->mask) mask = slice(pass->mask, queries.b, queries.samples);
    TRY(colt5_local_attention_forward(
        ctx, &saved->qkv, pass->mask ? &mask : NULL,
        &(colt5_local_attention_options){
            .window = local->window, .length = N, .first_key = keys.n, .first_query = queries.n},
        &saved->values, pass->saving ? &saved->lse : NULL));
    const colt5_tensor value_rows = rows_of(&saved->values, H * E);
    const colt5_tensor y_rows = rows_of(y, x->dims[2]);
    const colt5_tensor residual_rows = rows_of(residual ? residual : y, x->dims[2]);
    TRY(colt5_linear_forward(
        ctx, &value_rows, &local->to_out->tensor,
        &(colt5_linear_options){.bias = row, .residual = residual ? &residual_rows : NULL},
        &y_rows));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status local_forward(struct pass *pass, const struct local_attention *local,
                           const colt5_tensor *x, const colt5_tensor *row,
                           const colt5_tensor *residual, const colt5_tensor *y,
                           struct saved_local *saved)
{
    const size_t B = x->dims[0], N = x->dims[1];
    /* What is saved is of the whole. */
    const size_t limit = pass->saving ? B * N : pass->chunk;
    profile_part(pass->ctx, "light attention");
    for (struct chunk c = {0}; next_chunk(B, N, limit, &c);) {
        const colt5_tensor some_y = chunk_of(y, c);
        const colt5_tensor some_residual = chunk_of(residual ? residual : y, c);
        const colt5_status status =
            chunk_forward(pass, local, x, c, row, residual ? &some_residual : NULL, &some_y, saved);
        if (status != COLT5_OK) return status;
    }
    profile_part(pass->ctx, NULL);
    return COLT5_OK;
}

/* dqkv, of queries and keys before they were rotated. */
static colt5_status attention_backward(struct pass *pass, const struct local_attention *local,
                                       const struct saved_local *saved, const colt5_tensor *dy,
                                       const colt5_tensor *dqkv)
{
    colt5_context *ctx = pass->ctx;
    const size_t B = dy->dims[0], N = dy->dims[1], H = local->H, E = local->E;
    const struct stack_mark mark = workspace_mark(ctx);
    const colt5_tensor dy_rows = rows_of(dy, dy->dims[2]), values = rows_of(&saved->values, H * E);
    colt5_tensor dvalues;
    colt5_status status;

    TRY(SCRATCH(pass, dy->type, &dvalues, B, N, H, E));
    const colt5_tensor dvalue_rows = rows_of(&dvalues, H * E);
    const colt5_linear_gradients gradients = {.dx = &dvalue_rows,
                                              .dweight = GRADIENT(pass, local->to_out)};
    TRY(colt5_linear_backward(ctx, &values, &local->to_out->tensor, NULL, &dy_rows, &gradients));
    TRY(colt5_local_attention_backward(
        ctx, &saved->qkv, pass->mask,
        &(colt5_local_attention_options){.window = local->window, .length = N}, &saved->values,
        &saved->lse, &dvalues, dqkv));
    TRY(rotate(pass, local, dqkv, 0, true));
out:
    workspace_rewind(ctx, mark);
    return status;
}

/* dx = base + the gradient of to_qkv(norm(x)), for some rows */
static colt5_status project_backward(struct pass *pass, const struct local_attention *local,
                                     const colt5_tensor *x, const colt5_tensor *dqkv,
                                     const colt5_tensor *base, const colt5_tensor *dx)
{
    colt5_context *ctx = pass->ctx;
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor normed;
    colt5_status status;
    TRY(normalise(pass, local, x, &normed));
    TRY(linear_backward_in_place(pass, &normed, &local->to_qkv->tensor, dqkv,
                                 GRADIENT(pass, local->to_qkv), NULL));
    TRY(colt5_layer_norm_backward(ctx, x, &local->norm_weight->tensor, &normed, base, dx,
                                  GRADIENT(pass, local->norm_weight),
                                  GRADIENT(pass, local->norm_bias)));
out:
    workspace_rewind(ctx, mark);
    return status;
}

colt5_status local_backward(struct pass *pass, const struct local_attention *local,
                            const colt5_tensor *x, const struct saved_local *saved,
                            const colt5_tensor *dy, const colt5_tensor *base,
                            const colt5_tensor *dx)
{
    const size_t D = x->dims[2], H = local->H, E = local->E, limit = chunk_rows(pass, D);
    const colt5_tensor all_x = rows_of(x, D), all_dx = rows_of(dx, D);
    const colt5_tensor all_base = rows_of(base ? base : dx, D);
    const size_t rows = all_x.dims[0];
    const struct stack_mark mark = workspace_mark(pass->ctx);
    colt5_tensor dqkv;
    colt5_status status;

    profile_part(pass->ctx, "light attention");
    TRY(SCRATCH(pass, x->type, &dqkv, x->dims[0], x->dims[1], 3, H, E));
    TRY(attention_backward(pass, local, saved, dy, &dqkv));
    const colt5_tensor all_dqkv = rows_of(&dqkv, 3 * H * E);
    for (size_t row = 0; row < rows; row += limit) {
        const size_t count = rows - row < limit ? rows - row : limit;
        const colt5_tensor some_x = slice(&all_x, row, count);
        const colt5_tensor some_dqkv = slice(&all_dqkv, row, count);
        const colt5_tensor some_base = slice(&all_base, row, count);
        const colt5_tensor some_dx = slice(&all_dx, row, count);
        TRY(project_backward(pass, local, &some_x, &some_dqkv, base ? &some_base : NULL, &some_dx));
    }
out:
    profile_part(pass->ctx, NULL);
    workspace_rewind(pass->ctx, mark);
    return status;
}
