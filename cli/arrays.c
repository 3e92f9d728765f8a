/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static bool is_value(colt5_type type)
{
    return type == COLT5_F32 || type == COLT5_F16 || type == COLT5_BF16;
}

static int place(colt5_context *ctx, const colt5_npy *array, colt5_type type, colt5_tensor *tensor)
{
    void *converted = NULL;
    if (type != array->type) {
        converted = malloc(array->count * colt5_type_size(type) + 1);
        if (!converted) return complain_memory();
        colt5_convert(array->type, array->values, type, converted, array->count);
    }
    colt5_status status = colt5_tensor_create(ctx, type, array->rank, array->dims, tensor);
    if (status == COLT5_OK) {
        status = colt5_tensor_write(ctx, tensor, converted ? converted : array->values);
        if (status != COLT5_OK) colt5_tensor_free(ctx, tensor);
    }
    free(converted);
    return status == COLT5_OK ? EXIT_FINE : complain_status(ctx, status);
}

int load_array(colt5_context *ctx, const char *path, colt5_type type, colt5_tensor *tensor)
{
    colt5_npy array;
    const colt5_status status = colt5_npy_read(path, &array);
    if (status != COLT5_OK) return complain_status(NULL, status);
    int code = EXIT_BAD_INPUT;
    if (array.rank == 0)
        complain("%s: holds one value, not an array", path);
    else
        code = place(ctx, &array, is_value(array.type) ? type : array.type, tensor);
    colt5_npy_release(&array);
    return code;
}

int fetch_floats(colt5_context *ctx, const colt5_tensor *tensor, float **values)
{
    const size_t count = colt5_tensor_count(tensor);
    void *stored = malloc(count * colt5_type_size(tensor->type) + 1);
    *values = malloc(count * sizeof(**values) + 1);
    int code = EXIT_FINE;
    if (!stored || !*values) {
        code = complain_memory();
    } else {
        const colt5_status status = colt5_tensor_read(ctx, tensor, stored);
        if (status == COLT5_OK)
            colt5_convert(tensor->type, stored, COLT5_F32, *values, count);
        else
            code = complain_status(ctx, status);
    }
    free(stored);
    if (code == EXIT_FINE) return code;
    free(*values);
    *values = NULL;
    return code;
}

/* All of a stream with a NUL behind it; NULL without memory, or where it cannot be read. */
static char *read_stream(FILE *file, size_t *count)
{
    char *bytes = NULL;
    *count = 0;
    for (size_t capacity = 1 << 16;; capacity *= 2) {
        char *grown = realloc(bytes, capacity + 1);
        if (!grown) {
            errno = ENOMEM;
            break;
        }
        bytes = grown;
        *count += fread(bytes + *count, 1, capacity - *count, file);
        if (ferror(file)) break;
        if (*count == capacity) continue;
        bytes[*count] = '\0';
        return bytes;
    }
    free(bytes);
    return NULL;
}

int read_text(const char *path, char **bytes, size_t *count)
{
    FILE *file = fopen(path, "rb");
    *bytes = file ? read_stream(file, count) : NULL;
    if (!*bytes) complain("%s: cannot be read: %s", path, strerror(errno));
    if (file) fclose(file);
    if (!*bytes) return EXIT_BAD_INPUT;
    if (*count > 0) return EXIT_FINE;
    complain("%s: is empty", path);
    free(*bytes);
    *bytes = NULL;
    return EXIT_BAD_INPUT;
}

int place_text(colt5_context *ctx, const char *bytes, size_t B, size_t N, colt5_tensor *ids)
{
    const size_t dims[] = {B, N};
    int32_t *values = malloc(B * N * sizeof(*values) + 1);
    if (!values) return complain_memory();
    for (size_t i = 0; i < B * N; i++) values[i] = (unsigned char)bytes[i];
    colt5_status status = colt5_tensor_create(ctx, COLT5_I32, 2, dims, ids);
    if (status == COLT5_OK) status = colt5_tensor_write(ctx, ids, values);
    free(values);
    return status == COLT5_OK ? EXIT_FINE : complain_status(ctx, status);
}

int load_model(colt5_context *ctx, const char *folder, colt5_type type, colt5_layer **layer)
{
    show_progress("loading the model", 0, 0);
    const colt5_status status = colt5_layer_load(ctx, folder, type, layer);
    return status == COLT5_OK ? EXIT_FINE : complain_status(ctx, status);
}

bool takes_text(const colt5_layer *layer)
{
    const colt5_layer_kind kind = colt5_layer_config(layer)->kind;
    return kind == COLT5_TEXT_ENCODER || kind == COLT5_MASKED_LANGUAGE_MODEL;
}

size_t output_width(const colt5_layer *layer)
{
    const colt5_config *config = colt5_layer_config(layer);
    return config->kind == COLT5_MASKED_LANGUAGE_MODEL ? config->vocab_size : config->dim;
}
