/* SPDX-License-Identifier: MIT */
#include "support/files.h"

#include <stdio.h>
#include <unistd.h>

#include <colt5/safetensors.h>

/* A file of this header and so many bytes of data, each its own position. */
static const char *put_tensors(const char *name, const char *header, size_t data)
{
    const uint64_t length = strlen(header);
    char *bytes = calloc(1, 8 + length + data);
    memcpy(bytes, &length, 8);
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < data; i++) bytes[8 + length + i] = (char)i;
    const char *path = put_file(name, bytes, 8 + length + data);
    free(bytes);
    return path;
}

static colt5_safetensors *opened(const char *path)
{
    colt5_safetensors *file;
    ck_assert_ok(colt5_safetensors_open(path, &file));
    return file;
}

static void assert_refused(const char *path, colt5_status status, const char *text)
{
    colt5_safetensors *file = (void *)1;
    assert_fails(colt5_safetensors_open(path, &file), status, text);
    ck_assert_ptr_null(file);
}

START_TEST(tensors_are_found_by_name)
{
    colt5_safetensors *file =
        opened(put_tensors("m",
                           "{\"__metadata__\": {\"format\": \"pt\"},\n"
                           " \"b.x\" : {\"shape\":[2,3],\"dtype\":\"U8\",\"data_offsets\":[4,10]},"
                           "\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"
                           "\"empty\":{\"dtype\":\"I64\",\"shape\":[0,7],\"data_offsets\":[4,4]},"
                           "\"flags\":{\"dtype\":\"BOOL\",\"shape\":[1],\"data_offsets\":[10,11]},"
                           "\"old\":{\"dtype\":\"F64\",\"shape\":[1],\"data_offsets\":[11,19]}}   ",
                           19));
    ck_assert_uint_eq(colt5_safetensors_count(file), 5);
    ck_assert_str_eq(colt5_safetensors_at(file, 0)->name, "a");
    ck_assert_str_eq(colt5_safetensors_at(file, 4)->name, "old");
    ck_assert_ptr_null(colt5_safetensors_at(file, 5));
    ck_assert_ptr_null(colt5_safetensors_find(file, "c"));
    ck_assert_str_eq(colt5_safetensors_metadata(file, "format"), "pt");
    ck_assert_ptr_null(colt5_safetensors_metadata(file, "author"));

    const colt5_safetensors_entry *x = colt5_safetensors_find(file, "b.x");
    ck_assert(x->readable && x->type == COLT5_U8 && x->rank == 2);
    ck_assert(x->dims[0] == 2 && x->dims[1] == 3 && x->count == 6 && x->bytes == 6);
    ck_assert_str_eq(x->dtype, "U8");
    uint8_t got[6];
    ck_assert_ok(colt5_safetensors_read(file, x, COLT5_U8, 0, 6, got));
    ck_assert(got[0] == 4 && got[5] == 9);
    ck_assert_ok(colt5_safetensors_read(file, x, COLT5_U8, 5, 1, got));
    ck_assert_uint_eq(got[0], 9);

    const colt5_safetensors_entry *scalar = colt5_safetensors_find(file, "a");
    ck_assert(scalar->rank == 0 && scalar->count == 1);
    const colt5_safetensors_entry *empty = colt5_safetensors_find(file, "empty");
    ck_assert_ok(colt5_safetensors_read(file, empty, COLT5_I64, 0, 0, NULL));
    ck_assert_int_eq(colt5_safetensors_find(file, "flags")->type, COLT5_U8);

    const colt5_safetensors_entry *old = colt5_safetensors_find(file, "old");
    ck_assert(!old->readable && old->bytes == 8);
    assert_fails(colt5_safetensors_read(file, old, COLT5_F32, 0, 1, got), COLT5_ERROR_TYPE,
                 "tensor old is F64 and cannot be read as f32");
    assert_fails(colt5_safetensors_read(file, x, COLT5_F32, 0, 1, got), COLT5_ERROR_TYPE,
                 "tensor b.x is U8");
    assert_fails(colt5_safetensors_read(file, x, COLT5_U8, 6, 1, got), COLT5_ERROR_ARGUMENT,
                 "tensor b.x has 6 elements, 1 from 6 on");
    assert_fails(colt5_safetensors_read(file, x, COLT5_U8, SIZE_MAX, 2, got), COLT5_ERROR_ARGUMENT,
                 "tensor b.x has 6");
    assert_fails(colt5_safetensors_read(file, x, COLT5_U8, 0, 1, NULL), COLT5_ERROR_ARGUMENT,
                 "values is NULL");
    assert_fails(colt5_safetensors_read(file, x, (colt5_type)9, 0, 1, got), COLT5_ERROR_TYPE,
                 "9 is no type");
    const colt5_safetensors_entry copy = *x;
    assert_fails(colt5_safetensors_read(file, &copy, COLT5_U8, 0, 1, got), COLT5_ERROR_ARGUMENT,
                 "entry is not of this file");
    colt5_safetensors_close(file);
}
END_TEST

