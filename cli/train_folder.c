/* SPDX-License-Identifier: MIT */
/* The folder of a training: config.json model.safetensors log.csv loss.png checkpoints/. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "train.h"

#define CHECKPOINTS "checkpoints"
#define TEMPORARY   ".colt5-" /* what a killed process may leave begins so */

static const char *in_folder(const char *folder, const char *name)
{
    static char path[4096 + 64];
    snprintf(path, sizeof(path), "%.4000s/%s", folder, name);
    return path;
}

/* ---- before ---- */

/* The first entry of a folder that is no temporary one; "" where there is none. */
static int first_entry(const char *folder, const char *but, char name[256])
{
    *name = '\0';
    DIR *stream = opendir(folder);
    if (!stream && errno == ENOENT) return EXIT_FINE;
    if (!stream) {
        complain("%s: cannot be read: %s", folder, strerror(errno));
        return EXIT_BAD_INPUT;
    }
    for (const struct dirent *entry; !*name && (entry = readdir(stream));) {
        const char *have = entry->d_name;
        if (strcmp(have, ".") != 0 && strcmp(have, "..") != 0 && strcmp(have, but) != 0 &&
            strncmp(have, TEMPORARY, strlen(TEMPORARY)) != 0)
            snprintf(name, 256, "%.255s", have);
    }
    closedir(stream);
    return EXIT_FINE;
}

int check_folder(const char *folder)
{
    char name[256], checkpoint[256];
    int code = first_entry(in_folder(folder, CHECKPOINTS), "", checkpoint);
    if (code == EXIT_FINE && *checkpoint) {
        complain("%s: holds a training; `colt5 train --resume %s` goes on with it", folder, folder);
        return EXIT_BAD_INPUT;
    }
    if (code == EXIT_FINE) code = first_entry(folder, CHECKPOINTS, name);
    if (code == EXIT_FINE && *name) {
        complain("%s: holds %s, which is no training's; --output wants a new or an empty folder",
                 folder, name);
        return EXIT_BAD_INPUT;
    }
    return code;
}

/* Where the file system knows no locks there is none. */
int lock_folder(struct train *train)
{
    if (train->lock) return EXIT_FINE;
    const int folder = open(train->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0 || flock(folder, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) {
        train->lock = folder < 0 ? 0 : folder;
        return EXIT_FINE;
    }
    close(folder);
    complain("%s: another process is training there", train->folder);
    return EXIT_BAD_INPUT;
}

/* ---- the log ---- */

#define PER_ROUTER 2

static const char *const router_columns[PER_ROUTER] = {"norm", "saturated"};
static const char *const fixed_columns[] = {LOG_NAMES,    "learning_rate", "norm",
                                            "loss_scale", "skipped",       "tokens_per_second"};
#define FIXED (sizeof(fixed_columns) / sizeof(fixed_columns[0]))

int open_training_log(struct train *train, double last_step)
{
    const size_t routers = colt5_trainer_router_count(train->trainer);
    const size_t columns = FIXED + PER_ROUTER * routers;
    train->columns = calloc(columns, sizeof(*train->columns));
    train->column_names = calloc(columns, sizeof(*train->column_names));
    train->row = calloc(columns, sizeof(*train->row));
    if (!train->columns || !train->column_names || !train->row) return complain_memory();
    for (size_t i = 0; i < FIXED; i++) train->columns[i] = fixed_columns[i];
    for (size_t i = FIXED; i < columns; i++) {
        const size_t router = (i - FIXED) / PER_ROUTER, which = (i - FIXED) % PER_ROUTER;
        snprintf(train->column_names[i], sizeof(train->column_names[i]), "%s.%s",
                 colt5_trainer_router_name(train->trainer, router), router_columns[which]);
        train->columns[i] = train->column_names[i];
    }
    return open_log(&train->log, in_folder(train->folder, "log.csv"), train->columns, columns,
                    last_step);
}

/* ---- saving ---- */

int save_picture(struct train *train)
{
    if (train->no_picture) return EXIT_FINE;
    const double baseline = colt5_data_describe(train->data)->baseline_bits;
    const struct picture picture = draw_loss(&train->log.curves, baseline);
    if (!picture.pixels) return complain_memory();
    const colt5_status status = colt5_png_write(in_folder(train->folder, "loss.png"), picture.width,
                                                picture.height, picture.pixels);
    free(picture.pixels);
    if (status == COLT5_OK) return EXIT_FINE;
    train->no_picture = strstr(colt5_message(NULL), "without libpng") != NULL;
    if (!train->no_picture) return complain_failure(NULL, status);
    note("%s", colt5_message(NULL));
    return EXIT_FINE;
}

int save_all(struct train *train)
{
    colt5_status status = colt5_trainer_save(train->trainer, train->folder);
    if (status == COLT5_OK) train->checkpoint_step = train->step;
    if (status == COLT5_OK) status = colt5_layer_save(train->layer, train->folder);
    return status == COLT5_OK ? save_picture(train) : complain_step(train, status);
}
