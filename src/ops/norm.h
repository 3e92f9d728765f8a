/* SPDX-License-Identifier: MIT */
/* The norm of routed tokens. */
#ifndef COLT5_OPS_NORM_INTERNAL_H
#define COLT5_OPS_NORM_INTERNAL_H

#include <colt5/ops/norm.h>

/* As colt5_gather of x [B][N][D] by index i32 [B][K], then colt5_rms_norm_forward: y [B][K][D],
 * which must not overlap x. */
colt5_status rms_norm_picked(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *index,
                             const colt5_tensor *gamma, const colt5_tensor *y);

#endif
