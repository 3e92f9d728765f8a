/* SPDX-License-Identifier: MIT */
#ifndef COLT5_LAYERS_ROUTES_H
#define COLT5_LAYERS_ROUTES_H

#include <stdbool.h>

#include <colt5/routes.h>

struct route_entry {
    char *router;
    colt5_tensor index, scores; /* i32 and f32 [B][R][K]; no buffer where only planned */
    size_t tokens;              /* N, or 0 where not known */
    size_t largest;             /* index of entries that came from host memory, else 0 */
    bool repeated;              /* an index stands twice in a row; of those entries, too */
};

/* The entry of a router, or NULL. */
const struct route_entry *routes_find(const colt5_routes *routes, const char *router);

/* Keeps a copy of what a router chose from N tokens; while planning, its shape alone. */
colt5_status routes_record(colt5_routes *routes, const char *router, const colt5_tensor *index,
                           const colt5_tensor *scores, size_t N);

/* The context the routes' tensors belong to. */
colt5_context *routes_context(const colt5_routes *routes);

/* Moves every entry of from to routes, where it replaces one of the same router. */
colt5_status routes_merge(colt5_routes *routes, colt5_routes *from);

/* Removes every entry. */
void routes_clear(colt5_routes *routes);

#endif
