/* SPDX-License-Identifier: MIT */
/* Layers, gradients and routes in model folders and safetensors files. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <colt5/safetensors.h>

#include "layers/gradients.h"
#include "layers/layer.h"
#include "layers/routes.h"
#include "runtime/check.h"
#include "runtime/memory.h"

/* The text of a failure that had no context, for the context's caller. */
static colt5_status pass_on(colt5_context *ctx, colt5_status status)
{
    return status == COLT5_OK ? status : fail(ctx, status, "%s", colt5_message(NULL));
}

/* ---- weights ---- */

/* The library computes frequencies itself, in double; a file's are passed over. */
static bool is_ignored(const char *name)
{
    const char *end = strrchr(name, '.');
    return !strcmp(end ? end + 1 : name, "inv_freq");
}

static colt5_status load_parameter(colt5_layer *layer, const colt5_safetensors *file,
                                   const char *path, const struct parameter *parameter)
{
    const colt5_safetensors_entry *entry = colt5_safetensors_find(file, parameter->name);
    REQUIRE(layer->ctx, entry, COLT5_ERROR_FORMAT, "%s: tensor %s is missing", path,
            parameter->name);
    REQUIRE(layer->ctx, entry->readable && entry->type <= COLT5_BF16, COLT5_ERROR_FORMAT,
            "%s: tensor %s is %s, not F32, F16 or BF16", path, parameter->name, entry->dtype);
    return colt5_safetensors_load(layer->ctx, file, entry, &parameter->tensor);
}

static colt5_status load_parameters(colt5_layer *layer, const colt5_safetensors *file,
                                    const char *path)
{
    for (size_t i = 0; i < colt5_safetensors_count(file); i++) {
        const char *name = colt5_safetensors_at(file, i)->name;
        REQUIRE(layer->ctx, is_ignored(name) || parameter_find(&layer->parameters, name),
                COLT5_ERROR_FORMAT, "%s: tensor %s is not one of a %s", path, name,
                colt5_layer_kind_name(layer->config.kind));
    }
    for (size_t i = 0; i < layer->parameters.count; i++)
        CHECK(load_parameter(layer, file, path, layer->parameters.list[i]));
    return COLT5_OK;
}

colt5_status colt5_layer_load_weights(colt5_layer *layer, const char *path)
{
    REQUIRE(layer ? layer->ctx : NULL, layer && path, COLT5_ERROR_ARGUMENT,
            "layer: layer or path is NULL");
    colt5_safetensors *file;
    CHECK(pass_on(layer->ctx, colt5_safetensors_open(path, &file)));
    const colt5_status status = load_parameters(layer, file, path);
    colt5_safetensors_close(file);
    return status;
}

colt5_status colt5_layer_load(colt5_context *ctx, const char *folder, colt5_type type,
                              colt5_layer **layer)
{
    REQUIRE(NULL, ctx && folder && layer, COLT5_ERROR_ARGUMENT, "layer: an argument is NULL");
    *layer = NULL;
    colt5_config config;
    CHECK(pass_on(ctx, colt5_config_read(folder, &config)));
    CHECK(colt5_layer_create(ctx, &config, type, layer));
    const colt5_status status = colt5_layer_load_weights(*layer, folder);
    if (status == COLT5_OK) return status;
    colt5_layer_destroy(*layer);
    *layer = NULL;
    return status;
}

static colt5_status write_tensors(colt5_context *ctx, const char *path,
                                  const colt5_parameter *tensors, size_t count,
                                  const colt5_safetensors_plan *plans)
{
    const char *const metadata[] = {"format", "pt", NULL};
    colt5_safetensors_writer *writer;
    CHECK(pass_on(ctx, colt5_safetensors_create(path, plans, count, metadata, &writer)));
    for (size_t i = 0; i < count; i++) {
        const colt5_status status = colt5_safetensors_store(ctx, writer, i, &tensors[i].tensor);
        if (status == COLT5_OK) continue;
        colt5_safetensors_abandon(writer);
        return status;
    }
    return pass_on(ctx, colt5_safetensors_finish(writer));
}

