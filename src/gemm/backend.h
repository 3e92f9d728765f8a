/* SPDX-License-Identifier: MIT */
/* What stands behind the door: each backend declares what it can do, and runs it. */
#ifndef COLT5_GEMM_BACKEND_H
#define COLT5_GEMM_BACKEND_H

#include "gemm/gemm.h"

/* Our own kernel: any device, any type, everything fused. */
colt5_status gemm_tiled(colt5_context *ctx, const struct gemm *product);

#endif
