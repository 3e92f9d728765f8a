/* SPDX-License-Identifier: MIT */
/*
 * Program binaries on disk, so that a second process need not compile.
 *
 * Folder: $XDG_CACHE_HOME/colt5, else $HOME/.cache/colt5; made with mode 0700, and not used when it
 * is not this user's or others may write to it. One file a program, KEY.bin: KEY is a hash of
 * source, options, device, driver, platform and library versions; a header with lengths and a
 * checksum comes before the binary. Files are written aside and renamed, so a reader sees whole
 * ones.
 *
 * Nothing here is ever an error: in any doubt the program is built from source. COLT5_CACHE=off
 * leaves the disk alone; COLT5_CACHE=on uses it also where it was found to gain nothing.
 */
#ifndef COLT5_RUNTIME_BINARY_CACHE_H
#define COLT5_RUNTIME_BINARY_CACHE_H

#include <colt5/context.h>

/* The program of a source and its options, built for the context's device; NULL: not there. */
cl_program binary_cache_load(colt5_context *ctx, const char *source, const char *options);

/* A program's binary for the context's device, in host memory; NULL where there is none. */
unsigned char *program_binary(colt5_context *ctx, cl_program program, size_t *length);

/* Keeps a program that was built from source. */
void binary_cache_store(colt5_context *ctx, const char *source, const char *options,
                        cl_program program);

#endif
