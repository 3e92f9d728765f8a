/* SPDX-License-Identifier: MIT */
/* NVIDIA's instructions in kernels that have a plain way beside them (kernels/warps.cl). */
#ifndef COLT5_OPS_WARPS_H
#define COLT5_OPS_WARPS_H

#include <stdbool.h>

#include <colt5/tensor.h>

/* WARPS for rows of this type: true where the device has them and they once gave a known answer
 * (tried when first asked; probe.h). COLT5_WARPS=off in the environment leaves them out. */
bool warps(colt5_context *ctx, colt5_type type);

#endif
