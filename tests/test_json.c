/* SPDX-License-Identifier: MIT */
#include "support/files.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <colt5/file.h>

#include "io/file.h"
#include "io/json.h"

enum colour { RED, GREEN };

struct settings { /* without padding: compared by memcmp */
    size_t heads, queries, keys, window;
    struct inner {
        size_t steps;
    } inner;
    double theta;
    float eps;
    int level, rotary, colour;
};

static const char *const colours[] = {"red", "green", NULL};
static const struct field inner_fields[] = {
    {"steps", FIELD_COUNT, AT(struct inner, steps), .least = 1, .most = 100},
    {NULL},
};
#define COUNT_ROW(name) FIELD_COUNT, AT(struct settings, name), .least = 1, .most = 65536
static const struct field fields[] = {
    {.name = "type", .kind = FIELD_IGNORED},
    {"heads", COUNT_ROW(heads)},
    {"queries", COUNT_ROW(queries)},
    {"keys", COUNT_ROW(keys)},
    {"both", COUNT_ROW(queries), .instead_of = "queries"},
    {"both", COUNT_ROW(keys), .instead_of = "keys"},
    {"window", COUNT_ROW(window), .nullable = true},
    {"level", FIELD_INT, AT(struct settings, level), .least = -5, .most = 5},
    {"rotary", FIELD_FLAG, AT(struct settings, rotary)},
    {"eps", FIELD_FLOAT, AT(struct settings, eps), .least = 0, .most = 10, .above = true},
    {"theta", FIELD_DOUBLE, AT(struct settings, theta), .least = 1, .most = 1e9},
    {"colour", FIELD_CHOICE, AT(struct settings, colour), .choices = colours},
    {"inner", FIELD_OBJECT, AT(struct settings, inner), .fields = inner_fields},
    {NULL},
};

static const struct settings defaults = {1, 2, 3, 4, {7}, 10, 0.5f, 0, 0, GREEN};

static colt5_status read_settings(const char *text, struct settings *settings)
{
    json_t *object;
    *settings = defaults;
    colt5_status status = json_read_text("config.json", text, strlen(text), &object);
    if (status != COLT5_OK) return status;
    status = fields_read("config.json: it", object, fields, settings);
    json_decref(object);
    return status;
}

START_TEST(keys_reach_their_members)
{
    struct settings s;
    ck_assert_ok(read_settings("{\"type\": 7, \"heads\": 65536, \"window\": null, \"level\": -5,"
                               "\"rotary\": true, \"eps\": 0.03, \"theta\": 10000,"
                               "\"colour\": \"red\", \"inner\": {\"steps\": 100}}",
                               &s));
    ck_assert_uint_eq(s.heads, 65536);
    ck_assert_uint_eq(s.window, 0);
    ck_assert_int_eq(s.level, -5);
    ck_assert_int_eq(s.rotary, 1);
    ck_assert(s.eps == 0.03f && s.theta == 10000);
    ck_assert_int_eq(s.colour, RED);
    ck_assert_uint_eq(s.inner.steps, 100);
    ck_assert_uint_eq(s.queries, defaults.queries);

    ck_assert_ok(read_settings("{\"both\": 9}", &s));
    ck_assert(s.queries == 9 && s.keys == 9);
    ck_assert_ok(read_settings("{}", &s));
    ck_assert(!memcmp(&s, &defaults, sizeof(s)));
}
END_TEST

