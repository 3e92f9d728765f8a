/* SPDX-License-Identifier: MIT */
/*
 * The header of a safetensors file: 8 bytes of length, then one JSON object
 * {"NAME": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}, …}. It is read one tensor
 * at a time, so a hostile one cannot take much more memory than the file itself.
 */
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/memory.h"

#define LONGEST_NAME     ((size_t)64 << 10) /* and the JSON of one tensor, in bytes */
#define LONGEST_METADATA ((size_t)10 << 20)

static const struct {
    const char *name;
    size_t size;
    bool readable;
    colt5_type type;
} dtypes[] = {
    {"F32", 4, true, COLT5_F32}, {"F16", 2, true, COLT5_F16}, {"BF16", 2, true, COLT5_BF16},
    {"I32", 4, true, COLT5_I32}, {"I64", 8, true, COLT5_I64}, {"U8", 1, true, COLT5_U8},
    {"BOOL", 1, true, COLT5_U8}, {"I8", 1, false, 0},         {"I16", 2, false, 0},
    {"U16", 2, false, 0},        {"U32", 4, false, 0},        {"U64", 8, false, 0},
    {"F64", 8, false, 0},        {"C64", 8, false, 0},        {"F8_E4M3", 1, false, 0},
    {"F8_E5M2", 1, false, 0},    {"F8_E8M0", 1, false, 0},
};

/* ---- the grammar of the outer object; what is inside is jansson's ---- */

struct scanner {
    const char *path, *text;
    size_t size, at;
};

/* The next character that is no space; NUL at the end. */
static char next_sign(struct scanner *scanner)
{
    for (; scanner->at < scanner->size; scanner->at++) {
        const char sign = scanner->text[scanner->at];
        if (sign != ' ' && sign != '\t' && sign != '\r' && sign != '\n') return sign;
    }
    return '\0';
}

static colt5_status expect(struct scanner *scanner, char sign)
{
    REQUIRE(NULL, next_sign(scanner) == sign, COLT5_ERROR_FORMAT,
            "%s: byte %zu of its header is not '%c'", scanner->path, scanner->at, sign);
    scanner->at++;
    return COLT5_OK;
}

static colt5_status next_value(struct scanner *scanner, size_t most, json_t **value)
{
    json_error_t error;
    (void)next_sign(scanner);
    const size_t left = scanner->size - scanner->at;
    *value = json_loadb(scanner->text + scanner->at, left < most ? left : most,
                        JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &error);
    REQUIRE(NULL, *value, COLT5_ERROR_FORMAT, "%s: byte %zu of its header: %s", scanner->path,
            scanner->at + (size_t)error.position, SHOWN(error.text));
    scanner->at += (size_t)error.position;
    return COLT5_OK;
}

/* ---- one tensor ---- */

static colt5_status damaged(const char *path, const char *name, const char *what)
{
    return fail(NULL, COLT5_ERROR_FORMAT, "%s: tensor %s: %s", path, SHOWN(name), what);
}

/* A JSON integer that is a size_t. */
static bool size_of(const json_t *value, size_t *size)
{
    const json_int_t integer = json_integer_value(value);
    *size = (size_t)integer;
    return json_is_integer(value) && integer >= 0 && (json_int_t)*size == integer;
}

static colt5_status parse_dtype(const char *path, const json_t *value, struct record *record)
{
    const char *dtype = json_string_value(json_object_get(value, "dtype"));
    if (!dtype) return damaged(path, record->entry.name, "dtype is missing or not a string");
    for (size_t i = 0; i < sizeof(dtypes) / sizeof(dtypes[0]); i++) {
        if (strcmp(dtype, dtypes[i].name) != 0) continue;
        record->entry.dtype = dtypes[i].name;
        record->entry.readable = dtypes[i].readable;
        record->entry.type = dtypes[i].type;
        record->entry.bytes = dtypes[i].size; /* of one element, till the shape is known */
        return COLT5_OK;
    }
    return fail(NULL, COLT5_ERROR_FORMAT, "%s: tensor %s: unknown dtype %s", path,
                SHOWN(record->entry.name), SHOWN(dtype));
}

