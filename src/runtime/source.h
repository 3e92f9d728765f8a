/* SPDX-License-Identifier: MIT */
/* The text of a kernel file: common.cl and the file, embedded or from COLT5_KERNEL_DIR. */
#ifndef COLT5_RUNTIME_SOURCE_H
#define COLT5_RUNTIME_SOURCE_H

#include "runtime/kernels.h"
#include "runtime/status.h"

/* *text is host memory, ended by 0; the caller releases it. */
colt5_status source_text(colt5_context *ctx, enum kernel_file file, char **text);

#endif
