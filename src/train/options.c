/* SPDX-License-Identifier: MIT */
#include "train/options.h"

#include <stdio.h>
#include <string.h>

#include "layers/config.h"
#include "runtime/check.h"

#define MOST_STEPS 1099511627776.0    /* 2^40 */
#define MOST_SEED  9007199254740992.0 /* 2^53: what JSON's numbers hold */

static const char *const dtype_names[] = {"f32", "f16", "bf16", NULL};
static const char *const math_names[] = {"strict", "fast", NULL};

#define OPTION(member) AT(colt5_training_options, member)
#define STEPS(member)  FIELD_COUNT, OPTION(member), .most = MOST_STEPS

static const struct field fields[] = {
    {"steps", STEPS(steps), .least = 1},
    {"seq", FIELD_COUNT, OPTION(seq), .least = 2, .most = 16777216},
    {"batch", FIELD_COUNT, OPTION(batch), .least = 1, .most = 65536},
    {"accumulate", FIELD_COUNT, OPTION(accumulate), .least = 1, .most = 65536},
    {"learning_rate", FIELD_DOUBLE, OPTION(learning_rate), .least = 0, .most = 1000},
    {"final_share", FIELD_DOUBLE, OPTION(final_share), .least = 0, .most = 1},
    {"warmup_steps", STEPS(warmup_steps), .least = 0},
    {"beta1", FIELD_DOUBLE, OPTION(beta1), .least = 0, .most = 0.9999999},
    {"beta2", FIELD_DOUBLE, OPTION(beta2), .least = 0, .most = 0.9999999},
    {"eps", FIELD_DOUBLE, OPTION(eps), .least = 1e-30, .most = 1},
    {"decay", FIELD_DOUBLE, OPTION(decay), .least = 0, .most = 1000},
    {"max_norm", FIELD_DOUBLE, OPTION(max_norm), .least = 0, .most = 1e30},
    {"seed", FIELD_COUNT, OPTION(seed), .least = 0, .most = MOST_SEED},
    {"held_out_share", FIELD_DOUBLE, OPTION(held_out_share), .least = 0.0001, .most = 0.9},
    {"held_out_windows", FIELD_COUNT, OPTION(held_out_windows), .least = 1, .most = 65536},
    {"evaluate_every", STEPS(evaluate_every), .least = 1},
    {"checkpoint_every", STEPS(checkpoint_every), .least = 1},
    {"dtype", FIELD_CHOICE, OPTION(dtype), .choices = dtype_names},
    {"math", FIELD_CHOICE, OPTION(math), .choices = math_names},
    {"recompute", FIELD_FLAG, OPTION(recompute)},
    {NULL},
};

colt5_training_options colt5_training_options_default(void)
{
    return (colt5_training_options){.struct_size = sizeof(colt5_training_options),
                                    .steps = 1000,
                                    .seq = 512,
                                    .batch = 8,
                                    .accumulate = 1,
                                    .learning_rate = 1e-3,
                                    .final_share = 0.1,
                                    .warmup_steps = 100,
                                    .beta1 = 0.9,
                                    .beta2 = 0.95,
                                    .eps = 1e-8,
                                    .decay = 0.1,
                                    .max_norm = 1,
                                    .held_out_share = 0.1,
                                    .held_out_windows = 16,
                                    .evaluate_every = 50,
                                    .checkpoint_every = 50,
                                    .dtype = COLT5_F32,
                                    .math = COLT5_MATH_STRICT};
}

colt5_status training_options_parse(const char *where, const json_t *object,
                                    colt5_training_options *options)
{
    *options = colt5_training_options_default();
    return fields_read(where, object, fields, options);
}

colt5_status training_options_object(const colt5_training_options *options, json_t **object)
{
    *object = NULL;
    REQUIRE(NULL, (unsigned)options->dtype <= COLT5_BF16, COLT5_ERROR_CONFIG,
            "training: dtype is no type of weights");
    REQUIRE(NULL, (unsigned)options->math <= COLT5_MATH_FAST, COLT5_ERROR_CONFIG,
            "training: math is %d, no kind of it", (int)options->math);
    *object = json_object();
    REQUIRE(NULL, *object, COLT5_ERROR_MEMORY, "training: no host memory");
    const colt5_status status = fields_write(*object, fields, options);
    if (status == COLT5_OK) return COLT5_OK;
    json_decref(*object);
    *object = NULL;
    return status;
}

/* What can be written and read again is right: one table of ranges for both. */
colt5_status colt5_training_options_check(const colt5_training_options *options)
{
    REQUIRE(NULL, options, COLT5_ERROR_ARGUMENT, "training: options is NULL");
    REQUIRE(NULL, options->struct_size == sizeof(*options), COLT5_ERROR_ARGUMENT,
            "training: struct_size is %zu, not %zu", options->struct_size, sizeof(*options));
    colt5_training_options read;
    json_t *object;
    CHECK(training_options_object(options, &object));
    const colt5_status status = training_options_parse("training", object, &read);
    json_decref(object);
    return status;
}

static colt5_status parse_part(const char *path, const json_t *object, const char *key,
                               const json_t **part, char where[512])
{
    *part = json_object_get(object, key);
    snprintf(where, 512, "%.480s: %s", path, key);
    REQUIRE(NULL, !*part || json_is_object(*part), COLT5_ERROR_CONFIG, "%s is not an object",
            where);
    return COLT5_OK;
}

static colt5_status parse_file(const char *path, const json_t *object, colt5_config *model,
                               colt5_training_options *options)
{
    static const struct field parts[] = {{.name = "model", .kind = FIELD_IGNORED},
                                         {.name = "training", .kind = FIELD_IGNORED},
                                         {NULL}};
    char where[512];
    const json_t *part;
    CHECK(fields_read(path, object, parts, NULL));
    CHECK(parse_part(path, object, "model", &part, where));
    REQUIRE(NULL, part, COLT5_ERROR_CONFIG, "%s is missing", where);
    CHECK(config_parse(where, part, model));
    CHECK(parse_part(path, object, "training", &part, where));
    *options = colt5_training_options_default();
    return part ? training_options_parse(where, part, options) : COLT5_OK;
}

colt5_status colt5_training_read(const char *path, colt5_config *model,
                                 colt5_training_options *options)
{
    REQUIRE(NULL, path && model && options, COLT5_ERROR_ARGUMENT,
            "training: path, model or options is NULL");
    json_t *object;
    CHECK(json_read_file(path, &object));
    const colt5_status status = parse_file(path, object, model, options);
    json_decref(object);
    return status;
}
