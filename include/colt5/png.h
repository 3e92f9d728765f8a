/* SPDX-License-Identifier: MIT */
#ifndef COLT5_PNG_H
#define COLT5_PNG_H

#include <stddef.h>
#include <stdint.h>

#include <colt5/status.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Writes a picture whole or not at all (colt5_write_file).
 *
 * width, height  [in]  1 to 65535
 * pixels         [in]  [height][width][3], red green blue, 0 to 255, top row first
 *
 * Errors: COLT5_ERROR_ARGUMENT, COLT5_ERROR_MEMORY, COLT5_ERROR_FILE (also where the library was
 * built without libpng).
 */
COLT5_API
colt5_status colt5_png_write(const char *path, size_t width, size_t height, const uint8_t *pixels);

#ifdef __cplusplus
}
#endif
#endif
