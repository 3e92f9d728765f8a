/* SPDX-License-Identifier: MIT */
/*
 * NumPy's array files: "\x93NUMPY", version, length of the header, the header (a Python dictionary
 * {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, padded), the values.
 */
#include <colt5/npy.h>

#include <stdio.h>
#include <string.h>

#include "io/file.h"
#include "runtime/check.h"
#include "runtime/memory.h"

#define LONGEST_HEADER 65536

static const struct descr {
    const char *text;
    size_t size; /* of an element in the file */
    colt5_type type;
} descrs[] = {
    {"<f2", 2, COLT5_F16}, {"<f4", 4, COLT5_F32}, {"<f8", 8, COLT5_F32}, {"<i4", 4, COLT5_I32},
    {"<i8", 8, COLT5_I64}, {"|u1", 1, COLT5_U8},  {"|b1", 1, COLT5_U8},
};

/* ---- the header ---- */

struct scanner {
    const char *path, *at; /* at: NUL at the end */
};

struct header {
    const struct descr *descr;
    bool has_order, has_shape;
    int rank;
    size_t dims[COLT5_MAX_RANK];
};

static bool accept(struct scanner *scanner, const char *token)
{
    const size_t length = strlen(token);
    while (*scanner->at == ' ') scanner->at++;
    if (strncmp(scanner->at, token, length) != 0) return false;
    scanner->at += length;
    return true;
}

static colt5_status damaged(const struct scanner *scanner, const char *wanted)
{
    return fail(NULL, COLT5_ERROR_FORMAT, "%s: its header has \"%s\" where %s should be",
                scanner->path, SHOWN(scanner->at), wanted);
}

/* 'text' or "text", of at most size - 1 characters. */
static colt5_status parse_string(struct scanner *scanner, char *text, size_t size)
{
    while (*scanner->at == ' ') scanner->at++;
    const char quote = *scanner->at;
    if (quote != '\'' && quote != '"') return damaged(scanner, "a string");
    const char *start = scanner->at + 1, *end = strchr(start, quote);
    if (!end || (size_t)(end - start) >= size) return damaged(scanner, "a short string");
    memcpy(text, start, (size_t)(end - start));
    text[end - start] = '\0';
    scanner->at = end + 1;
    return COLT5_OK;
}

static colt5_status parse_descr(struct scanner *scanner, struct header *header)
{
    char text[16];
    CHECK(parse_string(scanner, text, sizeof(text)));
    for (size_t i = 0; i < sizeof(descrs) / sizeof(descrs[0]); i++)
        if (!strcmp(text, descrs[i].text)) header->descr = &descrs[i];
    REQUIRE(NULL, header->descr, COLT5_ERROR_FORMAT,
            "%s: its type is %s, not one of <f2 <f4 <f8 <i4 <i8 |u1 |b1", scanner->path,
            SHOWN(text));
    return COLT5_OK;
}

static colt5_status parse_order(struct scanner *scanner, struct header *header)
{
    header->has_order = true;
    REQUIRE(NULL, !accept(scanner, "True"), COLT5_ERROR_FORMAT,
            "%s: is in Fortran order; save numpy.ascontiguousarray of it", scanner->path);
    return accept(scanner, "False") ? COLT5_OK : damaged(scanner, "False");
}

static colt5_status parse_size(struct scanner *scanner, size_t *size)
{
    if (*scanner->at < '0' || *scanner->at > '9') return damaged(scanner, "a size");
    for (*size = 0; *scanner->at >= '0' && *scanner->at <= '9'; scanner->at++)
        if (!size_multiply(*size, 10, size) || !size_add(*size, (size_t)(*scanner->at - '0'), size))
            return damaged(scanner, "a size below 2^64");
    return COLT5_OK;
}

/* (), (2,), (2, 3), (2, 3,) */
static colt5_status parse_shape(struct scanner *scanner, struct header *header)
{
    header->has_shape = true;
    if (!accept(scanner, "(")) return damaged(scanner, "(");
    bool comma = true;
    while (!accept(scanner, ")")) {
        if (!comma) return damaged(scanner, ", or )");
        REQUIRE(NULL, header->rank < COLT5_MAX_RANK, COLT5_ERROR_FORMAT, "%s: its rank is above %d",
                scanner->path, COLT5_MAX_RANK);
        CHECK(parse_size(scanner, &header->dims[header->rank++]));
        comma = accept(scanner, ",");
    }
    return header->rank != 1 || comma ? COLT5_OK : damaged(scanner, "(size,)");
}

