/* SPDX-License-Identifier: MIT */
/* What a heavy branch gave, into rows that hold the light one's already. */
#ifndef COLT5_OPS_SCATTER_INTERNAL_H
#define COLT5_OPS_SCATTER_INTERNAL_H

#include <colt5/ops/scatter.h>

/*
 * What colt5_scatter_fill with x as its base would make of x, whose every row has `row` [D] (NULL:
 * nothing) added already: in the rows that index names x += the mean over the slots - row. The
 * others are not touched.
 */
colt5_status scatter_instead(colt5_context *ctx, const colt5_tensor *y, const colt5_tensor *index,
                             const colt5_tensor *scores, colt5_index_kind kind,
                             const colt5_tensor *row, const colt5_tensor *x);

#endif
