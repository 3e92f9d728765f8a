/* SPDX-License-Identifier: MIT */
/* What the linear map's forward and backward share: the rows of their tensors. */
#ifndef COLT5_SRC_OPS_LINEAR_H
#define COLT5_SRC_OPS_LINEAR_H

#include <colt5/ops/linear.h>

#include "gemm/gemm.h"

/* How many dims stand before the last ones that multiply to width; -1: none multiply to it. */
int linear_leading_dims(const colt5_tensor *tensor, size_t width);

/* Rows and their indices, of x and of y (named so in messages), which have x_rank and y_rank dims
 * before I and O: fills the product's M and the sizes of its samples. */
colt5_status linear_check_rows(colt5_context *ctx, const colt5_tensor *x, int x_rank,
                               const colt5_linear_options *options, const char *name,
                               const colt5_tensor *y, int y_rank, struct gemm *product);

#endif
