/* SPDX-License-Identifier: MIT */
/*
 * A 64-bit sum of bytes that tells damage and other content apart, not malice: FNV-1a over
 * little-endian words of eight bytes, the high half folded into the low one after each, the last
 * word filled up with zeros, then the number of bytes as one more word.
 */
#ifndef COLT5_IO_DIGEST_H
#define COLT5_IO_DIGEST_H

#include "runtime/status.h"

#define DIGEST_START UINT64_C(0xCBF29CE484222325)

/* Goes on with count bytes: a multiple of eight, but for the last time. */
uint64_t digest_add(uint64_t digest, const void *bytes, size_t count);
uint64_t digest_end(uint64_t digest, uint64_t bytes);

/* The size and the digest of a whole file. */
colt5_status digest_file(const char *path, uint64_t *bytes, uint64_t *digest);

#endif
