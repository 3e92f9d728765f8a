/* SPDX-License-Identifier: MIT */
#ifndef COLT5_OPS_RANDOM_H
#define COLT5_OPS_RANDOM_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What a random number is for: the stream word of its counter. */
typedef enum colt5_random_stream {
    COLT5_STREAM_GUMBEL = 1,         /* noise of the Sinkhorn router; slot = its slot */
    COLT5_STREAM_ROUTES = 2,         /* random routes; slot 0 */
    COLT5_STREAM_INITIAL_VALUES = 3, /* of parameters */
    COLT5_STREAM_DATA = 4,           /* order and spans of training data */
    COLT5_STREAM_SAMPLING = 5        /* of a language model's next byte */
} colt5_random_stream;

/**
 * Uniform random numbers inside (0, 1), by Philox4x32-10: a pure function of seed and counter,
 * the same on every device.
 *
 *     u[row, n] = ((w >> 9) + 0.5) · 2^-23,  w the first word of Philox for the key `seed` (low
 *     half first) and the counter (n, slot, first_row + row, stream)
 *
 * u  [out]  f32  [..][N]    row counts the leading dims together; N and first_row + rows at most
 *                           2^32
 *
 * Random routes of B samples and R routes are stream 2, slot 0 and u [B][R][N].
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_ARGUMENT (u untouched);
 * COLT5_ERROR_OPENCL (u undefined). Source: Salmon et al., "Parallel random numbers: as easy as 1,
 * 2, 3", 2011; SPEC section 2.
 */
COLT5_API
colt5_status colt5_random_uniform(colt5_context *ctx, uint64_t seed, uint32_t stream, uint32_t slot,
                                  uint32_t first_row, const colt5_tensor *u);

#ifdef __cplusplus
}
#endif
#endif
