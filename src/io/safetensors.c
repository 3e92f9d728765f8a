/* SPDX-License-Identifier: MIT */
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "io/json.h"
#include "runtime/check.h"
#include "runtime/memory.h"

#define LARGEST_INDEX ((size_t)16 << 20)
#define MOST_SHARDS   4096
#define SINGLE        "model.safetensors"
#define INDEX         SINGLE ".index.json"

/* ---- opening ---- */

static colt5_status add_shard(struct colt5_safetensors *file, const char *path)
{
    struct input *grown = host_reallocate(file->shards, (file->shard_count + 1) * sizeof(*grown));
    REQUIRE(NULL, grown, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    file->shards = grown;
    CHECK(input_open(&grown[file->shard_count], path));
    file->shard_count++;
    return safetensors_parse(file);
}

/* PATH up to its last slash, and a name after it; the caller releases it. */
static char *beside(const char *path, size_t folder, const char *name)
{
    char *joined = host_allocate(folder + strlen(name) + 2);
    if (!joined) return NULL;
    memcpy(joined, path, folder);
    strcpy(joined + folder, name);
    return joined;
}

static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* A name in the index's own folder, fit for a message. */
static bool is_plain(const char *name)
{
    for (const char *c = name; *c; c++)
        if (*c == '/' || (unsigned char)*c < 0x20 || *c == 0x7F) return false;
    return *name != '\0';
}

/* The shard of a weight, opened when it is new. */
static colt5_status open_shard(struct colt5_safetensors *file, const char *index, const char *key,
                               const char *name)
{
    const size_t folder = folder_length(index);
    REQUIRE(NULL, name && is_plain(name), COLT5_ERROR_FORMAT,
            "%s: tensor %s: its shard is no plain file name", index, SHOWN(key));
    for (size_t i = 0; i < file->shard_count; i++)
        if (!strcmp(file->shards[i].path + folder, name)) return COLT5_OK;
    REQUIRE(NULL, file->shard_count < MOST_SHARDS, COLT5_ERROR_FORMAT, "%s: more than %d shards",
            index, MOST_SHARDS);
    char *path = beside(index, folder, name);
    REQUIRE(NULL, path, COLT5_ERROR_MEMORY, "%s: no host memory", index);
    const colt5_status status = add_shard(file, path);
    host_release(path);
    return status;
}

/* Every tensor of the shards is in the index, under that shard, and the other way round. */
static colt5_status check_index(struct colt5_safetensors *file, const char *index, json_t *weights)
{
    const size_t folder = folder_length(index);
    const char *key;
    json_t *value;
    for (size_t i = 0; i < file->count; i++) {
        const colt5_safetensors_entry *entry = &file->records[i].entry;
        const char *shard = json_string_value(json_object_get(weights, entry->name));
        REQUIRE(NULL, shard && !strcmp(shard, entry->file + folder), COLT5_ERROR_FORMAT,
                "%s: tensor %s is in %s, the index says %s", index, SHOWN(entry->name), entry->file,
                shard ? SHOWN(shard) : "nothing of it");
    }
    json_object_foreach(weights, key, value)
        REQUIRE(NULL, colt5_safetensors_find(file, key), COLT5_ERROR_FORMAT,
                "%s: tensor %s is not in %s", index, SHOWN(key), SHOWN(json_string_value(value)));
    return COLT5_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct record *)a)->entry.name, ((const struct record *)b)->entry.name);
}

static colt5_status sort_names(struct colt5_safetensors *file)
{
    if (file->count > 1) qsort(file->records, file->count, sizeof(*file->records), by_name);
    for (size_t i = 1; i < file->count; i++)
        REQUIRE(NULL, by_name(&file->records[i - 1], &file->records[i]) != 0, COLT5_ERROR_FORMAT,
                "%s: tensor %s is there twice", file->records[i].entry.file,
                SHOWN(file->records[i].entry.name));
    return COLT5_OK;
}

static colt5_status open_index(struct colt5_safetensors *file, const char *path)
{
    char *text = NULL;
    size_t count;
    json_t *index = NULL, *weights, *shard;
    const char *key;
    colt5_status status;
    TRY(file_read(path, LARGEST_INDEX, &text, &count));
    TRY(json_read_text(path, text, count, &index));
    weights = json_object_get(index, "weight_map");
    if (!json_is_object(weights))
        TRY(fail(NULL, COLT5_ERROR_FORMAT, "%s: weight_map is missing or no object", path));
    json_object_foreach(weights, key, shard)
        TRY(open_shard(file, path, key, json_string_value(shard)));
    TRY(sort_names(file));
    TRY(check_index(file, path, weights));
out:
    json_decref(index);
    host_release(text);
    return status;
}

