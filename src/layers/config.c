/* SPDX-License-Identifier: MIT */
/* The arguments of layers: which kind takes which key, its default and its range. */
#include "layers/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/json.h"
#include "runtime/memory.h"

static const char *const kind_names[] = {
#define NAME(constant, text) text,
    COLT5_LAYER_KIND_LIST(NAME)
#undef NAME
        NULL};

static const char *const router_names[] = {
#define NAME(constant, text) text,
    COLT5_ROUTER_LIST(NAME)
#undef NAME
        NULL};

#define KINDS ((int)(sizeof(kind_names) / sizeof(kind_names[0])) - 1)

/* Sets of kinds. */
enum {
    FF = 1 << COLT5_FEED_FORWARD,
    ATTENTION = 1 << COLT5_ATTENTION,
    BLOCK = 1 << COLT5_TRANSFORMER_BLOCK,
    TEXT = 1 << COLT5_TEXT_ENCODER | 1 << COLT5_MASKED_LANGUAGE_MODEL,
    ENCODERS = 1 << COLT5_ENCODER | TEXT,
    BLOCKS = BLOCK | ENCODERS,
    WITH_FF = FF | BLOCKS,
    WITH_ATTENTION = ATTENTION | BLOCKS,
    ALL = FF | ATTENTION | BLOCKS
};

const char *colt5_layer_kind_name(colt5_layer_kind kind)
{
    return (int)kind >= 0 && (int)kind < KINDS ? kind_names[kind] : "?";
}

/* ---- tables ---- */

#define TOKENS_MOST 4294967296.0 /* 2^32 */

/* Options of a router, by the types that take them. */
struct router_key {
    unsigned types;
    struct field field;
};

enum {
    DESCENT = 1 << COLT5_ROUTER_COOR_DESCENT,
    SINKHORN = 1 << COLT5_ROUTER_SINKHORN,
    CUMULATIVE = 1 << COLT5_ROUTER_CUM_SOFTMAX,
    ANY_ROUTER = DESCENT | SINKHORN | CUMULATIVE
};

#define ROUTER(member) AT(colt5_router_config, member)

static const struct router_key router_keys[] = {
    {DESCENT, {"fetch_k_ratio", FIELD_DOUBLE, ROUTER(fetch_k_ratio), .least = 1, .most = 1e6}},
    {DESCENT, {"eps", FIELD_DOUBLE, ROUTER(eps), .least = 0, .most = 1e6, .above = true}},
    {DESCENT, {"eps_init", FIELD_DOUBLE, ROUTER(eps_init), .least = 0, .most = 1e6, .above = true}},
    {DESCENT, {"eps_decay", FIELD_DOUBLE, ROUTER(eps_decay), .least = 0, .most = 1, .above = true}},
    {DESCENT, {"cosine_sim_routing", FIELD_FLAG, ROUTER(cosine_sim_routing)}},
    {DESCENT,
     {"cosine_sim_scale", FIELD_DOUBLE, ROUTER(cosine_sim_scale), .least = -1e6, .most = 1e6}},
    {DESCENT,
     {"route_block_size", FIELD_COUNT, ROUTER(route_block_size), .least = 1, .most = TOKENS_MOST,
      .nullable = true}},
    {DESCENT | SINKHORN, {"n_iters", FIELD_INT, ROUTER(n_iters), .least = 1, .most = 10000}},
    {SINKHORN | CUMULATIVE,
     {"temperature", FIELD_DOUBLE, ROUTER(temperature), .least = 0, .most = 1e6, .above = true}},
    {SINKHORN, {"log_scores", FIELD_FLAG, ROUTER(log_scores)}},
    {ANY_ROUTER, {"use_triton", FIELD_IGNORED}},
    {ANY_ROUTER, {"triton_checkpoint_segments", FIELD_IGNORED}},
};
#define ROUTER_KEYS (sizeof(router_keys) / sizeof(router_keys[0]))

/* Keys of a layer, by the kinds that take them. */
struct key {
    int kinds;
    struct field field;
    bool required;
};

