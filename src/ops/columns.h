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

#endif
