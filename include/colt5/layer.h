/* SPDX-License-Identifier: MIT */
#ifndef COLT5_LAYER_H
#define COLT5_LAYER_H

#include <colt5/config.h>
#include <colt5/routes.h>
#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A layer of any kind with its weights: from one routed feedforward to a whole language model. Its
 * weights may be read by several contexts over the same OpenCL context at once.
 */
typedef struct colt5_layer colt5_layer;

/**
 * A layer with undefined weights: initialise or load them next.
 *
 * config  [in]  its kind and arguments; copied
 * type    [in]  f32|f16|bf16: weights and activations; accumulation is float32 always
 *
 * Errors: COLT5_ERROR_CONFIG (the text names the key), COLT5_ERROR_TYPE, COLT5_ERROR_MEMORY.
 */
COLT5_API
colt5_status colt5_layer_create(colt5_context *ctx, const colt5_config *config, colt5_type type,
                                colt5_layer **layer);

/** Gives back a layer and its weights. NULL is allowed. */
COLT5_API
void colt5_layer_destroy(colt5_layer *layer);

/**
 * A layer from a model folder: config.json and model.safetensors (or model.safetensors.index.json
 * and its shards). Weights are converted to type.
 *
 * Errors: COLT5_ERROR_FILE, COLT5_ERROR_FORMAT (an unknown, missing or misshapen tensor is named),
 * COLT5_ERROR_CONFIG, COLT5_ERROR_MEMORY.
 */
COLT5_API
colt5_status colt5_layer_load(colt5_context *ctx, const char *folder, colt5_type type,
                              colt5_layer **layer);

/** Reads weights into a layer, from a model folder or a safetensors file. On error they are
 * undefined. */
COLT5_API
colt5_status colt5_layer_load_weights(colt5_layer *layer, const char *path);

/**
 * Writes config.json and model.safetensors, in the layer's type, into a folder that is made when
 * missing; each file whole or not at all. Errors: COLT5_ERROR_FILE.
 */
COLT5_API
colt5_status colt5_layer_save(colt5_layer *layer, const char *folder);

/** Sets all weights to their initial values (SPEC section 1), from Philox stream 3 of the seed. */
COLT5_API
colt5_status colt5_layer_initialise(colt5_layer *layer, uint64_t seed);

/** The layer's arguments and type; valid while it lives. */
COLT5_API
const colt5_config *colt5_layer_config(const colt5_layer *layer);
COLT5_API
colt5_type colt5_layer_type(const colt5_layer *layer);

/** One weight. */
typedef struct colt5_parameter {
    const char *name; /* as in PyTorch's state_dict, such as "conditional_ff.light_ff.1.weight" */
    colt5_tensor tensor; /* in the layer's type; writable by the caller */
} colt5_parameter;

/** How many parameters there are. */
COLT5_API
size_t colt5_layer_parameter_count(const colt5_layer *layer);

/** Parameter i, in a fixed order. Errors: COLT5_ERROR_ARGUMENT. */
COLT5_API
colt5_status colt5_layer_parameter(const colt5_layer *layer, size_t i, colt5_parameter *parameter);

/** Overrides of the numbers of heavy tokens, for one call; 0 keeps the layer's own. */
typedef struct colt5_token_counts {
    size_t ff, q, kv;
} colt5_token_counts;

/**
 * What a forward keeps for its backward: activations, routes, the routers' state. The caller owns
 * it and each forward replaces what it held; its memory is kept for the next.
 */
typedef struct colt5_saved colt5_saved;

/** An empty one. Errors: COLT5_ERROR_MEMORY. */
COLT5_API
colt5_status colt5_saved_create(colt5_context *ctx, colt5_saved **saved);

/** Gives it and its memory back. NULL is allowed. */
COLT5_API
void colt5_saved_destroy(colt5_saved *saved);

/** Bytes of device memory that the last forward, or its plan, came to. */
COLT5_API
uint64_t colt5_saved_bytes(const colt5_saved *saved);

/** What a router that will get a gradient chose. */
typedef struct colt5_saved_route {
    const char *router;  /* its module path, valid while the layer lives */
    colt5_tensor scores; /* f32 [B][R][K]: its own score of each token, also where it goes on as 1;
                            valid until the next forward */
} colt5_saved_route;

/** How many of them there are. */
COLT5_API
size_t colt5_saved_route_count(const colt5_saved *saved);

/** Number i. Errors: COLT5_ERROR_ARGUMENT. */
COLT5_API
colt5_status colt5_saved_get_route(const colt5_saved *saved, size_t i, colt5_saved_route *route);

