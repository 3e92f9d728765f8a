/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "run.h"

#define PADDING 256 /* the id of text models that counts as masked */

static int load_text(struct run *run)
{
    char *bytes;
    size_t count;
    int code = read_text(run->text, &bytes, &count);
    if (code == EXIT_FINE) code = place_text(run->session.ctx, bytes, 1, count, &run->x);
    free(bytes);
    return code;
}

int run_load_input(struct run *run)
{
    colt5_context *ctx = run->session.ctx;
    if (run->text && !takes_text(run->layer)) {
        complain("--text is for text models; a %s takes --input",
                 colt5_layer_kind_name(colt5_layer_config(run->layer)->kind));
        return EXIT_USAGE;
    }
    const int code = run->text ? load_text(run) : load_array(ctx, run->input, run->type, &run->x);
    if (code != EXIT_FINE || !run->mask) return code;
    return load_array(ctx, run->mask, run->type, &run->mask_tensor);
}

static bool is_padding(const colt5_tensor *tensor, const void *ids, size_t i)
{
    return tensor->type == COLT5_I64 ? ((const int64_t *)ids)[i] == PADDING
                                     : ((const int32_t *)ids)[i] == PADDING;
}

static colt5_status leave_out_padding(struct run *run, size_t count)
{
    void *ids = malloc(count * colt5_type_size(run->x.type) + 1);
    if (!ids) return COLT5_ERROR_MEMORY;
    const colt5_status status = colt5_tensor_read(run->session.ctx, &run->x, ids);
    for (size_t i = 0; status == COLT5_OK && i < count; i++)
        if (is_padding(&run->x, ids, i)) run->valid[i] = 0;
    free(ids);
    return status;
}

int run_find_valid(struct run *run)
{
    const size_t count = run->x.dims[0] * run->x.dims[1];
    run->valid = malloc(count + 1);
    if (!run->valid) return complain_memory();
    memset(run->valid, 1, count);
    colt5_status status = COLT5_OK;
    if (run->mask) status = colt5_tensor_read(run->session.ctx, &run->mask_tensor, run->valid);
    if (status == COLT5_OK && takes_text(run->layer)) status = leave_out_padding(run, count);
    return status == COLT5_OK ? EXIT_FINE : complain_status(run->session.ctx, status);
}

static bool has_router(const colt5_layer *layer, const char *router)
{
    const size_t length = strlen(router);
    for (size_t i = 0; i < colt5_layer_parameter_count(layer); i++) {
        colt5_parameter parameter;
        if (colt5_layer_parameter(layer, i, &parameter) == COLT5_OK &&
            !strncmp(parameter.name, router, length) &&
            !strcmp(parameter.name + length, ".routing_token"))
            return true;
    }
    return false;
}

/* Routes of a router that the model has not would be passed over in silence. */
static int check_routers(const struct run *run)
{
    for (size_t i = 0; i < colt5_routes_count(run->given); i++) {
        colt5_route route;
        if (colt5_routes_get(run->given, i, &route) != COLT5_OK) return EXIT_INTERNAL;
        if (has_router(run->layer, route.router)) continue;
        complain("%s: the model has no router called %s", run->routes, route.router);
        return EXIT_BAD_INPUT;
    }
    return EXIT_FINE;
}

int run_load_routes(struct run *run)
{
    colt5_context *ctx = run->session.ctx;
    colt5_status status = COLT5_OK;
    if (run->routes_output) status = colt5_routes_create(ctx, &run->chosen);
    if (status == COLT5_OK && run->routes) {
        status = colt5_routes_create(ctx, &run->given);
        if (status == COLT5_OK) status = colt5_routes_load(run->given, run->routes);
        if (status == COLT5_OK) return check_routers(run);
    }
    return status == COLT5_OK ? EXIT_FINE : complain_status(run->session.ctx, status);
}
