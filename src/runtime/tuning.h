/* SPDX-License-Identifier: MIT */
/* Constants of kernels that a device may have otherwise: tunables.h lists them. */
#ifndef COLT5_RUNTIME_TUNING_H
#define COLT5_RUNTIME_TUNING_H

#include <stdbool.h>

#include <colt5/tuning.h>

#include "runtime/tunables.h"

enum tunable {
#define ENTRY(constant, ...) TUNED_##constant,
    TUNABLE_LIST(ENTRY)
#undef ENTRY
        TUNABLES
};

/* A context's. */
struct tuning {
    int values[TUNABLES]; /* 0: the standard of the device's kind */
    char notice[256];     /* about the file, waiting for a log callback; "": none */
};

/* What the context has for it; 0 where that is left to the sizes of a call. */
int tuned(const colt5_context *ctx, enum tunable which);

/* The one of this name, or TUNABLES; and whether it may have this value. */
enum tunable tunable_named(const char *name);
bool is_choice(enum tunable which, long long value);
const char *tunable_name(enum tunable which);

/* Reads the file, if there is one, into a new context. Never an error. (tuning_file.c) */
void tuning_load(colt5_context *ctx);

#endif
