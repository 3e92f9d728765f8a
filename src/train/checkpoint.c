/* SPDX-License-Identifier: MIT */
/* Checkpoints: FOLDER/checkpoints/STEP/, each whole or not there. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <colt5/safetensors.h>

#include "io/digest.h"
#include "io/folder.h"
#include "runtime/check.h"
#include "runtime/memory.h"
#include "train/state.h"

#define CHECKPOINTS "checkpoints"
#define STATE       "state.json"
#define KEPT        2

struct colt5_checkpoint {
    colt5_training_state state;
    char path[FOLDER_PATH];
};

/* The text of a failure that had no context, for the context's caller. */
static colt5_status pass_on(colt5_context *ctx, colt5_status status)
{
    return status == COLT5_OK ? status : fail(ctx, status, "%s", colt5_message(NULL));
}

static void number_name(char name[32], uint64_t number)
{
    snprintf(name, 32, "%llu", (unsigned long long)number);
}

/* ---- soundness ---- */

static colt5_status check_sum(const char *folder, const char *name, const struct state_sum *want)
{
    char path[FOLDER_PATH];
    struct state_sum have;
    CHECK(folder_join(path, folder, name));
    CHECK(digest_file(path, &have.bytes, &have.digest));
    REQUIRE(NULL, have.bytes == want->bytes, COLT5_ERROR_FORMAT,
            "%s: is damaged: %llu bytes, not %llu", path, (unsigned long long)have.bytes,
            (unsigned long long)want->bytes);
    REQUIRE(NULL, have.digest == want->digest, COLT5_ERROR_FORMAT,
            "%s: is damaged: its digest is another", path);
    return COLT5_OK;
}

/* The state of a checkpoint whose files are all as they were written. */
static colt5_status read_sound(const char *folder, colt5_training_state *state)
{
    char path[FOLDER_PATH];
    struct state_sum sums[STATE_FILES];
    colt5_status status;
    *state = (colt5_training_state){.struct_size = sizeof(*state)};
    TRY(folder_join(path, folder, STATE));
    TRY(state_read(path, state, sums));
    for (int i = 0; i < STATE_FILES; i++) TRY(check_sum(folder, state_file_names[i], &sums[i]));
out:
    if (status != COLT5_OK) state_release(state);
    return status;
}

/* Damage lets an earlier one be taken; a newer version, or no memory, does not. */
static bool is_damage(colt5_status status)
{
    return status == COLT5_ERROR_FORMAT || status == COLT5_ERROR_FILE;
}

/* ---- saving ---- */

static colt5_status store_tensors(colt5_context *ctx, colt5_safetensors_writer *writer,
                                  const colt5_named_tensor *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        CHECK(colt5_safetensors_store(ctx, writer, i, &tensors[i].tensor));
    return COLT5_OK;
}

