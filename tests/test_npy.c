/* SPDX-License-Identifier: MIT */
#include "support/files.h"

#include <stdio.h>
#include <unistd.h>

#include <colt5/npy.h>

/* A version 1.0 file of this header and data, not padded. */
static const char *put_array(const char *header, const void *data, size_t count)
{
    char bytes[1024] = "\x93NUMPY\x01";
    const size_t length = strlen(header);
    bytes[8] = (char)(length & 0xFF);
    bytes[9] = (char)(length >> 8);
    memcpy(bytes + 10, header, length);
    memcpy(bytes + 10 + length, data, count);
    return put_file("x.npy", bytes, 10 + length + count);
}

#define HEADER(descr, shape)                                                                       \
    "{'descr': '" descr "', 'fortran_order': False, 'shape': " shape ", }  \n"

static const double doubles[] = {1.5, 0.1};
static const uint16_t halves[] = {0x3E00, 0x2E66};
static const int32_t ints[] = {7, -8};
static const int64_t longs[] = {7, -8};
static const uint8_t bytes[] = {1, 0};
static const float singles[] = {1.5f, 0.1f};
static const struct {
    const char *descr;
    const void *data;
    size_t size;
    colt5_type type;
    const void *want;
} kinds[] = {
    {"<f2", halves, 2, COLT5_F16, halves},   {"<f4", singles, 4, COLT5_F32, singles},
    {"<f8", doubles, 8, COLT5_F32, singles}, {"<i4", ints, 4, COLT5_I32, ints},
    {"<i8", longs, 8, COLT5_I64, longs},     {"|u1", bytes, 1, COLT5_U8, bytes},
    {"|b1", bytes, 1, COLT5_U8, bytes},
};

START_TEST(every_kind_is_read)
{
    char header[128];
    snprintf(header, sizeof(header), HEADER("%s", "(1, 2)"), kinds[_i].descr);
    colt5_npy array;
    ck_assert_ok(colt5_npy_read(put_array(header, kinds[_i].data, 2 * kinds[_i].size), &array));
    ck_assert(array.type == kinds[_i].type && array.rank == 2 && array.count == 2);
    ck_assert(array.dims[0] == 1 && array.dims[1] == 2);
    ck_assert(!memcmp(array.values, kinds[_i].want, 2 * colt5_type_size(array.type)));
    colt5_npy_release(&array);
    ck_assert_ptr_null(array.values);
    colt5_npy_release(&array);
}
END_TEST

static const struct {
    const char *header;
    size_t data;
    int rank;
    size_t dims[3];
} good[] = {
    {HEADER("<f4", "()"), 4, 0, {0}},
    {HEADER("<f4", "(2,)"), 8, 1, {2}},
    {HEADER("<f4", "(0,)"), 0, 1, {0}},
    {HEADER("<f4", "(18446744073709551615, 0)"), 0, 2, {SIZE_MAX, 0}},
    {HEADER("<f4", "(1, 2, 3,)"), 24, 3, {1, 2, 3}},
    {"{\"shape\":(2,),\"fortran_order\":False,\"descr\":\"<f4\"}", 8, 1, {2}},
};

START_TEST(every_shape_is_read)
{
    static const char data[64];
    colt5_npy array;
    ck_assert_ok(colt5_npy_read(put_array(good[_i].header, data, good[_i].data), &array));
    ck_assert_int_eq(array.rank, good[_i].rank);
    ck_assert(!memcmp(array.dims, good[_i].dims, (size_t)array.rank * sizeof(size_t)));
    colt5_npy_release(&array);
}
END_TEST

