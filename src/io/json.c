/* SPDX-License-Identifier: MIT */
#include "io/json.h"

#include <string.h>

#include <colt5/file.h>

#include "io/file.h"
#include "runtime/check.h"
#include "runtime/memory.h"

#define LARGEST_CONFIG ((size_t)1 << 20)

colt5_status json_read_text(const char *name, const char *text, size_t count, json_t **object)
{
    json_error_t error;
    *object = json_loadb(text, count, JSON_REJECT_DUPLICATES, &error);
    REQUIRE(NULL, *object, COLT5_ERROR_FORMAT, "%s: line %d, column %d: %s", name, error.line,
            error.column, SHOWN(error.text));
    if (json_is_object(*object)) return COLT5_OK;
    json_decref(*object);
    *object = NULL;
    return fail(NULL, COLT5_ERROR_FORMAT, "%s: is not a JSON object", name);
}

colt5_status json_read_file(const char *path, json_t **object)
{
    char *text;
    size_t count;
    *object = NULL;
    CHECK(file_read(path, LARGEST_CONFIG, &text, &count));
    const colt5_status status = json_read_text(path, text, count, object);
    host_release(text);
    return status;
}

colt5_status json_read_string(const char *where, const json_t *object, const char *key,
                              const char **string)
{
    const json_t *value = json_object_get(object, key);
    REQUIRE(NULL, value, COLT5_ERROR_CONFIG, "%s: %s is missing", where, key);
    *string = json_string_value(value);
    REQUIRE(NULL, *string, COLT5_ERROR_CONFIG, "%s: %s is not a string", where, key);
    return COLT5_OK;
}

colt5_status json_write_file(const char *path, const json_t *object)
{
    /* 15 digits give back every decimal of 15 digits as it was written: 0.03, not 0.029999999. */
    const size_t format = JSON_INDENT(2) | JSON_REAL_PRECISION(15);
    const size_t count = json_dumpb(object, NULL, 0, format);
    char *text = host_allocate(count + 1);
    REQUIRE(NULL, count > 0 && text, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    json_dumpb(object, text, count, format);
    text[count] = '\n';
    const colt5_status status = colt5_write_file(path, text, count + 1);
    host_release(text);
    return status;
}
