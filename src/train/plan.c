/* SPDX-License-Identifier: MIT */
/* What a training will take, and what it cannot do. */
#include <string.h>

#include <colt5/device.h>

#include "runtime/check.h"
#include "runtime/memory.h"
#include "train/spans.h"
#include "train/trainer.h"

#define HIDDEN_SYMBOL 257

colt5_status trainer_check(colt5_context *ctx, const colt5_layer *layer,
                           const colt5_training_options *options)
{
    const colt5_status status = colt5_training_options_check(options);
    if (status != COLT5_OK) return fail(ctx, status, "%s", colt5_message(NULL));
    const colt5_config *config = colt5_layer_config(layer);
    REQUIRE(ctx, config->kind == COLT5_MASKED_LANGUAGE_MODEL, COLT5_ERROR_CONFIG,
            "training: type is %s, only a masked_language_model is trained",
            colt5_layer_kind_name(config->kind));
    REQUIRE(ctx, config->vocab_size > HIDDEN_SYMBOL, COLT5_ERROR_CONFIG,
            "training: vocab_size is %zu, hidden bytes are symbol %d", config->vocab_size,
            HIDDEN_SYMBOL);
    REQUIRE(ctx, options->seq <= INT32_MAX / options->batch, COLT5_ERROR_CONFIG,
            "training: batch %zu of seq %zu bytes are more than 2^31 - 1", options->batch,
            options->seq);
    return COLT5_OK;
}

void batch_shape(struct batch *batch, const colt5_layer *layer, size_t B, size_t N)
{
    const size_t M = B * hidden_budget(N), V = colt5_layer_config(layer)->vocab_size;
    batch->B = B;
    batch->M = M;
    batch->ids = colt5_tensor_wrap(NULL, 0, COLT5_I32, 2, (const size_t[]){B, N});
    batch->positions = colt5_tensor_wrap(NULL, 0, COLT5_I32, 1, &M);
    batch->targets = batch->positions;
    batch->logits = colt5_tensor_wrap(NULL, 0, colt5_layer_type(layer), 2, (const size_t[]){M, V});
    batch->lse = colt5_tensor_wrap(NULL, 0, COLT5_F32, 1, &M);
}

static uint64_t bytes_of(const colt5_tensor *tensor)
{
    return (uint64_t)colt5_tensor_count(tensor) * colt5_type_size(tensor->type);
}

static void count_parameters(const colt5_layer *layer, colt5_training_memory *memory)
{
    for (size_t i = 0; i < colt5_layer_parameter_count(layer); i++) {
        colt5_parameter parameter;
        if (colt5_layer_parameter(layer, i, &parameter) != COLT5_OK) continue;
        const uint64_t f32 = 4 * (uint64_t)colt5_tensor_count(&parameter.tensor);
        memory->weights += bytes_of(&parameter.tensor);
        memory->optimizer += parameter.tensor.type == COLT5_F32 ? 3 * f32 : 4 * f32;
    }
}

/* A forward that is kept, and its backward. */
static colt5_status plan_step(colt5_context *ctx, const colt5_layer *layer, struct batch *batch,
                              int recompute, colt5_training_memory *memory)
{
    colt5_saved *saved = NULL;
    colt5_gradients *gradients = NULL;
    colt5_plan plan;
    colt5_status status;
    TRY(colt5_saved_create(ctx, &saved));
    const colt5_forward forward = {.struct_size = sizeof(forward),
                                   .x = &batch->ids,
                                   .y = &batch->logits,
                                   .positions = &batch->positions,
                                   .saved = saved,
                                   .recompute = recompute};
    TRY(colt5_gradients_create(ctx, layer, &gradients));
    const colt5_backward backward = {
        .struct_size = sizeof(backward), .dy = &batch->logits, .gradients = gradients};
    TRY(colt5_layer_plan(ctx, layer, &forward, &plan));
    memory->saved = plan.saved;
    memory->scratch = plan.scratch;
    TRY(colt5_layer_plan_backward(ctx, layer, &forward, &backward, &plan));
    if (plan.scratch > memory->scratch) memory->scratch = plan.scratch;
out:
    colt5_gradients_destroy(gradients);
    colt5_saved_destroy(saved);
    return status;
}

/*
 * What is kept between forward and backward at the least: the input of each block, and of its
 * feedforward. To plan sizes that are far too large would take minutes.
 */
static uint64_t saved_at_least(const colt5_layer *layer, const colt5_training_options *options)
{
    const colt5_config *config = colt5_layer_config(layer);
    const size_t tensors = config->depth * (options->recompute ? 1 : 2);
    return (uint64_t)options->batch * options->seq * config->dim * tensors *
           colt5_type_size(colt5_layer_type(layer));
}

colt5_status colt5_training_plan(colt5_context *ctx, const colt5_layer *layer,
                                 const colt5_training_options *options,
                                 colt5_training_memory *memory)
{
    REQUIRE(ctx, ctx && layer && memory, COLT5_ERROR_ARGUMENT, "training: an argument is NULL");
    *memory = (colt5_training_memory){.total = 0};
    CHECK(trainer_check(ctx, layer, options));
    struct batch batch = {.B = 0};
    batch_shape(&batch, layer, options->batch, options->seq);
    count_parameters(layer, memory);
    memory->batch = bytes_of(&batch.ids) + bytes_of(&batch.positions) + bytes_of(&batch.targets) +
                    bytes_of(&batch.logits) + bytes_of(&batch.lse);
    const uint64_t least =
        memory->weights + memory->optimizer + memory->batch + saved_at_least(layer, options);
    const uint64_t has = colt5_context_device_info(ctx)->memory;
    REQUIRE(ctx, least <= has, COLT5_ERROR_MEMORY,
            "training: takes more than %llu bytes of device memory, the device has %llu",
            (unsigned long long)least, (unsigned long long)has);
    CHECK(plan_step(ctx, layer, &batch, options->recompute, memory));
    memory->total =
        memory->weights + memory->optimizer + memory->batch + memory->saved + memory->scratch;
    return COLT5_OK;
}

colt5_status trainer_check_memory(colt5_context *ctx, const colt5_layer *layer,
                                  const colt5_training_options *options)
{
    colt5_training_memory memory;
    CHECK(colt5_training_plan(ctx, layer, options, &memory));
    const uint64_t has = colt5_context_device_info(ctx)->memory;
    REQUIRE(ctx, memory.total <= has, COLT5_ERROR_MEMORY,
            "training: takes %llu bytes of device memory, the device has %llu",
            (unsigned long long)memory.total, (unsigned long long)has);
    return COLT5_OK;
}

int colt5_parameter_decays(const colt5_parameter *parameter)
{
    static const char end[] = ".weight", embedding[] = "token_emb.weight";
    const size_t length = strlen(parameter->name);
    return parameter->tensor.rank == 2 && length >= sizeof(end) - 1 &&
           !strcmp(parameter->name + length - (sizeof(end) - 1), end) &&
           strcmp(parameter->name, embedding) != 0;
}