#define T(dtype, shape, begin, end)                                                                \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end "]}"
#define A(dtype, shape, begin, end) "{\"a\":" T(dtype, shape, begin, end) "}"

static const struct {
    const char *header;
    size_t data;
    const char *message;
} bad_headers[] = {
    {"", 0, "byte 0 of its header is not '{'"},
    {"[]", 0, "byte 0 of its header is not '{'"},
    {"{", 0, "header"},
    {"{}x", 0, "more in its header after byte 2"},
    {"{}", 1, "1 bytes after its last tensor"},
    {"{,}", 0, "of its header: unexpected token"},
    {"{\"a\"}", 0, "byte 4 of its header is not ':'"},
    {"{1:2}", 0, "no name"},
    {"{\"a\":1}", 0, "tensor a: is no object"},
    {"{\"a\":{}}", 0, "tensor a: dtype is missing"},
    {"{\"a\":" T("F32", "[1]", 0, 4) ",}", 4, "header"},
    {"{\"a\":" T("F32", "[1]", 0, 4) " \"b\":" T("F32", "[1]", 4, 8) "}", 8, "is not '}'"},
    {"{\"a\":" T("F32", "[1]", 0, 4) ",\"a\":" T("F32", "[1]", 4, 8) "}", 8, "tensor a is there"},
    {"{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "dupl"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":0}}", 1, "unknown keys"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "tensor a: shape is no array"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "tensor a: data_offsets"},
    {A("f32", "[1]", 0, 4), 4, "tensor a: unknown dtype f32"},
    {A("F32", "[1]", 0, 3), 4, "tensor a: has 3 bytes of data, its shape wants 4"},
    {A("F32", "[1]", 0, 5), 5, "tensor a: has 5 bytes"},
    {A("F32", "[1]", 4, 0), 4, "tensor a: data_offsets are not [begin, end]"},
    {A("F32", "[1]", -4, 0), 4, "tensor a: data_offsets are not [begin, end]"},
    {A("F32", "[1]", 0, 4.0), 4, "tensor a: data_offsets are not [begin, end]"},
    {A("F32", "[1]", 0, 4), 3, "tensor a: passes the end of the file"},
    {A("F32", "[1]", 0, 4), 0, "tensor a: passes the end of the file"},
    {A("F32", "[1]", 1, 5), 5, "tensor a: a hole before its data"},
    {A("F32", "[-1]", 0, 4), 4, "tensor a: shape holds what is no size"},
    {A("F32", "[1.0]", 0, 4), 4, "tensor a: shape holds what is no size"},
    {A("F32", "[NaN]", 0, 4), 4, "byte"},
    {A("F32", "[1e999]", 0, 4), 4, "byte"},
    {A("F32", "[\"1\"]", 0, 4), 4, "tensor a: shape holds what is no size"},
    {A("F32", "[9223372036854775808]", 0, 4), 4, "too big"},
    {A("F32", "[4611686018427387904,4]", 0, 0), 0, "tensor a: its size in bytes passes 2^64"},
    {A("F32", "[4611686018427387904]", 0, 0), 0, "tensor a: its size in bytes passes 2^64"},
    {A("U8", "[4294967296,4294967296]", 0, 0), 0, "tensor a: its size in bytes passes 2^64"},
    {A("U8", "[1,1,1,1,1,1,1,1,1]", 0, 1), 1, "tensor a: its rank is above 8"},
    {A("U8", "[[1]]", 0, 1), 1, "tensor a: shape holds what is no size"},
    {"{\"a\":" T("U8", "[4]", 0, 4) ",\"b\":" T("U8", "[4]", 2, 6) "}", 6, "b: its data overlaps"},
    {"{\"a\":" T("U8", "[4]", 0, 4) ",\"b\":" T("U8", "[4]", 0, 4) "}", 4, "its data overlaps"},
    {"{\"a\":" T("U8", "[4]", 0, 4) ",\"b\":" T("U8", "[4]", 5, 9) "}", 9, "b: a hole before"},
    {"{\"\\u0000\":" T("U8", "[1]", 0, 1) "}", 1, "byte"},
    {"{\"\xff\":" T("U8", "[1]", 0, 1) "}", 1, "byte"},
    {"{\"\\ud800\":" T("U8", "[1]", 0, 1) "}", 1, "byte"},
    {"{\"\xc0\x80\":" T("U8", "[1]", 0, 1) "}", 1, "byte"},
    {"{\"__metadata__\":[]}", 0, "__metadata__ is no object"},
    {"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__: a is not a string"},
    {"{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}", 0, "duplicate"},
};

