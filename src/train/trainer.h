/* SPDX-License-Identifier: MIT */
/* What a trainer holds. */
#ifndef COLT5_TRAIN_TRAINER_H
#define COLT5_TRAIN_TRAINER_H

#include <stdbool.h>

#include <colt5/train.h>

#include "layers/parameter.h"

/* A parameter and what its optimiser keeps. */
struct trained {
    const char *name;
    colt5_tensor weight, m, v;
    colt5_tensor master; /* without a buffer where the weight itself is float32 */
    bool decays;
};

/* A batch on its way: B windows of N bytes, M of them hidden; the host's copies beside. */
struct batch {
    size_t B, M;
    colt5_tensor ids, positions, targets, logits, lse;
    int32_t *host_ids, *host_targets; /* [B][N], as colt5_data_batch gives them */
    int32_t *host_positions;          /* [M] rows of hidden bytes */
    int32_t *host_hidden;             /* [M] those bytes */
};

struct colt5_trainer {
    colt5_context *ctx;
    colt5_layer *layer;
    colt5_data *data;
    colt5_training_options options;

    uint64_t step, updates; /* done, and of them not skipped */
    colt5_loss_scale loss_scale;
    float used_scale; /* in the last step */
    bool broken;      /* the weights are undefined */

    struct trained *parameters;
    colt5_tensor *gradient_list; /* of the parameters, in their order */
    size_t count;
    size_t *routers; /* which parameters are routing tokens */
    char (*paths)[PARAMETER_NAME];
    size_t router_count;

    colt5_gradients *gradients;
    colt5_saved *saved;
    struct batch batch;
    colt5_tensor results; /* f32 [accumulate + 2]: losses, norm, factor */
    float *host_results;
};

/* The layer is one that can be trained, with such options (plan.c). */
colt5_status trainer_check(colt5_context *ctx, const colt5_layer *layer,
                           const colt5_training_options *options);

/* The shapes of a batch's tensors; they get no buffers. */
void batch_shape(struct batch *batch, const colt5_layer *layer, size_t B, size_t N);

/* COLT5_ERROR_MEMORY with both numbers where the device has less. */
colt5_status trainer_check_memory(colt5_context *ctx, const colt5_layer *layer,
                                  const colt5_training_options *options);

#endif
