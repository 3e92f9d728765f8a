/* SPDX-License-Identifier: MIT */
/* A trainer's state to a checkpoint and back. */
#include <stdio.h>

#include "runtime/check.h"
#include "runtime/memory.h"
#include "train/trainer.h"

#define STATES 3

struct named {
    colt5_named_tensor *model, *optimizer;
    size_t optimizer_count;
    char (*names)[PARAMETER_NAME + 8];
};

static void release_named(struct named *named)
{
    host_release(named->model);
    host_release(named->optimizer);
    host_release(named->names);
}

static void add_state(struct named *named, const char *name, const char *what,
                      const colt5_tensor *tensor)
{
    if (!tensor->buffer) return;
    const size_t i = named->optimizer_count++;
    snprintf(named->names[i], sizeof(named->names[i]), "%s.%s", name, what);
    named->optimizer[i] = (colt5_named_tensor){named->names[i], *tensor};
}

/* The tensors of a checkpoint: NAME of the model; NAME.m, NAME.v, NAME.master of the optimiser. */
static colt5_status name_tensors(const colt5_trainer *trainer, struct named *named)
{
    const size_t count = trainer->count;
    *named = (struct named){
        .model = host_allocate_zeroed(count, sizeof(*named->model)),
        .optimizer = host_allocate_zeroed(STATES * count, sizeof(*named->optimizer)),
        .names = host_allocate_zeroed(STATES * count, sizeof(*named->names)),
    };
    REQUIRE(trainer->ctx, named->model && named->optimizer && named->names, COLT5_ERROR_MEMORY,
            "trainer: no host memory");
    for (size_t i = 0; i < count; i++) {
        const struct trained *parameter = &trainer->parameters[i];
        named->model[i] = (colt5_named_tensor){parameter->name, parameter->weight};
        add_state(named, parameter->name, "m", &parameter->m);
        add_state(named, parameter->name, "v", &parameter->v);
        add_state(named, parameter->name, "master", &parameter->master);
    }
    return COLT5_OK;
}

colt5_status colt5_trainer_save(colt5_trainer *trainer, const char *folder)
{
    REQUIRE(NULL, trainer && folder, COLT5_ERROR_ARGUMENT, "trainer: an argument is NULL");
    REQUIRE(trainer->ctx, !trainer->broken, COLT5_ERROR_ARGUMENT,
            "trainer: step %llu failed, there is nothing to save",
            (unsigned long long)trainer->step + 1);
    const colt5_data_info *data = colt5_data_describe(trainer->data);
    const colt5_training_state state = {.struct_size = sizeof(state),
                                        .step = trainer->step,
                                        .updates = trainer->updates,
                                        .loss_scale = trainer->loss_scale,
                                        .model = *colt5_layer_config(trainer->layer),
                                        .options = trainer->options,
                                        .files = data->files,
                                        .file_count = data->file_count};
    struct named named;
    colt5_status status;
    TRY(name_tensors(trainer, &named));
    TRY(colt5_checkpoint_save(trainer->ctx, folder, &state, named.model, trainer->count,
                              named.optimizer, named.optimizer_count));
out:
    release_named(&named);
    return status;
}

colt5_status colt5_trainer_resume(colt5_trainer *trainer, const colt5_checkpoint *checkpoint)
{
    REQUIRE(NULL, trainer && checkpoint, COLT5_ERROR_ARGUMENT, "trainer: an argument is NULL");
    const colt5_training_state *state = colt5_checkpoint_state(checkpoint);
    struct named named = {.model = NULL};
    colt5_status status = colt5_checkpoint_check_data(checkpoint, trainer->data);
    if (status != COLT5_OK) TRY(fail(trainer->ctx, status, "%s", colt5_message(NULL)));
    TRY(name_tensors(trainer, &named));
    trainer->broken = true;
    TRY(colt5_checkpoint_load(trainer->ctx, checkpoint, named.model, trainer->count,
                              named.optimizer, named.optimizer_count));
    trainer->broken = false;
    trainer->step = state->step;
    trainer->updates = state->updates;
    trainer->loss_scale = state->loss_scale;
out:
    release_named(&named);
    return status;
}