START_TEST(bad_headers_are_refused_by_name)
{
    const char *path = put_tensors("bad", bad_headers[_i].header, bad_headers[_i].data);
    assert_refused(path, COLT5_ERROR_FORMAT, bad_headers[_i].message);
    ck_assert(!strncmp(colt5_message(NULL), path, strlen(path)));
}
END_TEST

START_TEST(bad_lengths_are_refused)
{
    static const uint64_t lengths[] = {3, 100000001, (uint64_t)1 << 63, UINT64_MAX, UINT64_MAX - 7};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        char bytes[10] = "";
        memcpy(bytes, &lengths[i], 8);
        memcpy(bytes + 8, "{}", 2);
        assert_refused(put_file("bad", bytes, 10), COLT5_ERROR_FORMAT, "bad: its header has");
    }
    const uint64_t large = 100000001;
    put_file("large", &large, 8);
    ck_assert_int_eq(truncate(in_folder("large"), 200000000), 0);
    assert_refused(in_folder("large"), COLT5_ERROR_FORMAT, "at most 100000000");
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
    const size_t depth = 2000000;
    char *header = malloc(depth + 1);
    memset(header, '[', depth);
    header[depth] = '\0';
    memcpy(header, "{\"a\":", 5);
    assert_refused(put_tensors("deep", header, 0), COLT5_ERROR_FORMAT, "deep: byte");
    memcpy(header, "{\"__metadata__\":", 16);
    assert_refused(put_tensors("deep", header, 0), COLT5_ERROR_FORMAT, "deep: byte");
    free(header);
}
END_TEST

START_TEST(missing_files_are_named)
{
    assert_refused(in_folder("none"), COLT5_ERROR_FILE, "none: cannot be opened");
    assert_refused(in_folder("none.json"), COLT5_ERROR_FILE, "none.json: cannot be opened");
    assert_refused(in_folder("."), COLT5_ERROR_FILE, "holds neither model.safetensors nor");
    assert_refused(put_file("empty", "", 0), COLT5_ERROR_FORMAT, "empty: has 0 bytes, too few");
    assert_refused("/dev/zero", COLT5_ERROR_FILE, "is not a regular file");
    assert_refused(NULL, COLT5_ERROR_ARGUMENT, "path is NULL");
    ck_assert_int_eq(colt5_safetensors_open("x", NULL), COLT5_ERROR_ARGUMENT);
    colt5_safetensors_close(NULL);
}
END_TEST

/* ---- writing ---- */

