/* SPDX-License-Identifier: MIT */
/* Gradients of a layer's parameters: a float32 tensor each. */
#include "layers/gradients.h"

#include "layers/layer.h"
#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/memory.h"

struct colt5_gradients {
    colt5_context *ctx;
    const colt5_layer *layer;
    colt5_tensor *tensors; /* one for each parameter */
    size_t count;
};

colt5_status gradients_plan(colt5_context *ctx, const colt5_layer *layer, colt5_gradients **out)
{
    const struct parameters *parameters = &layer->parameters;
    colt5_gradients *gradients = *out = host_allocate_zeroed(1, sizeof(*gradients));
    REQUIRE(ctx, gradients, COLT5_ERROR_MEMORY, "gradients: no host memory");
    *gradients = (colt5_gradients){.ctx = ctx, .layer = layer};
    gradients->tensors = host_allocate_zeroed(parameters->count, sizeof(*gradients->tensors));
    if (!gradients->tensors) {
        host_release(gradients);
        *out = NULL;
        return fail(ctx, COLT5_ERROR_MEMORY, "gradients: no host memory");
    }
    gradients->count = parameters->count;
    for (size_t i = 0; i < gradients->count; i++) {
        const colt5_tensor *of = &parameters->list[i]->tensor;
        gradients->tensors[i] = colt5_tensor_wrap(NULL, 0, COLT5_F32, of->rank, of->dims);
    }
    return COLT5_OK;
}

colt5_status colt5_gradients_create(colt5_context *ctx, const colt5_layer *layer,
                                    colt5_gradients **out)
{
    REQUIRE(ctx, ctx && layer && out, COLT5_ERROR_ARGUMENT, "gradients: an argument is NULL");
    colt5_status status;
    TRY(gradients_plan(ctx, layer, out));
    for (size_t i = 0; i < (*out)->count; i++) {
        const colt5_tensor shape = (*out)->tensors[i];
        TRY(colt5_tensor_create(ctx, COLT5_F32, shape.rank, shape.dims, &(*out)->tensors[i]));
    }
    TRY(colt5_gradients_clear(*out));
out:
    if (status == COLT5_OK) return status;
    colt5_gradients_destroy(*out);
    *out = NULL;
    return status;
}

void colt5_gradients_destroy(colt5_gradients *gradients)
{
    if (!gradients) return;
    for (size_t i = 0; i < gradients->count; i++)
        colt5_tensor_free(gradients->ctx, &gradients->tensors[i]);
    host_release(gradients->tensors);
    host_release(gradients);
}

colt5_status colt5_gradients_clear(colt5_gradients *gradients)
{
    REQUIRE(NULL, gradients, COLT5_ERROR_ARGUMENT, "gradients: gradients is NULL");
    for (size_t i = 0; i < gradients->count; i++)
        CHECK(clear_tensor(gradients->ctx, &gradients->tensors[i]));
    return COLT5_OK;
}

colt5_status colt5_gradients_get(const colt5_gradients *gradients, size_t i,
                                 colt5_parameter *gradient)
{
    REQUIRE(NULL, gradients && gradient && i < gradients->count, COLT5_ERROR_ARGUMENT,
            "gradients: there is no gradient %zu", i);
    *gradient =
        (colt5_parameter){gradients->layer->parameters.list[i]->name, gradients->tensors[i]};
    return COLT5_OK;
}

const colt5_tensor *gradient_of(const colt5_gradients *gradients, const struct parameter *parameter)
{
    return gradients && parameter ? &gradients->tensors[parameter->place] : NULL;
}

const colt5_layer *gradients_layer(const colt5_gradients *gradients)
{
    return gradients->layer;
}