static colt5_status write_tensors(colt5_context *ctx, const char *path,
                                  const colt5_named_tensor *tensors, size_t count)
{
    const char *const metadata[] = {"format", "pt", NULL};
    colt5_safetensors_writer *writer = NULL;
    colt5_safetensors_plan *plans = host_allocate_zeroed(count + 1, sizeof(*plans));
    REQUIRE(ctx, plans, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    for (size_t i = 0; i < count; i++) {
        const colt5_tensor *tensor = &tensors[i].tensor;
        plans[i].name = tensors[i].name;
        plans[i].type = tensor->type;
        plans[i].rank = tensor->rank;
        memcpy(plans[i].dims, tensor->dims, sizeof(plans[i].dims));
    }
    colt5_status status;
    TRY(pass_on(ctx, colt5_safetensors_create(path, plans, count, metadata, &writer)));
    TRY(store_tensors(ctx, writer, tensors, count));
    status = pass_on(ctx, colt5_safetensors_finish(writer));
    writer = NULL;
out:
    colt5_safetensors_abandon(writer);
    host_release(plans);
    return status;
}

struct save {
    const colt5_training_state *state;
    const colt5_named_tensor *tensors[STATE_FILES];
    size_t counts[STATE_FILES];
};

static colt5_status write_files(colt5_context *ctx, const char *folder, const struct save *save)
{
    char path[FOLDER_PATH];
    struct state_sum sums[STATE_FILES];
    for (int i = 0; i < STATE_FILES; i++) {
        CHECK(pass_on(ctx, folder_join(path, folder, state_file_names[i])));
        CHECK(write_tensors(ctx, path, save->tensors[i], save->counts[i]));
        CHECK(pass_on(ctx, digest_file(path, &sums[i].bytes, &sums[i].digest)));
    }
    CHECK(pass_on(ctx, folder_join(path, folder, STATE)));
    return pass_on(ctx, state_write(path, save->state, sums));
}

/* Removes all but the last ones up to this step; later ones are of a way not taken any more. */
static colt5_status remove_old(const char *checkpoints, uint64_t step)
{
    char name[32];
    uint64_t *numbers;
    size_t count, kept = 0;
    colt5_status status = folder_numbers(checkpoints, &numbers, &count);
    for (size_t i = 0; status == COLT5_OK && i < count; i++) {
        number_name(name, numbers[i]);
        if (numbers[i] > step || kept == KEPT)
            status = folder_remove(checkpoints, name);
        else
            kept++;
    }
    host_release(numbers);
    return status;
}

/* One of this step may be there: kept when it is sound, else out of the way. */
static colt5_status make_way(const char *checkpoints, const char *name, bool *there)
{
    char path[FOLDER_PATH];
    colt5_training_state state;
    CHECK(folder_join(path, checkpoints, name));
    *there = access(path, F_OK) == 0;
    if (!*there) return COLT5_OK;
    const colt5_status status = read_sound(path, &state);
    *there = status == COLT5_OK;
    if (status == COLT5_OK) state_release(&state);
    return is_damage(status) ? folder_remove(checkpoints, name) : status;
}

static colt5_status save_new(colt5_context *ctx, const char *checkpoints, const char *name,
                             const struct save *save)
{
    char temporary[FOLDER_PATH];
    CHECK(pass_on(ctx, folder_begin(checkpoints, name, temporary)));
    colt5_status status = write_files(ctx, temporary, save);
    if (status == COLT5_OK) status = pass_on(ctx, folder_commit(checkpoints, name, temporary));
    if (status != COLT5_OK) folder_clean(checkpoints);
    return status;
}

colt5_status colt5_checkpoint_save(colt5_context *ctx, const char *folder,
                                   const colt5_training_state *state,
                                   const colt5_named_tensor *model, size_t model_count,
                                   const colt5_named_tensor *optimizer, size_t optimizer_count)
{
    REQUIRE(ctx, ctx && folder && state, COLT5_ERROR_ARGUMENT,
            "checkpoint: ctx, folder or state is NULL");
    REQUIRE(ctx, (model || !model_count) && (optimizer || !optimizer_count), COLT5_ERROR_ARGUMENT,
            "checkpoint: model or optimizer is NULL");
    REQUIRE(ctx, state->struct_size == sizeof(*state), COLT5_ERROR_ARGUMENT,
            "checkpoint: struct_size is %zu, not %zu", state->struct_size, sizeof(*state));
    CHECK(pass_on(ctx, colt5_training_options_check(&state->options)));
    const struct save save = {state, {model, optimizer}, {model_count, optimizer_count}};
    char checkpoints[FOLDER_PATH], name[32];
    bool there = false;
    number_name(name, state->step);
    CHECK(pass_on(ctx, folder_make(folder)));
    CHECK(pass_on(ctx, folder_join(checkpoints, folder, CHECKPOINTS)));
    CHECK(pass_on(ctx, folder_make(checkpoints)));
    folder_clean(checkpoints);
    CHECK(pass_on(ctx, make_way(checkpoints, name, &there)));
    if (!there) CHECK(save_new(ctx, checkpoints, name, &save));
    return pass_on(ctx, remove_old(checkpoints, state->step));
}

/* ---- opening ---- */

static colt5_status find_sound(colt5_context *ctx, const char *checkpoints, const uint64_t *numbers,
                               size_t count, colt5_checkpoint *checkpoint)
{
    char name[32];
    colt5_status status = COLT5_OK;
    for (size_t i = 0; i < count; i++) {
        number_name(name, numbers[i]);
        CHECK(folder_join(checkpoint->path, checkpoints, name));
        status = read_sound(checkpoint->path, &checkpoint->state);
        if (!is_damage(status)) return status;
        say(ctx, "%s; %s", colt5_message(NULL),
            i + 1 < count ? "the checkpoint before it is taken" : "there is no earlier checkpoint");
    }
    return fail(NULL, COLT5_ERROR_FORMAT, "%s: none of %zu checkpoints is sound", checkpoints,
                count);
}

static colt5_status open_newest(colt5_context *ctx, const char *folder,
                                colt5_checkpoint *checkpoint)
{
    char path[FOLDER_PATH];
    uint64_t *numbers = NULL;
    size_t count = 0;
    colt5_status status;
    TRY(folder_join(path, folder, CHECKPOINTS));
    TRY(folder_numbers(path, &numbers, &count));
    if (count == 0) TRY(fail(NULL, COLT5_ERROR_FILE, "%s: holds no checkpoint", path));
    TRY(find_sound(ctx, path, numbers, count, checkpoint));
    TRY(folder_join(path, folder, "config.json"));
    if (access(path, F_OK) == 0) TRY(state_check_model(path, &checkpoint->state));
out:
    host_release(numbers);
    return status;
}

colt5_status colt5_checkpoint_open(colt5_context *ctx, const char *folder, colt5_checkpoint **out)
{
    REQUIRE(ctx, ctx && folder && out, COLT5_ERROR_ARGUMENT,
            "checkpoint: ctx, folder or checkpoint is NULL");
    colt5_checkpoint *checkpoint = host_allocate_zeroed(1, sizeof(*checkpoint));
    *out = NULL;
    REQUIRE(ctx, checkpoint, COLT5_ERROR_MEMORY, "checkpoint: no host memory");
    const colt5_status status = pass_on(ctx, open_newest(ctx, folder, checkpoint));
    if (status == COLT5_OK)
        *out = checkpoint;
    else
        colt5_checkpoint_close(checkpoint);
    return status;
}

void colt5_checkpoint_close(colt5_checkpoint *checkpoint)
{
    if (!checkpoint) return;
    state_release(&checkpoint->state);
    host_release(checkpoint);
}

const colt5_training_state *colt5_checkpoint_state(const colt5_checkpoint *checkpoint)
{
    return &checkpoint->state;
}

const char *colt5_checkpoint_path(const colt5_checkpoint *checkpoint)
{
    return checkpoint->path;
}

/* ---- reading ---- */

static colt5_status load_tensors(colt5_context *ctx, const colt5_safetensors *file,
                                 const char *path, const colt5_named_tensor *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const colt5_safetensors_entry *entry = colt5_safetensors_find(file, tensors[i].name);
        REQUIRE(ctx, entry, COLT5_ERROR_FORMAT, "%s: tensor %s is missing", path, tensors[i].name);
        CHECK(colt5_safetensors_load(ctx, file, entry, &tensors[i].tensor));
    }
    REQUIRE(ctx, colt5_safetensors_count(file) == count, COLT5_ERROR_FORMAT,
            "%s: has %zu tensors, not %zu", path, colt5_safetensors_count(file), count);
    return COLT5_OK;
}

