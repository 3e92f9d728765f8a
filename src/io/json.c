/* SPDX-License-Identifier: MIT */
#include "io/json.h"

#include <string.h>

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

struct sink {
    struct output output;
    colt5_status status;
};

static int append(const char *bytes, size_t count, void *data)
{
    struct sink *sink = data;
    sink->status = output_write(&sink->output, bytes, count);
    return sink->status == COLT5_OK ? 0 : -1;
}

colt5_status json_write_file(const char *path, const json_t *object)
{
    struct sink sink = {.status = COLT5_OK};
    colt5_status status;
    CHECK(output_open(&sink.output, path));
    /* 15 digits give back every decimal of 15 digits as it was written: 0.03, not 0.029999999. */
    if (json_dump_callback(object, append, &sink, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) != 0)
        TRY(sink.status != COLT5_OK ? sink.status
                                    : fail(NULL, COLT5_ERROR_MEMORY, "%s: no host memory", path));
    TRY(output_write(&sink.output, "\n", 1));
    return output_commit(&sink.output);
out:
    output_discard(&sink.output);
    return status;
}
