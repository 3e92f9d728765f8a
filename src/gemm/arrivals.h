/* SPDX-License-Identifier: MIT */
#ifndef COLT5_GEMM_ARRIVALS_H
#define COLT5_GEMM_ARRIVALS_H

#include <colt5/tensor.h>

#define ARRIVALS 8192

/* ARRIVALS counters, i32, all zero: a kernel that counts by them leaves them so. In a plan, no
 * buffer. */
colt5_status gemm_arrivals(colt5_context *ctx, colt5_tensor *arrivals);

#endif
