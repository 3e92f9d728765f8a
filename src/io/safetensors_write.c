/* SPDX-License-Identifier: MIT */
/*
 * Writing: the header needs all shapes before the first value. Data lies largest elements first,
 * in the order of the plans within one size, so that every tensor is aligned to its elements.
 */
#include "io/safetensors.h"

#include <string.h>

#include "runtime/check.h"
#include "runtime/memory.h"

struct part {
    char *name;
    colt5_type type;
    uint64_t offset; /* of its data, from the start of the file's data */
    size_t count, written;
};

struct colt5_safetensors_writer {
    struct output output;
    uint64_t data; /* where it starts in the file */
    struct part *parts;
    size_t count;
};

static const char *dtype_of(colt5_type type)
{
    static const char *const names[] = {"F32", "F16", "BF16", "I32", "I64", "U8"};
    return names[type];
}

static colt5_status check_plan(const char *path, const colt5_safetensors_plan *plan)
{
    size_t bytes;
    REQUIRE(NULL, plan->name && strcmp(plan->name, METADATA) != 0, COLT5_ERROR_ARGUMENT,
            "%s: a tensor has no name, or that of the metadata", path);
    REQUIRE(NULL, colt5_type_size(plan->type) > 0, COLT5_ERROR_ARGUMENT,
            "%s: tensor %s: %d is no type", path, SHOWN(plan->name), (int)plan->type);
    REQUIRE(NULL, plan->rank >= 0 && plan->rank <= COLT5_MAX_RANK, COLT5_ERROR_ARGUMENT,
            "%s: tensor %s: its rank is %d", path, SHOWN(plan->name), plan->rank);
    bytes = dims_product(plan->dims, plan->rank);
    REQUIRE(NULL, size_multiply(bytes, colt5_type_size(plan->type), &bytes) && bytes <= INT64_MAX,
            COLT5_ERROR_ARGUMENT, "%s: tensor %s: its size in bytes passes 2^63", path,
            SHOWN(plan->name));
    return COLT5_OK;
}

/* ---- the header ---- */

/* Takes value. */
static colt5_status add_member(const char *path, json_t *object, const char *key, json_t *value)
{
    const bool twice = json_object_get(object, key);
    const bool added = !twice && json_object_set_new(object, key, value) == 0;
    if (twice) json_decref(value);
    REQUIRE(NULL, !twice, COLT5_ERROR_ARGUMENT, "%s: %s is there twice", path, SHOWN(key));
    REQUIRE(NULL, added, COLT5_ERROR_ARGUMENT, "%s: %s: not UTF-8, or no host memory", path,
            SHOWN(key));
    return COLT5_OK;
}

static colt5_status add_metadata(const char *path, json_t *header, const char *const *metadata)
{
    if (!metadata || !metadata[0]) return COLT5_OK;
    json_t *object = json_object();
    CHECK(add_member(path, header, METADATA, object));
    for (; metadata[0]; metadata += 2)
        CHECK(add_member(path, object, metadata[0], json_string(metadata[1])));
    return COLT5_OK;
}

