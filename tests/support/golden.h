/* SPDX-License-Identifier: MIT */
/* The golden cases of tests/golden (its README says what a folder holds), for layer tests. */
#ifndef TESTS_SUPPORT_GOLDEN_H
#define TESTS_SUPPORT_GOLDEN_H

#include <colt5/layer.h>

#include "support/testing.h"

#define GOLDEN_NAME 96

/* Names of the cases whose config this library has a layer for, sorted; *count of them. */
char (*golden_cases(size_t *count))[GOLDEN_NAME];

/* tests/golden/NAME/FILE, in a buffer that the next call overwrites. */
const char *golden_path(const char *name, const char *file);
bool golden_has(const char *name, const char *file);

/* A number of a .json file or of its "options"; fallback where the key is not there. */
double golden_number(const char *name, const char *file, const char *key, double fallback);
/* A word of case.json; "" where it is not there. The caller does not free it. */
const char *golden_word(const char *name, const char *key);

/* A .npy file on the device, values converted to type (ids and masks keep theirs). */
struct device_tensor golden_tensor(const char *name, const char *file, colt5_type type);
/* A .npy file of values as doubles. */
double *golden_values(const char *name, const char *file, size_t *count);

/* A module's case, ready to run: forward has it all. */
struct golden_call {
    colt5_layer *layer;
    struct device_tensor x, mask, y; /* mask: count 0 where there is none */
    colt5_routes *routes;            /* NULL unless injected */
    uint8_t *valid;                  /* rows of y that count, by the mask and by padding */
    size_t rows, width;              /* of y */
    colt5_forward forward;
};

void golden_open(const char *name, colt5_type type, bool inject, struct golden_call *call);
/* Checks that the inputs are as they were. */
void golden_close(struct golden_call *call);

/* ‖have - want‖ / ‖want‖ of FILE and an array of the case's rows over those that count. */
double golden_row_error(const char *name, const char *file, const struct golden_call *call,
                        const struct device_tensor *have);

#endif
