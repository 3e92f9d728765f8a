/* SPDX-License-Identifier: MIT */
/* Makes a trainer: its parameters' tensors, and those of a batch. */
#include "train/trainer.h"

#include <stdio.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/memory.h"

static colt5_status new_tensor(colt5_trainer *trainer, colt5_tensor *tensor)
{
    const colt5_tensor shape = *tensor;
    return colt5_tensor_create(trainer->ctx, shape.type, shape.rank, shape.dims, tensor);
}

/* float32 of a weight's shape, zeros. */
static colt5_status new_state(colt5_trainer *trainer, const colt5_tensor *weight,
                              colt5_tensor *state)
{
    CHECK(colt5_tensor_create(trainer->ctx, COLT5_F32, weight->rank, weight->dims, state));
    return clear_tensor(trainer->ctx, state);
}

/* The exact weight begins as the rounded one is. */
static colt5_status widen(colt5_trainer *trainer, const struct trained *parameter)
{
    const size_t count = colt5_tensor_count(&parameter->weight);
    colt5_status status = COLT5_ERROR_MEMORY;
    float *values = host_allocate_zeroed(count, sizeof(*values));
    void *narrow = host_allocate_zeroed(count, sizeof(*values));
    if (!values || !narrow)
        fail(trainer->ctx, status, "trainer: no host memory");
    else
        status = colt5_tensor_read(trainer->ctx, &parameter->weight, narrow);
    if (status == COLT5_OK) {
        colt5_convert(parameter->weight.type, narrow, COLT5_F32, values, count);
        status = colt5_tensor_write(trainer->ctx, &parameter->master, values);
    }
    host_release(narrow);
    host_release(values);
    return status;
}

static bool is_router(const char *name)
{
    static const char token[] = ".routing_token";
    const size_t length = strlen(name), end = sizeof(token) - 1;
    return length > end && !strcmp(name + length - end, token);
}

static colt5_status add_parameter(colt5_trainer *trainer, size_t i)
{
    struct trained *parameter = &trainer->parameters[i];
    colt5_parameter weight, gradient;
    CHECK(colt5_layer_parameter(trainer->layer, i, &weight));
    CHECK(colt5_gradients_get(trainer->gradients, i, &gradient));
    parameter->name = weight.name;
    parameter->weight = weight.tensor;
    parameter->decays = colt5_parameter_decays(&weight);
    trainer->gradient_list[i] = gradient.tensor;
    CHECK(new_state(trainer, &weight.tensor, &parameter->m));
    CHECK(new_state(trainer, &weight.tensor, &parameter->v));
    if (is_router(weight.name)) {
        const int length = (int)(strrchr(weight.name, '.') - weight.name);
        snprintf(trainer->paths[trainer->router_count], sizeof(trainer->paths[0]), "%.*s", length,
                 weight.name);
        trainer->routers[trainer->router_count++] = i;
    }
    if (weight.tensor.type == COLT5_F32) return COLT5_OK;
    CHECK(new_state(trainer, &weight.tensor, &parameter->master));
    return widen(trainer, parameter);
}

static colt5_status make_parameters(colt5_trainer *trainer)
{
    const size_t count = trainer->count = colt5_layer_parameter_count(trainer->layer);
    trainer->parameters = host_allocate_zeroed(count, sizeof(*trainer->parameters));
    trainer->gradient_list = host_allocate_zeroed(count, sizeof(*trainer->gradient_list));
    trainer->routers = host_allocate_zeroed(count, sizeof(*trainer->routers));
    trainer->paths = host_allocate_zeroed(count, sizeof(*trainer->paths));
    REQUIRE(trainer->ctx,
            trainer->parameters && trainer->gradient_list && trainer->routers && trainer->paths,
            COLT5_ERROR_MEMORY, "trainer: no host memory");
    CHECK(colt5_gradients_create(trainer->ctx, trainer->layer, &trainer->gradients));
    for (size_t i = 0; i < count; i++) CHECK(add_parameter(trainer, i));
    return COLT5_OK;
}

