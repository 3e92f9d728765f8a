/* SPDX-License-Identifier: MIT */
#ifndef COLT5_TUNING_H
#define COLT5_TUNING_H

#include <colt5/tensor.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Constants of kernels that another device may want otherwise: sizes of tiles and groups. They
 * change no result by more than the order of its sums. A context takes them, when it is made, from
 * a file that `colt5 bench --tune` writes for this device, driver and version of the library:
 *
 *     $COLT5_TUNING                          "off": none
 *     $XDG_DATA_HOME/colt5/tuning.json       else
 *     ~/.local/share/colt5/tuning.json       else
 *
 * What cannot be used there (another driver, a file that is broken or someone else's, an unknown
 * name, a value that is no choice) is left out, with one notice through the log callback.
 */

/** One of them, as a context has it. The texts and the list are the library's. */
typedef struct colt5_tunable {
    size_t struct_size; /* sizeof(colt5_tunable), set by the caller */
    const char *name;   /* "packed_rows" */
    const char *about;  /* a line for people: what it is, and where it stands */
    const char *ops; /* those of `colt5 bench` that depend on it, one space between; X_backward is X
                        with its backward */
    const int *choices; /* the values it may have, ended by 0 */
    int standard;       /* what this device gets untuned; 0: it depends on the sizes of a call */
    int value;          /* what the context has: one of the choices, or standard */
    int matters;        /* 0: this device does not use it */
    unsigned types;     /* bit t: it matters for values of colt5_type t */
} colt5_tunable;

/** How many there are. */
COLT5_API
size_t colt5_tunable_count(void);

/** Tunable i of a context. Errors: COLT5_ERROR_ARGUMENT (i, struct_size). */
COLT5_API
colt5_status colt5_tunable_get(colt5_context *ctx, size_t i, colt5_tunable *tunable);

/**
 * Sets one for a context, before its first op: kernels, plans and self-tests are made for what is
 * set then. value is one of its choices, or 0 for the standard one.
 *
 * Errors: COLT5_ERROR_ARGUMENT (no such name or choice, or an op has run); nothing is set then.
 */
COLT5_API
colt5_status colt5_tunable_set(colt5_context *ctx, const char *name, int value);

/**
 * Keeps what a context has, where it is not the standard, for later contexts on this device: in the
 * file above, whose other devices stay. Folders are made.
 *
 * path  [out]  the file's name, cut to size; may be NULL when size is 0
 *
 * Errors: COLT5_ERROR_ARGUMENT (COLT5_TUNING is off, or there is no home), COLT5_ERROR_FILE,
 * COLT5_ERROR_FORMAT (what stands there is no such file: it is left as it is), COLT5_ERROR_MEMORY.
 */
COLT5_API
colt5_status colt5_tuning_save(colt5_context *ctx, char *path, size_t size);

#ifdef __cplusplus
}
#endif
#endif
