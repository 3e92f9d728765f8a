/* SPDX-License-Identifier: MIT */
/*
 * One way through a layer's parts, forward or back, and how long sequences are cut for it.
 *
 * Each part has its forward and, beside it, its backward. A forward leaves in the part's record
 * what the backward will read: in kept memory where the pass is saving, else in scratch, where it
 * is gone when the part is done. A backward makes dx = base + its gradient: base is dx itself where
 * there is something in it already, NULL where there is nothing to add to. dx may be dy, by the
 * same pointer.
 */
#ifndef COLT5_LAYERS_PASS_H
#define COLT5_LAYERS_PASS_H

#include "layers/gradients.h"
#include "layers/layer.h"
#include "layers/saved.h"
#include "runtime/profile.h"
#include "runtime/status.h"
#include "runtime/workspace.h"

struct pass {
    colt5_context *ctx;
    const colt5_layer *layer;
    const colt5_forward *forward;
    const colt5_tensor *mask; /* u8 [B][N], or NULL */
    size_t chunk;             /* tokens that local attention takes at a time */
    uint64_t next_seed;       /* of the next router, counted through the layer */

    /* Of training, else all zero. */
    colt5_saved *saved;         /* what is kept from forward to backward */
    bool saving;                /* parts keep their records */
    bool again;                 /* a forward within the backward: routes are in the records */
    colt5_gradients *gradients; /* of a backward; or NULL */
};

/* Tokens n .. n+tokens-1 of samples b .. b+samples-1; either whole samples or part of one. */
struct chunk {
    size_t b, samples, n, tokens;
};

/*
 * The next piece of [B][N] of about limit tokens; start with {0}. False when there is none:
 *
 *     for (struct chunk c = {0}; next_chunk(B, N, limit, &c);) …
 */
bool next_chunk(size_t B, size_t N, size_t limit, struct chunk *chunk);

/*
 * Rows to work on at a time that take `width` elements of scratch each. On a GPU as many as come to
 * what a chunk of local attention takes, about 4·D elements a token; on a CPU a chunk's.
 */
size_t chunk_rows(const struct pass *pass, size_t width);

/* The chunk's part of a tensor [B][N][..]; NULL for NULL. */
colt5_tensor chunk_of(const colt5_tensor *tensor, struct chunk chunk);

/* The same elements with other dims. */
colt5_tensor reshaped(const colt5_tensor *tensor, int rank, const size_t *dims);
#define RESHAPED(tensor, ...)                                                                      \
    reshaped(tensor, (int)(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)),                      \
             (size_t[]){__VA_ARGS__})

/* As rows of so many columns: [count / columns][columns]. */
colt5_tensor rows_of(const colt5_tensor *tensor, size_t columns);

/* count entries of dim 0 from first on. */
colt5_tensor slice(const colt5_tensor *tensor, size_t first, size_t count);

/* Scratch of the layer's type or another. */
#define SCRATCH(pass, type, tensor, ...)                                                           \
    scratch((pass)->ctx, type, (int)(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)),            \
            (size_t[]){__VA_ARGS__}, tensor)

/* Memory that a part's record keeps. */
#define KEPT(pass, type, tensor, ...)                                                              \
    ((pass)->saving ? keep : scratch)((pass)->ctx, type,                                           \
                                      (int)(sizeof((size_t[]){__VA_ARGS__}) / sizeof(size_t)),     \
                                      (size_t[]){__VA_ARGS__}, tensor)

/* The gradient of a parameter, or NULL. */
#define GRADIENT(pass, parameter) gradient_of((pass)->gradients, parameter)

/* Rows [..][D] that a feedforward normalises. Where inverses f32 [rows], 1 / ‖x‖ of each, are known
 * that takes no pass over them; or they are normed already. */
struct dense_input {
    const colt5_tensor *x, *inverses;
    bool normed;
};

/* y = residual + FeedForward(x), all [..][D]; residual may be NULL or y. (dense.c) */
colt5_status dense_forward(struct pass *pass, const struct dense_feed_forward *dense,
                           const struct dense_input *input, const colt5_tensor *residual,
                           const colt5_tensor *y, struct saved_dense *saved);
