/* SPDX-License-Identifier: MIT */
/* A small layer's forward and backward with all their tensors, for tests of what holds whatever
 * the numbers. */
#ifndef TESTS_SUPPORT_ROUND_H
#define TESTS_SUPPORT_ROUND_H

#include <colt5/layer.h>

#include "support/testing.h"

#define ROUND_KINDS    6 /* of layers, from COLT5_FEED_FORWARD on */
#define ROUND_VARIANTS 8

/*
 * A config of a kind whose routers have gradients. Bits of variant: 1 both rotaries, and real
 * scores in place of straight-through; 2 two routes; 4 Sinkhorn.
 */
colt5_config round_config(colt5_layer_kind kind, int variant);

struct round {
    colt5_layer *layer;
    size_t rows; /* of x, y, dy and dx */
    struct device_tensor x, y, dy, dx;
    struct device_tensor mask; /* count 0: none */
    colt5_saved *saved;
    colt5_gradients *gradients;
    colt5_forward forward;
    colt5_backward backward;
};

/* Random weights and inputs from the seed; B·N tokens. */
void round_open(const colt5_config *config, colt5_type type, size_t batch, size_t length,
                uint64_t seed, struct round *round);
/* About 6 of 10 tokens are real; the last sample has none. */
void round_mask(struct round *round);
void round_close(struct round *round); /* canaries, inputs */

void round_forward(struct round *round);
void round_backward(struct round *round);
/* Gradients cleared, forward, backward. */
void round_run(struct round *round);

/* All gradients of parameters one behind the other, then dx, 0 in masked rows. The caller frees. */
double *round_results(const struct round *round, size_t *count);
/* The same bits. */
void assert_same_bits(const double *a, const double *b, size_t count);

#endif
