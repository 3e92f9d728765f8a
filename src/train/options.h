/* SPDX-License-Identifier: MIT */
/* Training options as JSON, for config files and checkpoints. */
#ifndef COLT5_TRAIN_OPTIONS_H
#define COLT5_TRAIN_OPTIONS_H

#include <colt5/train.h>

#include "io/json.h"

/* From an object; what it does not name keeps its default. where stands in the messages. */
colt5_status training_options_parse(const char *where, const json_t *object,
                                    colt5_training_options *options);

/* Every field into *object, the caller's to give back. */
colt5_status training_options_object(const colt5_training_options *options, json_t **object);

#endif
