/* SPDX-License-Identifier: MIT */
#include "support/golden.h"

#include <dirent.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include <colt5/npy.h>

static const char *root(void)
{
    static char path[2048];
    const char *sources = getenv("srcdir");
    snprintf(path, sizeof(path), "%s/tests/golden", sources ? sources : ".");
    return path;
}

const char *golden_path(const char *name, const char *file)
{
    static char path[4096];
    snprintf(path, sizeof(path), "%s/%s/%s", root(), name, file);
    return path;
}

bool golden_has(const char *name, const char *file)
{
    return access(golden_path(name, file), R_OK) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

char (*golden_cases(size_t *count))[GOLDEN_NAME]
{
    char(*names)[GOLDEN_NAME] = malloc(512 * sizeof(*names));
    *count = 0;
    DIR *folder = opendir(root());
    if (!folder || !names) {
        fprintf(stderr, "%s cannot be listed\n", root());
        exit(EXIT_FAILURE);
    }
    for (struct dirent *entry; *count < 512 && (entry = readdir(folder));) {
        colt5_config config;
        if (strlen(entry->d_name) >= GOLDEN_NAME || !golden_has(entry->d_name, "config.json"))
            continue;
        const colt5_status status = colt5_config_read(golden_path(entry->d_name, ""), &config);
        if (status !=
            COLT5_OK) { /* a kind that is not built yet may be passed over, nothing else */
            if (strstr(colt5_message(NULL), "which is no layer")) continue;
            fprintf(stderr, "%s: %s\n", entry->d_name, colt5_message(NULL));
            exit(EXIT_FAILURE);
        }
        strcpy(names[(*count)++], entry->d_name);
    }
    closedir(folder);
    qsort(names, *count, sizeof(*names), by_name);
    return names;
}

static json_t *read_object(const char *name, const char *file)
{
    json_error_t error;
    json_t *object = json_load_file(golden_path(name, file), 0, &error);
    ck_assert_msg(object != NULL, "%s/%s: %s", name, file, error.text);
    return object;
}

double golden_number(const char *name, const char *file, const char *key, double fallback)
{
    json_t *object = read_object(name, file);
    const json_t *value = json_object_get(object, key);
    if (!value) value = json_object_get(json_object_get(object, "options"), key);
    const double number = json_is_number(value) ? json_number_value(value) : fallback;
    json_decref(object);
    return number;
}

const char *golden_word(const char *name, const char *key)
{
    static char word[64];
    json_t *object = read_object(name, "case.json");
    const char *value = json_string_value(json_object_get(object, key));
    snprintf(word, sizeof(word), "%s", value ? value : "");
    json_decref(object);
    return word;
}

static colt5_npy read_array(const char *name, const char *file)
{
    colt5_npy array;
    const colt5_status status = colt5_npy_read(golden_path(name, file), &array);
    ck_assert_msg(status == COLT5_OK, "%s", colt5_message(NULL));
    return array;
}

struct device_tensor golden_tensor(const char *name, const char *file, colt5_type type)
{
    colt5_npy array = read_array(name, file);
    void *values = array.values, *converted = NULL;
    if (array.type == COLT5_F32) {
        values = converted = malloc(array.count * sizeof(float) + 1);
        colt5_convert(COLT5_F32, array.values, type, converted, array.count);
    } else
        type = array.type;
    struct device_tensor tensor = upload_raw(values, type, array.rank, array.dims);
    free(converted);
    colt5_npy_release(&array);
    return tensor;
}

double *golden_values(const char *name, const char *file, size_t *count)
{
    colt5_npy array = read_array(name, file);
    ck_assert_int_eq(array.type, COLT5_F32);
    double *values = malloc((array.count + 1) * sizeof(*values));
    for (size_t i = 0; i < array.count; i++) values[i] = ((const float *)array.values)[i];
    *count = array.count;
    colt5_npy_release(&array);
    return values;
}

/* ---- whole calls ---- */

static struct device_tensor output_like(const char *name, const char *file, colt5_type type)
{
    colt5_npy array = read_array(name, file);
    struct device_tensor tensor = upload_raw(NULL, type, array.rank, array.dims);
    colt5_npy_release(&array);
    return tensor;
}

static uint8_t *valid_rows(const struct golden_call *call)
{
    uint8_t *valid = malloc(call->rows + 1);
    memset(valid, 1, call->rows);
    if (call->mask.count) {
        double *mask = download(&call->mask);
        for (size_t i = 0; i < call->rows; i++) valid[i] = mask[i] != 0;
        free(mask);
    }
    if (call->x.t.type == COLT5_I32 || call->x.t.type == COLT5_I64) {
        double *ids = download(&call->x);
        for (size_t i = 0; i < call->rows; i++) valid[i] = valid[i] && ids[i] != 256;
        free(ids);
    }
    return valid;
}

void golden_open(const char *name, colt5_type type, bool inject, struct golden_call *call)
{
    *call = (struct golden_call){.rows = 0};
    ck_assert_ok(colt5_layer_load(ctx, golden_path(name, ""), type, &call->layer));
    if (inject) {
        ck_assert_ok(colt5_routes_create(ctx, &call->routes));
        if (golden_has(name, "routes.safetensors"))
            ck_assert_ok(colt5_routes_load(call->routes, golden_path(name, "routes.safetensors")));
    }
    call->x = golden_tensor(name, "x.npy", type);
    if (golden_has(name, "mask.npy")) call->mask = golden_tensor(name, "mask.npy", COLT5_U8);
    call->y = output_like(name, "y.npy", type);
    call->width = call->y.t.dims[call->y.t.rank - 1];
    call->rows = call->y.count / call->width;
    call->valid = valid_rows(call);
    call->forward = (colt5_forward){.struct_size = sizeof(colt5_forward),
                                    .x = &call->x.t,
                                    .mask = call->mask.count ? &call->mask.t : NULL,
                                    .y = &call->y.t,
                                    .seed = (uint64_t)golden_number(name, "case.json", "seed", 0),
                                    .routes = call->routes};
}

void golden_close(struct golden_call *call)
{
    assert_unchanged(&call->x);
    if (call->mask.count) assert_unchanged(&call->mask);
    release(&call->x), release(&call->mask), release(&call->y);
    free(call->valid);
    colt5_routes_destroy(call->routes);
    colt5_layer_destroy(call->layer);
}

double golden_row_error(const char *name, const char *file, const struct golden_call *call,
                        const struct device_tensor *have)
{
    size_t count;
    double *want = golden_values(name, file, &count), *got = download(have);
    ck_assert_uint_eq(count, have->count);
    for (size_t i = 0; i < count; i++)
        if (!call->valid[i / (count / call->rows)]) want[i] = got[i] = 0;
    const double error = relative_error(got, want, count);
    free(want), free(got);
    return error;
}
