/* SPDX-License-Identifier: MIT */
#include "train/state.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <colt5/file.h>

#include "io/digest.h"
#include "io/file.h"
#include "io/json.h"
#include "layers/config.h"
#include "runtime/check.h"
#include "runtime/memory.h"
#include "train/options.h"

#define VERSION       1
#define DIGEST        "digest"
#define LARGEST_STATE ((size_t)1 << 30) /* bytes: it names every file of the data */

const char *const state_file_names[STATE_FILES] = {"model.safetensors", "optimizer.safetensors"};

/* What the tables read and write. */
struct numbers {
    size_t version, step, updates, good_steps;
    double scale;
};

#define NUMBER(member) AT(struct numbers, member), .most = 9007199254740992.0

static const struct field fields[] = {
    {"version", FIELD_COUNT, NUMBER(version), .least = 1},
    {"step", FIELD_COUNT, NUMBER(step)},
    {"updates", FIELD_COUNT, NUMBER(updates)},
    {"loss_scale", FIELD_DOUBLE, AT(struct numbers, scale), .most = 16777216},
    {"good_steps", FIELD_COUNT, AT(struct numbers, good_steps), .most = 4294967295.0},
    {.name = "model", .kind = FIELD_IGNORED},
    {.name = "training", .kind = FIELD_IGNORED},
    {.name = "data", .kind = FIELD_IGNORED},
    {.name = "files", .kind = FIELD_IGNORED},
    {NULL},
};

/* ---- parts ---- */

static json_t *hexadecimal(uint64_t value)
{
    char text[17];
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)value);
    return json_string(text);
}

static bool read_hexadecimal(const json_t *object, const char *key, uint64_t *value)
{
    const char *text = json_string_value(json_object_get(object, key));
    char *end = NULL;
    *value = text ? strtoull(text, &end, 16) : 0;
    return text && strlen(text) == 16 && !*end;
}

static bool read_count(const json_t *object, const char *key, uint64_t *value)
{
    const json_t *number = json_object_get(object, key);
    *value = (uint64_t)json_integer_value(number);
    return json_is_integer(number) && json_integer_value(number) >= 0;
}

static json_t *data_array(const colt5_training_state *state)
{
    json_t *array = json_array();
    for (size_t i = 0; i < state->file_count; i++) {
        const colt5_data_file *file = &state->files[i];
        json_array_append_new(array, json_pack("{s:s, s:I, s:o}", "path", file->path, "bytes",
                                               (json_int_t)file->bytes, "fingerprint",
                                               hexadecimal(file->fingerprint)));
    }
    return array;
}

static json_t *sums_object(const struct state_sum sums[STATE_FILES])
{
    json_t *object = json_object();
    for (int i = 0; i < STATE_FILES; i++)
        json_object_set_new(object, state_file_names[i],
                            json_pack("{s:I, s:o}", "bytes", (json_int_t)sums[i].bytes, DIGEST,
                                      hexadecimal(sums[i].digest)));
    return object;
}

static colt5_status model_object(const colt5_config *model, json_t **object)
{
    char *text;
    CHECK(colt5_config_text(model, &text));
    const colt5_status status = json_read_text("model", text, strlen(text), object);
    colt5_text_free(text);
    return status;
}

