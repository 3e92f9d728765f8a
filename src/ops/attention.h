/* SPDX-License-Identifier: MIT */
/*
 * What local and flash attention share: one description of the work, and one choice of who does it.
 * The public ops check their tensors and describe; the kernels are kernels/attention*.cl.
 */
#ifndef COLT5_OPS_ATTENTION_H
#define COLT5_OPS_ATTENTION_H

#include "runtime/launch.h"

#define ATTENTION_WIDEST  256               /* E at most */
#define ATTENTION_LONGEST ((size_t)1 << 30) /* tokens are fewer: kernels add ints */

struct attention_problem {
    bool local; /* q and kv are one tensor [B][P][3][H][E], and keys are near; see attention.cl */
    const colt5_tensor *q, *kv, *null_kv, *mask, *q_scores, *kv_scores; /* NULL: absent */
    int multiply_keys;
    size_t B, Q, M, H, E, R; /* M: rows of kv; R: routes, 1 where local */
    size_t N;                /* tokens of the whole sequence; M where not local */
    size_t first_key, first_query, window;
    int causal;
    size_t pairs; /* of a query and a key it may see, masks left aside, in one head of a sample */
};

/* Which kernels do it. */
enum attention_kernels {
    ATTENTION_VECTORS, /* attention_vectors*.cl: a work-item is a core */
    ATTENTION_TILES    /* attention_tiles*.cl: a work-group is a tile */
};

/* The one place that chooses. */
enum attention_kernels attention_kernels_for(const colt5_context *ctx);

/* Tiles of so many queries, cut by token number, that hold the tokens of y. */
size_t attention_query_tiles(const struct attention_problem *a, size_t rows);

/* 4 where every row of q, kv, null_kv and the n others can be read in fours, else 1. */
size_t attention_width(const struct attention_problem *a, const colt5_tensor *const *others,
                       size_t n);

/* Arguments of all kernels of attention*.cl. */
#define ATTENTION_SIZES(a)                                                                         \
    SIZE((a)->Q), SIZE((a)->M), SIZE((a)->H), SIZE((a)->E), SIZE((a)->R), SIZE((a)->N),            \
        SIZE((a)->first_key), SIZE((a)->first_query), SIZE((a)->window), INT((a)->causal)

#define ATTENTION_LANE_ROWS 32 /* ROWS of attention_lanes.cl */
#define ATTENTION_LANE_DEFINES(ctx, a)                                                             \
    DEFINES(STORAGE((a)->q->type), DEFINE("LOCAL", (a)->local),                                    \
            DEFINE("ABREAST", tuned(ctx, TUNED_LANES_ABREAST)),                                    \
            DEFINE("ROW_COUNT", tuned(ctx, TUNED_LANES_ROWS)))

/* What shapes a tile, by the names of attention_blocks.cl. */
struct attention_tile {
    size_t head, ty, ry, rx;
};

#define ATTENTION_TX       8 /* TX of attention_blocks.cl */
#define ATTENTION_LEAST_TY 4
#define ATTENTION_TILE_DEFINES(a, tile, width)                                                     \
    DEFINES(STORAGE((a)->q->type), DEFINE("LOCAL", (a)->local), DEFINE("HEAD", (tile).head),       \
            DEFINE("TY", (tile).ty), DEFINE("RY", (tile).ry), DEFINE("RX", (tile).rx),             \
            DEFINE("WIDTH", width))

/* Takes tile->ty down, to ATTENTION_LEAST_TY, until local memory (bytes of a tile) and the
 * work-groups of the kernel allow it: not known while the context plans. */
colt5_status attention_fit_tile(colt5_context *ctx, enum kernel kernel,
                                const struct attention_problem *a, size_t width,
                                size_t (*bytes)(struct attention_tile),
                                struct attention_tile *tile);

/* The forward: y [B][Q][H][E], lse [B][H][Q] or NULL. Everything was checked. */
colt5_status attend_forward(colt5_context *ctx, const struct attention_problem *attention,
                            const colt5_tensor *y, const colt5_tensor *lse);

/* The same by attention_tiles.cl. */
colt5_status attention_forward_tiles(colt5_context *ctx, const struct attention_problem *a,
                                     const colt5_tensor *y, const colt5_tensor *lse);

/* What the backward reads besides, and where it writes; NULL: not wanted. */
struct attention_backward {
    const char *op;
    const struct attention_problem *problem;
    const colt5_tensor *y, *lse, *dy;
    const colt5_tensor *dq, *dkv; /* rows lie as those of q and kv */
    const colt5_tensor *dnull_kv; /* added to */
    const colt5_tensor *dq_scores, *dkv_scores;
};

/* A way to run the forward, and one to run the backward. */
typedef colt5_status (*attention_way)(colt5_context *ctx, const struct attention_problem *a,
                                      const colt5_tensor *y, const colt5_tensor *lse);
typedef colt5_status (*attention_way_back)(colt5_context *ctx,
                                           const struct attention_backward *call);

/* The backward; takes scratch. Everything was checked. */
colt5_status attend_backward(colt5_context *ctx, struct attention_backward *backward);

#endif