colt5_status dense_backward(struct pass *pass, const struct dense_feed_forward *dense,
                            const colt5_tensor *x, const struct saved_dense *saved,
                            const colt5_tensor *dy, const colt5_tensor *base,
                            const colt5_tensor *dx);

/* y = residual + attention in a window around each token of x [B][N][D], and row [D] in each row;
 * residual and row may be NULL. (local.c) */
colt5_status local_forward(struct pass *pass, const struct local_attention *local,
                           const colt5_tensor *x, const colt5_tensor *row,
                           const colt5_tensor *residual, const colt5_tensor *y,
                           struct saved_local *saved);
colt5_status local_backward(struct pass *pass, const struct local_attention *local,
                            const colt5_tensor *x, const struct saved_local *saved,
                            const colt5_tensor *dy, const colt5_tensor *base,
                            const colt5_tensor *dx);

/* y = residual + layer(x), x and y [B][N][D]; residual may be NULL. Of feed_forward_forward y may
 * be x, by the same pointer, where the pass is not training. */
colt5_status feed_forward_forward(struct pass *pass, const struct feed_forward *layer,
                                  const colt5_tensor *x, const colt5_tensor *residual,
                                  const colt5_tensor *y, struct saved_feed_forward *saved);
colt5_status feed_forward_backward(struct pass *pass, const struct feed_forward *layer,
                                   const colt5_tensor *x, const struct saved_feed_forward *saved,
                                   const colt5_tensor *dy, const colt5_tensor *base,
                                   const colt5_tensor *dx);
colt5_status attention_layer_forward(struct pass *pass, const struct attention *layer,
                                     const colt5_tensor *x, const colt5_tensor *residual,
                                     const colt5_tensor *y, struct saved_attention *saved);
colt5_status attention_layer_backward(struct pass *pass, const struct attention *layer,
                                      const colt5_tensor *x, const struct saved_attention *saved,
                                      const colt5_tensor *dy, const colt5_tensor *base,
                                      const colt5_tensor *dx);

/* y = the layer's blocks, one after the other, of x; y may be x where the pass is not training. */
colt5_status blocks_forward(struct pass *pass, const colt5_tensor *x, const colt5_tensor *y);
/* d = the gradient of x, from dy of y; d may be dy. */
colt5_status blocks_backward(struct pass *pass, const colt5_tensor *dy, const colt5_tensor *d);

/* y = encoder(ids), ids [B][N]. */
colt5_status text_forward(struct pass *pass, const colt5_tensor *ids, const colt5_tensor *y);
/* d: the gradient of y; it is used up. */
colt5_status text_backward(struct pass *pass, const colt5_tensor *ids, const colt5_tensor *d);

/* Gradients of a linear map's parameters (added to; NULL: not wanted), and that of x in x's place.
 */
colt5_status linear_backward_in_place(struct pass *pass, const colt5_tensor *x,
                                      const colt5_tensor *weight, const colt5_tensor *dy,
                                      const colt5_tensor *dweight, const colt5_tensor *dbias);

/* dx = base (NULL: zeros), where no part does so itself. */
colt5_status begin_gradient(struct pass *pass, const colt5_tensor *base, const colt5_tensor *dx);

/* y = x with zeros in masked rows. */
colt5_status unmasked_rows(struct pass *pass, const colt5_tensor *x, const colt5_tensor *y);

/* y = logits of all tokens [B][N][V], or of those at forward->positions [M][V]. */
colt5_status masked_language_model_forward(struct pass *pass, const colt5_tensor *ids,
                                           const colt5_tensor *y);
colt5_status masked_language_model_backward(struct pass *pass, const colt5_tensor *ids,
                                            const colt5_tensor *dy);

/* What forward and backward begin with. (call.c) */
colt5_status check_forward(colt5_context *ctx, const colt5_layer *layer,
                           const colt5_forward *forward);
struct pass pass_start(colt5_context *ctx, const colt5_layer *layer, const colt5_forward *forward);

/* Plans the backward of a planned forward: the scratch it will take. (backward.c) */
colt5_status backward_scratch(colt5_context *ctx, const struct pass *pass, size_t *bytes);

#define CHUNK_SMALLEST 64 /* tokens of a chunk, where memory is short */

#endif