static colt5_status load_file(colt5_context *ctx, const char *folder, const char *name,
                              const colt5_named_tensor *tensors, size_t count)
{
    char path[FOLDER_PATH];
    colt5_safetensors *file;
    CHECK(pass_on(ctx, folder_join(path, folder, name)));
    CHECK(pass_on(ctx, colt5_safetensors_open(path, &file)));
    const colt5_status status = load_tensors(ctx, file, path, tensors, count);
    colt5_safetensors_close(file);
    return status;
}

colt5_status colt5_checkpoint_load(colt5_context *ctx, const colt5_checkpoint *checkpoint,
                                   const colt5_named_tensor *model, size_t model_count,
                                   const colt5_named_tensor *optimizer, size_t optimizer_count)
{
    REQUIRE(ctx, ctx && checkpoint, COLT5_ERROR_ARGUMENT, "checkpoint: ctx or checkpoint is NULL");
    REQUIRE(ctx, (model || !model_count) && (optimizer || !optimizer_count), COLT5_ERROR_ARGUMENT,
            "checkpoint: model or optimizer is NULL");
    CHECK(load_file(ctx, checkpoint->path, state_file_names[STATE_MODEL], model, model_count));
    return load_file(ctx, checkpoint->path, state_file_names[STATE_OPTIMIZER], optimizer,
                     optimizer_count);
}

colt5_status colt5_checkpoint_check_data(const colt5_checkpoint *checkpoint, const colt5_data *data)
{
    REQUIRE(NULL, checkpoint && data, COLT5_ERROR_ARGUMENT,
            "checkpoint: checkpoint or data is NULL");
    const colt5_training_state *state = &checkpoint->state;
    const colt5_data_info *info = colt5_data_describe(data);
    REQUIRE(NULL, info->file_count == state->file_count, COLT5_ERROR_FORMAT,
            "data: %zu files, the checkpoint had %zu", info->file_count, state->file_count);
    for (size_t i = 0; i < info->file_count; i++)
        REQUIRE(NULL,
                info->files[i].bytes == state->files[i].bytes &&
                    info->files[i].fingerprint == state->files[i].fingerprint,
                COLT5_ERROR_FORMAT, "%s: is not what the checkpoint was trained on",
                info->files[i].path);
    return COLT5_OK;
}
