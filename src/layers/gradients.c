/* SPDX-License-Identifier: MIT */
/* Gradients of a layer's parameters: a float32 tensor each, side by side so that one command clears
 * them. */
#include "layers/gradients.h"

#include "layers/layer.h"
#include "runtime/check.h"
#include "runtime/context.h"
#include "runtime/launch.h"
#include "runtime/memory.h"

struct colt5_gradients {
    colt5_context *ctx;
    const colt5_layer *layer;
    colt5_tensor *tensors; /* one for each parameter */
    size_t count;
    struct stack memory; /* theirs; empty where only planned */
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

/* While the context plans, addresses of no buffer. */
static colt5_status take_tensors(colt5_gradients *gradients)
{
    for (size_t i = 0; i < gradients->count; i++) {
        const colt5_tensor shape = gradients->tensors[i];
        CHECK(stack_take(gradients->ctx, &gradients->memory, COLT5_F32, shape.rank, shape.dims,
                         &gradients->tensors[i]));
    }
    return COLT5_OK;
}

static colt5_status make_tensors(colt5_gradients *gradients)
{
    colt5_context *ctx = gradients->ctx;
    struct stack *memory = &gradients->memory;
    ctx->planning = true;
    colt5_status status = take_tensors(gradients);
    ctx->planning = false;
    if (status == COLT5_OK && !ctx->workspace.separate) status = stack_grow(ctx, memory);
    ctx->buffer_bytes += stack_held(memory);
    CHECK(status);
    stack_rewind(memory, (struct stack_mark){0, 0, 0});
    return take_tensors(gradients);
}

colt5_status colt5_gradients_create(colt5_context *ctx, const colt5_layer *layer,
                                    colt5_gradients **out)
{
    REQUIRE(ctx, ctx && layer && out, COLT5_ERROR_ARGUMENT, "gradients: an argument is NULL");
    colt5_status status;
    TRY(gradients_plan(ctx, layer, out));
    TRY(make_tensors(*out));
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
    gradients->ctx->buffer_bytes -= stack_held(&gradients->memory);
    stack_release(&gradients->memory);
    host_release(gradients->tensors);
    host_release(gradients);
}

colt5_status colt5_gradients_clear(colt5_gradients *gradients)
{
    REQUIRE(NULL, gradients, COLT5_ERROR_ARGUMENT, "gradients: gradients is NULL");
    const struct stack *memory = &gradients->memory;
    if (!stack_held(memory)) { /* a buffer each, for checkers */
        for (size_t i = 0; i < gradients->count; i++)
            CHECK(clear_tensor(gradients->ctx, &gradients->tensors[i]));
        return COLT5_OK;
    }
    for (int i = 0; i <= memory->slab; i++) {
        const size_t floats = memory->slabs[i].capacity / sizeof(float);
        const colt5_tensor all =
            colt5_tensor_wrap(memory->slabs[i].buffer, 0, COLT5_F32, 1, &floats);
        CHECK(clear_tensor(gradients->ctx, &all));
    }
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
