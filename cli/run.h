/* SPDX-License-Identifier: MIT */
/* The steps of colt5 run, each an exit code, after a message where not 0. */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "cli.h"

struct run {
    struct session session;
    const char *model, *input, *text, *mask, *output, *pool, *routes, *routes_output, *expect;
    struct list set;
    uint64_t seed;
    colt5_type type;
    colt5_math math;
    double rtol; /* 0: by the type */
    const char *grad, *grad_output, *expect_grad, *trace_path;
    double grad_rtol; /* 0: by the type and tolerance.json */
    bool recompute;

    colt5_layer *layer;
    colt5_tensor x, mask_tensor, y;
    colt5_routes *given, *chosen;
    colt5_token_counts counts;
    uint8_t *valid; /* [B][N], or NULL: all */
    colt5_forward forward;

    colt5_tensor dy, dx; /* dx: no buffer in text models */
    colt5_saved *saved;
    colt5_gradients *gradients;
};

/* x and mask (run_input.c). */
int run_load_input(struct run *run);
/* Routes to use, and where those chosen go. */
int run_load_routes(struct run *run);
/* Which rows of y count: those the mask names; in text models without padding. */
int run_find_valid(struct run *run);

/* Writes and compares what was asked for (run_output.c). */
int run_deliver(struct run *run);

/* The same for gradients; nothing is done without --grad (run_gradient.c). */
int run_load_gradient(struct run *run);
int run_backward(struct run *run);
int run_deliver_gradients(struct run *run);
void run_release_gradients(struct run *run);

/* Compares gradients with the folder --expect-grad (run_expect_grad.c). */
int run_compare_gradients(struct run *run);

#endif
