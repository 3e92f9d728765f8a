/* SPDX-License-Identifier: MIT */
/* A training's state as JSON: state.json of a checkpoint. */
#ifndef COLT5_TRAIN_STATE_H
#define COLT5_TRAIN_STATE_H

#include <colt5/train.h>

/* The files of a checkpoint that state.json vouches for. */
enum { STATE_MODEL, STATE_OPTIMIZER, STATE_FILES };
extern const char *const state_file_names[STATE_FILES];

struct state_sum {
    uint64_t bytes, digest;
};

/* Writes it, whole or not at all. */
colt5_status state_write(const char *path, const colt5_training_state *state,
                         const struct state_sum sums[STATE_FILES]);

/*
 * Reads it. state->files is the caller's to give back with state_release, also after a failure.
 * COLT5_ERROR_FORMAT where it is damaged, COLT5_ERROR_CONFIG where a newer version wrote it.
 */
colt5_status state_read(const char *path, colt5_training_state *state,
                        struct state_sum sums[STATE_FILES]);
void state_release(colt5_training_state *state);

/* COLT5_ERROR_CONFIG names the first key in which the model of config.json is another. */
colt5_status state_check_model(const char *config_path, const colt5_training_state *state);

#endif
