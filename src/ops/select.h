/* SPDX-License-Identifier: MIT */
/* The selection with what a router wants beside the indices. */
#ifndef COLT5_OPS_SELECT_INTERNAL_H
#define COLT5_OPS_SELECT_INTERNAL_H

#include <colt5/ops/select.h>

/*
 * As colt5_select, and: s and index may have several times the mask's B samples, which it then
 * serves in turn; gates f32 and routed u8, of index's dims, become 1 for a real token and 0 for a
 * masked one (NULL: not wanted).
 */
colt5_status select_tokens(colt5_context *ctx, const colt5_tensor *s, const colt5_tensor *mask,
                           const colt5_tensor *index, const colt5_tensor *gates,
                           const colt5_tensor *routed);

#endif
