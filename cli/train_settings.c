/* SPDX-License-Identifier: MIT */
/* What colt5 train is asked to do: presets, config files, options, data. */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train.h"

#define PATH_BYTES 4096

/* ---- presets ---- */

/* The folder of the program. */
static bool program_folder(char folder[PATH_BYTES])
{
    const ssize_t length = readlink("/proc/self/exe", folder, PATH_BYTES - 1);
    if (length <= 0) return false;
    folder[length] = '\0';
    char *slash = strrchr(folder, '/');
    if (slash) *slash = '\0';
    return slash != NULL;
}

/* Where presets lie: where they were built, beside an installed program, where make installs. */
static bool preset_folder(char folder[PATH_BYTES])
{
    static const char *const beside[] = {"presets", "../presets", "../share/colt5/presets"};
    char program[PATH_BYTES];
    for (size_t i = 0; program_folder(program) && i < sizeof(beside) / sizeof(beside[0]); i++) {
        const int length = snprintf(folder, PATH_BYTES, "%s/%s", program, beside[i]);
        if (length < PATH_BYTES && access(folder, R_OK) == 0) return true;
    }
    snprintf(folder, PATH_BYTES, "%s", PRESET_FOLDER);
    return access(folder, R_OK) == 0;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "small, tiny" */
static void list_presets(const char *folder, char *text, size_t size)
{
    char *names[32];
    size_t count = 0;
    DIR *stream = opendir(folder);
    for (const struct dirent *entry; stream && count < 32 && (entry = readdir(stream));) {
        const char *end = strstr(entry->d_name, ".json");
        if (end && !end[5])
            if ((names[count] = strndup(entry->d_name, (size_t)(end - entry->d_name)))) count++;
    }
    if (stream) closedir(stream);
    qsort(names, count, sizeof(names[0]), compare_texts);
    *text = '\0';
    for (size_t i = 0; i < count; i++) {
        const size_t used = strlen(text);
        snprintf(text + used, size - used, "%s%s", i ? ", " : "", names[i]);
        free(names[i]);
    }
}

char *find_preset(const char *name)
{
    char folder[PATH_BYTES], path[PATH_BYTES + 256], known[512];
    if (!preset_folder(folder)) {
        complain("the presets are not in %s; --config FILE takes one from anywhere", folder);
        return NULL;
    }
    snprintf(path, sizeof(path), "%s/%.200s.json", folder, name);
    if (!strchr(name, '/') && access(path, R_OK) == 0) return strdup(path);
    list_presets(folder, known, sizeof(known));
    complain("there is no preset %s; there are %s (%s)", name, known, folder);
    return NULL;
}

/* ---- options ---- */

/* What was given takes the place of the file's. */
static void override(colt5_training_options *options, const struct train_options *given)
{
    if (given->steps) options->steps = given->steps;
    if (given->batch) options->batch = given->batch;
    if (given->seq) options->seq = given->seq;
    if (given->accumulate) options->accumulate = given->accumulate;
    if (given->evaluate_every) options->evaluate_every = given->evaluate_every;
    if (given->checkpoint_every) options->checkpoint_every = given->checkpoint_every;
    if (!isnan(given->learning_rate)) options->learning_rate = given->learning_rate;
    if (given->seed_given) options->seed = (size_t)given->seed;
    if (given->dtype_given) options->dtype = given->dtype;
    if (given->math_given) options->math = given->math;
    if (given->recompute) options->recompute = 1;
}

/* A window no longer than what a light query sees leaves nothing for routing to do. */
static int check_window(const struct train *train)
{
    const size_t window = train->model.light_window_size, seq = train->options.seq;
    if (seq >= window) return EXIT_FINE;
    complain("seq is %zu, shorter than light_window_size %zu", seq, window);
    return EXIT_BAD_INPUT;
}

static int read_settings(struct train *train)
{
    char *preset = NULL;
    if (train->given.preset && !(preset = find_preset(train->given.preset))) return EXIT_USAGE;
    const char *path = preset ? preset : train->given.config;
    colt5_status status = colt5_training_read(path, &train->model, &train->options);
    free(preset);
    if (status != COLT5_OK) return complain_status(NULL, status);
    override(&train->options, &train->given);
    status = colt5_training_options_check(&train->options);
    return status == COLT5_OK ? check_window(train) : complain_status(NULL, status);
}

/* ---- data ---- */

static int add_path(struct train *train, const char *path)
{
    char *absolute = realpath(path, NULL);
    if (!absolute) {
        complain("%s: cannot be read: %s", path, strerror(errno));
        return EXIT_BAD_INPUT;
    }
    train->paths[train->path_count++] = absolute;
    return EXIT_FINE;
}

static bool room_for_paths(struct train *train, size_t count)
{
    train->paths = calloc(count + 1, sizeof(*train->paths));
    return train->paths != NULL;
}

int settle_new(struct train *train, const struct operands *operands)
{
    const struct list *data = &train->given.data;
    if (!room_for_paths(train, data->count + operands->count)) return complain_memory();
    int code = EXIT_FINE;
    for (size_t i = 0; i < data->count && code == EXIT_FINE; i++)
        code = add_path(train, data->items[i]);
    for (size_t i = 0; i < operands->count && code == EXIT_FINE; i++)
        code = add_path(train, operands->items[i]);
    return code == EXIT_FINE ? read_settings(train) : code;
}

/* ---- going on ---- */

static int set_steps(struct train *train)
{
    const size_t steps = train->given.steps;
    if (!steps) return EXIT_FINE;
    if (steps < train->step) {
        complain("--steps is %zu, %s is at step %llu already", steps, train->folder,
                 (unsigned long long)train->step);
        return EXIT_USAGE;
    }
    train->options.steps = steps;
    const colt5_status status = colt5_training_options_check(&train->options);
    return status == COLT5_OK ? EXIT_FINE : complain_status(NULL, status);
}

int settle_resumed(struct train *train)
{
    colt5_context *ctx = train->session.ctx;
    const colt5_status status = colt5_checkpoint_open(ctx, train->folder, &train->checkpoint);
    if (status != COLT5_OK) return complain_status(ctx, status);
    const colt5_training_state *state = colt5_checkpoint_state(train->checkpoint);
    train->model = state->model;
    train->options = state->options;
    train->step = train->checkpoint_step = state->step;
    note("going on from %s", colt5_checkpoint_path(train->checkpoint));
    if (!room_for_paths(train, state->file_count)) return complain_memory();
    for (size_t i = 0; i < state->file_count; i++) {
        train->paths[i] = strdup(state->files[i].path);
        if (!train->paths[i]) return complain_memory();
        train->path_count++;
    }
    return set_steps(train);
}