static colt5_status parse_member(struct scanner *scanner, struct header *header)
{
    char key[16];
    CHECK(parse_string(scanner, key, sizeof(key)));
    if (!accept(scanner, ":")) return damaged(scanner, ":");
    if (!strcmp(key, "descr") && !header->descr) return parse_descr(scanner, header);
    if (!strcmp(key, "fortran_order") && !header->has_order) return parse_order(scanner, header);
    if (!strcmp(key, "shape") && !header->has_shape) return parse_shape(scanner, header);
    return fail(NULL, COLT5_ERROR_FORMAT, "%s: its header has %s twice, or no use for it",
                scanner->path, SHOWN(key));
}

static colt5_status parse_header(struct scanner *scanner, struct header *header)
{
    if (!accept(scanner, "{")) return damaged(scanner, "{");
    bool comma = true;
    while (!accept(scanner, "}")) {
        if (!comma) return damaged(scanner, ", or }");
        CHECK(parse_member(scanner, header));
        comma = accept(scanner, ",");
    }
    (void)accept(scanner, "\n");
    if (*scanner->at) return damaged(scanner, "its end");
    REQUIRE(NULL, header->descr && header->has_order && header->has_shape, COLT5_ERROR_FORMAT,
            "%s: its header lacks descr, fortran_order or shape", scanner->path);
    return COLT5_OK;
}

/* Magic, version and length; *data is where the values begin, *text the header with a NUL. */
static colt5_status read_header(const struct input *input, char **text, size_t *data)
{
    uint8_t start[12] = {0};
    const size_t known = input->size < sizeof(start) ? (size_t)input->size : sizeof(start);
    CHECK(input_read(input, 0, start, known));
    REQUIRE(NULL, known >= 10 && !memcmp(start, "\x93NUMPY", 6), COLT5_ERROR_FORMAT,
            "%s: is no .npy file", input->path);
    const unsigned major = start[6], minor = start[7];
    REQUIRE(NULL, (major == 1 || major == 2) && minor == 0, COLT5_ERROR_FORMAT,
            "%s: is of version %u.%u, not 1.0 or 2.0", input->path, major, minor);
    const size_t from = major == 1 ? 10 : 12;
    uint32_t length = (uint32_t)start[8] | (uint32_t)start[9] << 8;
    if (major == 2) length |= (uint32_t)start[10] << 16 | (uint32_t)start[11] << 24;
    REQUIRE(NULL, length <= LONGEST_HEADER && from + length <= input->size, COLT5_ERROR_FORMAT,
            "%s: its header has %lu bytes, the file %llu (at most %d)", input->path,
            (unsigned long)length, (unsigned long long)input->size, LONGEST_HEADER);
    *text = host_allocate(length + 1);
    REQUIRE(NULL, *text, COLT5_ERROR_MEMORY, "%s: no host memory", input->path);
    (*text)[length] = '\0';
    *data = from + length;
    CHECK(input_read(input, from, *text, length));
    for (size_t i = 0; i < length; i++)
        REQUIRE(NULL, (*text)[i] > 0 && (*text)[i] < 0x7F, COLT5_ERROR_FORMAT,
                "%s: byte %zu of its header is no text", input->path, i);
    return COLT5_OK;
}

/* ---- the values ---- */

static colt5_status read_doubles(const struct input *input, size_t offset, size_t count,
                                 float *values)
{
    double block[1024];
    size_t piece = sizeof(block) / sizeof(block[0]);
    for (size_t done = 0; done < count; done += piece) {
        if (piece > count - done) piece = count - done;
        CHECK(input_read(input, offset + done * sizeof(*block), block, piece * sizeof(*block)));
        for (size_t i = 0; i < piece; i++) values[done + i] = (float)block[i];
    }
    return COLT5_OK;
}

static colt5_status read_values(const struct input *input, const struct header *header,
                                size_t offset, colt5_npy *array)
{
    const size_t size = header->descr->size, kept = colt5_type_size(header->descr->type);
    size_t bytes = dims_product(header->dims, header->rank);
    *array = (colt5_npy){.type = header->descr->type, .rank = header->rank, .count = bytes};
    memcpy(array->dims, header->dims, sizeof(array->dims));
    REQUIRE(NULL, size_multiply(bytes, size, &bytes), COLT5_ERROR_FORMAT,
            "%s: its size in bytes passes 2^64", input->path);
    REQUIRE(NULL, bytes == input->size - offset, COLT5_ERROR_FORMAT,
            "%s: has %llu bytes of values, its shape wants %zu", input->path,
            (unsigned long long)(input->size - offset), bytes);
    array->values = host_allocate(array->count * kept);
    REQUIRE(NULL, array->values, COLT5_ERROR_MEMORY, "%s: no host memory for %zu bytes",
            input->path, array->count * kept);
    return size == kept ? input_read(input, offset, array->values, bytes)
                        : read_doubles(input, offset, array->count, array->values);
}

