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

#endif
