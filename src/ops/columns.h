/* SPDX-License-Identifier: MIT */
/* Sums over rows, for gradients of parameters: in parts, then over the parts (kernels/columns.cl).
 */
#ifndef COLT5_OPS_COLUMNS_H
#define COLT5_OPS_COLUMNS_H

#include <colt5/tensor.h>

/* Rows a work-group should sum before it writes: enough groups for the device, few parts. */
size_t rows_a_part(const colt5_context *ctx, size_t rows);

/* sums[d] += the sum over p of partials[p][d]; partials f32 [parts][D], sums of storage [D]. */
colt5_status add_columns(colt5_context *ctx, const colt5_tensor *partials,
                         const colt5_tensor *sums);

/* The same of two, each of which may be NULL: partials [2][parts][D], or [1].. where one is. */
colt5_status add_column_pair(colt5_context *ctx, const colt5_tensor *partials,
                             const colt5_tensor *sums, const colt5_tensor *other);

/* sums[d] += the sum of column d of x [..][D] over rows (those where mask u8 is not 0; or NULL).
 * Takes scratch: within a workspace_call. */
colt5_status sum_rows(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *mask,
                      const colt5_tensor *sums);

#endif
