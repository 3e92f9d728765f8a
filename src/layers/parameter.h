/* SPDX-License-Identifier: MIT */
/* A layer's parameters: a list of named tensors with the rule for their initial values. */
#ifndef COLT5_LAYERS_PARAMETER_H
#define COLT5_LAYERS_PARAMETER_H

#include <colt5/tensor.h>

#define PARAMETER_NAME 160 /* bytes of the longest name, with its end */

enum initial {
    INITIAL_LINEAR, /* U(-1/√in, 1/√in) */
    INITIAL_NORMAL, /* N(0, 1) */
    INITIAL_ONES,
    INITIAL_ZEROS
};

struct parameter {
    char name[PARAMETER_NAME];
    size_t place; /* in the list */
    colt5_tensor tensor;
    enum initial initial;
    size_t in; /* of INITIAL_LINEAR: columns of the weight */
};

struct parameters {
    struct parameter **list; /* each a block of its own: pointers to it stay good */
    size_t count, capacity;
};

/* A parameter at the end of the list, its tensor allocated; name is prefix and suffix joined. */
colt5_status parameter_add(colt5_context *ctx, struct parameters *parameters, const char *prefix,
                           const char *suffix, colt5_type type, enum initial initial, size_t in,
                           int rank, const size_t *dims, const struct parameter **added);

/* By name; NULL where there is none. */
struct parameter *parameter_find(const struct parameters *parameters, const char *name);

/* Initial values, from Philox stream 3: slot = the parameter's place in the list. */
colt5_status parameters_initialise(colt5_context *ctx, struct parameters *parameters,
                                   uint64_t seed);

void parameters_release(colt5_context *ctx, struct parameters *parameters);

#endif
