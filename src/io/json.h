/* SPDX-License-Identifier: MIT */
/*
 * Strict JSON: parsed whole, and objects read into structs (and written from them) by tables.
 *
 *     static const struct field fields[] = {
 *         {"heavy_heads", FIELD_COUNT, AT(struct config, heavy_heads), .least = 1, .most = 65536},
 *         {"rotary_emb", FIELD_FLAG, AT(struct config, rotary_emb)},
 *         {"eps", FIELD_FLOAT, AT(struct config, eps), .least = 0, .most = 1e6, .above = true},
 *         {"router_type", FIELD_CHOICE, AT(struct config, router), .choices = router_names},
 *         {"router_kwargs", FIELD_OBJECT, AT(struct config, kwargs), .fields = kwargs_fields},
 *         {.name = "type", .kind = FIELD_IGNORED},
 *         {NULL},
 *     };
 *     CHECK(json_read_file(path, &object));
 *     status = fields_read("config.json: attention", object, fields, &config);
 *     json_decref(object);
 *
 * Refused everywhere: duplicate keys, NaN and infinities, text that is not UTF-8, anything after
 * the value, nesting past jansson's own limit, integers past 64 bits. A real wants a JSON number
 * (2 is fine), an integer wants a JSON integer (2.0 is not).
 */
#ifndef COLT5_IO_JSON_H
#define COLT5_IO_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "runtime/status.h"

/* What a JSON value is, and the C type of the member it goes to. */
enum field_kind {
    FIELD_FLAG,   /* true, false           int, 1 or 0 */
    FIELD_INT,    /* integer               int */
    FIELD_COUNT,  /* integer               size_t */
    FIELD_FLOAT,  /* number                float; the range is checked after rounding */
    FIELD_DOUBLE, /* number                double */
    FIELD_CHOICE, /* one of some strings   int: its place among choices (an enum from 0) */
    FIELD_OBJECT, /* object                struct, by fields of its own, offsets from its start */
    FIELD_IGNORED /* anything              nothing; never written */
};

struct field {
    const char *name; /* NULL ends a table */
    enum field_kind kind;
    size_t offset;              /* of the member in its struct */
    double least, most;         /* numbers: the range; up to 2^53 for integers */
    bool above;                 /* least itself is outside the range */
    bool nullable;              /* numbers: null stands for 0 whatever the range, and is written */
    const char *const *choices; /* FIELD_CHOICE: names, NULL at the end */
    const struct field *fields; /* FIELD_OBJECT */
    /*
     * A second name for other keys: it is an error to give it with this one of them, and it is
     * never written. Several rows may have one name: each is set ("num_heavy_tokens" for queries
     * and key-values).
     */
    const char *instead_of;
};

#define AT(type, member) .offset = offsetof(type, member)

/* The object in a file of at most 1 MiB. The caller gives it back with json_decref. */
colt5_status json_read_file(const char *path, json_t **object);

/* As json_read_file, from count bytes; name stands in the messages. */
colt5_status json_read_text(const char *name, const char *text, size_t count, json_t **object);

/* The string of a key that must be there: "type". Valid while object is. */
colt5_status json_read_string(const char *where, const json_t *object, const char *key,
                              const char **string);

/*
 * Every key of object into the members of a struct at base; members without a key keep what they
 * have (the defaults). COLT5_ERROR_CONFIG names the key and its range:
 * "WHERE: heavy_heads is 0, not in 1 to 65536"; the struct is then partly set.
 */
colt5_status fields_read(const char *where, const json_t *object, const struct field *fields,
                         void *base);

/* Adds every member to object, which is new or holds "type" already: what fields_read reads. */
colt5_status fields_write(json_t *object, const struct field *fields, const void *base);

/* object as indented text with a newline at its end, to a file (file.h). */
colt5_status json_write_file(const char *path, const json_t *object);

#endif