static const struct {
    const char *header;
    size_t data;
    const char *message;
} bad[] = {
    {"", 4, "\"\" where { should be"},
    {"{}", 4, "lacks descr, fortran_order or shape"},
    {"[]", 4, "where { should be"},
    {HEADER(">f4", "(1,)"), 4, "type is >f4, not one of <f2"},
    {HEADER("<c8", "(1,)"), 8, "type is <c8"},
    {HEADER("|O", "(1,)"), 8, "type is |O"},
    {HEADER("<U4", "(1,)"), 16, "type is <U4"},
    {HEADER("<f4<f4<f4<f4<f4<f4", "(1,)"), 4, "where a short string should be"},
    {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4, "where a string"},
    {"{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", 4, "Fortran order"},
    {"{'descr': '<f4', 'fortran_order': 0, 'shape': (1,), }", 4, "where False should be"},
    {"{'descr': '<f4', 'shape': (1,), }", 4, "lacks"},
    {"{'fortran_order': False, 'shape': (1,), }", 4, "lacks"},
    {"{'descr': '<f4', 'fortran_order': False, }", 4, "lacks"},
    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4, "descr twice"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': 1}", 4, "x twice, or no use"},
    {"{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}", 4, "where , or } should be"},
    {"{'descr' '<f4', 'fortran_order': False, 'shape': (1,)}", 4, "where : should be"},
    {"{'descr: <f4, fortran_order: False, shape: (1,)}", 4, "where a short string"},
    {HEADER("<f4", "(1,)") "x", 4, "where its end should be"},
    {HEADER("<f4", "[1]"), 4, "where ( should be"},
    {HEADER("<f4", "(1)"), 4, "where (size,) should be"},
    {HEADER("<f4", "(,)"), 4, "where a size"},
    {HEADER("<f4", "(1,,)"), 4, "where a size"},
    {HEADER("<f4", "(-1,)"), 4, "where a size"},
    {HEADER("<f4", "(1.0,)"), 4, "where , or ) should be"},
    {HEADER("<f4", "(1L,)"), 4, "where , or )"},
    {HEADER("<f4", "(1 1)"), 4, "where , or )"},
    {HEADER("<f4", "(nan,)"), 4, "where a size"},
    {HEADER("<f4", "(1,"), 4, "where a size"},
    {HEADER("<f4", "(18446744073709551616,)"), 4, "where a size below 2^64"},
    {HEADER("<f4", "(99999999999999999999999,)"), 4, "below 2^64"},
    {HEADER("<f4", "(4611686018427387904,)"), 0, "passes 2^64"},
    {HEADER("<f4", "(4294967296, 4294967296)"), 0, "passes 2^64"},
    {HEADER("<f8", "(2305843009213693951,)"), 4, "its shape wants 18446744073709551608"},
    {HEADER("<f4", "(1, 1, 1, 1, 1, 1)"), 4, "its rank is above 5"},
    {HEADER("<f4", "(2,)"), 7, "has 7 bytes of values, its shape wants 8"},
    {HEADER("<f4", "(2,)"), 9, "has 9 bytes of values, its shape wants 8"},
    {HEADER("<f4", "(\x80,)"), 4, "is no text"},
};

START_TEST(bad_headers_are_refused)
{
    static const char data[64];
    colt5_npy array;
    memset(&array, 0xFF, sizeof(array));
    assert_fails(colt5_npy_read(put_array(bad[_i].header, data, bad[_i].data), &array),
                 COLT5_ERROR_FORMAT, bad[_i].message);
    ck_assert_ptr_nonnull(strstr(colt5_message(NULL), "x.npy: "));
    ck_assert_ptr_null(array.values);
}
END_TEST

START_TEST(bad_beginnings_are_refused)
{
    colt5_npy array;
    assert_fails(colt5_npy_read(in_folder("none"), &array), COLT5_ERROR_FILE, "none: cannot be");
    assert_fails(colt5_npy_read(in_folder("."), &array), COLT5_ERROR_FILE, "not a regular file");
    assert_fails(colt5_npy_read(put_file("x", "PK\3\4 a zip file", 15), &array), COLT5_ERROR_FORMAT,
                 "is no .npy file");
    assert_fails(colt5_npy_read(put_file("x", "\x93NUMPY\3\0\0\0\0\0", 12), &array),
                 COLT5_ERROR_FORMAT, "version 3.0, not 1.0 or 2.0");
    assert_fails(colt5_npy_read(put_file("x", "\x93NUMPY\1\1\0\0\0\0", 12), &array),
                 COLT5_ERROR_FORMAT, "version 1.1");
    assert_fails(colt5_npy_read(put_file("x", "\x93NUMPY\2\0\xff\xff\xff\xff", 12), &array),
                 COLT5_ERROR_FORMAT, "header has 4294967295 bytes");
    assert_fails(colt5_npy_read(put_file("x", "\x93NUMPY\1\0\xff\xff{}", 12), &array),
                 COLT5_ERROR_FORMAT, "header has 65535 bytes, the file 12");
    assert_fails(colt5_npy_read(NULL, &array), COLT5_ERROR_ARGUMENT, "NULL");
    assert_fails(colt5_npy_read("x", NULL), COLT5_ERROR_ARGUMENT, "NULL");
}
END_TEST

