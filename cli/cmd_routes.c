/* SPDX-License-Identifier: MIT */
/* colt5 routes: which tokens of a text went to the heavy branches. */
#include <jansson.h>
#include <stdlib.h>

#include "commands.h"
#include "routing.h"

struct routes_call {
    struct session session;
    const char *text_path, *html, *png;
    bool json;
    colt5_type type;
    colt5_math math;
    uint64_t seed;
    struct list set;

    colt5_layer *layer;
    char *text;
    colt5_tensor ids, y;
    colt5_routes *chosen;
    colt5_token_counts counts;
    struct routing routing;
};

static int load(struct routes_call *call, const char *model)
{
    colt5_context_set_math(call->session.ctx, call->math);
    int code = load_model(call->session.ctx, model, call->type, &call->layer);
    if (code != EXIT_FINE) return code;
    const colt5_config *config = colt5_layer_config(call->layer);
    if (!takes_text(call->layer)) {
        complain("%s: is a %s, which reads no text", model, colt5_layer_kind_name(config->kind));
        return EXIT_BAD_INPUT;
    }
    struct routing *routing = &call->routing;
    code = set_counts(&call->set, config->kind, &call->counts);
    if (code == EXIT_FINE) code = read_text(call->text_path, &call->text, &routing->tokens);
    if (code == EXIT_FINE)
        code = place_text(call->session.ctx, call->text, 1, routing->tokens, &call->ids);
    routing->title = call->text_path;
    routing->text = (const unsigned char *)call->text;
    routing->layers = config->depth;
    return code;
}

static int forward(struct routes_call *call)
{
    colt5_context *ctx = call->session.ctx;
    const size_t dims[] = {1, call->routing.tokens, output_width(call->layer)};
    colt5_status status = colt5_tensor_create(ctx, call->type, 3, dims, &call->y);
    if (status == COLT5_OK) status = colt5_routes_create(ctx, &call->chosen);
    if (status == COLT5_OK)
        status = colt5_layer_forward(ctx, call->layer,
                                     &(colt5_forward){.struct_size = sizeof(colt5_forward),
                                                      .x = &call->ids,
                                                      .y = &call->y,
                                                      .seed = call->seed,
                                                      .num_heavy_tokens = call->counts,
                                                      .chosen = call->chosen});
    show_progress("running", 0, 0);
    if (status == COLT5_OK) status = colt5_context_finish(ctx);
    end_progress();
    if (status != COLT5_OK) return complain_status(ctx, status);
    return collect_routing(ctx, call->chosen, &call->routing);
}

static int write_files(const struct routes_call *call)
{
    if (interrupted()) return EXIT_INTERRUPTED;
    int code = call->html ? write_routing_html(&call->routing, call->html) : EXIT_FINE;
    if (code == EXIT_FINE && call->png) code = write_routing_png(&call->routing, call->png);
    return code;
}

/* "layer 0 query        space 93%  , 88% …  |  … x 0%" */
static void print_picked(const struct routing *routing)
{
    struct picked list[256];
    printf("share of each byte that a router picked, the most and the least:\n");
    for (size_t i = 0; i < routing->layers * ROLES; i++) {
        const size_t count = list_picked(routing, &routing->branches[i], list);
        const size_t shown = count / 2 < PICKED_SHOWN ? count / 2 : PICKED_SHOWN;
        if (!routing->branches[i].routed || shown == 0) continue;
        printf("layer %zu %-12s", i / ROLES, role_names[i % ROLES]);
        for (size_t k = 0; k < shown; k++)
            printf(" %s %.0f%%", byte_name(list[k].byte), list[k].share);
        printf("  …");
        for (size_t k = count - shown; k < count; k++)
            printf(" %s %.0f%%", byte_name(list[k].byte), list[k].share);
        putchar('\n');
    }
}