#define LAYER(member)  AT(colt5_config, member)
#define TOKENS(member) FIELD_COUNT, LAYER(member), .least = 1, .most = TOKENS_MOST

static const struct key keys[] = {
    {ALL, {"dim", FIELD_COUNT, LAYER(dim), .least = 1, .most = 1048576}, true},
    {ENCODERS, {"depth", FIELD_COUNT, LAYER(depth), .least = 1, .most = 4096}, true},
    {TEXT, {"vocab_size", FIELD_COUNT, LAYER(vocab_size), .least = 1, .most = 16777216}},
    {FF, {"num_heavy_tokens", TOKENS(num_heavy_tokens_ff)}, true},
    {BLOCKS, {"num_heavy_ff_tokens", TOKENS(num_heavy_tokens_ff)}, true},
    {ATTENTION, {"num_heavy_tokens_q", TOKENS(num_heavy_tokens_q)}, true},
    {ATTENTION, {"num_heavy_tokens_kv", TOKENS(num_heavy_tokens_kv)}, true},
    {BLOCKS, {"num_heavy_attn_tokens_q", TOKENS(num_heavy_tokens_q)}, true},
    {BLOCKS, {"num_heavy_attn_tokens_kv", TOKENS(num_heavy_tokens_kv)}, true},
    {ATTENTION,
     {"num_heavy_tokens", TOKENS(num_heavy_tokens_q), .instead_of = "num_heavy_tokens_q"}},
    {ATTENTION,
     {"num_heavy_tokens", TOKENS(num_heavy_tokens_kv), .instead_of = "num_heavy_tokens_kv"}},
    {BLOCKS,
     {"num_heavy_attn_tokens", TOKENS(num_heavy_tokens_q),
      .instead_of = "num_heavy_attn_tokens_q"}},
    {BLOCKS,
     {"num_heavy_attn_tokens", TOKENS(num_heavy_tokens_kv),
      .instead_of = "num_heavy_attn_tokens_kv"}},
    {WITH_FF,
     {"light_ff_mult", FIELD_DOUBLE, LAYER(light_ff_mult), .least = 0, .most = 1024,
      .above = true}},
    {WITH_FF,
     {"heavy_ff_mult", FIELD_DOUBLE, LAYER(heavy_ff_mult), .least = 0, .most = 1024,
      .above = true}},
    {WITH_ATTENTION,
     {"num_routed_kv", FIELD_COUNT, LAYER(num_routed_kv), .least = 1, .most = 4096}},
    {WITH_ATTENTION, {"has_light_attn", FIELD_FLAG, LAYER(has_light_attn)}},
    {WITH_ATTENTION,
     {"light_dim_head", FIELD_COUNT, LAYER(light_dim_head), .least = 1, .most = 256}},
    {WITH_ATTENTION, {"light_heads", FIELD_COUNT, LAYER(light_heads), .least = 1, .most = 4096}},
    {WITH_ATTENTION,
     {"light_window_size", FIELD_COUNT, LAYER(light_window_size), .least = 2, .most = TOKENS_MOST}},
    {WITH_ATTENTION, {"light_rotary_emb", FIELD_FLAG, LAYER(light_rotary_emb)}},
    {WITH_ATTENTION,
     {"heavy_dim_head", FIELD_COUNT, LAYER(heavy_dim_head), .least = 1, .most = 256}},
    {WITH_ATTENTION, {"heavy_heads", FIELD_COUNT, LAYER(heavy_heads), .least = 1, .most = 4096}},
    {WITH_ATTENTION, {"rotary_emb", FIELD_FLAG, LAYER(rotary_emb)}},
    {WITH_ATTENTION, {"multiply_keys_by_score", FIELD_FLAG, LAYER(multiply_keys_by_score)}},
    {WITH_ATTENTION, {"multiply_queries_by_score", FIELD_FLAG, LAYER(multiply_queries_by_score)}},
    {WITH_ATTENTION, {"use_null_q_tokens", FIELD_FLAG, LAYER(use_null_q_tokens)}},
    {ALL, {"router_type", FIELD_CHOICE, LAYER(router.type), .choices = router_names}},
    {ALL, {"router_straight_through", FIELD_FLAG, LAYER(router.straight_through)}},
    {ALL, {"random_route", FIELD_FLAG, LAYER(router.random_route)}},
    {ALL, {"type", FIELD_IGNORED}},
    {ALL, {"use_triton", FIELD_IGNORED}},
    {ALL, {"use_flash_attn", FIELD_IGNORED}},
    {ALL, {"flash_attn", FIELD_IGNORED}},
    {ALL, {"router_use_triton", FIELD_IGNORED}},
    {ALL, {"triton_checkpoint_segments", FIELD_IGNORED}},
};
#define KEYS (sizeof(keys) / sizeof(keys[0]))

