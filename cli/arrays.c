/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static bool is_value(colt5_type type)
{
    return type == COLT5_F32 || type == COLT5_F16 || type == COLT5_BF16;
}

static colt5_status place(colt5_context *ctx, const colt5_npy *array, colt5_type type,
                          colt5_tensor *tensor)
{
    colt5_status status = colt5_tensor_create(ctx, type, array->rank, array->dims, tensor);
    if (status != COLT5_OK) return status;
    void *converted = NULL;
    if (type != array->type) {
        converted = malloc(array->count * colt5_type_size(type) + 1);
        if (converted) colt5_convert(array->type, array->values, type, converted, array->count);
    }
    if (type != array->type && !converted)
        status = COLT5_ERROR_MEMORY;
    else
        status = colt5_tensor_write(ctx, tensor, converted ? converted : array->values);
    free(converted);
    if (status != COLT5_OK) colt5_tensor_free(ctx, tensor);
    return status;
}

colt5_status load_array(colt5_context *ctx, const char *path, colt5_type type, colt5_tensor *tensor)
{
    colt5_npy array;
    colt5_status status = colt5_npy_read(path, &array);
    if (status != COLT5_OK) {
        complain("%s", colt5_message(NULL));
        return status;
    }
    if (array.rank == 0) {
        complain("%s: holds one value, not an array", path);
        status = COLT5_ERROR_SHAPE;
    } else {
        status = place(ctx, &array, is_value(array.type) ? type : array.type, tensor);
        if (status != COLT5_OK) complain("%s: %s", path, colt5_message(ctx));
    }
    colt5_npy_release(&array);
    return status;
}

float *fetch_floats(colt5_context *ctx, const colt5_tensor *tensor)
{
    const size_t count = colt5_tensor_count(tensor);
    void *stored = malloc(count * colt5_type_size(tensor->type) + 1);
    float *values = malloc(count * sizeof(*values) + 1);
    const bool read = stored && values && colt5_tensor_read(ctx, tensor, stored) == COLT5_OK;
    if (read) colt5_convert(tensor->type, stored, COLT5_F32, values, count);
    free(stored);
    if (read) return values;
    free(values);
    return NULL;
}

/* A whole file with a NUL behind it; NULL after a message. */
static char *read_file(const char *path, size_t *count)
{
    FILE *file = fopen(path, "rb");
    char *bytes = NULL;
    *count = 0;
    for (size_t capacity = 1 << 16; file; capacity *= 2) {
        char *grown = realloc(bytes, capacity + 1);
        if (!grown) break;
        bytes = grown;
        *count += fread(bytes + *count, 1, capacity - *count, file);
        if (*count < capacity) break;
    }
    const bool whole = file && bytes && !ferror(file);
    if (!whole) complain("%s: cannot be read: %s", path, strerror(errno));
    if (file) fclose(file);
    if (whole) {
        bytes[*count] = '\0';
        return bytes;
    }
    free(bytes);
    return NULL;
}

colt5_status load_text(colt5_context *ctx, const char *path, colt5_tensor *ids, char **text)
{
    size_t count;
    *text = read_file(path, &count);
    if (!*text) return COLT5_ERROR_FILE;
    if (count == 0) {
        complain("%s: is empty", path);
        return COLT5_ERROR_FORMAT;
    }
    int32_t *values = malloc(count * sizeof(*values));
    if (!values) return COLT5_ERROR_MEMORY;
    for (size_t i = 0; i < count; i++) values[i] = (unsigned char)(*text)[i];
    const size_t dims[] = {1, count};
    colt5_status status = colt5_tensor_create(ctx, COLT5_I32, 2, dims, ids);
    if (status == COLT5_OK) status = colt5_tensor_write(ctx, ids, values);
    if (status != COLT5_OK) complain("%s: %s", path, colt5_message(ctx));
    free(values);
    return status;
}