static void print_text(const struct routes_call *call)
{
    const struct routing *routing = &call->routing;
    printf("tokens each branch saw, of %zu:\n%-8s %10s", routing->tokens, "layer", "light");
    for (int role = 0; role < ROLES; role++) printf(" %14s", role_names[role]);
    putchar('\n');
    for (size_t layer = 0; layer < routing->layers; layer++) {
        printf("%-8zu %10zu", layer, routing->tokens);
        for (int role = 0; role < ROLES; role++)
            printf(" %14zu", branch_of(routing, layer, (enum router_role)role)->distinct);
        putchar('\n');
    }
    print_picked(routing);
    if (call->html) printf("%s\n", call->html);
    if (call->png) printf("%s\n", call->png);
}

static json_t *branch_json(const struct branch *branch, size_t tokens)
{
    json_t *index = json_array();
    for (size_t n = 0; n < tokens; n++)
        if (branch->heavy[n]) json_array_append_new(index, json_integer((json_int_t)n));
    return json_pack("{s:b, s:I, s:I, s:I, s:o}", "routed", branch->routed, "routes",
                     (json_int_t)branch->routes, "heavy_tokens", (json_int_t)branch->chosen,
                     "distinct", (json_int_t)branch->distinct, "index", index);
}

static json_t *layers_json(const struct routing *routing)
{
    json_t *list = json_array();
    for (size_t layer = 0; layer < routing->layers; layer++) {
        json_t *object = json_pack("{s:I, s:I}", "layer", (json_int_t)layer, "light_tokens",
                                   (json_int_t)routing->tokens);
        for (int role = 0; role < ROLES; role++)
            json_object_set_new(
                object, role_names[role],
                branch_json(branch_of(routing, layer, (enum router_role)role), routing->tokens));
        json_array_append_new(list, object);
    }
    return list;
}

static int print_json(const struct routes_call *call)
{
    json_t *object =
        json_pack("{s:I, s:o, s:s?, s:s?}", "tokens", (json_int_t)call->routing.tokens, "layers",
                  layers_json(&call->routing), "html", call->html, "png", call->png);
    const int failed = !object || json_dumpf(object, stdout, JSON_INDENT(1));
    putchar('\n');
    json_decref(object);
    return failed ? EXIT_INTERNAL : EXIT_FINE;
}

static void release(struct routes_call *call)
{
    colt5_context *ctx = call->session.ctx;
    release_routing(&call->routing);
    free(call->text);
    if (!ctx) return;
    colt5_routes_destroy(call->chosen);
    colt5_tensor_free(ctx, &call->ids);
    colt5_tensor_free(ctx, &call->y);
    colt5_layer_destroy(call->layer);
    close_session(&call->session);
}

int routes_command(int count, char **arguments)
{
    struct routes_call call = {.type = COLT5_F32};
    const struct option options[] = {
        {"text", OPTION_TEXT, &call.text_path, "FILE", "the text"},
        {"html", OPTION_TEXT, &call.html, "FILE", "the text with its heavy tokens marked, a page"},
        {"png", OPTION_TEXT, &call.png, "FILE", "layers by positions, a picture"},
        {"json", OPTION_FLAG, &call.json, NULL, "the routed positions as JSON"},
        {"set", OPTION_LIST, &call.set, "NAME=K",
         "another number of heavy tokens; may be repeated"},
        {"seed", OPTION_SEED, &call.seed, "S", "of noise and random routes [0]"},
        {"dtype", OPTION_TYPE, &call.type, "TYPE",
         "of weights and activations: f32 [f32], f16, bf16"},
        {"math", OPTION_MATH, &call.math, "MODE",
         "float32 products: strict [strict], or fast (tf32)"},
        SESSION_OPTIONS(&call.session),
        {NULL},
    };
    struct operands operands;
    int code;
    if (!parse_options(find_command("routes"), options, count, arguments, 1, 1, &operands, &code))
        return code;
    if (!call.text_path) {
        complain("routes wants --text FILE");
        return EXIT_USAGE;
    }
    code = open_session(&call.session);
    if (code == EXIT_FINE) code = load(&call, operands.items[0]);
    if (code == EXIT_FINE) code = forward(&call);
    if (code == EXIT_FINE) code = write_files(&call);
    if (code == EXIT_FINE && call.json)
        code = print_json(&call);
    else if (code == EXIT_FINE)
        print_text(&call);
    release(&call);
    return code;
}
