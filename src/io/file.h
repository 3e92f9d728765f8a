/* SPDX-License-Identifier: MIT */
/*
 * Files: read at positions (never mapped, so a file cut short under us is an error and no
 * signal), written beside their final name and renamed when they are whole.
 */
#ifndef COLT5_IO_FILE_H
#define COLT5_IO_FILE_H

#include <stdint.h>

#include "runtime/status.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "the files of this library are little-endian and read as they are"
#endif

/* The most host memory a transfer between a file and a device takes, in bytes. */
#define FILE_PIECE ((size_t)8 << 20)

/* A regular file open for reading. Zero is a closed one. */
struct input {
    int fd;
    char *path; /* NULL: closed */
    uint64_t size;
};

colt5_status input_open(struct input *input, const char *path);
/* Exactly count bytes from offset on; COLT5_ERROR_FORMAT where the file ends before. */
colt5_status input_read(const struct input *input, uint64_t offset, void *bytes, size_t count);
void input_close(struct input *input);

/* A whole file of at most `most` bytes, with a NUL after it; given back with host_release. */
colt5_status file_read(const char *path, size_t most, char **bytes, size_t *count);

/*
 * A file being written. What is no regular file (a pipe, a device) is written in place. Between
 * output_open and output_commit nothing stands under the final name that did not before.
 */
struct output {
    int fd;
    char *path;      /* NULL: closed */
    char *temporary; /* NULL: written in place */
};

colt5_status output_open(struct output *output, const char *path);
/* After what was written by this call before. */
colt5_status output_write(struct output *output, const void *bytes, size_t count);
colt5_status output_write_at(struct output *output, uint64_t offset, const void *bytes,
                             size_t count);
/* Syncs and renames; closed after it, whether it succeeds or not. */
colt5_status output_commit(struct output *output);
/* Removes what was written; does nothing once closed. */
void output_discard(struct output *output);

/* Text of a file for a message: control characters are '?', long text is cut. */
#define SHOWN(string) (shown(string).text)
struct shown {
    char text[128];
};
struct shown shown(const char *text);

#endif