static const struct {
    const char *text, *message;
    colt5_status status;
} bad_texts[] = {
    {"{\"heads\": 0}", "config.json: it: heads is 0, not in 1 to 65536", COLT5_ERROR_CONFIG},
    {"{\"heads\": 65537}", "heads is 65537, not in 1 to 65536", COLT5_ERROR_CONFIG},
    {"{\"heads\": -9223372036854775808}", "heads is -9223372036854775808", COLT5_ERROR_CONFIG},
    {"{\"heads\": 2.0}", "heads is not an integer", COLT5_ERROR_CONFIG},
    {"{\"heads\": \"2\"}", "heads is not an integer", COLT5_ERROR_CONFIG},
    {"{\"heads\": true}", "heads is not an integer", COLT5_ERROR_CONFIG},
    {"{\"heads\": null}", "heads is not an integer", COLT5_ERROR_CONFIG},
    {"{\"window\": []}", "window is not an integer or null", COLT5_ERROR_CONFIG},
    {"{\"window\": 0}", "window is 0", COLT5_ERROR_CONFIG},
    {"{\"rotary\": 1}", "rotary is not true or false", COLT5_ERROR_CONFIG},
    {"{\"eps\": 0}", "eps is 0, not above 0 to 10", COLT5_ERROR_CONFIG},
    {"{\"eps\": 1e-300}", "eps is 1e-300, not above 0", COLT5_ERROR_CONFIG},
    {"{\"eps\": 1e300}", "eps is 1e+300", COLT5_ERROR_CONFIG},
    {"{\"eps\": false}", "eps is not a number", COLT5_ERROR_CONFIG},
    {"{\"theta\": 0.5}", "theta is 0.5, not in 1 to 1000000000", COLT5_ERROR_CONFIG},
    {"{\"colour\": \"blue\"}", "colour is \"blue\", not one of red, green", COLT5_ERROR_CONFIG},
    {"{\"colour\": 1}", "colour is not a string", COLT5_ERROR_CONFIG},
    {"{\"inner\": 1}", "inner is not an object", COLT5_ERROR_CONFIG},
    {"{\"inner\": {\"steps\": 0}}", "it: inner: steps is 0", COLT5_ERROR_CONFIG},
    {"{\"inner\": {\"stops\": 1}}", "it: inner: stops is no key", COLT5_ERROR_CONFIG},
    {"{\"head\": 1}", "head is no key", COLT5_ERROR_CONFIG},
    {"{\"a\\nb\\u001b\": 1}", "a?b? is no key", COLT5_ERROR_CONFIG},
    {"{\"both\": 1, \"keys\": 1}", "both and keys are both given", COLT5_ERROR_CONFIG},
    {"{\"heads\": 1, \"heads\": 2}", "duplicate", COLT5_ERROR_FORMAT},
    {"{\"eps\": NaN}", "config.json: line 1", COLT5_ERROR_FORMAT},
    {"{\"eps\": Infinity}", "line 1", COLT5_ERROR_FORMAT},
    {"{\"eps\": -Infinity}", "line 1", COLT5_ERROR_FORMAT},
    {"{\"eps\": 1e999}", "overflow", COLT5_ERROR_FORMAT},
    {"{\"heads\": 9223372036854775808}", "too big", COLT5_ERROR_FORMAT},
    {"{\"h\xff\": 1}", "decode byte", COLT5_ERROR_FORMAT},
    {"{\"h\\u0000\": 1}", "line 1", COLT5_ERROR_FORMAT},
    {"{\"heads\": 1} {}", "line 1", COLT5_ERROR_FORMAT},
    {"{\"heads\": 1", "line 1", COLT5_ERROR_FORMAT},
    {"[1]", "is not a JSON object", COLT5_ERROR_FORMAT},
    {"", "line 1", COLT5_ERROR_FORMAT},
};

START_TEST(bad_text_is_refused_by_name)
{
    struct settings s;
    assert_fails(read_settings(bad_texts[_i].text, &s), bad_texts[_i].status,
                 bad_texts[_i].message);
}
END_TEST

START_TEST(deep_nesting_is_refused)
{
    const size_t depth = 1 << 20;
    char *text = malloc(depth + 1);
    struct settings s;
    memset(text, '[', depth);
    text[depth] = '\0';
    assert_fails(read_settings(text, &s), COLT5_ERROR_FORMAT, "config.json");
    memcpy(text, "{\"a\":", 5);
    assert_fails(read_settings(text, &s), COLT5_ERROR_FORMAT, "config.json");
    free(text);
}
END_TEST

