/* SPDX-License-Identifier: MIT */
/* Which tokens of a text went to the heavy branches, layer by layer: what `colt5 routes` shows. */
#ifndef CLI_ROUTING_H
#define CLI_ROUTING_H

#include "cli.h"

/* The routers of a layer, in the order they are shown. */
enum router_role { ROLE_QUERY, ROLE_KEY_VALUE, ROLE_FEED_FORWARD, ROLES };

/* One router of one layer. */
struct branch {
    bool routed;     /* false: N <= K, every token went to the heavy branch */
    size_t routes;   /* R */
    size_t chosen;   /* K, tokens of each route */
    size_t distinct; /* tokens that at least one route took */
    uint8_t *heavy;  /* [tokens]: 1 where one did */
};

struct routing {
    const char *title;         /* the text's name */
    const unsigned char *text; /* [tokens]: a token is a byte */
    size_t tokens, layers;
    struct branch *branches; /* [layers][ROLES] */
};

/* "query" and so on. */
extern const char *const role_names[ROLES];

/* Sorts out what the routers chose. The exit code, after a message where it is not 0. */
int collect_routing(colt5_context *ctx, const colt5_routes *chosen, struct routing *routing);
void release_routing(struct routing *routing);

const struct branch *branch_of(const struct routing *routing, size_t layer, enum router_role role);

/* A byte and what share of it, in percent, went to a heavy branch (routing_bytes.c). */
struct picked {
    int byte;
    double share;
};
#define PICKED_SHOWN 6 /* of those picked most, and of those picked least */

/* The bytes that are not rare in the text, those picked most first; how many there are. */
size_t list_picked(const struct routing *routing, const struct branch *branch,
                   struct picked list[256]);
/* "space", "e", "\xE2"; one static text a call, eight in turn. */
const char *byte_name(int byte);

/* A page that needs no other file and no network (routing_html.c). */
int write_routing_html(const struct routing *routing, const char *path);
/* Layers by positions (routing_png.c). */
int write_routing_png(const struct routing *routing, const char *path);

#endif