static colt5_status make_batch(colt5_trainer *trainer)
{
    struct batch *batch = &trainer->batch;
    const size_t N = trainer->options.seq, count = trainer->options.accumulate + 2;
    batch_shape(batch, trainer->layer, trainer->options.batch, N);
    colt5_tensor *const tensors[] = {&batch->ids, &batch->positions, &batch->targets,
                                     &batch->logits, &batch->lse};
    for (size_t i = 0; i < sizeof(tensors) / sizeof(tensors[0]); i++)
        CHECK(new_tensor(trainer, tensors[i]));
    CHECK(colt5_tensor_create(trainer->ctx, COLT5_F32, 1, &count, &trainer->results));
    batch->host_ids = host_allocate_zeroed(batch->B * N, sizeof(int32_t));
    batch->host_targets = host_allocate_zeroed(batch->B * N, sizeof(int32_t));
    batch->host_positions = host_allocate_zeroed(batch->M, sizeof(int32_t));
    batch->host_hidden = host_allocate_zeroed(batch->M, sizeof(int32_t));
    trainer->host_results = host_allocate_zeroed(count, sizeof(float));
    REQUIRE(trainer->ctx,
            batch->host_ids && batch->host_targets && batch->host_positions && batch->host_hidden &&
                trainer->host_results,
            COLT5_ERROR_MEMORY, "trainer: no host memory");
    return COLT5_OK;
}

static colt5_status check_all(colt5_context *ctx, const colt5_layer *layer, const colt5_data *data,
                              const colt5_training_options *options)
{
    CHECK(trainer_check(ctx, layer, options));
    REQUIRE(ctx, options->dtype == colt5_layer_type(layer), COLT5_ERROR_TYPE,
            "trainer: dtype is %s, the layer is %s", colt5_type_name(options->dtype),
            colt5_type_name(colt5_layer_type(layer)));
    const size_t seq = colt5_data_describe(data)->seq;
    REQUIRE(ctx, seq == options->seq, COLT5_ERROR_ARGUMENT,
            "trainer: seq is %zu, the data was opened for %zu", options->seq, seq);
    return trainer_check_memory(ctx, layer, options);
}

colt5_status colt5_trainer_create(colt5_context *ctx, colt5_layer *layer, colt5_data *data,
                                  const colt5_training_options *options, colt5_trainer **out)
{
    REQUIRE(ctx, ctx && layer && data && options && out, COLT5_ERROR_ARGUMENT,
            "trainer: an argument is NULL");
    *out = NULL;
    colt5_context_set_math(ctx, options->math);
    CHECK(check_all(ctx, layer, data, options));
    colt5_trainer *trainer = host_allocate_zeroed(1, sizeof(*trainer));
    REQUIRE(ctx, trainer, COLT5_ERROR_MEMORY, "trainer: no host memory");
    trainer->ctx = ctx;
    trainer->layer = layer;
    trainer->data = data;
    trainer->options = *options;
    trainer->loss_scale = colt5_loss_scale_start(options->dtype);
    colt5_status status;
    TRY(make_parameters(trainer));
    TRY(make_batch(trainer));
    TRY(colt5_saved_create(ctx, &trainer->saved));
    *out = trainer;
    trainer = NULL;
out:
    colt5_trainer_destroy(trainer);
    return status;
}

static void release_batch(colt5_context *ctx, struct batch *batch)
{
    colt5_tensor_free(ctx, &batch->ids);
    colt5_tensor_free(ctx, &batch->positions);
    colt5_tensor_free(ctx, &batch->targets);
    colt5_tensor_free(ctx, &batch->logits);
    colt5_tensor_free(ctx, &batch->lse);
    host_release(batch->host_ids);
    host_release(batch->host_targets);
    host_release(batch->host_positions);
    host_release(batch->host_hidden);
}

void colt5_trainer_destroy(colt5_trainer *trainer)
{
    if (!trainer) return;
    colt5_context *ctx = trainer->ctx;
    for (size_t i = 0; trainer->parameters && i < trainer->count; i++) {
        colt5_tensor_free(ctx, &trainer->parameters[i].m);
        colt5_tensor_free(ctx, &trainer->parameters[i].v);
        colt5_tensor_free(ctx, &trainer->parameters[i].master);
    }
    release_batch(ctx, &trainer->batch);
    colt5_tensor_free(ctx, &trainer->results);
    colt5_saved_destroy(trainer->saved);
    colt5_gradients_destroy(trainer->gradients);
    host_release(trainer->host_results);
    host_release(trainer->parameters);
    host_release(trainer->gradient_list);
    host_release(trainer->routers);
    host_release(trainer->paths);
    host_release(trainer);
}