/* A file of tensors by their names, each in its own type. */
static colt5_status save_tensors(colt5_context *ctx, const char *path,
                                 const colt5_parameter *tensors, size_t count)
{
    colt5_safetensors_plan *plans = host_allocate_zeroed(count, sizeof(*plans));
    REQUIRE(ctx, plans, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    for (size_t i = 0; i < count; i++) {
        plans[i].name = tensors[i].name;
        plans[i].type = tensors[i].tensor.type;
        plans[i].rank = tensors[i].tensor.rank;
        memcpy(plans[i].dims, tensors[i].tensor.dims, sizeof(plans[i].dims));
    }
    const colt5_status status = write_tensors(ctx, path, tensors, count, plans);
    host_release(plans);
    return status;
}

static colt5_status save_weights(colt5_layer *layer, const char *path)
{
    const size_t count = layer->parameters.count;
    colt5_parameter *weights = host_allocate_zeroed(count, sizeof(*weights));
    REQUIRE(layer->ctx, weights, COLT5_ERROR_MEMORY, "layer: no host memory");
    for (size_t i = 0; i < count; i++) (void)colt5_layer_parameter(layer, i, &weights[i]);
    const colt5_status status = save_tensors(layer->ctx, path, weights, count);
    host_release(weights);
    return status;
}

colt5_status colt5_gradients_save(const colt5_gradients *gradients, const char *path)
{
    REQUIRE(NULL, gradients && path, COLT5_ERROR_ARGUMENT, "gradients: an argument is NULL");
    const colt5_layer *layer = gradients_layer(gradients);
    const size_t count = layer->parameters.count;
    colt5_parameter *tensors = host_allocate_zeroed(count, sizeof(*tensors));
    REQUIRE(layer->ctx, tensors, COLT5_ERROR_MEMORY, "gradients: no host memory");
    for (size_t i = 0; i < count; i++) (void)colt5_gradients_get(gradients, i, &tensors[i]);
    const colt5_status status = save_tensors(layer->ctx, path, tensors, count);
    host_release(tensors);
    return status;
}

colt5_status colt5_layer_save(colt5_layer *layer, const char *folder)
{
    REQUIRE(layer ? layer->ctx : NULL, layer && folder, COLT5_ERROR_ARGUMENT,
            "layer: layer or folder is NULL");
    char path[4096];
    const int length = snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    REQUIRE(layer->ctx, length > 0 && (size_t)length < sizeof(path), COLT5_ERROR_FILE,
            "%s: the path is too long", folder);
    REQUIRE(layer->ctx, mkdir(folder, 0777) == 0 || errno == EEXIST, COLT5_ERROR_FILE,
            "%s: cannot be made: %s", folder, strerror(errno));
    CHECK(save_weights(layer, path));
    return pass_on(layer->ctx, colt5_config_write(folder, &layer->config));
}

/* ---- routes ---- */

#define INDICES ".indices"
#define SCORES  ".scores"

static bool ends_with(const char *name, const char *end)
{
    const size_t length = strlen(name), tail = strlen(end);
    return length > tail && !strcmp(name + length - tail, end);
}

/* Host copies of one router's tensors. */
struct host_route {
    char router[256];
    int32_t *index;
    float *scores;
};

static colt5_status read_route(colt5_context *ctx, const colt5_safetensors *file, const char *path,
                               const colt5_safetensors_entry *indices, struct host_route *host)
{
    const size_t length = strlen(indices->name) - strlen(INDICES);
    REQUIRE(ctx, length + sizeof(SCORES) <= sizeof(host->router), COLT5_ERROR_FORMAT,
            "%s: the name %.80s is too long", path, indices->name);
    snprintf(host->router, sizeof(host->router), "%.*s" SCORES, (int)length, indices->name);
    const colt5_safetensors_entry *scores = colt5_safetensors_find(file, host->router);
    REQUIRE(ctx, scores, COLT5_ERROR_FORMAT, "%s: tensor %s is missing", path, host->router);
    REQUIRE(ctx, indices->readable && indices->type == COLT5_I32 && indices->rank == 3,
            COLT5_ERROR_FORMAT, "%s: tensor %s is not I32 of rank 3", path, indices->name);
    REQUIRE(ctx,
            scores->readable && scores->type == COLT5_F32 && scores->rank == 3 &&
                !memcmp(scores->dims, indices->dims, 3 * sizeof(scores->dims[0])),
            COLT5_ERROR_FORMAT, "%s: tensor %s is not F32 of the shape of the indices", path,
            scores->name);
    host->router[length] = '\0';
    host->index = host_allocate_zeroed(indices->count, sizeof(*host->index));
    host->scores = host_allocate_zeroed(scores->count, sizeof(*host->scores));
    REQUIRE(ctx, host->index && host->scores, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    CHECK(pass_on(
        ctx, colt5_safetensors_read(file, indices, COLT5_I32, 0, indices->count, host->index)));
    return pass_on(ctx,
                   colt5_safetensors_read(file, scores, COLT5_F32, 0, scores->count, host->scores));
}

static colt5_status load_route(colt5_routes *into, const colt5_safetensors *file, const char *path,
                               const colt5_safetensors_entry *entry)
{
    colt5_context *ctx = routes_context(into);
    if (!ends_with(entry->name, INDICES)) {
        REQUIRE(ctx, ends_with(entry->name, SCORES), COLT5_ERROR_FORMAT,
                "%s: tensor %s is neither indices nor scores", path, entry->name);
        return COLT5_OK;
    }
    struct host_route host = {.index = NULL};
    colt5_status status = read_route(ctx, file, path, entry, &host);
    if (status == COLT5_OK)
        status = colt5_routes_put(into, host.router, entry->dims[0], entry->dims[1], entry->dims[2],
                                  host.index, host.scores);
    host_release(host.index);
    host_release(host.scores);
    return status;
}

colt5_status colt5_routes_load(colt5_routes *routes, const char *path)
{
    REQUIRE(NULL, routes && path, COLT5_ERROR_ARGUMENT, "routes: routes or path is NULL");
    colt5_context *ctx = routes_context(routes);
    colt5_safetensors *file;
    colt5_routes *loaded = NULL;
    CHECK(pass_on(ctx, colt5_safetensors_open(path, &file)));
    colt5_status status;
    TRY(colt5_routes_create(ctx, &loaded));
    for (size_t i = 0; i < colt5_safetensors_count(file); i++)
        TRY(load_route(loaded, file, path, colt5_safetensors_at(file, i)));
    TRY(routes_merge(routes, loaded));
out:
    colt5_routes_destroy(loaded);
    colt5_safetensors_close(file);
    return status;
}

/* Two plans an entry: indices and scores, their names joined in one block. */
static colt5_status plan_routes(const colt5_routes *routes, colt5_safetensors_plan *plans,
                                char (*names)[256])
{
    for (size_t i = 0; i < colt5_routes_count(routes); i++) {
        colt5_route route;
        CHECK(colt5_routes_get(routes, i, &route));
        for (size_t part = 0; part < 2; part++) {
            const colt5_tensor *tensor = part ? &route.scores : &route.index;
            colt5_safetensors_plan *plan = &plans[2 * i + part];
            snprintf(names[2 * i + part], sizeof(*names), "%.240s%s", route.router,
                     part ? SCORES : INDICES);
            plan->name = names[2 * i + part];
            plan->type = tensor->type;
            plan->rank = tensor->rank;
            memcpy(plan->dims, tensor->dims, sizeof(plan->dims));
        }
    }
    return COLT5_OK;
}

static colt5_status write_routes(const colt5_routes *routes, const char *path,
                                 const colt5_safetensors_plan *plans)
{
    colt5_context *ctx = routes_context(routes);
    const size_t count = colt5_routes_count(routes);
    colt5_safetensors_writer *writer;
    CHECK(pass_on(ctx, colt5_safetensors_create(path, plans, 2 * count, NULL, &writer)));
    for (size_t i = 0; i < 2 * count; i++) {
        colt5_route route;
        colt5_status status = colt5_routes_get(routes, i / 2, &route);
        if (status == COLT5_OK)
            status = colt5_safetensors_store(ctx, writer, i, i % 2 ? &route.scores : &route.index);
        if (status == COLT5_OK) continue;
        colt5_safetensors_abandon(writer);
        return status;
    }
    return pass_on(ctx, colt5_safetensors_finish(writer));
}

colt5_status colt5_routes_save(const colt5_routes *routes, const char *path)
{
    REQUIRE(NULL, routes && path, COLT5_ERROR_ARGUMENT, "routes: routes or path is NULL");
    const size_t count = 2 * colt5_routes_count(routes);
    colt5_safetensors_plan *plans = host_allocate_zeroed(count, sizeof(*plans));
    char(*names)[256] = host_allocate_zeroed(count, sizeof(*names));
    colt5_status status = COLT5_ERROR_MEMORY;
    if (plans && names) status = plan_routes(routes, plans, names);
    if (status == COLT5_OK) status = write_routes(routes, path, plans);
    if (!plans || !names) fail(routes_context(routes), status, "%s: no host memory", path);
    host_release(plans);
    host_release(names);
    return status;
}