static colt5_status parse_shape(const char *path, const json_t *value, struct record *record)
{
    const json_t *shape = json_object_get(value, "shape");
    colt5_safetensors_entry *entry = &record->entry;
    if (!json_is_array(shape)) return damaged(path, entry->name, "shape is no array");
    const size_t rank = json_array_size(shape);
    if (rank > COLT5_SAFETENSORS_MAX_RANK) return damaged(path, entry->name, "its rank is above 8");
    entry->rank = (int)rank;
    for (size_t i = 0; i < rank; i++)
        if (!size_of(json_array_get(shape, i), &entry->dims[i]))
            return damaged(path, entry->name, "shape holds what is no size");
    entry->count = dims_product(entry->dims, entry->rank);
    if (entry->count == SIZE_MAX || !size_multiply(entry->count, entry->bytes, &entry->bytes))
        return damaged(path, entry->name, "its size in bytes passes 2^64");
    return COLT5_OK;
}

static colt5_status parse_offsets(const char *path, const json_t *value, struct record *record)
{
    const json_t *offsets = json_object_get(value, "data_offsets");
    size_t begin, end;
    if (json_array_size(offsets) != 2 || !size_of(json_array_get(offsets, 0), &begin) ||
        !size_of(json_array_get(offsets, 1), &end) || begin > end)
        return damaged(path, record->entry.name, "data_offsets are not [begin, end]");
    REQUIRE(NULL, end - begin == record->entry.bytes, COLT5_ERROR_FORMAT,
            "%s: tensor %s: has %zu bytes of data, its shape wants %zu", path,
            SHOWN(record->entry.name), end - begin, record->entry.bytes);
    record->begin = begin;
    record->end = end;
    return COLT5_OK;
}

static colt5_status parse_tensor(const char *path, const json_t *value, struct record *record)
{
    if (!json_is_object(value)) return damaged(path, record->entry.name, "is no object");
    CHECK(parse_dtype(path, value, record));
    CHECK(parse_shape(path, value, record));
    CHECK(parse_offsets(path, value, record));
    if (json_object_size(value) != 3) return damaged(path, record->entry.name, "has unknown keys");
    return COLT5_OK;
}

static colt5_status new_record(struct colt5_safetensors *file, const char *name,
                               struct record **record)
{
    const struct input *shard = &file->shards[file->shard_count - 1];
    if (file->count == file->capacity) {
        const size_t capacity = file->capacity ? 2 * file->capacity : 64;
        struct record *grown = host_reallocate(file->records, capacity * sizeof(*grown));
        REQUIRE(NULL, grown, COLT5_ERROR_MEMORY, "%s: no host memory", shard->path);
        file->records = grown;
        file->capacity = capacity;
    }
    char *copy = host_copy_text(name);
    REQUIRE(NULL, copy, COLT5_ERROR_MEMORY, "%s: no host memory", shard->path);
    *record = &file->records[file->count++];
    **record = (struct record){.entry = {.name = copy, .file = shard->path},
                               .shard = file->shard_count - 1};
    return COLT5_OK;
}

static colt5_status keep_metadata(struct colt5_safetensors *file, const char *path, json_t *value)
{
    const char *key;
    json_t *text;
    REQUIRE(NULL, json_is_object(value), COLT5_ERROR_FORMAT, "%s: %s is no object", path, METADATA);
    json_object_foreach(value, key, text)
        REQUIRE(NULL, json_is_string(text), COLT5_ERROR_FORMAT, "%s: %s: %s is not a string", path,
                METADATA, SHOWN(key));
    if (!file->metadata) file->metadata = json_incref(value);
    return COLT5_OK;
}