static const colt5_safetensors_plan plans[] = {
    {"mask", COLT5_U8, 1, {3}},        {"w", COLT5_F32, 2, {2, 3}},
    {"half \"é\"", COLT5_F16, 1, {5}}, {"index", COLT5_I32, 3, {1, 2, 2}},
    {"long", COLT5_I64, 1, {2}},       {"brain", COLT5_BF16, 2, {1, 3}},
    {"none", COLT5_F32, 2, {0, 5}},    {"scalar", COLT5_F32, 0, {0}},
};
#define PLANS (sizeof(plans) / sizeof(plans[0]))
static const char *const metadata[] = {"format", "pt", "note", "a\n\"b\"", NULL};

static size_t count_of(size_t i)
{
    size_t count = 1;
    for (int d = 0; d < plans[i].rank; d++) count *= plans[i].dims[d];
    return count;
}

/* Byte k of plan i. */
static uint8_t byte_of(size_t i, size_t k)
{
    return (uint8_t)(37 * i + 11 * k + 1);
}

static colt5_status write_all(colt5_safetensors_writer *writer)
{
    for (size_t i = PLANS; i-- > 0;) /* not in order, and one in two parts */
        for (size_t part = 0; part < 2; part++) {
            const size_t size = colt5_type_size(plans[i].type), half = count_of(i) / 2;
            const size_t count = part ? count_of(i) - half : half, first = part ? half : 0;
            uint8_t bytes[64];
            for (size_t k = 0; k < count * size; k++) bytes[k] = byte_of(i, first * size + k);
            const colt5_status status = colt5_safetensors_write(writer, i, count, bytes);
            if (status != COLT5_OK) return status;
        }
    return COLT5_OK;
}

static colt5_status write_file(const char *path)
{
    colt5_safetensors_writer *writer;
    colt5_status status = colt5_safetensors_create(path, plans, PLANS, metadata, &writer);
    if (status != COLT5_OK) return status;
    status = write_all(writer);
    if (status == COLT5_OK) return colt5_safetensors_finish(writer);
    colt5_safetensors_abandon(writer);
    return status;
}

START_TEST(a_file_comes_back_as_it_was_written)
{
    ck_assert_ok(write_file(in_folder("model.safetensors")));
    ck_assert_uint_eq(files_in_folder(), 1);
    colt5_safetensors *file = opened(in_folder("."));
    ck_assert_uint_eq(colt5_safetensors_count(file), PLANS);
    ck_assert_str_eq(colt5_safetensors_metadata(file, "note"), metadata[3]);
    for (size_t i = 0; i < PLANS; i++) {
        const colt5_safetensors_entry *entry = colt5_safetensors_find(file, plans[i].name);
        ck_assert_ptr_nonnull(entry);
        ck_assert(entry->type == plans[i].type && entry->rank == plans[i].rank);
        ck_assert(!memcmp(entry->dims, plans[i].dims, (size_t)entry->rank * sizeof(size_t)));
        uint8_t bytes[64];
        ck_assert_ok(colt5_safetensors_read(file, entry, entry->type, 0, entry->count, bytes));
        for (size_t k = 0; k < entry->bytes; k++) ck_assert_uint_eq(bytes[k], byte_of(i, k));
    }
    colt5_safetensors_close(file);
}
END_TEST

/* What other readers rely on: a header padded to eight bytes, every tensor aligned. */
START_TEST(the_layout_is_aligned)
{
    static const char want[] = "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
                               "\"c\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[4,6]},"
                               "\"a\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[6,9]}}";
    static const colt5_safetensors_plan mixed[] = {
        {"a", COLT5_U8, 1, {3}}, {"b", COLT5_F32, 1, {1}}, {"c", COLT5_F16, 1, {1}}};
    colt5_safetensors_writer *writer;
    ck_assert_ok(colt5_safetensors_create(in_folder("m"), mixed, 3, NULL, &writer));
    ck_assert_ok(colt5_safetensors_write(writer, 0, 3, "abc"));
    ck_assert_ok(colt5_safetensors_write(writer, 1, 1, "defg"));
    ck_assert_ok(colt5_safetensors_write(writer, 2, 1, "hi"));
    ck_assert_ok(colt5_safetensors_finish(writer));
    size_t count, padded = (strlen(want) + 7) / 8 * 8;
    char *bytes = get_file("m", &count);
    uint64_t length;
    memcpy(&length, bytes, 8);
    ck_assert_uint_eq(length, padded);
    ck_assert_uint_eq(count, 8 + padded + 9);
    ck_assert(!memcmp(bytes + 8, want, strlen(want)));
    for (size_t i = strlen(want); i < padded; i++) ck_assert_int_eq(bytes[8 + i], ' ');
    ck_assert(!memcmp(bytes + 8 + padded, "defghiabc", 9));
    free(bytes);
}
END_TEST