colt5_status colt5_npy_read(const char *path, colt5_npy *array)
{
    REQUIRE(NULL, path && array, COLT5_ERROR_ARGUMENT, "npy_read: path or array is NULL");
    *array = (colt5_npy){.values = NULL};
    struct input input;
    struct header header = {.descr = NULL};
    char *text = NULL;
    size_t data = 0;
    colt5_status status;
    TRY(input_open(&input, path));
    TRY(read_header(&input, &text, &data));
    TRY(parse_header(&(struct scanner){path, text}, &header));
    TRY(read_values(&input, &header, data, array));
out:
    host_release(text);
    input_close(&input);
    if (status != COLT5_OK) colt5_npy_release(array);
    return status;
}

void colt5_npy_release(colt5_npy *array)
{
    if (!array) return;
    host_release(array->values);
    *array = (colt5_npy){.values = NULL};
}

/* ---- writing ---- */

static const char *descr_of(colt5_type type)
{
    return type == COLT5_I32 ? "<i4" : type == COLT5_I64 ? "<i8" : type == COLT5_U8 ? "|u1" : "<f4";
}

/* Values begin at a multiple of 64, as NumPy has it. */
static colt5_status write_header(struct output *output, const colt5_npy *array)
{
    char shape[160] = "", text[320];
    size_t used = 0;
    for (int i = 0; i < array->rank; i++)
        used += (size_t)snprintf(shape + used, sizeof(shape) - used, "%zu, ", array->dims[i]);
    if (array->rank > 0) shape[used - (array->rank > 1 ? 2 : 1)] = '\0'; /* (2,) but (2, 3) */
    const int length = snprintf(text + 10, sizeof(text) - 10,
                                "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                                descr_of(array->type), shape);
    const size_t whole = (10 + (size_t)length + 1 + 63) / 64 * 64;
    memset(text + 10 + length, ' ', whole - 10 - (size_t)length);
    text[whole - 1] = '\n';
    memcpy(text, "\x93NUMPY\x01\x00", 8);
    text[8] = (char)((whole - 10) & 0xFF);
    text[9] = (char)((whole - 10) >> 8);
    return output_write(output, text, whole);
}

static colt5_status write_values(struct output *output, const colt5_npy *array, size_t count)
{
    const size_t size = colt5_type_size(array->type);
    if (array->type != COLT5_F16 && array->type != COLT5_BF16)
        return output_write(output, array->values, count * size);
    float block[2048];
    size_t piece = sizeof(block) / sizeof(block[0]);
    for (size_t done = 0; done < count; done += piece) {
        if (piece > count - done) piece = count - done;
        colt5_convert(array->type, (const char *)array->values + done * size, COLT5_F32, block,
                      piece);
        CHECK(output_write(output, block, piece * sizeof(*block)));
    }
    return COLT5_OK;
}

colt5_status colt5_npy_write(const char *path, const colt5_npy *array)
{
    REQUIRE(NULL, path && array, COLT5_ERROR_ARGUMENT, "npy_write: path or array is NULL");
    REQUIRE(NULL, colt5_type_size(array->type) > 0, COLT5_ERROR_ARGUMENT, "%s: %d is no type", path,
            (int)array->type);
    REQUIRE(NULL, array->rank >= 0 && array->rank <= COLT5_MAX_RANK, COLT5_ERROR_ARGUMENT,
            "%s: a rank of %d is not in 0 to %d", path, array->rank, COLT5_MAX_RANK);
    const size_t count = dims_product(array->dims, array->rank);
    REQUIRE(NULL, count <= SIZE_MAX / 8, COLT5_ERROR_ARGUMENT, "%s: its size passes 2^64", path);
    REQUIRE(NULL, array->values || count == 0, COLT5_ERROR_ARGUMENT, "%s: values is NULL", path);
    struct output output;
    colt5_status status = output_open(&output, path);
    if (status != COLT5_OK) return status;
    TRY(write_header(&output, array));
    TRY(write_values(&output, array, count));
    return output_commit(&output);
out:
    output_discard(&output);
    return status;
}
