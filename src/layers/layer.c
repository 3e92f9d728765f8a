/* SPDX-License-Identifier: MIT */
#include "layers/layer.h"

#include "layers/config.h"
#include "runtime/check.h"
#include "runtime/memory.h"

colt5_status colt5_layer_create(colt5_context *ctx, const colt5_config *config, colt5_type type,
                                colt5_layer **out)
{
    REQUIRE(NULL, ctx && config && out, COLT5_ERROR_ARGUMENT, "layer: an argument is NULL");
    *out = NULL;
    REQUIRE(ctx, type == COLT5_F32 || type == COLT5_F16 || type == COLT5_BF16, COLT5_ERROR_TYPE,
            "layer: type is %s, not f32, f16 or bf16", colt5_type_name(type));
    colt5_layer *layer = host_allocate_zeroed(1, sizeof(*layer));
    REQUIRE(ctx, layer, COLT5_ERROR_MEMORY, "layer: no host memory");
    layer->ctx = ctx;
    layer->config = *config;
    layer->type = type;
    colt5_status status = config_check_filled(&layer->config);
    if (status != COLT5_OK)
        fail(ctx, status, "%s", colt5_message(NULL));
    else
        status = layer_build(layer);
    if (status == COLT5_OK)
        *out = layer;
    else
        colt5_layer_destroy(layer);
    return status;
}

void colt5_layer_destroy(colt5_layer *layer)
{
    if (!layer) return;
    parameters_release(layer->ctx, &layer->parameters);
    host_release(layer->blocks);
    host_release(layer);
}

const colt5_config *colt5_layer_config(const colt5_layer *layer)
{
    return &layer->config;
}

colt5_type colt5_layer_type(const colt5_layer *layer)
{
    return layer->type;
}

size_t colt5_layer_parameter_count(const colt5_layer *layer)
{
    return layer->parameters.count;
}

colt5_status colt5_layer_parameter(const colt5_layer *layer, size_t i, colt5_parameter *parameter)
{
    REQUIRE(layer->ctx, parameter && i < layer->parameters.count, COLT5_ERROR_ARGUMENT,
            "layer: there is no parameter %zu", i);
    const struct parameter *found = layer->parameters.list[i];
    *parameter = (colt5_parameter){found->name, found->tensor};
    return COLT5_OK;
}

colt5_status colt5_layer_initialise(colt5_layer *layer, uint64_t seed)
{
    return parameters_initialise(layer->ctx, &layer->parameters, seed);
}