static colt5_status open_single(struct colt5_safetensors *file, const char *path)
{
    CHECK(add_shard(file, path));
    return sort_names(file);
}

static bool exists(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0;
}

static colt5_status open_folder(struct colt5_safetensors *file, const char *path)
{
    const size_t length = strlen(path);
    char *folder = beside(path, length, "/"), *single = NULL, *index = NULL;
    colt5_status status = COLT5_ERROR_MEMORY;
    if (folder) single = beside(folder, length + 1, SINGLE);
    if (folder) index = beside(folder, length + 1, INDEX);
    if (!single || !index)
        status = fail(NULL, status, "%s: no host memory", path);
    else if (exists(single))
        status = open_single(file, single);
    else if (exists(index))
        status = open_index(file, index);
    else
        status = fail(NULL, COLT5_ERROR_FILE, "%s: holds neither %s nor %s", path, SINGLE, INDEX);
    host_release(index);
    host_release(single);
    host_release(folder);
    return status;
}

static colt5_status open_path(struct colt5_safetensors *file, const char *path)
{
    struct stat about;
    const size_t length = strlen(path);
    if (stat(path, &about) == 0 && S_ISDIR(about.st_mode)) return open_folder(file, path);
    if (length > 5 && !strcmp(path + length - 5, ".json")) return open_index(file, path);
    return open_single(file, path);
}

