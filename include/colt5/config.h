/* SPDX-License-Identifier: MIT */
#ifndef COLT5_CONFIG_H
#define COLT5_CONFIG_H

#include <stddef.h>

#include <colt5/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/** The kinds of layer: X(constant, "type" in config.json). */
#define COLT5_LAYER_KIND_LIST(X)                                                                   \
    X(FEED_FORWARD, "feed_forward")                                                                \
    X(ATTENTION, "attention")                                                                      \
    X(TRANSFORMER_BLOCK, "transformer_block")                                                      \
    X(ENCODER, "encoder")                                                                          \
    X(TEXT_ENCODER, "text_encoder")                                                                \
    X(MASKED_LANGUAGE_MODEL, "masked_language_model")

typedef enum colt5_layer_kind {
#define COLT5_LAYER_KIND_ENUM(constant, text) COLT5_##constant,
    COLT5_LAYER_KIND_LIST(COLT5_LAYER_KIND_ENUM)
#undef COLT5_LAYER_KIND_ENUM
} colt5_layer_kind;

/** "feed_forward" and so on; "?" for a value that is no kind. */
COLT5_API
const char *colt5_layer_kind_name(colt5_layer_kind kind);

/** How routers choose their tokens: X(constant, "router_type" in config.json). */
#define COLT5_ROUTER_LIST(X)                                                                       \
    X(COOR_DESCENT, "coor_descent")                                                                \
    X(SINKHORN, "sinkhorn")                                                                        \
    X(CUM_SOFTMAX, "cum_softmax")

typedef enum colt5_router_type {
#define COLT5_ROUTER_ENUM(constant, text) COLT5_ROUTER_##constant,
    COLT5_ROUTER_LIST(COLT5_ROUTER_ENUM)
#undef COLT5_ROUTER_ENUM
} colt5_router_type;

/** The options of a router; in brackets the default. SPEC section 2. */
typedef struct colt5_router_config {
    colt5_router_type type; /* [coor_descent] */
    int straight_through;   /* [1] selected scores are 1, their gradient is the real score's */
    int random_route;       /* [0] seeded random selection instead (a negative control) */

    /* coor_descent */
    double fetch_k_ratio;    /* >= 1 [9/8]; the solver looks for K times this many tokens */
    double eps;              /* > 0 [0.03] final temperature */
    double eps_init;         /* > 0 [4] first temperature */
    double eps_decay;        /* in (0, 1] [0.7] its factor per iteration */
    int cosine_sim_routing;  /* [0] scores are scaled cosines */
    double cosine_sim_scale; /* [8] */
    size_t route_block_size; /* tokens of a block routed on its own; 0 [0] is the whole sequence */

    /* coor_descent and sinkhorn */
    int n_iters; /* 1 to 10000 [20 for coor_descent, 8 for sinkhorn]; 0 means that default */

    /* sinkhorn and cum_softmax */
    double temperature; /* > 0 [0.7 for sinkhorn, 1 for cum_softmax]; 0 means that default */

    /* sinkhorn */
    int log_scores; /* [0] log(max(s, 1e-20)) in place of s */
} colt5_router_config;

/**
 * A layer's constructor arguments: those of SPEC section 4 that its kind takes; the others are not
 * looked at. Get it from colt5_config_default, then set dim and the numbers of heavy tokens.
 */
typedef struct colt5_config {
    size_t struct_size; /* sizeof(colt5_config), set by colt5_config_default */
    colt5_layer_kind kind;
    size_t dim; /* D, model width, 1 to 2^20; no default */

    /* Tokens a heavy branch receives, at least 1; no default. */
    size_t num_heavy_tokens_ff; /* feed_forward (there "num_heavy_tokens") and all above it */
    size_t num_heavy_tokens_q;  /* attention and all above it: queries */
    size_t num_heavy_tokens_kv; /* attention and all above it: key-values of each route */

    /* feed_forward and all above it */
    double light_ff_mult; /* > 0 [0.5] hidden width over dim */
    double heavy_ff_mult; /* > 0 [4] */

    /* attention and all above it */
    size_t num_routed_kv;     /* R, routes [1]; divides heavy_heads */
    int has_light_attn;       /* [1] */
    size_t light_dim_head;    /* E of the light branch, 1 to 256 [64] */
    size_t light_heads;       /* H of the light branch, 1 to 4096 [8] */
    size_t light_window_size; /* at least 2 [128]; a query sees half of it on each side */
    int light_rotary_emb;     /* [0; 1 for text models]; light_dim_head must be even */
    size_t heavy_dim_head;    /* E of the heavy branch, 1 to 256 [64] */
    size_t heavy_heads;       /* H of the heavy branch, 1 to 4096 [8] */
    int rotary_emb;           /* [0; 1 for text models] heavy branch; heavy_dim_head must be even */
    int multiply_keys_by_score;    /* [0] */
    int multiply_queries_by_score; /* [0] */
    int use_null_q_tokens;         /* [1] unrouted rows get a learned row; 0: nothing */

    /* encoder and text models */
    size_t depth; /* blocks, 1 to 4096; no default */

    /* text models: text_encoder, masked_language_model */
    size_t vocab_size; /* [258] bytes 0-255, 256 padding, 257 the mask symbol */

    colt5_router_config router; /* of every router of the layer */
} colt5_config;

/** The defaults of a kind; what has none is 0. */
COLT5_API
colt5_config colt5_config_default(colt5_layer_kind kind);

/**
 * Checks every field that the kind takes. Errors: COLT5_ERROR_CONFIG; the text, from
 * colt5_message(NULL), names the key and its range.
 */
COLT5_API
colt5_status colt5_config_check(const colt5_config *config);

/**
 * Reads config.json, given its path or its folder's.
 *
 * Errors: COLT5_ERROR_FILE, COLT5_ERROR_FORMAT (not JSON), COLT5_ERROR_CONFIG (an unknown key, a
 * wrong type, a missing key, an impossible value: the text names it); *config is then undefined.
 */
COLT5_API
colt5_status colt5_config_read(const char *path, colt5_config *config);

/** Writes config.json into a folder, whole or not at all. Errors: COLT5_ERROR_FILE. */
COLT5_API
colt5_status colt5_config_write(const char *folder, const colt5_config *config);

/**
 * The config as JSON text, the caller's to free with colt5_text_free.
 * Errors: COLT5_ERROR_MEMORY.
 */
COLT5_API
colt5_status colt5_config_text(const colt5_config *config, char **text);

/** Gives back a text of the library's. NULL is allowed. */
COLT5_API
void colt5_text_free(char *text);

#ifdef __cplusplus
}
#endif
#endif
