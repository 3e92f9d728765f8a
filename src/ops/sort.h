/* SPDX-License-Identifier: MIT */
/* A stable sort of rows by small integers, on the device: for sums by key in a fixed order. */
#ifndef COLT5_OPS_SORT_H
#define COLT5_OPS_SORT_H

#include <colt5/tensor.h>

/*
 * Sorts keys[0], i32 [rows] of values in [0, below), ascending; order[0], i32 [rows], gets where
 * each came from, ascending among equals. keys[1] and order[1] are alike and lose what they hold;
 * the tensors may change places. Takes scratch: within a workspace_call. rows below 2^31.
 */
colt5_status sort_rows(colt5_context *ctx, size_t below, colt5_tensor keys[2],
                       colt5_tensor order[2]);

#endif