START_TEST(values_are_converted_as_they_are_read)
{
    static const float values[] = {1, -2.5f, 65504, 1e-8f, INFINITY, 0.1f};
    const size_t count = 6;
    uint16_t half[6], brain[6], got[6];
    float wide[6];
    colt5_convert(COLT5_F32, values, COLT5_F16, half, count);
    colt5_convert(COLT5_F32, values, COLT5_BF16, brain, count);
    static const colt5_safetensors_plan types[] = {
        {"f32", COLT5_F32, 1, {6}}, {"f16", COLT5_F16, 1, {6}}, {"bf16", COLT5_BF16, 1, {6}}};
    colt5_safetensors_writer *writer;
    ck_assert_ok(colt5_safetensors_create(in_folder("m"), types, 3, NULL, &writer));
    ck_assert_ok(colt5_safetensors_write(writer, 0, count, values));
    ck_assert_ok(colt5_safetensors_write(writer, 1, count, half));
    ck_assert_ok(colt5_safetensors_write(writer, 2, count, brain));
    ck_assert_ok(colt5_safetensors_finish(writer));

    colt5_safetensors *file = opened(in_folder("m"));
    const colt5_safetensors_entry *f32 = colt5_safetensors_find(file, "f32");
    ck_assert_ok(colt5_safetensors_read(file, f32, COLT5_F16, 0, count, got));
    ck_assert(!memcmp(got, half, sizeof(half)));
    ck_assert_ok(colt5_safetensors_read(file, f32, COLT5_BF16, 2, 3, got));
    ck_assert(!memcmp(got, brain + 2, 3 * sizeof(*brain)));
    const colt5_safetensors_entry *f16 = colt5_safetensors_find(file, "f16");
    ck_assert_ok(colt5_safetensors_read(file, f16, COLT5_F32, 0, count, wide));
    ck_assert(wide[1] == -2.5f && wide[2] == 65504 && wide[3] == 0 && isinf(wide[4]));
    colt5_safetensors_close(file);
}
END_TEST

START_TEST(a_file_cut_at_any_byte_is_refused)
{
    size_t count;
    ck_assert_ok(write_file(in_folder("whole")));
    char *bytes = get_file("whole", &count);
    for (size_t i = 0; i < count; i++)
        assert_refused(put_file("cut", bytes, i), COLT5_ERROR_FORMAT, "cut: ");
    bytes = realloc(bytes, count + 1);
    bytes[count] = 0;
    assert_refused(put_file("long", bytes, count + 1), COLT5_ERROR_FORMAT, "long: 1 bytes after");
    free(bytes);
}
END_TEST

/* Whatever a byte is changed to, the file opens or is refused by name. */
START_TEST(a_changed_byte_does_no_harm)
{
    static const char changes[] = "\0\"{}[]0-9,:e\\\x80\xff";
    size_t count;
    ck_assert_ok(write_file(in_folder("whole")));
    char *bytes = get_file("whole", &count);
    for (size_t i = _i; i < count; i += 8)
        for (size_t c = 0; c < sizeof(changes) - 1; c++) {
            const char before = bytes[i];
            bytes[i] = changes[c];
            colt5_safetensors *file;
            const char *path = put_file("changed", bytes, count);
            const colt5_status status = colt5_safetensors_open(path, &file);
            ck_assert(status == COLT5_OK || status == COLT5_ERROR_FORMAT);
            if (status != COLT5_OK) ck_assert_ptr_nonnull(strstr(colt5_message(NULL), "changed: "));
            colt5_safetensors_close(file);
            bytes[i] = before;
        }
    free(bytes);
}
END_TEST

