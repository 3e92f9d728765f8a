/* SPDX-License-Identifier: MIT */
/* What a forward keeps for its backward, part by part; the tensors live in the saved object. */
#ifndef COLT5_LAYERS_SAVED_H
#define COLT5_LAYERS_SAVED_H

#include <stdbool.h>

#include <colt5/layer.h>

#include "runtime/stack.h"

/* What a router chose, and what its gradient needs. */
struct routed {
    bool all;      /* N <= K: every token, in place; the rest of the struct is then unused */
    bool repeated; /* a token may stand in several slots; results are averaged */
    bool unit;     /* every score is 1: scores has no content */
    size_t R, K;
    colt5_tensor index;  /* i32 [B][R][K] */
    colt5_tensor scores; /* f32 [B][R][K] */
    bool masked;         /* mask has content */
    colt5_tensor mask;   /* u8 [B][R][K] */

    /* Where the router chose by its scores and they will be differentiated. */
    const char *path;
    bool learns;
    uint64_t seed;
    size_t width;        /* tokens of a block that is routed on its own; N without blocks */
    colt5_tensor s;      /* f32 [B][R][N], raw */
    colt5_tensor rows;   /* i32: index as places in blocks, or the index itself */
    colt5_tensor solved; /* f32 [B][R][K], the router's own scores, before straight-through */
    colt5_tensor state;  /* of the solver, where it has one */
};

struct saved_dense {
    colt5_tensor pre; /* [rows][F], before GELU */
};

struct saved_feed_forward {
    struct routed routed;
    struct saved_dense light, heavy;
    colt5_tensor out; /* [B][K][D], what the heavy branch gave */
};

struct saved_local {
    colt5_tensor qkv;    /* [B][N][3][H][E], rotated */
    colt5_tensor values; /* [B][N][H][E] */
    colt5_tensor lse;    /* f32 [B][H][N] */
};

struct saved_heavy {
    colt5_tensor queries; /* [B][Q][H][E], rotated */
    colt5_tensor kv;      /* [B][R][M][H/R][2E], rotated */
    colt5_tensor values;  /* [B][Q][H][E] */
    colt5_tensor lse;     /* f32 [B][H][Q] */
    colt5_tensor out;     /* [B][K][D], where the query router learns */
};

struct saved_attention {
    struct routed q, kv;
    struct saved_local light;
    struct saved_heavy heavy;
};

struct saved_block {
    colt5_tensor x;        /* [B][N][D], its input */
    colt5_tensor attended; /* [B][N][D], between its two halves */
    struct saved_attention attention;
    struct saved_feed_forward feed_forward;
};

struct saved_text {
    colt5_tensor mask; /* u8 [B][N] */
    colt5_tensor x;    /* [B][N][D], embedded */
    colt5_tensor last; /* [B][N][D], before the last norm */
    struct saved_local embed_attn;
};

struct colt5_saved {
    colt5_context *ctx;
    struct stack stack;
    const colt5_layer *layer; /* whose forward filled it; NULL: nothing sound is in it */
    colt5_forward forward;    /* as it was called; what it points to may be gone */
    colt5_tensor x;
    struct saved_block *blocks; /* depth of them */
    size_t depth;
    struct saved_text text;
};

/* Makes room for a forward of the layer; what was held is forgotten. */
colt5_status saved_start(colt5_saved *saved, const colt5_layer *layer,
                         const colt5_forward *forward);

/* Whether it holds this forward, as far as shapes and options tell. */
bool saved_fits(const colt5_saved *saved, const colt5_layer *layer, const colt5_forward *forward);

#endif