colt5_status colt5_safetensors_open(const char *path, colt5_safetensors **out)
{
    REQUIRE(NULL, out, COLT5_ERROR_ARGUMENT, "safetensors_open: file is NULL");
    *out = NULL;
    REQUIRE(NULL, path, COLT5_ERROR_ARGUMENT, "safetensors_open: path is NULL");
    colt5_safetensors *file = host_allocate_zeroed(1, sizeof(*file));
    REQUIRE(NULL, file, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    const colt5_status status = open_path(file, path);
    if (status == COLT5_OK)
        *out = file;
    else
        colt5_safetensors_close(file);
    return status;
}

void colt5_safetensors_close(colt5_safetensors *file)
{
    if (!file) return;
    for (size_t i = 0; i < file->count; i++) host_release((char *)file->records[i].entry.name);
    for (size_t i = 0; i < file->shard_count; i++) input_close(&file->shards[i]);
    host_release(file->records);
    host_release(file->shards);
    json_decref(file->metadata);
    host_release(file);
}

/* ---- looking ---- */

size_t colt5_safetensors_count(const colt5_safetensors *file)
{
    return file->count;
}

const colt5_safetensors_entry *colt5_safetensors_at(const colt5_safetensors *file, size_t i)
{
    return i < file->count ? &file->records[i].entry : NULL;
}

const colt5_safetensors_entry *colt5_safetensors_find(const colt5_safetensors *file,
                                                      const char *name)
{
    const struct record wanted = {.entry = {.name = name}};
    const struct record *record =
        file->count ? bsearch(&wanted, file->records, file->count, sizeof(wanted), by_name) : NULL;
    return record ? &record->entry : NULL;
}

const char *colt5_safetensors_metadata(const colt5_safetensors *file, const char *key)
{
    return json_string_value(json_object_get(file->metadata, key));
}

/* ---- reading ---- */

bool safetensors_convertible(colt5_type from, colt5_type to)
{
    return from == to || (from <= COLT5_BF16 && to <= COLT5_BF16);
}

static colt5_status read_converted(const struct input *shard, uint64_t offset, colt5_type from,
                                   colt5_type to, size_t count, void *values)
{
    const size_t size = colt5_type_size(from), most = FILE_PIECE / size;
    size_t piece = count < most ? count : most;
    void *staging = host_allocate(piece * size);
    REQUIRE(NULL, staging, COLT5_ERROR_MEMORY, "%s: no host memory", shard->path);
    colt5_status status = COLT5_OK;
    for (size_t done = 0; done < count; done += piece) {
        if (piece > count - done) piece = count - done;
        TRY(input_read(shard, offset + done * size, staging, piece * size));
        colt5_convert(from, staging, to, (char *)values + done * colt5_type_size(to), piece);
    }
out:
    host_release(staging);
    return status;
}

static colt5_status check_read(const colt5_safetensors *file, const colt5_safetensors_entry *entry,
                               colt5_type type)
{
    const char *op = "safetensors_read";
    REQUIRE(NULL, file, COLT5_ERROR_ARGUMENT, "%s: file is NULL", op);
    const struct record *record = (const struct record *)entry;
    REQUIRE(NULL, entry && record >= file->records && record < file->records + file->count,
            COLT5_ERROR_ARGUMENT, "%s: entry is not of this file", op);
    REQUIRE(NULL, colt5_type_size(type) > 0, COLT5_ERROR_TYPE, "%s: %d is no type", op, (int)type);
    REQUIRE(NULL, entry->readable && safetensors_convertible(entry->type, type), COLT5_ERROR_TYPE,
            "%s: tensor %s is %s and cannot be read as %s", entry->file, SHOWN(entry->name),
            entry->dtype, colt5_type_name(type));
    return COLT5_OK;
}

colt5_status colt5_safetensors_read(const colt5_safetensors *file,
                                    const colt5_safetensors_entry *entry, colt5_type type,
                                    size_t first, size_t count, void *values)
{
    CHECK(check_read(file, entry, type));
    REQUIRE(NULL, first <= entry->count && count <= entry->count - first, COLT5_ERROR_ARGUMENT,
            "%s: tensor %s has %zu elements, %zu from %zu on are asked", entry->file,
            SHOWN(entry->name), entry->count, count, first);
    REQUIRE(NULL, values || count == 0, COLT5_ERROR_ARGUMENT, "safetensors_read: values is NULL");
    const struct record *record = (const struct record *)entry;
    const struct input *shard = &file->shards[record->shard];
    const uint64_t offset = record->begin + first * colt5_type_size(entry->type);
    return entry->type == type ? input_read(shard, offset, values, count * colt5_type_size(type))
                               : read_converted(shard, offset, entry->type, type, count, values);
}

colt5_status safetensors_tell(colt5_context *ctx, colt5_status status)
{
    return status == COLT5_OK ? status : fail(ctx, status, "%s", colt5_message(NULL));
}

static colt5_status check_load(colt5_context *ctx, const colt5_safetensors *file,
                               const colt5_safetensors_entry *entry, const colt5_tensor *tensor)
{
    REQUIRE_TENSOR(ctx, "safetensors_load", tensor, 0);
    CHECK(safetensors_tell(ctx, check_read(file, entry, tensor->type)));
    bool same = entry->rank == tensor->rank ||
                (entry->rank == 0 && tensor->rank == 1 && tensor->dims[0] == 1);
    for (int i = 0; same && i < entry->rank; i++) same = entry->dims[i] == tensor->dims[i];
    if (same) return COLT5_OK;
    char have[160], want[160];
    dims_text(entry->dims, entry->rank, have, sizeof(have));
    dims_text(tensor->dims, tensor->rank, want, sizeof(want));
    return fail(ctx, COLT5_ERROR_SHAPE, "%s: tensor %s is %s, not %s", entry->file,
                SHOWN(entry->name), have, want);
}

colt5_status colt5_safetensors_load(colt5_context *ctx, const colt5_safetensors *file,
                                    const colt5_safetensors_entry *entry,
                                    const colt5_tensor *tensor)
{
    CHECK(check_load(ctx, file, entry, tensor));
    const size_t size = colt5_type_size(tensor->type), most = FILE_PIECE / size;
    size_t piece = entry->count < most ? entry->count : most;
    void *staging = host_allocate(piece * size);
    REQUIRE(ctx, staging, COLT5_ERROR_MEMORY, "%s: no host memory", entry->file);
    colt5_status status = COLT5_OK;
    for (size_t done = 0; done < entry->count; done += piece) {
        if (piece > entry->count - done) piece = entry->count - done;
        const colt5_tensor part =
            colt5_tensor_wrap(tensor->buffer, tensor->offset + done, tensor->type, 1, &piece);
        TRY(safetensors_tell(
            ctx, colt5_safetensors_read(file, entry, tensor->type, done, piece, staging)));
        TRY(colt5_tensor_write(ctx, &part, staging));
    }
out:
    host_release(staging);
    return status;
}