static json_t *describe(const colt5_safetensors_plan *plan, const struct part *part)
{
    const uint64_t end = part->offset + part->count * colt5_type_size(part->type);
    json_t *shape = json_array();
    for (int i = 0; i < plan->rank; i++)
        json_array_append_new(shape, json_integer((json_int_t)plan->dims[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_of(plan->type), "shape", shape,
                     "data_offsets", (json_int_t)part->offset, (json_int_t)end);
}

/* Places each tensor and describes it. */
static colt5_status lay_out(const char *path, colt5_safetensors_writer *writer,
                            const colt5_safetensors_plan *plans, json_t *header)
{
    uint64_t end = 0;
    for (size_t size = 8; size > 0; size /= 2)
        for (size_t i = 0; i < writer->count; i++) {
            struct part *part = &writer->parts[i];
            if (colt5_type_size(plans[i].type) != size) continue;
            part->offset = end;
            end += part->count * size;
            REQUIRE(NULL, end <= INT64_MAX, COLT5_ERROR_ARGUMENT,
                    "%s: its size in bytes passes 2^63", path);
            CHECK(add_member(path, header, part->name, describe(&plans[i], part)));
        }
    return COLT5_OK;
}

/* Eight bytes of length, the header, spaces up to a multiple of eight. */
static colt5_status write_header(const char *path, colt5_safetensors_writer *writer,
                                 const json_t *header)
{
    const size_t length = json_dumpb(header, NULL, 0, JSON_COMPACT);
    const uint64_t padded = (length + 7) / 8 * 8;
    REQUIRE(NULL, length > 0 && padded <= LONGEST_HEADER, COLT5_ERROR_ARGUMENT,
            "%s: its header has %zu bytes, more than %zu", path, length, LONGEST_HEADER);
    char *text = host_allocate(sizeof(padded) + (size_t)padded);
    REQUIRE(NULL, text, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    memcpy(text, &padded, sizeof(padded));
    memset(text + sizeof(padded), ' ', (size_t)padded);
    json_dumpb(header, text + sizeof(padded), length, JSON_COMPACT);
    writer->data = sizeof(padded) + padded;
    const colt5_status status = output_write_at(&writer->output, 0, text, (size_t)writer->data);
    host_release(text);
    return status;
}

static colt5_status begin(const char *path, colt5_safetensors_writer *writer,
                          const colt5_safetensors_plan *plans, const char *const *metadata,
                          json_t *header)
{
    for (size_t i = 0; i < writer->count; i++) {
        struct part *part = &writer->parts[i];
        CHECK(check_plan(path, &plans[i]));
        part->name = host_copy_text(plans[i].name);
        REQUIRE(NULL, part->name, COLT5_ERROR_MEMORY, "%s: no host memory", path);
        part->type = plans[i].type;
        part->count = dims_product(plans[i].dims, plans[i].rank);
    }
    CHECK(add_metadata(path, header, metadata));
    CHECK(lay_out(path, writer, plans, header));
    CHECK(output_open(&writer->output, path));
    return write_header(path, writer, header);
}

colt5_status colt5_safetensors_create(const char *path, const colt5_safetensors_plan *plans,
                                      size_t count, const char *const *metadata,
                                      colt5_safetensors_writer **out)
{
    REQUIRE(NULL, out, COLT5_ERROR_ARGUMENT, "safetensors_create: writer is NULL");
    *out = NULL;
    REQUIRE(NULL, path && (plans || count == 0), COLT5_ERROR_ARGUMENT,
            "safetensors_create: path or plans is NULL");
    json_t *header = json_object();
    colt5_safetensors_writer *writer = host_allocate_zeroed(1, sizeof(*writer));
    colt5_status status = COLT5_ERROR_MEMORY;
    if (writer) writer->parts = host_allocate_zeroed(count, sizeof(*writer->parts));
    if (!header || !writer || !writer->parts) TRY(fail(NULL, status, "%s: no host memory", path));
    writer->count = count;
    TRY(begin(path, writer, plans, metadata, header));
    *out = writer;
    writer = NULL;
out:
    json_decref(header);
    colt5_safetensors_abandon(writer);
    return status;
}

/* ---- the data ---- */

static colt5_status check_part(const colt5_safetensors_writer *writer, const char *op, size_t i,
                               size_t count)
{
    REQUIRE(NULL, writer, COLT5_ERROR_ARGUMENT, "%s: writer is NULL", op);
    REQUIRE(NULL, i < writer->count, COLT5_ERROR_ARGUMENT, "%s: plan %zu of %zu", op, i,
            writer->count);
    const struct part *part = &writer->parts[i];
    REQUIRE(NULL, count <= part->count - part->written, COLT5_ERROR_ARGUMENT,
            "%s: tensor %s has %zu elements left, not %zu", writer->output.path, SHOWN(part->name),
            part->count - part->written, count);
    return COLT5_OK;
}

colt5_status colt5_safetensors_write(colt5_safetensors_writer *writer, size_t i, size_t count,
                                     const void *values)
{
    CHECK(check_part(writer, "safetensors_write", i, count));
    REQUIRE(NULL, values || count == 0, COLT5_ERROR_ARGUMENT, "safetensors_write: values is NULL");
    struct part *part = &writer->parts[i];
    const size_t size = colt5_type_size(part->type);
    CHECK(output_write_at(&writer->output, writer->data + part->offset + part->written * size,
                          values, count * size));
    part->written += count;
    return COLT5_OK;
}

/* Piece by piece: device, its type on the host, the file's type. */
static colt5_status store_pieces(colt5_context *ctx, colt5_safetensors_writer *writer, size_t i,
                                 const colt5_tensor *tensor, size_t most, void *have, void *want)
{
    const struct part *part = &writer->parts[i];
    while (part->written < part->count) {
        const size_t done = part->written, left = part->count - done;
        const size_t piece = left < most ? left : most;
        const colt5_tensor view =
            colt5_tensor_wrap(tensor->buffer, tensor->offset + done, tensor->type, 1, &piece);
        CHECK(colt5_tensor_read(ctx, &view, have));
        if (want != have) colt5_convert(tensor->type, have, part->type, want, piece);
        CHECK(safetensors_tell(ctx, colt5_safetensors_write(writer, i, piece, want)));
    }
    return COLT5_OK;
}

colt5_status colt5_safetensors_store(colt5_context *ctx, colt5_safetensors_writer *writer, size_t i,
                                     const colt5_tensor *tensor)
{
    REQUIRE_TENSOR(ctx, "safetensors_store", tensor, 0);
    const size_t count = colt5_tensor_count(tensor);
    CHECK(safetensors_tell(ctx, check_part(writer, "safetensors_store", i, 0)));
    const struct part *part = &writer->parts[i];
    REQUIRE(ctx, part->written == 0 && count == part->count, COLT5_ERROR_SHAPE,
            "%s: tensor %s has %zu elements left, not %zu", writer->output.path, SHOWN(part->name),
            part->count - part->written, count);
    REQUIRE(ctx, safetensors_convertible(tensor->type, part->type), COLT5_ERROR_TYPE,
            "%s: tensor %s is %s and cannot be written as %s", writer->output.path,
            SHOWN(part->name), colt5_type_name(tensor->type), colt5_type_name(part->type));
    const size_t most = FILE_PIECE / 4, piece = count < most ? count : most;
    const bool same = tensor->type == part->type;
    colt5_status status = COLT5_ERROR_MEMORY;
    void *have = host_allocate(piece * colt5_type_size(tensor->type));
    void *want = same ? have : host_allocate(piece * colt5_type_size(part->type));
    if (have && want)
        status = store_pieces(ctx, writer, i, tensor, piece, have, want);
    else
        fail(ctx, status, "%s: no host memory", writer->output.path);
    if (!same) host_release(want);
    host_release(have);
    return status;
}

/* ---- the end ---- */

static colt5_status check_written(const colt5_safetensors_writer *writer)
{
    for (size_t i = 0; i < writer->count; i++)
        REQUIRE(NULL, writer->parts[i].written == writer->parts[i].count, COLT5_ERROR_ARGUMENT,
                "%s: tensor %s was given %zu of its %zu elements", writer->output.path,
                SHOWN(writer->parts[i].name), writer->parts[i].written, writer->parts[i].count);
    return COLT5_OK;
}

colt5_status colt5_safetensors_finish(colt5_safetensors_writer *writer)
{
    REQUIRE(NULL, writer, COLT5_ERROR_ARGUMENT, "safetensors_finish: writer is NULL");
    colt5_status status = check_written(writer);
    if (status == COLT5_OK) status = output_commit(&writer->output);
    colt5_safetensors_abandon(writer);
    return status;
}

void colt5_safetensors_abandon(colt5_safetensors_writer *writer)
{
    if (!writer) return;
    output_discard(&writer->output);
    for (size_t i = 0; i < writer->count; i++) host_release(writer->parts[i].name);
    host_release(writer->parts);
    host_release(writer);
}