/* Of all members but the digest, in one way of writing them. */
static bool digest_of(const json_t *object, uint64_t *digest)
{
    json_t *rest = json_copy((json_t *)object); /* jansson's const ends here */
    if (rest) (void)json_object_del(rest, DIGEST);
    char *text = rest ? json_dumps(rest, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    const size_t count = text ? strlen(text) : 0;
    *digest = text ? digest_end(digest_add(DIGEST_START, text, count), count) : 0;
    free(text);
    json_decref(rest);
    return text != NULL;
}

/* ---- writing ---- */

static colt5_status fill(json_t *object, const colt5_training_state *state,
                         const struct state_sum sums[STATE_FILES])
{
    const struct numbers numbers = {VERSION, state->step, state->updates,
                                    state->loss_scale.good_steps, state->loss_scale.scale};
    json_t *model, *training;
    uint64_t digest = 0;
    CHECK(fields_write(object, fields, &numbers));
    CHECK(model_object(&state->model, &model));
    bool added = json_object_set_new(object, "model", model) == 0;
    CHECK(training_options_object(&state->options, &training));
    added = added && json_object_set_new(object, "training", training) == 0;
    added = added && json_object_set_new(object, "data", data_array(state)) == 0;
    added = added && json_object_set_new(object, "files", sums_object(sums)) == 0;
    added = added && digest_of(object, &digest);
    added = added && json_object_set_new(object, DIGEST, hexadecimal(digest)) == 0;
    REQUIRE(NULL, added && json_array_size(json_object_get(object, "data")) == state->file_count,
            COLT5_ERROR_ARGUMENT, "state: a name is not UTF-8, or there is no host memory");
    return COLT5_OK;
}

colt5_status state_write(const char *path, const colt5_training_state *state,
                         const struct state_sum sums[STATE_FILES])
{
    json_t *object = json_object();
    char *text = NULL;
    colt5_status status;
    TRY(fill(object, state, sums));
    text = json_dumps(object, JSON_INDENT(2)); /* every digit: doubles come back as they are */
    if (!text) TRY(fail(NULL, COLT5_ERROR_MEMORY, "%s: no host memory", path));
    TRY(colt5_write_file(path, text, strlen(text)));
out:
    free(text);
    json_decref(object);
    return status;
}

/* ---- reading ---- */

static colt5_status damaged(const char *path, const char *key)
{
    return fail(NULL, COLT5_ERROR_FORMAT, "%s: %s is damaged", path, key);
}

static colt5_status read_data(const char *path, const json_t *array, colt5_training_state *state)
{
    const size_t count = json_array_size(array);
    colt5_data_file *files = host_allocate_zeroed(count + 1, sizeof(*files));
    REQUIRE(NULL, files, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    state->files = files;
    state->file_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *object = json_array_get(array, i);
        const char *name = json_string_value(json_object_get(object, "path"));
        const bool whole = name && read_count(object, "bytes", &files[i].bytes) &&
                           read_hexadecimal(object, "fingerprint", &files[i].fingerprint);
        if (!whole) return damaged(path, "data");
        files[i].path = host_copy_text(name);
        REQUIRE(NULL, files[i].path, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    }
    return COLT5_OK;
}

static colt5_status read_sums(const char *path, const json_t *object,
                              struct state_sum sums[STATE_FILES])
{
    for (int i = 0; i < STATE_FILES; i++) {
        const json_t *sum = json_object_get(object, state_file_names[i]);
        if (!read_count(sum, "bytes", &sums[i].bytes) ||
            !read_hexadecimal(sum, DIGEST, &sums[i].digest))
            return damaged(path, "files");
    }
    return COLT5_OK;
}

static colt5_status check_version(const char *path, const json_t *object)
{
    uint64_t digest, wanted, version;
    REQUIRE(NULL, digest_of(object, &digest), COLT5_ERROR_MEMORY, "%s: no host memory", path);
    if (!read_hexadecimal(object, DIGEST, &wanted) || digest != wanted)
        return damaged(path, DIGEST);
    if (!read_count(object, "version", &version)) return damaged(path, "version");
    REQUIRE(NULL, version <= VERSION, COLT5_ERROR_CONFIG,
            "%s: version is %llu, this library knows %d: a newer one wrote it", path,
            (unsigned long long)version, VERSION);
    return COLT5_OK;
}

static colt5_status parse(const char *path, json_t *object, colt5_training_state *state,
                          struct state_sum sums[STATE_FILES])
{
    struct numbers numbers = {0};
    CHECK(check_version(path, object));
    (void)json_object_del(object, DIGEST);
    CHECK(fields_read(path, object, fields, &numbers));
    state->step = numbers.step;
    state->updates = numbers.updates;
    state->loss_scale = (colt5_loss_scale){(float)numbers.scale, (uint32_t)numbers.good_steps};
    CHECK(config_parse(path, json_object_get(object, "model"), &state->model));
    CHECK(training_options_parse(path, json_object_get(object, "training"), &state->options));
    CHECK(read_data(path, json_object_get(object, "data"), state));
    return read_sums(path, json_object_get(object, "files"), sums);
}

colt5_status state_read(const char *path, colt5_training_state *state,
                        struct state_sum sums[STATE_FILES])
{
    char *text = NULL;
    size_t count;
    json_t *object = NULL;
    colt5_status status;
    *state = (colt5_training_state){.struct_size = sizeof(*state)};
    TRY(file_read(path, LARGEST_STATE, &text, &count));
    TRY(json_read_text(path, text, count, &object));
    TRY(parse(path, object, state, sums));
out:
    json_decref(object);
    host_release(text);
    return status;
}

void state_release(colt5_training_state *state)
{
    for (size_t i = 0; i < state->file_count; i++) host_release((char *)state->files[i].path);
    host_release((colt5_data_file *)state->files);
    state->files = NULL;
    state->file_count = 0;
}

/* ---- the model beside it ---- */

/* config.json keeps 15 digits. */
static bool same_value(const json_t *a, const json_t *b)
{
    if (!json_is_real(a) || !json_is_real(b)) return json_equal(a, b);
    const double x = json_real_value(a), y = json_real_value(b);
    return fabs(x - y) <= 1e-14 * fabs(y);
}

static colt5_status other_value(const char *path, const char *key, const json_t *have,
                                const json_t *want)
{
    char *a = json_dumps(have, JSON_ENCODE_ANY | JSON_COMPACT);
    char *b = json_dumps(want, JSON_ENCODE_ANY | JSON_COMPACT);
    const colt5_status status =
        fail(NULL, COLT5_ERROR_CONFIG, "%s: %s is %s, the checkpoint's is %s", path, key,
             a ? SHOWN(a) : "missing", b ? SHOWN(b) : "missing");
    free(a);
    free(b);
    return status;
}

/* The first key with another value. */
static colt5_status compare(const char *path, json_t *have, json_t *want)
{
    const char *key;
    json_t *value;
    json_object_foreach(want, key, value)
    {
        json_t *other = json_object_get(have, key);
        if (json_is_object(value) && json_is_object(other))
            CHECK(compare(path, other, value));
        else if (!other || !same_value(other, value))
            return other_value(path, key, other, value);
    }
    return COLT5_OK;
}

colt5_status state_check_model(const char *config_path, const colt5_training_state *state)
{
    colt5_config config;
    json_t *have = NULL, *want = NULL;
    colt5_status status;
    TRY(colt5_config_read(config_path, &config));
    TRY(model_object(&config, &have));
    TRY(model_object(&state->model, &want));
    TRY(compare(config_path, have, want));
out:
    json_decref(have);
    json_decref(want);
    return status;
}
