/* SPDX-License-Identifier: MIT */
#include "routing.h"

#include <stdlib.h>
#include <string.h>

const char *const role_names[ROLES] = {"query", "key-value", "feedforward"};

/* The end of a router's path in a layer. */
static const char *const role_paths[ROLES] = {
    ".conditional_attn.q_router", ".conditional_attn.kv_router", ".conditional_ff.router"};

const struct branch *branch_of(const struct routing *routing, size_t layer, enum router_role role)
{
    return &routing->branches[layer * ROLES + role];
}

/* "layers.3.conditional_ff.router": layer 3, ROLE_FEED_FORWARD. */
static struct branch *find_branch(const struct routing *routing, const char *path)
{
    unsigned long layer;
    int used = 0;
    if (sscanf(path, "layers.%lu%n", &layer, &used) != 1 || layer >= routing->layers) return NULL;
    for (int role = 0; role < ROLES; role++)
        if (!strcmp(path + used, role_paths[role]))
            return &routing->branches[layer * ROLES + (size_t)role];
    return NULL;
}

static int mark(colt5_context *ctx, const colt5_route *route, size_t tokens, struct branch *branch)
{
    const size_t count = colt5_tensor_count(&route->index);
    int32_t *index = malloc(count * sizeof(*index) + 1);
    if (!index) return complain_memory();
    const colt5_status status = colt5_tensor_read(ctx, &route->index, index);
    branch->routed = true;
    branch->routes = route->index.dims[1];
    branch->chosen = route->index.dims[2];
    branch->distinct = 0;
    memset(branch->heavy, 0, tokens);
    for (size_t i = 0; status == COLT5_OK && i < count; i++)
        if (index[i] >= 0 && (size_t)index[i] < tokens && !branch->heavy[index[i]]) {
            branch->heavy[index[i]] = 1;
            branch->distinct++;
        }
    free(index);
    return status == COLT5_OK ? EXIT_FINE : complain_status(ctx, status);
}

/* Every branch as if nothing were routed. */
static int make_branches(struct routing *routing)
{
    routing->branches = calloc(routing->layers * ROLES + 1, sizeof(*routing->branches));
    if (!routing->branches) return complain_memory();
    for (size_t i = 0; i < routing->layers * ROLES; i++) {
        struct branch *branch = &routing->branches[i];
        branch->routes = 1;
        branch->chosen = branch->distinct = routing->tokens;
        branch->heavy = malloc(routing->tokens + 1);
        if (!branch->heavy) return complain_memory();
        memset(branch->heavy, 1, routing->tokens);
    }
    return EXIT_FINE;
}

int collect_routing(colt5_context *ctx, const colt5_routes *chosen, struct routing *routing)
{
    int code = make_branches(routing);
    for (size_t i = 0; i < colt5_routes_count(chosen) && code == EXIT_FINE; i++) {
        colt5_route route;
        if (colt5_routes_get(chosen, i, &route) != COLT5_OK) return EXIT_INTERNAL;
        struct branch *branch = find_branch(routing, route.router);
        if (branch) code = mark(ctx, &route, routing->tokens, branch);
    }
    return code;
}

void release_routing(struct routing *routing)
{
    for (size_t i = 0; routing->branches && i < routing->layers * ROLES; i++)
        free(routing->branches[i].heavy);
    free(routing->branches);
    routing->branches = NULL;
}
