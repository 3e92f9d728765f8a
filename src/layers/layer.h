/* SPDX-License-Identifier: MIT */
/* A layer's weights and parts, as the layer room sees them. */
#ifndef COLT5_LAYERS_LAYER_H
#define COLT5_LAYERS_LAYER_H

#include <stdbool.h>

#include <colt5/layer.h>

#include "layers/parameter.h"

/* RMSNorm -> Linear(D, F) -> GELU -> Linear(F, D). */
struct dense_feed_forward {
    size_t F;
    const struct parameter *gamma, *in_weight, *in_bias, *out_weight, *out_bias;
};

/* Routing tokens [R][D] and the path a router goes by in routes. */
struct router {
    char path[PARAMETER_NAME];
    const struct parameter *tokens;
};

struct feed_forward {
    struct router router;
    struct dense_feed_forward light, heavy;
};

/* LayerNorm -> to_qkv -> local attention -> to_out. */
struct local_attention {
    size_t H, E, window;
    bool rotary;
    const struct parameter *norm_weight, *norm_bias, *to_qkv, *to_out;
};

/* RMSNorm -> to_q, to_kv -> attention among routed tokens -> to_out. */
struct heavy_attention {
    size_t H, E;
    bool rotary, multiply_keys, multiply_queries;
    const struct parameter *gamma, *to_q, *to_kv, *to_out, *null_kv;
};

struct attention {
    bool has_light;
    struct local_attention light;
    const struct parameter *null_q; /* NULL: none */
    struct router q_router, kv_router;
    struct heavy_attention heavy;
};

struct transformer_block {
    struct attention attention;
    struct feed_forward feed_forward;
};

struct text_encoder {
    const struct parameter *token_emb, *norm_gamma;
    const struct parameter *to_logits_bias; /* of language models; NULL: none */
    struct local_attention embed_attn;
};

struct colt5_layer {
    colt5_context *ctx; /* that made it: holds its buffers */
    colt5_config config;
    colt5_type type;
    struct parameters parameters;

    struct transformer_block
        *blocks; /* depth of them; feed_forward and attention use parts of one */
    size_t depth;
    struct text_encoder text;
};

/* Whether x is ids (of text models) rather than values. */
static inline bool takes_ids(const colt5_layer *layer)
{
    return layer->config.kind == COLT5_TEXT_ENCODER ||
           layer->config.kind == COLT5_MASKED_LANGUAGE_MODEL;
}

/* Makes the parts of the layer's kind and lists their parameters (build.c). */
colt5_status layer_build(colt5_layer *layer);

#endif
