/* SPDX-License-Identifier: MIT */
#ifndef COLT5_FILE_H
#define COLT5_FILE_H

#include <stddef.h>

#include <colt5/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Writes a file whole or not at all: beside its name first, synced to disk, then renamed. A pipe
 * or a device is written in place; the file behind a symbolic link is replaced, not the link; an
 * old file's permissions are kept.
 *
 * Errors: COLT5_ERROR_FILE, COLT5_ERROR_MEMORY; what stood under the name still stands there. The
 * text is colt5_message(NULL)'s.
 */
COLT5_API
colt5_status colt5_write_file(const char *path, const void *bytes, size_t count);

#ifdef __cplusplus
}
#endif
#endif
