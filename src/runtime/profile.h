/* SPDX-License-Identifier: MIT */
/* Device time per kernel, from OpenCL events, while profiling is on. */
#ifndef COLT5_RUNTIME_PROFILE_H
#define COLT5_RUNTIME_PROFILE_H

#include "runtime/kernels.h"

#include <colt5/context.h>

/* Where the next launch of a kernel puts its event; NULL while profiling is off. */
cl_event *profile_slot(colt5_context *ctx, enum kernel id);

void profile_release(colt5_context *ctx);

#endif
