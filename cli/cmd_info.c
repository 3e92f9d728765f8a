/* SPDX-License-Identifier: MIT */
/* colt5 info: what is in a model folder, and what a forward would take. */
#include <jansson.h>
#include <stdlib.h>

#include "cli.h"
#include "commands.h"

struct info {
    struct session session;
    colt5_type type;
    size_t batch, seq;
    bool json;
    colt5_layer *layer;
    colt5_safetensors *file;
    colt5_routes *routes; /* planned: shapes alone */
    colt5_plan plan;
    size_t parameters, bytes;
};

static colt5_status plan(struct info *info)
{
    const bool text = takes_text(info->layer);
    const size_t dims[] = {info->batch, info->seq, output_width(info->layer)};
    const colt5_tensor y = colt5_tensor_wrap(NULL, 0, info->type, 3, dims);
    const colt5_tensor ids = colt5_tensor_wrap(NULL, 0, COLT5_I32, 2, dims);
    const colt5_forward forward = {
        .struct_size = sizeof(forward), .x = text ? &ids : &y, .y = &y, .chosen = info->routes};
    return colt5_layer_plan(info->session.ctx, info->layer, &forward, &info->plan);
}

static void count_parameters(struct info *info)
{
    for (size_t i = 0; i < colt5_layer_parameter_count(info->layer); i++) {
        colt5_parameter parameter;
        if (colt5_layer_parameter(info->layer, i, &parameter) != COLT5_OK) return;
        info->parameters += colt5_tensor_count(&parameter.tensor);
    }
    info->bytes = info->parameters * colt5_type_size(info->type);
}

/* The type a tensor has in the file. */
static const char *stored_type(const struct info *info, const char *name)
{
    const colt5_safetensors_entry *entry = colt5_safetensors_find(info->file, name);
    return entry ? entry->dtype : "?";
}

static void print_dims(const colt5_tensor *tensor)
{
    for (int i = 0; i < tensor->rank; i++) printf("%s%zu", i ? "x" : "", tensor->dims[i]);
}

static int print_text(const struct info *info, const char *config)
{
    printf("%s\n", config);
    for (size_t i = 0; i < colt5_layer_parameter_count(info->layer); i++) {
        colt5_parameter parameter;
        if (colt5_layer_parameter(info->layer, i, &parameter) != COLT5_OK) return EXIT_INTERNAL;
        printf("%-56s %-5s ", parameter.name, stored_type(info, parameter.name));
        print_dims(&parameter.tensor);
        putchar('\n');
    }
    printf("\nparameters: %zu (%s as %s)\n", info->parameters, human_bytes((double)info->bytes),
           colt5_type_name(info->type));
    printf("a forward of %zu x %zu tokens: %s of scratch, %llu kernels, %.4g GFLOP\n", info->batch,
           info->seq, human_bytes((double)info->plan.scratch),
           (unsigned long long)info->plan.launches, (double)info->plan.flop * 1e-9);
    printf("light branches see all %zu tokens of a sequence; heavy branches:\n", info->seq);
    for (size_t i = 0; i < colt5_routes_count(info->routes); i++) {
        colt5_route route;
        if (colt5_routes_get(info->routes, i, &route) != COLT5_OK) return EXIT_INTERNAL;
        printf("  %-54s %zu", route.router, route.index.dims[2]);
        if (route.index.dims[1] > 1) printf(" on each of %zu routes", route.index.dims[1]);
        putchar('\n');
    }
    if (colt5_routes_count(info->routes) == 0) printf("  all tokens: nothing is routed\n");
    return EXIT_FINE;
}

static json_t *tensors_json(const struct info *info)
{
    json_t *list = json_array();
    for (size_t i = 0; i < colt5_layer_parameter_count(info->layer); i++) {
        colt5_parameter parameter;
        if (colt5_layer_parameter(info->layer, i, &parameter) != COLT5_OK) break;
        json_t *shape = json_array();
        for (int d = 0; d < parameter.tensor.rank; d++)
            json_array_append_new(shape, json_integer((json_int_t)parameter.tensor.dims[d]));
        json_array_append_new(list, json_pack("{s:s, s:s, s:o}", "name", parameter.name, "type",
                                              stored_type(info, parameter.name), "shape", shape));
    }
    return list;
}

static json_t *routers_json(const struct info *info)
{
    json_t *list = json_array();
    for (size_t i = 0; i < colt5_routes_count(info->routes); i++) {
        colt5_route route;
        if (colt5_routes_get(info->routes, i, &route) != COLT5_OK) break;
        json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "router", route.router, "routes",
                                              (json_int_t)route.index.dims[1], "heavy_tokens",
                                              (json_int_t)route.index.dims[2]));
    }
    return list;
}

static int print_json(const struct info *info, const char *config)
{
    json_t *object =
        json_pack("{s:o, s:o, s:I, s:I, s:s, s:I, s:I, s:I, s:I, s:I, s:o}", "config",
                  json_loads(config, 0, NULL), "tensors", tensors_json(info), "parameters",
                  (json_int_t)info->parameters, "parameter_bytes", (json_int_t)info->bytes, "dtype",
                  colt5_type_name(info->type), "batch", (json_int_t)info->batch, "seq",
                  (json_int_t)info->seq, "scratch_bytes", (json_int_t)info->plan.scratch,
                  "launches", (json_int_t)info->plan.launches, "flop", (json_int_t)info->plan.flop,
                  "routers", routers_json(info));
    const int failed = !object || json_dumpf(object, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(object);
    return failed ? EXIT_INTERNAL : EXIT_FINE;
}

static int show(struct info *info, const char *model)
{
    colt5_context *ctx = info->session.ctx;
    char *config = NULL;
    int code = load_model(ctx, model, info->type, &info->layer);
    if (code != EXIT_FINE) return code;
    colt5_status status = colt5_safetensors_open(model, &info->file);
    if (status != COLT5_OK) return complain_status(NULL, status);
    status = colt5_routes_create(ctx, &info->routes);
    if (status == COLT5_OK) status = plan(info);
    if (status != COLT5_OK) return complain_status(ctx, status);
    count_parameters(info);
    status = colt5_config_text(colt5_layer_config(info->layer), &config);
    if (status != COLT5_OK) return complain_status(NULL, status);
    code = info->json ? print_json(info, config) : print_text(info, config);
    colt5_text_free(config);
    return code;
}

int info_command(int count, char **arguments)
{
    struct info info = {.type = COLT5_F32, .batch = 1, .seq = 4096};
    const struct option options[] = {
        {"batch", OPTION_COUNT, &info.batch, "B", "sequences of the planned forward [1]"},
        {"seq", OPTION_COUNT, &info.seq, "N", "tokens of each [4096]"},
        {"dtype", OPTION_TYPE, &info.type, "TYPE", "it is run in: f32 [f32], f16, bf16"},
        {"json", OPTION_FLAG, &info.json, NULL, "as JSON"},
        SESSION_OPTIONS(&info.session),
        {NULL},
    };
    struct operands operands;
    int code;
    if (!parse_options(find_command("info"), options, count, arguments, 1, 1, &operands, &code))
        return code;
    code = open_session(&info.session);
    if (code == EXIT_FINE) code = show(&info, operands.items[0]);
    colt5_safetensors_close(info.file);
    colt5_routes_destroy(info.routes);
    colt5_layer_destroy(info.layer);
    close_session(&info.session);
    return code;
}
