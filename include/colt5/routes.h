/* SPDX-License-Identifier: MIT */
#ifndef COLT5_ROUTES_H
#define COLT5_ROUTES_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Which tokens routers chose, by router: chosen by a forward, written to a file, or made by the
 * caller and injected into a forward. Owns its tensors.
 */
typedef struct colt5_routes colt5_routes;

/** What one router chose. */
typedef struct colt5_route {
    const char *router;  /* its module path, such as "layers.0.conditional_attn.q_router" */
    colt5_tensor index;  /* i32 [B][R][K]; has no buffer in routes filled by a plan */
    colt5_tensor scores; /* f32 [B][R][K] */
    size_t tokens;       /* N they were chosen from; 0 where not known (routes from a file) */
} colt5_route;

/** Empty routes. Errors: COLT5_ERROR_MEMORY. */
COLT5_API
colt5_status colt5_routes_create(colt5_context *ctx, colt5_routes **routes);

/** Gives back routes and their tensors. NULL is allowed. */
COLT5_API
void colt5_routes_destroy(colt5_routes *routes);

/** How many routers there are; a router that did not route (N <= K) has no entry. */
COLT5_API
size_t colt5_routes_count(const colt5_routes *routes);

/** Entry i, in the order the routers ran. Errors: COLT5_ERROR_ARGUMENT. */
COLT5_API
colt5_status colt5_routes_get(const colt5_routes *routes, size_t i, colt5_route *route);

/**
 * Adds an entry, or replaces the one of that router; the values are copied from host memory.
 *
 * router  [in]  module path
 * B, R, K [in]  batch, routes, tokens chosen
 * index   [in]  i32 [B][R][K], each in [0, N) of the forward they are for
 * scores  [in]  f32 [B][R][K]; NULL for all 1
 */
COLT5_API
colt5_status colt5_routes_put(colt5_routes *routes, const char *router, size_t B, size_t R,
                              size_t K, const int32_t *index, const float *scores);

/**
 * Reads a routes file: safetensors with "<router>.indices" I32 and "<router>.scores" F32.
 * Errors: COLT5_ERROR_FILE, COLT5_ERROR_FORMAT (the text names the tensor); routes is as before.
 */
COLT5_API
colt5_status colt5_routes_load(colt5_routes *routes, const char *path);

/** Writes a routes file, whole or not at all. Errors: COLT5_ERROR_FILE. */
COLT5_API
colt5_status colt5_routes_save(const colt5_routes *routes, const char *path);

#ifdef __cplusplus
}
#endif
#endif
