/* SPDX-License-Identifier: MIT */
#ifndef COLT5_SAFETENSORS_H
#define COLT5_SAFETENSORS_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Weights and routes in the safetensors format: named tensors, little-endian, row-major.
 *
 * Data is read and written in pieces of at most 8 MiB, straight between the file and its
 * destination: no call makes a second copy of a tensor. Files are read, never mapped, so one that
 * is cut short meanwhile is an error. Texts of failures that had no context are
 * colt5_message(NULL)'s and begin with the file.
 */
typedef struct colt5_safetensors colt5_safetensors;

/** The largest rank a tensor in a file may have. */
#define COLT5_SAFETENSORS_MAX_RANK 8

/** A tensor in a file. */
typedef struct colt5_safetensors_entry {
    const char *name;  /* UTF-8 */
    const char *dtype; /* the file's word: "F32", "BF16", "BOOL", … */
    const char *file;  /* the path it is in (a shard) */
    int readable;      /* 1: its values can be read, as `type`; 0: a type this library has not */
    colt5_type type;   /* BOOL counts as U8 */
    int rank;          /* 0 for a scalar */
    size_t dims[COLT5_SAFETENSORS_MAX_RANK]; /* dims[0 .. rank-1], slowest first */
    size_t count;                            /* elements */
    size_t bytes;                            /* of its data */
} colt5_safetensors_entry;

/**
 * Opens a file and reads its header.
 *
 * path  [in]   a .safetensors file, an index of shards (.json), or a folder that holds
 *              model.safetensors or model.safetensors.index.json
 * file  [out]  to be given back with colt5_safetensors_close; NULL on failure
 *
 * Everything is checked before a tensor can be seen: the header's length (at most 100 MB) and
 * grammar, duplicate names, shapes whose product overflows, sizes that do not fit the type, data
 * that overlaps, leaves holes or passes the end of the file, shards that lack a tensor of the
 * index.
 *
 * Errors: COLT5_ERROR_FILE, COLT5_ERROR_FORMAT, COLT5_ERROR_MEMORY.
 */
COLT5_API
colt5_status colt5_safetensors_open(const char *path, colt5_safetensors **file);

/** Closes a file. NULL is allowed. */
COLT5_API
void colt5_safetensors_close(colt5_safetensors *file);

/** How many tensors a file (all its shards) holds. */
COLT5_API
size_t colt5_safetensors_count(const colt5_safetensors *file);

/** Tensor i of colt5_safetensors_count, sorted by name; valid until the file is closed. */
COLT5_API
const colt5_safetensors_entry *colt5_safetensors_at(const colt5_safetensors *file, size_t i);

/** The tensor of a name, or NULL. */
COLT5_API
const colt5_safetensors_entry *colt5_safetensors_find(const colt5_safetensors *file,
                                                      const char *name);

/** A text of the file's "__metadata__" (of the first shard that has it), or NULL. */
COLT5_API
const char *colt5_safetensors_metadata(const colt5_safetensors *file, const char *key);

/**
 * Reads part of a tensor to host memory.
 *
 * entry   [in]   of this file
 * type    [in]   of values: the entry's, or another of F32, F16, BF16 (rounded to nearest even)
 * first   [in]   the first element, in elements from the tensor's start
 * count   [in]   elements
 * values  [out]  count of them
 *
 * Errors: COLT5_ERROR_ARGUMENT (a range outside the tensor), COLT5_ERROR_TYPE, COLT5_ERROR_FILE,
 * COLT5_ERROR_FORMAT (cut short), COLT5_ERROR_MEMORY; values are then partly written.
 */
COLT5_API
colt5_status colt5_safetensors_read(const colt5_safetensors *file,
                                    const colt5_safetensors_entry *entry, colt5_type type,
                                    size_t first, size_t count, void *values);

/**
 * Reads a tensor to the device, converted to the type of `tensor` as above, and waits for it. Its
 * shape must be the entry's; a scalar goes to a tensor [1].
 *
 * Errors: those of colt5_safetensors_read, COLT5_ERROR_SHAPE, COLT5_ERROR_OPENCL,
 * COLT5_ERROR_LOST; the text is the context's.
 */
COLT5_API
colt5_status colt5_safetensors_load(colt5_context *ctx, const colt5_safetensors *file,
                                    const colt5_safetensors_entry *entry,
                                    const colt5_tensor *tensor);

/** A file being written. Nothing stands under its name before colt5_safetensors_finish. */
typedef struct colt5_safetensors_writer colt5_safetensors_writer;

/** A tensor to be written. Of U8, a mask too, the file says "U8". */
typedef struct colt5_safetensors_plan {
    const char *name; /* UTF-8, unique, not "__metadata__" */
    colt5_type type;  /* in the file */
    int rank;         /* 0 to COLT5_MAX_RANK */
    size_t dims[COLT5_MAX_RANK];
} colt5_safetensors_plan;

/**
 * Begins a file: header first, data follows in any order of tensors.
 *
 * path      [in]   its final name; the data goes to a temporary file in the same folder
 * plans     [in]   count tensors (copied, names too)
 * metadata  [in]   key, text, key, text, …, NULL; or NULL for none
 * writer    [out]  to be given to colt5_safetensors_finish or _abandon; NULL on failure
 *
 * Errors: COLT5_ERROR_ARGUMENT (a name twice, not UTF-8; a shape that overflows),
 * COLT5_ERROR_FILE, COLT5_ERROR_MEMORY.
 */
COLT5_API
colt5_status colt5_safetensors_create(const char *path, const colt5_safetensors_plan *plans,
                                      size_t count, const char *const *metadata,
                                      colt5_safetensors_writer **writer);

/**
 * Writes the next `count` elements of plan `i` from host memory, in the plan's type.
 *
 * Errors: COLT5_ERROR_ARGUMENT (no such plan, more elements than it has), COLT5_ERROR_FILE.
 */
COLT5_API
colt5_status colt5_safetensors_write(colt5_safetensors_writer *writer, size_t i, size_t count,
                                     const void *values);

/**
 * Writes the whole of plan i from the device, converted to the plan's type. Only the number of
 * elements must agree.
 *
 * Errors: COLT5_ERROR_SHAPE, COLT5_ERROR_TYPE, COLT5_ERROR_FILE, COLT5_ERROR_OPENCL,
 * COLT5_ERROR_LOST, COLT5_ERROR_MEMORY; the text is the context's.
 */
COLT5_API
colt5_status colt5_safetensors_store(colt5_context *ctx, colt5_safetensors_writer *writer, size_t i,
                                     const colt5_tensor *tensor);

/**
 * Syncs the file to disk and gives it its name. The writer is gone whether this succeeds or not.
 *
 * Errors: COLT5_ERROR_ARGUMENT (a plan is not all written; the text names it), COLT5_ERROR_FILE;
 * what stood under the name still stands there.
 */
COLT5_API
colt5_status colt5_safetensors_finish(colt5_safetensors_writer *writer);

/** Removes what was written. NULL is allowed. */
COLT5_API
void colt5_safetensors_abandon(colt5_safetensors_writer *writer);

#ifdef __cplusplus
}
#endif
#endif