/** One forward. Start from {.struct_size = sizeof(colt5_forward)}. */
typedef struct colt5_forward {
    size_t struct_size;
    const colt5_tensor *x;    /* [in] the layer's type [B][N][D]; text models: ids i32|i64 [B][N] */
    const colt5_tensor *mask; /* [in] u8 [B][N], nonzero = real token; NULL: all are */
    /* [out] the layer's type [B][N][D]; language models: logits, the layer's type or f32,
     * [B][N][V], with positions [M][V], V the vocab_size. Must not overlap x. */
    const colt5_tensor *y;
    uint64_t seed; /* of noise and random routes */
    colt5_token_counts num_heavy_tokens;
    const colt5_routes *routes; /* [in] routers named here do not choose; NULL: all choose */
    colt5_routes *chosen;       /* [out] what the routers used; NULL: not kept */
    /* [in] language models: i32 [M], the rows b·N + n whose logits are wanted; outside [0, B·N):
     * the logits of a row of zeros. NULL: all, which for other kinds it must be. */
    const colt5_tensor *positions;
    colt5_saved *saved; /* [out] for colt5_layer_backward; NULL: nothing is kept */
    int recompute;      /* 1: of each block only its input is saved, the rest computed once more */
} colt5_forward;

/**
 * y = layer(x). Enqueues and returns; colt5_context_finish waits. With forward->saved the memory of
 * the backward is planned too: what would not fit is refused here.
 *
 * In text models padding (id 256) is masked whatever the mask says. What stands in masked rows of
 * y is unspecified.
 *
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT, COLT5_ERROR_MEMORY (the
 * scratch needed and the device's memory, before any kernel has run): y untouched.
 * COLT5_ERROR_OPENCL, COLT5_ERROR_LOST, COLT5_CANCELLED: y undefined.
 */
COLT5_API
colt5_status colt5_layer_forward(colt5_context *ctx, const colt5_layer *layer,
                                 const colt5_forward *forward);

/** What a forward will take. */
typedef struct colt5_plan {
    uint64_t scratch;  /* bytes of device memory besides weights, inputs and outputs */
    uint64_t saved;    /* bytes that stay in forward->saved */
    uint64_t launches; /* kernels */
    uint64_t flop;     /* floating-point operations of products and attentions */
} colt5_plan;

/**
 * Plans a forward without running it (it empties forward->saved); x, mask and y may have no buffer.
 * forward->chosen, where given, gets entries without buffers: how many tokens each router would
 * choose.
 */
COLT5_API
colt5_status colt5_layer_plan(colt5_context *ctx, const colt5_layer *layer,
                              const colt5_forward *forward, colt5_plan *plan);

/** Gradients of a layer's parameters: a float32 tensor for each. */
typedef struct colt5_gradients colt5_gradients;

/** All zero. The layer must outlive them. Errors: COLT5_ERROR_MEMORY. */
COLT5_API
colt5_status colt5_gradients_create(colt5_context *ctx, const colt5_layer *layer,
                                    colt5_gradients **gradients);

/** Gives them back. NULL is allowed. */
COLT5_API
void colt5_gradients_destroy(colt5_gradients *gradients);

/** Sets all to 0. */
COLT5_API
colt5_status colt5_gradients_clear(colt5_gradients *gradients);

/** The gradient, f32, of the layer's parameter i. Errors: COLT5_ERROR_ARGUMENT. */
COLT5_API
colt5_status colt5_gradients_get(const colt5_gradients *gradients, size_t i,
                                 colt5_parameter *gradient);

/** Writes them, by the parameters' names, to a safetensors file. Errors: COLT5_ERROR_FILE. */
COLT5_API
colt5_status colt5_gradients_save(const colt5_gradients *gradients, const char *path);

/** One backward. Start from {.struct_size = sizeof(colt5_backward)}. */
typedef struct colt5_backward {
    size_t struct_size;
    /* [in] as y of the forward; masked rows of [B][N][..] are taken for zeros */
    const colt5_tensor *dy;
    const colt5_tensor *dx; /* [out] as x; must not overlap dy; NULL: not wanted (text models) */
    colt5_gradients *gradients; /* [in,out] added to; NULL: not wanted */
} colt5_backward;

/**
 * The gradients of colt5_layer_forward: those of the parameters are added to, that of the input is
 * written. Every sum has a fixed order: repeated to the bit.
 *
 * forward   [in]  that of the call that filled forward->saved; x, mask and routes have not changed
 *                 since
 * backward  [in]
 *
 * Masked rows of dx are 0. Injected routes are constants. What straight-through makes 1 has the
 * gradient of the router's own score. The backward may be repeated.
 *
 * Errors: as colt5_layer_forward, dx and gradients in place of y; COLT5_ERROR_ARGUMENT also where
 * forward->saved does not hold a forward of this layer and shape. Source: SPEC sections 2 to 4.
 */
COLT5_API
colt5_status colt5_layer_backward(colt5_context *ctx, const colt5_layer *layer,
                                  const colt5_forward *forward, const colt5_backward *backward);

/**
 * Plans a backward without running it; its tensors and those of the forward may have no buffer.
 * Before it comes colt5_layer_plan or colt5_layer_forward with the same forward.
 */
COLT5_API
colt5_status colt5_layer_plan_backward(colt5_context *ctx, const colt5_layer *layer,
                                       const colt5_forward *forward, const colt5_backward *backward,
                                       colt5_plan *plan);

#ifdef __cplusplus
}
#endif
#endif