START_TEST(a_file_comes_back_as_it_was_written)
{
    struct settings s = {8, 16, 32, 0, {20}, 10000.5, 0.03f, -1, 1, RED}, back = defaults;
    json_t *object = json_object();
    ck_assert_int_eq(json_object_set_new(object, "type", json_string("it")), 0);
    ck_assert_ok(fields_write(object, fields, &s));
    ck_assert_ok(json_write_file(in_folder("config.json"), object));
    json_decref(object);

    size_t count;
    char *text = get_file("config.json", &count);
    ck_assert_ptr_nonnull(strstr(text, "\"eps\": 0.03,"));
    ck_assert_ptr_nonnull(strstr(text, "\"window\": null"));
    ck_assert(text[count - 1] == '\n' && !strstr(text, "both"));
    free(text);

    const char *type;
    ck_assert_ok(json_read_file(in_folder("config.json"), &object));
    ck_assert_ok(json_read_string("config.json", object, "type", &type));
    ck_assert_str_eq(type, "it");
    assert_fails(json_read_string("config.json", object, "kind", &type), COLT5_ERROR_CONFIG,
                 "config.json: kind is missing");
    assert_fails(json_read_string("config.json", object, "eps", &type), COLT5_ERROR_CONFIG,
                 "eps is not a string");
    ck_assert_ok(fields_read("config.json", object, fields, &back));
    ck_assert(!memcmp(&s, &back, sizeof(s)));
    json_decref(object);
}
END_TEST

START_TEST(what_is_not_finite_is_not_written)
{
    struct settings s = defaults;
    s.theta = NAN;
    json_t *object = json_object();
    assert_fails(fields_write(object, fields, &s), COLT5_ERROR_CONFIG, "theta");
    json_decref(object);
}
END_TEST

START_TEST(files_that_cannot_be_read_are_named)
{
    json_t *object;
    char *large = calloc(1, (1 << 20) + 1);
    assert_fails(json_read_file(in_folder("none"), &object), COLT5_ERROR_FILE, "none: cannot");
    assert_fails(json_read_file(in_folder("."), &object), COLT5_ERROR_FILE, "not a regular file");
    assert_fails(json_read_file(put_file("empty", "", 0), &object), COLT5_ERROR_FORMAT, "empty");
    assert_fails(json_read_file(put_file("large", large, (1 << 20) + 1), &object),
                 COLT5_ERROR_FORMAT, "large: has 1048577 bytes, more than 1048576");
    ck_assert_int_eq(mkfifo(in_folder("pipe"), 0600), 0);
    assert_fails(json_read_file(in_folder("pipe"), &object), COLT5_ERROR_FILE, "not a regular");
    ck_assert_ptr_null(object);
    free(large);
}
END_TEST

/* ---- writing files ---- */

START_TEST(a_file_is_replaced_whole)
{
    size_t count;
    put_file("old", "old", 3);
    ck_assert_int_eq(chmod(in_folder("old"), 0600), 0);
    ck_assert_int_eq(symlink("old", in_folder("link")), 0);
    ck_assert_ok(colt5_write_file(in_folder("link"), "newer", 5));
    char *text = get_file("old", &count);
    ck_assert_str_eq(text, "newer");
    free(text);
    struct stat about;
    ck_assert_int_eq(stat(in_folder("old"), &about), 0);
    ck_assert_uint_eq(about.st_mode & 0777, 0600);
    ck_assert_uint_eq(files_in_folder(), 2);
    ck_assert_ok(colt5_write_file(in_folder("new"), NULL, 0));
    ck_assert_uint_eq(files_in_folder(), 3);
}
END_TEST