/* "NAME": {…} */
static colt5_status parse_member(struct colt5_safetensors *file, struct scanner *scanner)
{
    json_t *name = NULL, *value = NULL;
    struct record *record = NULL;
    colt5_status status;
    TRY(next_value(scanner, LONGEST_NAME, &name));
    if (!json_is_string(name))
        TRY(fail(NULL, COLT5_ERROR_FORMAT, "%s: byte %zu of its header ends what is no name",
                 scanner->path, scanner->at));
    TRY(expect(scanner, ':'));
    if (!strcmp(json_string_value(name), METADATA)) {
        TRY(next_value(scanner, LONGEST_METADATA, &value));
        TRY(keep_metadata(file, scanner->path, value));
    } else {
        TRY(next_value(scanner, LONGEST_NAME, &value));
        TRY(new_record(file, json_string_value(name), &record));
        TRY(parse_tensor(scanner->path, value, record));
    }
out:
    json_decref(value);
    json_decref(name);
    return status;
}

static colt5_status parse_members(struct colt5_safetensors *file, struct scanner *scanner)
{
    CHECK(expect(scanner, '{'));
    if (next_sign(scanner) != '}') {
        CHECK(parse_member(file, scanner));
        while (next_sign(scanner) == ',') {
            scanner->at++;
            CHECK(parse_member(file, scanner));
        }
    }
    return expect(scanner, '}');
}

/* ---- the whole ---- */

static int by_offset(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* The tensors tile the data: no overlap, no hole, nothing after the last. */
static colt5_status check_layout(const char *path, struct record *records, size_t count,
                                 uint64_t data, uint64_t size)
{
    uint64_t end = 0;
    if (count > 1) qsort(records, count, sizeof(*records), by_offset);
    for (size_t i = 0; i < count; i++) {
        struct record *record = &records[i];
        if (record->begin < end)
            return damaged(path, record->entry.name, "its data overlaps another's");
        if (record->begin > end) return damaged(path, record->entry.name, "a hole before its data");
        end = record->end;
        if (end > size - data)
            return damaged(path, record->entry.name, "passes the end of the file");
        record->begin += data;
        record->end += data;
    }
    REQUIRE(NULL, end == size - data, COLT5_ERROR_FORMAT, "%s: %llu bytes after its last tensor",
            path, (unsigned long long)(size - data - end));
    return COLT5_OK;
}

colt5_status safetensors_parse(struct colt5_safetensors *file)
{
    const struct input *shard = &file->shards[file->shard_count - 1];
    const size_t first = file->count;
    uint64_t length;
    REQUIRE(NULL, shard->size >= sizeof(length), COLT5_ERROR_FORMAT,
            "%s: has %llu bytes, too few for a safetensors file", shard->path,
            (unsigned long long)shard->size);
    CHECK(input_read(shard, 0, &length, sizeof(length)));
    REQUIRE(NULL, length <= LONGEST_HEADER && length <= shard->size - sizeof(length),
            COLT5_ERROR_FORMAT, "%s: its header has %llu bytes, the file %llu (at most %zu)",
            shard->path, (unsigned long long)length, (unsigned long long)shard->size,
            LONGEST_HEADER);
    char *text = host_allocate((size_t)length);
    REQUIRE(NULL, text, COLT5_ERROR_MEMORY, "%s: no host memory", shard->path);
    struct scanner scanner = {shard->path, text, (size_t)length, 0};
    colt5_status status;
    TRY(input_read(shard, sizeof(length), text, (size_t)length));
    TRY(parse_members(file, &scanner));
    (void)next_sign(&scanner);
    if (scanner.at < scanner.size)
        TRY(fail(NULL, COLT5_ERROR_FORMAT, "%s: more in its header after byte %zu", shard->path,
                 scanner.at));
    TRY(check_layout(shard->path, file->records + first, file->count - first,
                     sizeof(length) + length, shard->size));
out:
    host_release(text);
    return status;
}
