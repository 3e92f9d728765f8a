/* SPDX-License-Identifier: MIT */
/* What goes element by element and is no op of its own. */
#ifndef COLT5_OPS_ACTIVATION_INTERNAL_H
#define COLT5_OPS_ACTIVATION_INTERNAL_H

#include <colt5/ops/activation.h>

/* y[..][d] = x[..][d] · scale[d], all of one storage type; scale [D], y may be x. */
colt5_status scale_columns(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *scale,
                           const colt5_tensor *y);

#endif
