/* SPDX-License-Identifier: MIT */
#include "io/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/file.h"
#include "runtime/check.h"

static const char *kind_name(enum field_kind kind)
{
    switch (kind) {
    case FIELD_FLAG:
        return "true or false";
    case FIELD_INT:
    case FIELD_COUNT:
        return "an integer";
    case FIELD_FLOAT:
    case FIELD_DOUBLE:
        return "a number";
    case FIELD_CHOICE:
        return "a string";
    default:
        return "an object";
    }
}

static bool has_kind(const json_t *value, enum field_kind kind)
{
    switch (kind) {
    case FIELD_FLAG:
        return json_is_boolean(value);
    case FIELD_INT:
    case FIELD_COUNT:
        return json_is_integer(value);
    case FIELD_FLOAT:
    case FIELD_DOUBLE:
        return json_is_number(value);
    case FIELD_CHOICE:
        return json_is_string(value);
    case FIELD_OBJECT:
        return json_is_object(value);
    default:
        return true;
    }
}

static bool is_number(enum field_kind kind)
{
    return kind == FIELD_INT || kind == FIELD_COUNT || kind == FIELD_FLOAT || kind == FIELD_DOUBLE;
}

static void set_number(const struct field *field, void *member, double real, json_int_t integer)
{
    switch (field->kind) {
    case FIELD_INT:
        *(int *)member = (int)integer;
        break;
    case FIELD_COUNT:
        *(size_t *)member = (size_t)integer;
        break;
    case FIELD_FLOAT:
        *(float *)member = (float)real;
        break;
    default:
        *(double *)member = real;
    }
}

static colt5_status read_number(const char *where, const json_t *value, const struct field *field,
                                void *member)
{
    double real = json_number_value(value);
    if (field->kind == FIELD_FLOAT) real = (double)(float)real;
    const bool inside =
        real <= field->most && (field->above ? real > field->least : real >= field->least);
    if (inside || json_is_null(value)) {
        set_number(field, member, real, json_integer_value(value));
        return COLT5_OK;
    }
    if (json_is_integer(value))
        return fail(NULL, COLT5_ERROR_CONFIG,
                    "%s: %s is %" JSON_INTEGER_FORMAT ", not %s%.15g to %.15g", where, field->name,
                    json_integer_value(value), field->above ? "above " : "in ", field->least,
                    field->most);
    return fail(NULL, COLT5_ERROR_CONFIG, "%s: %s is %.15g, not %s%.15g to %.15g", where,
                field->name, json_real_value(value), field->above ? "above " : "in ", field->least,
                field->most);
}

static colt5_status read_choice(const char *where, const json_t *value, const struct field *field,
                                int *member)
{
    const char *text = json_string_value(value);
    char all[512] = "";
    size_t used = 0;
    for (int i = 0; field->choices[i]; i++) {
        if (!strcmp(text, field->choices[i])) {
            *member = i;
            return COLT5_OK;
        }
        if (used < sizeof(all))
            used += (size_t)snprintf(all + used, sizeof(all) - used, "%s%s", i ? ", " : "",
                                     field->choices[i]);
    }
    return fail(NULL, COLT5_ERROR_CONFIG, "%s: %s is \"%s\", not one of %s", where, field->name,
                SHOWN(text), all);
}

static colt5_status read_object(const char *where, const json_t *value, const struct field *field,
                                void *member)
{
    char inside[512];
    snprintf(inside, sizeof(inside), "%s: %s", where, field->name);
    return fields_read(inside, value, field->fields, member);
}

static colt5_status read_field(const char *where, const json_t *object, const struct field *field,
                               void *base)
{
    const json_t *value = json_object_get(object, field->name);
    void *member = (char *)base + field->offset;
    if (!value || field->kind == FIELD_IGNORED) return COLT5_OK;
    REQUIRE(NULL, !field->instead_of || !json_object_get(object, field->instead_of),
            COLT5_ERROR_CONFIG, "%s: %s and %s are both given", where, field->name,
            field->instead_of);
    const bool null = field->nullable && json_is_null(value);
    REQUIRE(NULL, null || has_kind(value, field->kind), COLT5_ERROR_CONFIG, "%s: %s is not %s%s",
            where, field->name, kind_name(field->kind), field->nullable ? " or null" : "");
    if (is_number(field->kind)) return read_number(where, value, field, member);
    if (field->kind == FIELD_CHOICE) return read_choice(where, value, field, member);
    if (field->kind == FIELD_OBJECT) return read_object(where, value, field, member);
    *(int *)member = json_is_true(value);
    return COLT5_OK;
}

colt5_status fields_read(const char *where, const json_t *object, const struct field *fields,
                         void *base)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        const struct field *field = fields;
        while (field->name && strcmp(field->name, key) != 0) field++;
        REQUIRE(NULL, field->name, COLT5_ERROR_CONFIG, "%s: %s is no key of it", where, SHOWN(key));
    }
    for (const struct field *field = fields; field->name; field++)
        CHECK(read_field(where, object, field, base));
    return COLT5_OK;
}

/* ---- writing ---- */

/* The shortest decimal that is this float again, as the double JSON holds. */
static double shortest(float value)
{
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    return strtod(text, NULL);
}

static json_t *object_of(const struct field *fields, const void *base)
{
    json_t *object = json_object();
    if (object && fields_write(object, fields, base) == COLT5_OK) return object;
    json_decref(object);
    return NULL;
}

static json_t *value_of(const struct field *field, const void *member)
{
    switch (field->kind) {
    case FIELD_FLAG:
        return json_boolean(*(const int *)member);
    case FIELD_INT:
        return json_integer(*(const int *)member);
    case FIELD_COUNT:
        return json_integer((json_int_t) * (const size_t *)member);
    case FIELD_FLOAT:
        return json_real(shortest(*(const float *)member));
    case FIELD_DOUBLE:
        return json_real(*(const double *)member);
    case FIELD_CHOICE:
        return json_string(field->choices[*(const int *)member]);
    default:
        return object_of(field->fields, member);
    }
}

colt5_status fields_write(json_t *object, const struct field *fields, const void *base)
{
    for (const struct field *field = fields; field->name; field++) {
        if (field->kind == FIELD_IGNORED || field->instead_of) continue;
        json_t *value = value_of(field, (const char *)base + field->offset);
        REQUIRE(NULL, value, COLT5_ERROR_CONFIG, "%s: cannot be written as JSON", field->name);
        if (field->nullable && json_number_value(value) == 0) {
            json_decref(value);
            value = json_null();
        }
        REQUIRE(NULL, json_object_set_new(object, field->name, value) == 0, COLT5_ERROR_MEMORY,
                "%s: no host memory", field->name);
    }
    return COLT5_OK;
}
