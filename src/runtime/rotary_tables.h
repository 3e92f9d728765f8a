/* SPDX-License-Identifier: MIT */
/*
 * Cosines and sines for rotary embeddings, kept in the context.
 *
 * A table per position would have a gigabyte at four million positions. So a position is cut in
 * coarse·ROTARY_FINE + fine, and the kernel turns by both angles in succession: two small tables,
 * whose float32 entries come from doubles.
 */
#ifndef COLT5_RUNTIME_ROTARY_TABLES_H
#define COLT5_RUNTIME_ROTARY_TABLES_H

#include <colt5/tensor.h>

#define ROTARY_FINE 1024

/*
 * The tables of heads of E elements, for positions below length. fine is f32 [ROTARY_FINE][2][E/2],
 * coarse f32 [at least length / ROTARY_FINE, rounded up][2][E/2]: cosines, then sines. While the
 * context plans they have no buffer, and nothing is made.
 */
colt5_status rotary_tables(colt5_context *ctx, size_t E, double theta, size_t length,
                           colt5_tensor *fine, colt5_tensor *coarse);

#endif