/* The tables of one kind and one router type, for io/json.h. */
struct tables {
    struct field router[ROUTER_KEYS + 1];
    struct field layer[KEYS + 2]; /* router_kwargs too */
};

static void make_tables(struct tables *tables, colt5_layer_kind kind, colt5_router_type type)
{
    memset(tables, 0, sizeof(*tables));
    size_t count = 0;
    for (size_t i = 0; i < ROUTER_KEYS; i++)
        if (router_keys[i].types & (1u << type)) tables->router[count++] = router_keys[i].field;
    count = 0;
    for (size_t i = 0; i < KEYS; i++)
        if (keys[i].kinds & (1 << kind)) tables->layer[count++] = keys[i].field;
    tables->layer[count] =
        (struct field){"router_kwargs", FIELD_OBJECT, LAYER(router), .fields = tables->router};
}

/* ---- defaults ---- */

static void fill_router_defaults(colt5_router_config *router)
{
    if (router->n_iters == 0) router->n_iters = router->type == COLT5_ROUTER_SINKHORN ? 8 : 20;
    if (router->temperature == 0)
        router->temperature = router->type == COLT5_ROUTER_SINKHORN ? 0.7 : 1;
}

colt5_config colt5_config_default(colt5_layer_kind kind)
{
    const bool text = kind == COLT5_TEXT_ENCODER || kind == COLT5_MASKED_LANGUAGE_MODEL;
    return (colt5_config){
        .struct_size = sizeof(colt5_config),
        .kind = kind,
        .light_ff_mult = 0.5,
        .heavy_ff_mult = 4,
        .num_routed_kv = 1,
        .has_light_attn = 1,
        .light_dim_head = 64,
        .light_heads = 8,
        .light_window_size = 128,
        .light_rotary_emb = text,
        .heavy_dim_head = 64,
        .heavy_heads = 8,
        .rotary_emb = text,
        .use_null_q_tokens = 1,
        .vocab_size = 258,
        .router = {.straight_through = 1,
                   .fetch_k_ratio = 9.0 / 8,
                   .eps = 0.03,
                   .eps_init = 4,
                   .eps_decay = 0.7,
                   .cosine_sim_scale = 8},
    };
}

/* ---- checks ---- */

static double value_of(const struct field *field, const void *base)
{
    const char *member = (const char *)base + field->offset;
    switch (field->kind) {
    case FIELD_FLAG:
    case FIELD_CHOICE:
    case FIELD_INT:
        return *(const int *)member;
    case FIELD_COUNT:
        return (double)*(const size_t *)member;
    case FIELD_DOUBLE:
        return *(const double *)member;
    default:
        return 0;
    }
}

static colt5_status check_field(const char *where, const struct field *field, const void *base)
{
    double least = field->least, most = field->most;
    switch (field->kind) {
    case FIELD_INT:
    case FIELD_COUNT:
    case FIELD_DOUBLE:
        break;
    case FIELD_FLAG:
        most = 1;
        break;
    case FIELD_CHOICE:
        for (most = -1; field->choices[(int)most + 1];) most++;
        break;
    default:
        return COLT5_OK;
    }
    const double value = value_of(field, base);
    if (field->nullable && value == 0) return COLT5_OK;
    REQUIRE(NULL, value >= least && value <= most && !(field->above && value == least),
            COLT5_ERROR_CONFIG, "%s: %s is %g, not %s %g to %g", where, field->name, value,
            field->above ? "above" : "in", least, most);
    return COLT5_OK;
}

