/* SPDX-License-Identifier: MIT */
#ifndef COLT5_LAYERS_CONFIG_H
#define COLT5_LAYERS_CONFIG_H

#include <jansson.h>

#include <colt5/config.h>

/* colt5_config_check, and writes the defaults that depend on the router's type into *config. */
colt5_status config_check_filled(colt5_config *config);

/* A config from a JSON object; name stands in the messages. */
colt5_status config_parse(const char *name, const json_t *object, colt5_config *config);

#endif