START_TEST(a_file_cut_while_it_is_read_is_an_error)
{
    ck_assert_ok(write_file(in_folder("m")));
    colt5_safetensors *file = opened(in_folder("m"));
    ck_assert_int_eq(truncate(in_folder("m"), 16), 0);
    const colt5_safetensors_entry *entry = colt5_safetensors_find(file, "mask");
    uint8_t bytes[64];
    assert_fails(colt5_safetensors_read(file, entry, COLT5_U8, 0, 3, bytes), COLT5_ERROR_FORMAT,
                 "m: ends at byte");
    const colt5_safetensors_entry *w = colt5_safetensors_find(file, "w");
    assert_fails(colt5_safetensors_read(file, w, COLT5_F16, 0, 6, bytes), COLT5_ERROR_FORMAT,
                 "m: ends at byte");
    colt5_safetensors_close(file);
}
END_TEST

START_TEST(a_full_disk_leaves_nothing)
{
    static const colt5_safetensors_plan large[] = {{"w", COLT5_F32, 1, {4096}}};
    static const float values[4096];
    put_file("m", "old", 3);
    colt5_safetensors_writer *writer;
    limit_file_size(8192);
    ck_assert_ok(colt5_safetensors_create(in_folder("m"), large, 1, NULL, &writer));
    assert_fails(colt5_safetensors_write(writer, 0, 4096, values), COLT5_ERROR_FILE,
                 "m: cannot be written");
    colt5_safetensors_abandon(writer);
    limit_file_size(0);
    assert_fails(colt5_safetensors_create(in_folder("m"), large, 1, NULL, &writer),
                 COLT5_ERROR_FILE, "m: cannot be written");
    ck_assert_ptr_null(writer);
    assert_fails(colt5_safetensors_create("/dev/full", large, 1, NULL, &writer), COLT5_ERROR_FILE,
                 "/dev/full: cannot be written");
    limit_file_size(SIZE_MAX);
    size_t count;
    char *old = get_file("m", &count);
    ck_assert_str_eq(old, "old");
    free(old);
    ck_assert_uint_eq(files_in_folder(), 1);
}
END_TEST

START_TEST(an_unfinished_file_is_not_given_its_name)
{
    colt5_safetensors_writer *writer;
    ck_assert_ok(colt5_safetensors_create(in_folder("m"), plans, PLANS, NULL, &writer));
    ck_assert_ok(colt5_safetensors_write(writer, 0, 2, "ab"));
    assert_fails(colt5_safetensors_write(writer, 0, 2, "cd"), COLT5_ERROR_ARGUMENT,
                 "tensor mask has 1 elements left, not 2");
    assert_fails(colt5_safetensors_write(writer, PLANS, 0, NULL), COLT5_ERROR_ARGUMENT, "plan 8");
    assert_fails(colt5_safetensors_write(writer, 0, 1, NULL), COLT5_ERROR_ARGUMENT, "NULL");
    assert_fails(colt5_safetensors_finish(writer), COLT5_ERROR_ARGUMENT,
                 "tensor mask was given 2 of its 3 elements");
    ck_assert_uint_eq(files_in_folder(), 0);
    assert_fails(colt5_safetensors_finish(NULL), COLT5_ERROR_ARGUMENT, "writer is NULL");
    colt5_safetensors_abandon(NULL);
}
END_TEST

static const struct {
    colt5_safetensors_plan plans[2];
    const char *message;
} bad_plans[] = {
    {{{"a", COLT5_F32, 1, {1}}, {"a", COLT5_F32, 1, {1}}}, "a is there twice"},
    {{{NULL, COLT5_F32, 1, {1}}, {"a", COLT5_F32, 1, {1}}}, "no name"},
    {{{"b", COLT5_F32, 1, {1}}, {"__metadata__", COLT5_F32, 1, {1}}}, "no name"},
    {{{"b\xff", COLT5_F32, 1, {1}}, {"a", COLT5_F32, 1, {1}}}, "not UTF-8"},
    {{{"b", (colt5_type)7, 1, {1}}, {"a", COLT5_F32, 1, {1}}}, "tensor b: 7 is no type"},
    {{{"b", COLT5_F32, 6, {1}}, {"a", COLT5_F32, 1, {1}}}, "tensor b: its rank is 6"},
    {{{"b", COLT5_F32, -1, {1}}, {"a", COLT5_F32, 1, {1}}}, "tensor b: its rank is -1"},
    {{{"b", COLT5_F32, 2, {SIZE_MAX, 2}}, {"a", COLT5_F32, 1, {1}}}, "passes 2^63"},
    {{{"b", COLT5_F32, 1, {SIZE_MAX / 4}}, {"a", COLT5_F32, 1, {1}}}, "passes 2^63"},
    {{{"b", COLT5_U8, 1, {INT64_MAX}}, {"a", COLT5_F32, 1, {1}}}, "passes 2^63"},
};

