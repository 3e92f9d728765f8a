/* SPDX-License-Identifier: MIT */
#ifndef COLT5_LAYERS_GRADIENTS_H
#define COLT5_LAYERS_GRADIENTS_H

#include <colt5/layer.h>

#include "layers/parameter.h"

/* The gradient of a parameter; NULL where gradients or parameter is. */
const colt5_tensor *gradient_of(const colt5_gradients *gradients,
                                const struct parameter *parameter);

/* Shapes without buffers, for planning. */
colt5_status gradients_plan(colt5_context *ctx, const colt5_layer *layer,
                            colt5_gradients **gradients);

/* The layer they are for. */
const colt5_layer *gradients_layer(const colt5_gradients *gradients);

#endif
