/* SPDX-License-Identifier: MIT */
/* Coordinate descent of picked tokens alone; and with its launch geometry chosen, for tests. */
#ifndef COLT5_SRC_OPS_COOR_DESCENT_H
#define COLT5_SRC_OPS_COOR_DESCENT_H

#include <colt5/ops/coor_descent.h>

enum solver_geometry {
    SOLVER_BEST,  /* as the public call */
    SOLVER_ROWS,  /* one launch, a row's values in one work-group's registers, where they fit */
    SOLVER_CHUNKS /* a launch per iteration, rows cut to narrow chunks */
};

colt5_status coor_descent_forward_as(colt5_context *ctx, enum solver_geometry geometry,
                                     const colt5_tensor *s, const colt5_tensor *mask,
                                     const colt5_coor_descent_options *options,
                                     const colt5_tensor *scores, const colt5_tensor *state);

colt5_status coor_descent_backward_as(colt5_context *ctx, enum solver_geometry geometry,
                                      const colt5_tensor *s, const colt5_tensor *mask,
                                      const colt5_coor_descent_options *options,
                                      const colt5_tensor *state, const colt5_tensor *dscores,
                                      const colt5_tensor *ds, const colt5_tensor *dk);

/*
 * For a router: only the scores of the tokens index i32 [B'][R][K], each once in a row. B' of s may
 * be several times the mask's B, which it then serves in turn. picked, dpicked f32 [B'][R][K]; the
 * rest as in the public calls, no dk.
 */
colt5_status coor_descent_forward_picked(colt5_context *ctx, const colt5_tensor *s,
                                         const colt5_tensor *mask,
                                         const colt5_coor_descent_options *options,
                                         const colt5_tensor *index, const colt5_tensor *picked,
                                         const colt5_tensor *state);
colt5_status coor_descent_backward_picked(colt5_context *ctx, const colt5_tensor *s,
                                          const colt5_tensor *mask,
                                          const colt5_coor_descent_options *options,
                                          const colt5_tensor *index, const colt5_tensor *state,
                                          const colt5_tensor *dpicked, const colt5_tensor *ds);

#endif
