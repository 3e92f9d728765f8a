/* SPDX-License-Identifier: MIT */
/* Makes the parts of each kind of layer: their parameters by the names of SPEC section 4. */
#include <stdio.h>

#include "layers/layer.h"
#include "runtime/memory.h"
#include "runtime/status.h"

/* Where parameters go, and under which module path. */
struct scope {
    colt5_layer *layer;
    char prefix[PARAMETER_NAME];
};

static struct scope inside(const struct scope *scope, const char *module)
{
    struct scope inner = {.layer = scope->layer};
    snprintf(inner.prefix, sizeof(inner.prefix), "%.100s%.40s.", scope->prefix, module);
    return inner;
}

/* name "norm.gamma", initial value rule, dims; in: columns, for INITIAL_LINEAR. */
#define ADD(scope, name, initial, in, field, ...)                                                  \
    parameter_add((scope)->layer->ctx, &(scope)->layer->parameters, (scope)->prefix, name,         \
                  (scope)->layer->type, initial, in,                                               \
                  (int)(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)),                         \
                  (size_t[]){__VA_ARGS__}, field)

static colt5_status build_dense(struct scope scope, size_t D, double mult,
                                struct dense_feed_forward *dense)
{
    colt5_status status;
    const size_t F = dense->F = (size_t)((double)D * mult);
    TRY(ADD(&scope, "0.gamma", INITIAL_ONES, 0, &dense->gamma, D));
    TRY(ADD(&scope, "1.weight", INITIAL_LINEAR, D, &dense->in_weight, F, D));
    TRY(ADD(&scope, "1.bias", INITIAL_LINEAR, D, &dense->in_bias, F));
    TRY(ADD(&scope, "3.weight", INITIAL_LINEAR, F, &dense->out_weight, D, F));
    TRY(ADD(&scope, "3.bias", INITIAL_LINEAR, F, &dense->out_bias, D));
out:
    return status;
}

static colt5_status build_router(struct scope scope, const char *module, size_t R, size_t D,
                                 struct router *router)
{
    snprintf(router->path, sizeof(router->path), "%.100s%.40s", scope.prefix, module);
    const struct scope inner = inside(&scope, module);
    return ADD(&inner, "routing_token", INITIAL_NORMAL, 0, &router->tokens, R, D);
}

static colt5_status build_feed_forward(struct scope scope, struct feed_forward *part)
{
    const colt5_config *config = &scope.layer->config;
    colt5_status status;
    TRY(build_router(scope, "router", 1, config->dim, &part->router));
    TRY(build_dense(inside(&scope, "light_ff"), config->dim, config->light_ff_mult, &part->light));
    TRY(build_dense(inside(&scope, "heavy_ff"), config->dim, config->heavy_ff_mult, &part->heavy));
out:
    return status;
}

static colt5_status build_local(struct scope scope, struct local_attention *part)
{
    const colt5_config *config = &scope.layer->config;
    const size_t D = config->dim, H = config->light_heads, E = config->light_dim_head;
    *part = (struct local_attention){.H = H,
                                     .E = E,
                                     .window = config->light_window_size / 2,
                                     .rotary = config->light_rotary_emb};
    colt5_status status;
    TRY(ADD(&scope, "norm.weight", INITIAL_ONES, 0, &part->norm_weight, D));
    TRY(ADD(&scope, "norm.bias", INITIAL_ZEROS, 0, &part->norm_bias, D));
    TRY(ADD(&scope, "to_qkv.weight", INITIAL_LINEAR, D, &part->to_qkv, 3 * H * E, D));
    TRY(ADD(&scope, "to_out.weight", INITIAL_LINEAR, H * E, &part->to_out, D, H * E));
out:
    return status;
}

