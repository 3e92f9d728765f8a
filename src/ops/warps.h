/* SPDX-License-Identifier: MIT */
/* NVIDIA's instructions in kernels that have a plain way beside them (kernels/warps.cl). */
#ifndef COLT5_OPS_WARPS_H
#define COLT5_OPS_WARPS_H

#include <stdbool.h>

#include <colt5/tensor.h>

/* Whether the device has these instructions; and whether they are not to be left out, as by
 * COLT5_WARPS=off in the environment. */
bool warps_there(const colt5_context *ctx);
bool warps_wanted(const colt5_context *ctx);

/* WARPS for rows of this type: true where they are wanted and once gave a known answer
 * (tried when first asked; probe.h). */
bool warps(colt5_context *ctx, colt5_type type);

#endif
