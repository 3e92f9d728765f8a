/* SPDX-License-Identifier: MIT */
/* A report that was written before, to set this one beside. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

struct comparison {
    json_t *rows;
};

int read_comparison(const char *path, struct comparison **others)
{
    json_error_t error;
    json_t *rows = json_load_file(path, 0, &error);
    if (!json_is_array(rows)) {
        complain("%s: is no report of bench --format json%s%s", path, rows ? "" : ": ",
                 rows ? "" : error.text);
        json_decref(rows);
        return EXIT_BAD_INPUT;
    }
    *others = malloc(sizeof(**others));
    if (!*others) {
        json_decref(rows);
        return complain_memory();
    }
    (*others)->rows = rows;
    return EXIT_FINE;
}

static bool says(const json_t *row, const char *key, const char *text)
{
    const char *value = json_string_value(json_object_get(row, key));
    return value && !strcmp(value, text);
}

static bool counts(const json_t *row, const char *key, size_t count)
{
    return json_integer_value(json_object_get(row, key)) == (json_int_t)count;
}

static bool is_same(const json_t *other, const struct bench_row *row)
{
    return says(other, "name", row->name) && says(other, "dtype", colt5_type_name(row->type)) &&
           says(other, "math", math_name(row->math)) && counts(other, "batch", row->batch) &&
           counts(other, "seq", row->seq) &&
           json_is_true(json_object_get(other, "backward")) == row->backward;
}

struct bench_other find_other(const struct comparison *others, const struct bench_row *row)
{
    struct bench_other found = {0};
    size_t i;
    json_t *other;
    if (!others) return found;
    json_array_foreach(others->rows, i, other)
    {
        if (!is_same(other, row)) continue;
        found.median_ms = json_number_value(json_object_get(other, "median_ms"));
        found.peak_bytes = (uint64_t)json_integer_value(json_object_get(other, "peak_bytes"));
    }
    return found;
}

void free_comparison(struct comparison *others)
{
    if (!others) return;
    json_decref(others->rows);
    free(others);
}