static colt5_status build_heavy(struct scope scope, struct heavy_attention *part)
{
    const colt5_config *config = &scope.layer->config;
    const size_t D = config->dim, H = config->heavy_heads, E = config->heavy_dim_head;
    *part = (struct heavy_attention){.H = H,
                                     .E = E,
                                     .rotary = config->rotary_emb,
                                     .multiply_keys = config->multiply_keys_by_score,
                                     .multiply_queries = config->multiply_queries_by_score};
    colt5_status status;
    TRY(ADD(&scope, "null_kv", INITIAL_NORMAL, 0, &part->null_kv, 2, H, E));
    TRY(ADD(&scope, "norm.gamma", INITIAL_ONES, 0, &part->gamma, D));
    TRY(ADD(&scope, "to_q.weight", INITIAL_LINEAR, D, &part->to_q, H * E, D));
    TRY(ADD(&scope, "to_kv.weight", INITIAL_LINEAR, D, &part->to_kv, 2 * H * E, D));
    TRY(ADD(&scope, "to_out.weight", INITIAL_LINEAR, H * E, &part->to_out, D, H * E));
out:
    return status;
}

static colt5_status build_attention(struct scope scope, struct attention *part)
{
    const colt5_config *config = &scope.layer->config;
    const size_t D = config->dim;
    part->has_light = config->has_light_attn;
    colt5_status status = COLT5_OK;
    if (part->has_light) TRY(build_local(inside(&scope, "light_attn"), &part->light));
    if (config->use_null_q_tokens)
        TRY(ADD(&scope, "null_q_token", INITIAL_NORMAL, 0, &part->null_q, D));
    TRY(build_router(scope, "q_router", 1, D, &part->q_router));
    TRY(build_router(scope, "kv_router", config->num_routed_kv, D, &part->kv_router));
    TRY(build_heavy(inside(&scope, "heavy_attn"), &part->heavy));
out:
    return status;
}

static colt5_status build_block(struct scope scope, struct transformer_block *part)
{
    colt5_status status;
    TRY(build_attention(inside(&scope, "conditional_attn"), &part->attention));
    TRY(build_feed_forward(inside(&scope, "conditional_ff"), &part->feed_forward));
out:
    return status;
}

static colt5_status build_blocks(struct scope scope)
{
    for (size_t i = 0; i < scope.layer->depth; i++) {
        char module[40];
        snprintf(module, sizeof(module), "layers.%zu", i);
        const colt5_status status = build_block(inside(&scope, module), &scope.layer->blocks[i]);
        if (status != COLT5_OK) return status;
    }
    return COLT5_OK;
}

static colt5_status build_text(struct scope scope, struct text_encoder *part)
{
    const colt5_config *config = &scope.layer->config;
    colt5_status status;
    const struct scope embedding = inside(&scope, "token_emb"), norm = inside(&scope, "norm");
    const struct scope logits = inside(&scope, "to_logits");
    TRY(ADD(&embedding, "weight", INITIAL_NORMAL, 0, &part->token_emb, config->vocab_size,
            config->dim));
    TRY(build_local(inside(&scope, "embed_attn"), &part->embed_attn));
    TRY(build_blocks(scope));
    TRY(ADD(&norm, "gamma", INITIAL_ONES, 0, &part->norm_gamma, config->dim));
    if (config->kind == COLT5_MASKED_LANGUAGE_MODEL)
        TRY(ADD(&logits, "bias", INITIAL_ZEROS, 0, &part->to_logits_bias, config->vocab_size));
out:
    return status;
}

colt5_status layer_build(colt5_layer *layer)
{
    const struct scope scope = {.layer = layer};
    const colt5_layer_kind kind = layer->config.kind;
    const bool stacked = kind == COLT5_ENCODER || takes_ids(layer);
    layer->depth = stacked ? layer->config.depth : 1;
    layer->blocks = host_allocate_zeroed(layer->depth, sizeof(*layer->blocks));
    REQUIRE(layer->ctx, layer->blocks, COLT5_ERROR_MEMORY, "layer: no host memory");
    switch (kind) {
    case COLT5_FEED_FORWARD:
        return build_feed_forward(scope, &layer->blocks[0].feed_forward);
    case COLT5_ATTENTION:
        return build_attention(scope, &layer->blocks[0].attention);
    case COLT5_TRANSFORMER_BLOCK:
        return build_block(scope, &layer->blocks[0]);
    case COLT5_ENCODER:
        return build_blocks(scope);
    case COLT5_TEXT_ENCODER:
    case COLT5_MASKED_LANGUAGE_MODEL:
        return build_text(scope, &layer->text);
    }
    return fail(layer->ctx, COLT5_ERROR_CONFIG, "layer: kind %d is none", (int)kind);
}
