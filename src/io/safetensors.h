/* SPDX-License-Identifier: MIT */
#ifndef COLT5_IO_SAFETENSORS_H
#define COLT5_IO_SAFETENSORS_H

#include <jansson.h>
#include <stdbool.h>

#include <colt5/safetensors.h>

#include "io/file.h"

/* The longest header, in bytes: the limit of the format's first implementation. */
#define LONGEST_HEADER ((size_t)100000000)
#define METADATA       "__metadata__"

struct record {
    colt5_safetensors_entry entry; /* name owned; first, so that an entry is its record */
    size_t shard;
    uint64_t begin, end; /* of its data, from the start of the shard's data; after parsing the
                            header, from the start of the file */
};

struct colt5_safetensors {
    char *path;
    struct input *shards;
    size_t shard_count;
    struct record *records;
    size_t count, capacity;
    json_t *metadata; /* NULL: none yet */
};

/* The header of the last shard: adds its records, checks that they tile its data. */
colt5_status safetensors_parse(struct colt5_safetensors *file);

/* Whether values of one type can be had in another. */
bool safetensors_convertible(colt5_type from, colt5_type to);

/* The message of a failure without a context, in ctx. */
colt5_status safetensors_tell(colt5_context *ctx, colt5_status status);

#endif