START_TEST(version_two_is_read)
{
    static const char header[] = HEADER("<f4", "(2,)");
    char file[200] = "\x93NUMPY\x02";
    file[8] = (char)strlen(header);
    memcpy(file + 12, header, strlen(header));
    memcpy(file + 12 + strlen(header), singles, sizeof(singles));
    colt5_npy array;
    ck_assert_ok(colt5_npy_read(put_file("x", file, 12 + strlen(header) + 8), &array));
    ck_assert(!memcmp(array.values, singles, sizeof(singles)));
    colt5_npy_release(&array);
}
END_TEST

/* ---- writing ---- */

START_TEST(arrays_are_written_as_numpy_does)
{
    static const char want[] = "\x93NUMPY\x01\0v\0{'descr': '<f4', 'fortran_order': False, "
                               "'shape': (2,), }";
    const colt5_npy array = {COLT5_F32, 1, {2}, 0, (void *)singles};
    ck_assert_ok(colt5_npy_write(in_folder("x.npy"), &array));
    size_t count;
    char *file = get_file("x.npy", &count);
    ck_assert_uint_eq(count, 128 + 8);
    ck_assert(!memcmp(file, want, sizeof(want) - 1));
    for (size_t i = sizeof(want) - 1; i < 127; i++) ck_assert_int_eq(file[i], ' ');
    ck_assert_int_eq(file[127], '\n');
    ck_assert(!memcmp(file + 128, singles, 8));
    free(file);
}
END_TEST

static const size_t shapes[][6] = {
    {0}, {1, 0}, {1, 5}, {2, 3, 7}, {2, 0, 7}, {3, 1, 2, 3}, {5, 1, 2, 3, 4, 301}};

START_TEST(arrays_come_back)
{
    const int rank = (int)shapes[_i][0];
    for (int kind = 0; kind < 6; kind++) {
        static const colt5_type written[] = {COLT5_F32, COLT5_F16, COLT5_BF16,
                                             COLT5_I32, COLT5_I64, COLT5_U8};
        colt5_npy array = {.type = written[kind], .rank = rank}, back;
        size_t count = 1;
        for (int i = 0; i < rank; i++) count *= array.dims[i] = shapes[_i][i + 1];
        uint8_t *values = malloc(count * 8 + 1);
        for (size_t i = 0; i < count * 8; i++) values[i] = (uint8_t)(i * 29 % 113);
        array.values = values;
        ck_assert_ok(colt5_npy_write(in_folder("x.npy"), &array));
        ck_assert_ok(colt5_npy_read(in_folder("x.npy"), &back));
        ck_assert(back.rank == rank && back.count == count);
        ck_assert(!memcmp(back.dims, array.dims, (size_t)rank * sizeof(size_t)));
        ck_assert_int_eq(back.type, kind < 3 ? COLT5_F32 : array.type);
        void *want = malloc(count * 8 + 1);
        colt5_convert(array.type, values, back.type, want, count);
        ck_assert(!memcmp(back.values, want, count * colt5_type_size(back.type)));
        free(want), free(values);
        colt5_npy_release(&back);
    }
    ck_assert_uint_eq(files_in_folder(), 1);
}
END_TEST