START_TEST(bad_metadata_is_refused)
{
    static const char *const twice[] = {"k", "1", "k", "2", NULL}, *const bad[] = {"k", "\xff",
                                                                                   NULL};
    colt5_safetensors_writer *writer;
    assert_fails(colt5_safetensors_create(in_folder("m"), plans, PLANS, twice, &writer),
                 COLT5_ERROR_ARGUMENT, "m: k is there twice");
    assert_fails(colt5_safetensors_create(in_folder("m"), plans, PLANS, bad, &writer),
                 COLT5_ERROR_ARGUMENT, "m: k: not UTF-8");
    ck_assert_uint_eq(files_in_folder(), 0);
}
END_TEST

START_TEST(bad_plans_are_refused)
{
    colt5_safetensors_writer *writer = (void *)1;
    assert_fails(colt5_safetensors_create(in_folder("m"), bad_plans[_i].plans, 2, NULL, &writer),
                 COLT5_ERROR_ARGUMENT, bad_plans[_i].message);
    ck_assert_ptr_null(writer);
    ck_assert_uint_eq(files_in_folder(), 0);
}
END_TEST

/* ---- shards ---- */

static void put_shards(void)
{
    put_tensors("s1", "{\"a\":" T("U8", "[2]", 0, 2) "}", 2);
    put_tensors("s2", "{\"b\":" T("U8", "[3]", 0, 3) ",\"c\":" T("U8", "[1]", 3, 4) "}", 4);
}

static const char *put_index(const char *map)
{
    char text[400];
    const int count = snprintf(text, sizeof(text), "{\"metadata\": {\"total_size\": 6}, %s}", map);
    return put_file("model.safetensors.index.json", text, (size_t)count);
}

START_TEST(shards_are_one_file)
{
    put_shards();
    put_index("\"weight_map\": {\"a\": \"s1\", \"b\": \"s2\", \"c\": \"s2\"}");
    for (int folder = 0; folder < 2; folder++) {
        colt5_safetensors *file = opened(in_folder(folder ? "." : "model.safetensors.index.json"));
        ck_assert_uint_eq(colt5_safetensors_count(file), 3);
        const colt5_safetensors_entry *c = colt5_safetensors_find(file, "c");
        ck_assert_str_eq(strrchr(c->file, '/'), "/s2");
        uint8_t value;
        ck_assert_ok(colt5_safetensors_read(file, c, COLT5_U8, 0, 1, &value));
        ck_assert_uint_eq(value, 3);
        colt5_safetensors_close(file);
    }
}
END_TEST

