/* SPDX-License-Identifier: MIT */
/* What the parts of `colt5 train` share. */
#ifndef CLI_TRAIN_H
#define CLI_TRAIN_H

#include "cli.h"
#include "training.h"

/* Options as given; 0 and NaN where they were not. */
struct train_options {
    const char *preset, *config, *output, *resume;
    struct list data;
    size_t steps, batch, seq, accumulate, evaluate_every, checkpoint_every;
    double learning_rate;
    uint64_t seed;
    colt5_type dtype;
    colt5_math math;
    bool recompute;
    bool seed_given, dtype_given, math_given;
};

/* How fast it goes, for the lines that say so. */
struct pace {
    double begun;      /* seconds, when the first step was done: before, kernels are built */
    uint64_t begun_at; /* that step */
    double last, step; /* seconds: when the last step was done, what a step takes of late */
    double told;       /* when the last plain line was written */
};

struct train {
    struct session session;
    struct train_options given;

    const char *folder;
    colt5_config model;
    colt5_training_options options;
    char **paths; /* of the data, absolute */
    size_t path_count;

    colt5_checkpoint *checkpoint; /* NULL: from the beginning */
    colt5_layer *layer;
    colt5_data *data;
    colt5_trainer *trainer;
    uint64_t step;            /* steps done */
    uint64_t checkpoint_step; /* of the last checkpoint */
    double held_out;          /* bits at the last evaluation; NaN before the first */
    int lock;                 /* file descriptor of the folder; 0: none */
    bool no_picture;          /* the library was built without libpng */

    struct training_log log;
    const char **columns;
    char (*column_names)[192];
    double *row;
    struct pace pace;
};

/* Each gives the exit code, after a message where it is not 0. */

/* What the options ask for: model, options and data of a new training (train_settings.c). */
int settle_new(struct train *train, const struct operands *operands);
/* The same of a training that goes on, from its checkpoint. */
int settle_resumed(struct train *train);
/* The file of a preset; the caller frees it. NULL after a message. */
char *find_preset(const char *name);

/* A folder that is not there, or is empty; another is refused and not touched (train_folder.c). */
int check_folder(const char *folder);
/* Keeps other processes from training in the folder, until this one ends. */
int lock_folder(struct train *train);
/* The log, and its columns; rows of later steps than this are dropped, -1 for all. */
int open_training_log(struct train *train, double last_step);
/* A checkpoint, the model, the picture. */
int save_all(struct train *train);
int save_picture(struct train *train);

/*
 * Says what failed once signals stop no call any more. A driver that is building when the signal
 * comes may fail in a way of its own (train_progress.c).
 */
int complain_step(const struct train *train, colt5_status status);

/* After a step; bits held out, NaN where nothing was evaluated (train_progress.c). */
int report_step(struct train *train, const colt5_step_report *step, double held_out);
/* Before the first: what the data is. */
void report_start(const struct train *train);

#endif