START_TEST(a_relative_path_is_written_where_it_says)
{
    ck_assert_int_eq(chdir(in_folder("")), 0);
    ck_assert_ok(colt5_write_file("here", "x", 1));
    ck_assert_uint_eq(files_in_folder(), 1);
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(a_full_disk_leaves_the_old_file)
{
    char block[5000];
    size_t count;
    memset(block, 'x', sizeof(block));
    put_file("file", "old", 3);
    limit_file_size(4096);
    assert_fails(colt5_write_file(in_folder("file"), block, sizeof(block)), COLT5_ERROR_FILE,
                 "file: cannot be written: ");
    assert_fails(colt5_write_file("/dev/full", block, sizeof(block)), COLT5_ERROR_FILE,
                 "/dev/full: cannot be written: ");
    limit_file_size(SIZE_MAX);
    char *text = get_file("file", &count);
    ck_assert_str_eq(text, "old");
    free(text);
    ck_assert_uint_eq(files_in_folder(), 1);
}
END_TEST

START_TEST(places_that_cannot_be_written_are_named)
{
    assert_fails(colt5_write_file(in_folder("none/file"), "x", 1), COLT5_ERROR_FILE, "none/file");
    assert_fails(colt5_write_file(in_folder("."), "x", 1), COLT5_ERROR_FILE, "cannot be written");
    assert_fails(colt5_write_file("", "x", 1), COLT5_ERROR_FILE, "cannot be created");
    assert_fails(colt5_write_file(NULL, "x", 1), COLT5_ERROR_ARGUMENT, "path is NULL");
    assert_fails(colt5_write_file(in_folder("f"), NULL, 1), COLT5_ERROR_ARGUMENT, "bytes is NULL");
    if (geteuid() == 0) return; /* root may write anywhere */
    put_file("locked", "x", 1);
    ck_assert_int_eq(chmod(in_folder("locked"), 0400), 0);
    assert_fails(colt5_write_file(in_folder("locked"), "y", 1), COLT5_ERROR_FILE, "locked");
    ck_assert_int_eq(chmod(in_folder(""), 0500), 0);
    assert_fails(colt5_write_file(in_folder("file"), "x", 1), COLT5_ERROR_FILE, "file: cannot be");
}
END_TEST

START_TEST(a_pipe_is_written_in_place)
{
    int ends[2];
    char path[64], got[8] = "";
    ck_assert_int_eq(pipe(ends), 0);
    snprintf(path, sizeof(path), "/dev/fd/%d", ends[1]);
    ck_assert_ok(colt5_write_file(path, "abc", 3));
    ck_assert_int_eq(read(ends[0], got, 7), 3);
    ck_assert_str_eq(got, "abc");
    close(ends[0]), close(ends[1]);
}
END_TEST

START_TEST(long_names_are_cut_between_letters)
{
    char text[400] = "";
    for (int i = 0; i < 100; i++) strcat(text, "aé");
    const struct shown s = shown(text);
    ck_assert_uint_lt(strlen(s.text), sizeof(s.text));
    ck_assert_str_eq(s.text + strlen(s.text) - 3, "…");
    ck_assert(!strncmp(s.text, text, strlen(s.text) - 3));
    ck_assert((text[strlen(s.text) - 3] & 0xC0) != 0x80);
    ck_assert_str_eq(shown("x\ty\x7f").text, "x?y?");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json");
    TCase *tests = tcase_create("json");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, keys_reach_their_members);
    tcase_add_loop_test(tests, bad_text_is_refused_by_name, 0,
                        sizeof(bad_texts) / sizeof(bad_texts[0]));
    tcase_add_test(tests, deep_nesting_is_refused);
    tcase_add_test(tests, a_file_comes_back_as_it_was_written);
    tcase_add_test(tests, what_is_not_finite_is_not_written);
    tcase_add_test(tests, files_that_cannot_be_read_are_named);
    tcase_add_test(tests, a_file_is_replaced_whole);
    tcase_add_test(tests, a_relative_path_is_written_where_it_says);
    tcase_add_test(tests, a_full_disk_leaves_the_old_file);
    tcase_add_test(tests, places_that_cannot_be_written_are_named);
    tcase_add_test(tests, a_pipe_is_written_in_place);
    tcase_add_test(tests, long_names_are_cut_between_letters);
    suite_add_tcase(suite, tests);
    return run_host_suite(suite);
}