static const struct {
    const char *map, *message;
    colt5_status status;
} bad_indices[] = {
    {"\"weights\": {}", "weight_map is missing", COLT5_ERROR_FORMAT},
    {"\"weight_map\": []", "weight_map is missing or no object", COLT5_ERROR_FORMAT},
    {"\"weight_map\": {\"a\": 1}", "tensor a: its shard is no plain", COLT5_ERROR_FORMAT},
    {"\"weight_map\": {\"a\": \"\"}", "tensor a: its shard is no plain", COLT5_ERROR_FORMAT},
    {"\"weight_map\": {\"a\": \"../s1\"}", "tensor a: its shard is no", COLT5_ERROR_FORMAT},
    {"\"weight_map\": {\"a\": \"/dev/zero\"}", "tensor a: its shard is no", COLT5_ERROR_FORMAT},
    {"\"weight_map\": {\"a\": \"s\\u001b\"}", "tensor a: its shard is no", COLT5_ERROR_FORMAT},
    {"\"weight_map\": {\"a\": \"..\"}", "is not a regular file", COLT5_ERROR_FILE},
    {"\"weight_map\": {\"a\": \"s3\"}", "s3: cannot be opened", COLT5_ERROR_FILE},
    {"\"weight_map\": {\"a\": \"s1\", \"d\": \"s1\"}", "tensor d is not in s1", COLT5_ERROR_FORMAT},
    {"\"weight_map\": {\"a\": \"s1\", \"b\": \"s2\"}", "tensor c is in", COLT5_ERROR_FORMAT},
    {"\"weight_map\": {\"a\": \"s1\", \"b\": \"s1\", \"c\": \"s2\"}", "tensor b is in",
     COLT5_ERROR_FORMAT},
    {"\"weight_map\": {\"a\": \"s1\", \"b\": \"s1copy\"}", "tensor a is there twice",
     COLT5_ERROR_FORMAT},
    {"\"weight_map\": {\"a\": \"s1\", \"a\": \"s2\"}", "duplicate", COLT5_ERROR_FORMAT},
};

START_TEST(bad_indices_are_refused_by_name)
{
    put_shards();
    put_tensors("s1copy", "{\"a\":" T("U8", "[2]", 0, 2) "}", 2);
    assert_refused(put_index(bad_indices[_i].map), bad_indices[_i].status, bad_indices[_i].message);
}
END_TEST

/* ---- memory ---- */

START_TEST(every_allocation_may_fail)
{
    put_shards();
    put_index("\"weight_map\": {\"a\": \"s1\", \"b\": \"s2\", \"c\": \"s2\"}");
    colt5_status status = COLT5_ERROR_MEMORY;
    colt5_safetensors *file = NULL;
    for (size_t n = 0; status != COLT5_OK; n++) {
        fail_allocations_from(n);
        status = colt5_safetensors_open(in_folder("."), &file);
        ck_assert(status == COLT5_OK || status == COLT5_ERROR_MEMORY);
        ck_assert(status == COLT5_OK || !file);
    }
    colt5_safetensors_close(file);
    status = COLT5_ERROR_MEMORY;
    for (size_t n = 0; status != COLT5_OK; n++) {
        fail_allocations_from(n);
        ck_assert_uint_eq(files_in_folder(), 3);
        status = write_file(in_folder("m"));
        ck_assert(status == COLT5_OK || status == COLT5_ERROR_MEMORY);
    }
    ck_assert_uint_eq(files_in_folder(), 4);
}
END_TEST

#define COUNT(table) (sizeof(table) / sizeof(table[0]))

int main(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *tests = tcase_create("safetensors");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, tensors_are_found_by_name);
    tcase_add_loop_test(tests, bad_headers_are_refused_by_name, 0, COUNT(bad_headers));
    tcase_add_test(tests, bad_lengths_are_refused);
    tcase_add_test(tests, deep_nesting_is_refused);
    tcase_add_test(tests, missing_files_are_named);
    tcase_add_test(tests, a_file_comes_back_as_it_was_written);
    tcase_add_test(tests, the_layout_is_aligned);
    tcase_add_test(tests, values_are_converted_as_they_are_read);
    tcase_add_test(tests, a_file_cut_at_any_byte_is_refused);
    tcase_add_loop_test(tests, a_changed_byte_does_no_harm, 0, 8);
    tcase_add_test(tests, a_file_cut_while_it_is_read_is_an_error);
    tcase_add_test(tests, a_full_disk_leaves_nothing);
    tcase_add_test(tests, an_unfinished_file_is_not_given_its_name);
    tcase_add_loop_test(tests, bad_plans_are_refused, 0, COUNT(bad_plans));
    tcase_add_test(tests, bad_metadata_is_refused);
    tcase_add_test(tests, shards_are_one_file);
    tcase_add_loop_test(tests, bad_indices_are_refused_by_name, 0, COUNT(bad_indices));
    tcase_add_test(tests, every_allocation_may_fail);
    suite_add_tcase(suite, tests);
    return run_host_suite(suite);
}