static colt5_status check_fields(const char *where, const struct field *fields, const void *base)
{
    for (; fields->name; fields++) {
        const char *member = (const char *)base + fields->offset;
        const colt5_status status = fields->kind == FIELD_OBJECT
                                        ? check_fields(where, fields->fields, member)
                                        : check_field(where, fields, base);
        if (status != COLT5_OK) return status;
    }
    return COLT5_OK;
}

static colt5_status check_together(const char *where, const colt5_config *config)
{
    if (WITH_ATTENTION & (1 << config->kind)) {
        REQUIRE(NULL, config->heavy_heads % config->num_routed_kv == 0, COLT5_ERROR_CONFIG,
                "%s: num_routed_kv is %zu, which does not divide heavy_heads, %zu", where,
                config->num_routed_kv, config->heavy_heads);
        REQUIRE(NULL, !config->rotary_emb || config->heavy_dim_head % 2 == 0, COLT5_ERROR_CONFIG,
                "%s: heavy_dim_head is %zu, and rotary_emb needs an even one", where,
                config->heavy_dim_head);
        const bool odd = config->light_dim_head % 2 != 0;
        REQUIRE(NULL, !(config->light_rotary_emb && odd), COLT5_ERROR_CONFIG,
                "%s: light_dim_head is %zu, and light_rotary_emb needs an even one", where,
                config->light_dim_head);
    }
    if (WITH_FF & (1 << config->kind))
        REQUIRE(NULL,
                (double)config->dim * config->light_ff_mult >= 1 &&
                    (double)config->dim * config->heavy_ff_mult >= 1,
                COLT5_ERROR_CONFIG,
                "%s: light_ff_mult and heavy_ff_mult times dim (%zu) must be at least 1", where,
                config->dim);
    return COLT5_OK;
}

colt5_status config_check_filled(colt5_config *config)
{
    REQUIRE(NULL, config->struct_size == sizeof(*config), COLT5_ERROR_ARGUMENT,
            "config: struct_size is %zu, not %zu", config->struct_size, sizeof(*config));
    const char *where = colt5_layer_kind_name(config->kind);
    REQUIRE(NULL, *where != '?', COLT5_ERROR_CONFIG, "config: kind is %d, which is none",
            (int)config->kind);
    REQUIRE(NULL, (unsigned)config->router.type <= COLT5_ROUTER_CUM_SOFTMAX, COLT5_ERROR_CONFIG,
            "%s: router_type is %d, which is none", where, (int)config->router.type);
    fill_router_defaults(&config->router);
    struct tables tables;
    make_tables(&tables, config->kind, config->router.type);
    const colt5_status status = check_fields(where, tables.layer, config);
    return status == COLT5_OK ? check_together(where, config) : status;
}

colt5_status colt5_config_check(const colt5_config *config)
{
    REQUIRE(NULL, config, COLT5_ERROR_ARGUMENT, "config: config is NULL");
    colt5_config copy = *config;
    return config_check_filled(&copy);
}

/* ---- files ---- */

static int place_of(const char *const *names, const char *name)
{
    for (int i = 0; names[i]; i++)
        if (!strcmp(names[i], name)) return i;
    return -1;
}

static colt5_status check_required(const char *where, const json_t *object, colt5_layer_kind kind)
{
    for (size_t i = 0; i < KEYS; i++) {
        if (!keys[i].required || !(keys[i].kinds & (1 << kind))) continue;
        bool given = json_object_get(object, keys[i].field.name) != NULL;
        for (size_t j = 0; j < KEYS && !given; j++)
            given = keys[j].field.instead_of && keys[j].kinds & (1 << kind) &&
                    !strcmp(keys[j].field.instead_of, keys[i].field.name) &&
                    json_object_get(object, keys[j].field.name);
        REQUIRE(NULL, given, COLT5_ERROR_CONFIG, "%s: %s is missing", where, keys[i].field.name);
    }
    return COLT5_OK;
}