START_TEST(bad_arrays_are_refused)
{
    const colt5_npy no_values = {COLT5_F32, 1, {2}, 0, NULL};
    const colt5_npy no_type = {(colt5_type)6, 1, {2}, 0, (void *)singles};
    const colt5_npy deep = {COLT5_F32, 6, {1}, 0, (void *)singles};
    const colt5_npy large = {COLT5_F32, 2, {SIZE_MAX, SIZE_MAX}, 0, (void *)singles};
    const char *path = in_folder("x.npy");
    assert_fails(colt5_npy_write(path, &no_values), COLT5_ERROR_ARGUMENT, "x.npy: values is NULL");
    assert_fails(colt5_npy_write(path, &no_type), COLT5_ERROR_ARGUMENT, "x.npy: 6 is no type");
    assert_fails(colt5_npy_write(path, &deep), COLT5_ERROR_ARGUMENT, "x.npy: a rank of 6");
    assert_fails(colt5_npy_write(path, &large), COLT5_ERROR_ARGUMENT, "x.npy: its size passes");
    assert_fails(colt5_npy_write(NULL, &deep), COLT5_ERROR_ARGUMENT, "NULL");
    ck_assert_uint_eq(files_in_folder(), 0);
}
END_TEST

START_TEST(a_full_disk_leaves_nothing)
{
    static const float values[4096];
    static const colt5_type written[] = {COLT5_F32, COLT5_BF16};
    limit_file_size(4096);
    for (int i = 0; i < 2; i++) {
        const colt5_npy array = {written[i], 1, {4096}, 0, (void *)values};
        assert_fails(colt5_npy_write(in_folder("x.npy"), &array), COLT5_ERROR_FILE,
                     "x.npy: cannot be written");
        ck_assert_uint_eq(files_in_folder(), 0);
    }
}
END_TEST

START_TEST(a_file_cut_at_any_byte_is_refused)
{
    const colt5_npy array = {COLT5_F32, 1, {2}, 0, (void *)singles};
    ck_assert_ok(colt5_npy_write(in_folder("whole"), &array));
    size_t count;
    char *file = get_file("whole", &count);
    colt5_npy back;
    for (size_t i = 0; i < count; i++)
        assert_fails(colt5_npy_read(put_file("cut", file, i), &back), COLT5_ERROR_FORMAT, "cut: ");
    for (size_t i = 0; i < 128; i++)
        for (int c = 0; c < 256; c += 3) {
            const char before = file[i];
            file[i] = (char)c;
            const colt5_status status = colt5_npy_read(put_file("changed", file, count), &back);
            ck_assert(status == COLT5_OK || status == COLT5_ERROR_FORMAT);
            colt5_npy_release(&back);
            file[i] = before;
        }
    free(file);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    const char *path = put_array(HEADER("<f8", "(2,)"), doubles, sizeof(doubles));
    const colt5_npy array = {COLT5_F16, 1, {2}, 0, (void *)singles};
    colt5_status status = COLT5_ERROR_MEMORY;
    colt5_npy back;
    for (size_t n = 0; status != COLT5_OK; n++) {
        fail_allocations_from(n);
        status = colt5_npy_read(path, &back);
        ck_assert(status == COLT5_OK || status == COLT5_ERROR_MEMORY);
    }
    colt5_npy_release(&back);
    status = COLT5_ERROR_MEMORY;
    for (size_t n = 0; status != COLT5_OK; n++) {
        fail_allocations_from(n);
        status = colt5_npy_write(in_folder("y.npy"), &array);
        ck_assert(status == COLT5_OK || status == COLT5_ERROR_MEMORY);
    }
    ck_assert_uint_eq(files_in_folder(), 2);
}
END_TEST

#define COUNT(table) (sizeof(table) / sizeof(table[0]))

int main(void)
{
    Suite *suite = suite_create("npy");
    TCase *tests = tcase_create("npy");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_loop_test(tests, every_kind_is_read, 0, COUNT(kinds));
    tcase_add_loop_test(tests, every_shape_is_read, 0, COUNT(good));
    tcase_add_loop_test(tests, bad_headers_are_refused, 0, COUNT(bad));
    tcase_add_test(tests, bad_beginnings_are_refused);
    tcase_add_test(tests, version_two_is_read);
    tcase_add_test(tests, arrays_are_written_as_numpy_does);
    tcase_add_loop_test(tests, arrays_come_back, 0, COUNT(shapes));
    tcase_add_test(tests, bad_arrays_are_refused);
    tcase_add_test(tests, a_full_disk_leaves_nothing);
    tcase_add_test(tests, a_file_cut_at_any_byte_is_refused);
    tcase_add_test(tests, every_allocation_may_fail);
    suite_add_tcase(suite, tests);
    return run_host_suite(suite);
}
