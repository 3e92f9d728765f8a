/* SPDX-License-Identifier: MIT */
#include "layers/parameter.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ops/philox.h"
#include "runtime/memory.h"
#include "runtime/status.h"

static bool make_room(struct parameters *parameters)
{
    if (parameters->count < parameters->capacity) return true;
    const size_t capacity = 2 * parameters->capacity + 32;
    struct parameter **list =
        host_reallocate(parameters->list, capacity * sizeof(struct parameter *));
    if (!list) return false;
    parameters->list = list;
    parameters->capacity = capacity;
    return true;
}

colt5_status parameter_add(colt5_context *ctx, struct parameters *parameters, const char *prefix,
                           const char *suffix, colt5_type type, enum initial initial, size_t in,
                           int rank, const size_t *dims, const struct parameter **added)
{
    *added = NULL;
    struct parameter *parameter =
        make_room(parameters) ? host_allocate_zeroed(1, sizeof(*parameter)) : NULL;
    REQUIRE(ctx, parameter, COLT5_ERROR_MEMORY, "layer: no host memory");
    snprintf(parameter->name, sizeof(parameter->name), "%s%s", prefix, suffix);
    parameter->initial = initial;
    parameter->in = in;
    const colt5_status status = colt5_tensor_create(ctx, type, rank, dims, &parameter->tensor);
    if (status != COLT5_OK) {
        host_release(parameter);
        return status;
    }
    parameter->place = parameters->count;
    parameters->list[parameters->count++] = parameter;
    *added = parameter;
    return COLT5_OK;
}

struct parameter *parameter_find(const struct parameters *parameters, const char *name)
{
    for (size_t i = 0; i < parameters->count; i++)
        if (!strcmp(parameters->list[i]->name, name)) return parameters->list[i];
    return NULL;
}

static void initial_values(const struct parameter *parameter, uint64_t seed, uint32_t slot,
                           float *values, size_t count)
{
    const double bound = parameter->in ? 1 / sqrt((double)parameter->in) : 0;
    switch (parameter->initial) {
    case INITIAL_LINEAR:
        philox_fill_uniform(seed, slot, -bound, bound, values, count);
        break;
    case INITIAL_NORMAL:
        philox_fill_normal(seed, slot, values, count);
        break;
    case INITIAL_ONES:
        for (size_t i = 0; i < count; i++) values[i] = 1;
        break;
    case INITIAL_ZEROS:
        memset(values, 0, count * sizeof(*values));
        break;
    }
}

static colt5_status initialise(colt5_context *ctx, const struct parameter *parameter, uint64_t seed,
                               uint32_t slot)
{
    const size_t count = colt5_tensor_count(&parameter->tensor);
    float *values = host_allocate_zeroed(count, sizeof(*values));
    REQUIRE(ctx, values, COLT5_ERROR_MEMORY, "%s: no host memory", parameter->name);
    initial_values(parameter, seed, slot, values, count);
    /* In place: a 16-bit value never lies behind the float it comes from. */
    colt5_convert(COLT5_F32, values, parameter->tensor.type, values, count);
    const colt5_status status = colt5_tensor_write(ctx, &parameter->tensor, values);
    host_release(values);
    return status;
}

colt5_status parameters_initialise(colt5_context *ctx, struct parameters *parameters, uint64_t seed)
{
    for (size_t i = 0; i < parameters->count; i++) {
        const colt5_status status = initialise(ctx, parameters->list[i], seed, (uint32_t)i);
        if (status != COLT5_OK) return status;
    }
    return COLT5_OK;
}

void parameters_release(colt5_context *ctx, struct parameters *parameters)
{
    for (size_t i = 0; i < parameters->count; i++) {
        colt5_tensor_free(ctx, &parameters->list[i]->tensor);
        host_release(parameters->list[i]);
    }
    host_release(parameters->list);
    *parameters = (struct parameters){0};
}