/* The router type decides which router_kwargs there are, so it is looked at first. */
static colt5_router_type peek_router(const json_t *object)
{
    const char *name = json_string_value(json_object_get(object, "router_type"));
    const int place = name ? place_of(router_names, name) : 0;
    return place < 0 ? COLT5_ROUTER_COOR_DESCENT : (colt5_router_type)place;
}

colt5_status config_parse(const char *name, const json_t *object, colt5_config *config)
{
    const char *type;
    colt5_status status = json_read_string(name, object, "type", &type);
    if (status != COLT5_OK) return status;
    const int kind = place_of(kind_names, type);
    REQUIRE(NULL, kind >= 0, COLT5_ERROR_CONFIG, "%s: type is \"%s\", which is no layer", name,
            type);

    *config = colt5_config_default((colt5_layer_kind)kind);
    struct tables tables;
    make_tables(&tables, config->kind, peek_router(object));
    char where[512];
    snprintf(where, sizeof(where), "%s: %s", name, type);
    status = check_required(where, object, config->kind);
    if (status == COLT5_OK) status = fields_read(where, object, tables.layer, config);
    return status == COLT5_OK ? config_check_filled(config) : status;
}

/* "folder" or "folder/config.json" or any file; a folder gets its config.json. */
static colt5_status config_path(const char *path, char *whole, size_t size)
{
    struct stat information;
    const bool folder = stat(path, &information) == 0 && S_ISDIR(information.st_mode);
    const int length = snprintf(whole, size, folder ? "%s/config.json" : "%s", path);
    REQUIRE(NULL, length >= 0 && (size_t)length < size, COLT5_ERROR_FILE,
            "%s: the path is too long", path);
    return COLT5_OK;
}

colt5_status colt5_config_read(const char *path, colt5_config *config)
{
    REQUIRE(NULL, path && config, COLT5_ERROR_ARGUMENT, "config: path or config is NULL");
    char whole[4096];
    json_t *object;
    colt5_status status = config_path(path, whole, sizeof(whole));
    if (status == COLT5_OK) status = json_read_file(whole, &object);
    if (status != COLT5_OK) return status;
    status = config_parse(whole, object, config);
    json_decref(object);
    return status;
}

static colt5_status config_object(const colt5_config *config, json_t **object)
{
    colt5_config filled = *config;
    const colt5_status status = config_check_filled(&filled);
    if (status != COLT5_OK) return status;
    struct tables tables;
    make_tables(&tables, filled.kind, filled.router.type);
    *object = json_object();
    json_object_set_new(*object, "type", json_string(kind_names[filled.kind]));
    return fields_write(*object, tables.layer, &filled);
}

colt5_status colt5_config_write(const char *folder, const colt5_config *config)
{
    REQUIRE(NULL, folder && config, COLT5_ERROR_ARGUMENT, "config: folder or config is NULL");
    char path[4096];
    const int length = snprintf(path, sizeof(path), "%s/config.json", folder);
    REQUIRE(NULL, length >= 0 && (size_t)length < sizeof(path), COLT5_ERROR_FILE,
            "%s: the path is too long", folder);
    json_t *object = NULL;
    colt5_status status = config_object(config, &object);
    if (status == COLT5_OK) status = json_write_file(path, object);
    json_decref(object);
    return status;
}

colt5_status colt5_config_text(const colt5_config *config, char **text)
{
    REQUIRE(NULL, config && text, COLT5_ERROR_ARGUMENT, "config: config or text is NULL");
    json_t *object = NULL;
    *text = NULL;
    colt5_status status = config_object(config, &object);
    char *dumped = status == COLT5_OK ? json_dumps(object, JSON_INDENT(2)) : NULL;
    if (dumped) *text = host_copy_text(dumped);
    if (status == COLT5_OK && !*text)
        status = fail(NULL, COLT5_ERROR_MEMORY, "config: no host memory");
    free(dumped);
    json_decref(object);
    return status;
}

void colt5_text_free(char *text)
{
    host_release(text);
}
