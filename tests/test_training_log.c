/* SPDX-License-Identifier: MIT */
/* log.csv and loss.png of a training folder: files of the program, not of the library. */
#include "support/files.h"

#include <stdarg.h>
#include <stdio.h>

#include "../cli/cli.h"
#include "../cli/training.h"

/* ---- what the program says, in place of its report.c ---- */

static char said[1024];

void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(said, sizeof(said), format, arguments);
    va_end(arguments);
}

int complain_status(const colt5_context *context, colt5_status status)
{
    complain("%s", colt5_message(context));
    return status == COLT5_ERROR_MEMORY ? EXIT_NO_MEMORY : EXIT_BAD_INPUT;
}

int complain_memory(void)
{
    return EXIT_NO_MEMORY;
}

/* ---- the log ---- */

static const char *const names[] = {LOG_NAMES, "rate", "note"};
#define COLUMNS 5
#define HEADER  "step,training_bits,held_out_bits,rate,note\n"

static void assert_file(const char *want)
{
    size_t count;
    char *have = get_file("log.csv", &count);
    ck_assert_str_eq(have, want);
    free(have);
}

static int open_at(struct training_log *log, double last_step)
{
    return open_log(log, in_folder("log.csv"), names, COLUMNS, last_step);
}

START_TEST(rows_are_there_at_once)
{
    struct training_log log;
    ck_assert_int_eq(open_at(&log, 0), EXIT_FINE);
    assert_file(HEADER);
    ck_assert_int_eq(add_row(&log, (const double[]){1, 8.25, NAN, 1e-5, 7}), EXIT_FINE);
    assert_file(HEADER "1,8.25,,1e-05,7\n");
    ck_assert_int_eq(add_row(&log, (const double[]){12345678, 1.0 / 3, 4.5, 0, NAN}), EXIT_FINE);
    assert_file(HEADER "1,8.25,,1e-05,7\n12345678,0.3333333,4.5,0,\n");
    ck_assert_uint_eq(log.curves.count, 2);
    ck_assert(log.curves.points[1][LOG_STEP] == 12345678 && isnan(log.curves.points[0][2]));
    close_log(&log);
    close_log(&log);
}
END_TEST

static const struct {
    const char *rows;
    double last_step;
    const char *kept;
    size_t count;
} resumes[] = {
    {"", 0, "", 0},
    {"1,8,,1,1\n2,7,6.5,1,1\n", 2, "1,8,,1,1\n2,7,6.5,1,1\n", 2},
    {"1,8,,1,1\n2,7,6.5,1,1\n3,6,,1,1\n", 2, "1,8,,1,1\n2,7,6.5,1,1\n", 2},
    {"1,8,,1,1\n2,7,6.", 9, "1,8,,1,1\n", 1},                 /* killed within a row */
    {"1,8,,1,1\n2,7,6,1,1", 9, "1,8,,1,1\n", 1},              /* before its end */
    {"1,8,,1,1\n2,7,6.5,1\n3,1,1,1,1\n", 9, "1,8,,1,1\n", 1}, /* a cell is missing */
    {"1,8,,1,1\n2,x,6.5,1,1\n", 9, "1,8,,1,1\n", 1},
    {"1,8,,1,1\n,7,6.5,1,1\n", 9, "1,8,,1,1\n", 1}, /* no step */
};
#define RESUMES (sizeof(resumes) / sizeof(resumes[0]))

START_TEST(a_resumed_log_goes_on_after_its_step)
{
    char text[512], want[512];
    struct training_log log;
    const int count = snprintf(text, sizeof(text), HEADER "%s", resumes[_i].rows);
    put_file("log.csv", text, (size_t)count);
    ck_assert_int_eq(open_at(&log, resumes[_i].last_step), EXIT_FINE);
    ck_assert_uint_eq(log.curves.count, resumes[_i].count);
    if (log.curves.count == 2) ck_assert(log.curves.points[1][LOG_HELD_OUT] == 6.5);
    ck_assert_int_eq(add_row(&log, (const double[]){10, 2, 3, 4, 5}), EXIT_FINE);
    snprintf(want, sizeof(want), HEADER "%s10,2,3,4,5\n", resumes[_i].kept);
    assert_file(want);
    ck_assert_uint_eq(files_in_folder(), 1);
    close_log(&log);
}
END_TEST

START_TEST(what_is_no_log_of_ours_is_left_alone)
{
    struct training_log log;
    put_file("log.csv", "step,loss\n1,2\n", 14);
    ck_assert_int_eq(open_at(&log, 0), EXIT_BAD_INPUT);
    ck_assert_ptr_nonnull(strstr(said, "log.csv: has other columns"));
    assert_file("step,loss\n1,2\n");
    ck_assert_int_eq(open_log(&log, in_folder("none/log.csv"), names, COLUMNS, 0), EXIT_BAD_INPUT);
    ck_assert_ptr_nonnull(strstr(said, "none/log.csv"));
    ck_assert_int_eq(open_log(&log, in_folder("."), names, COLUMNS, 0), EXIT_BAD_INPUT);
}
END_TEST

START_TEST(a_full_disk_is_said)
{
    struct training_log log;
    ck_assert_int_eq(open_at(&log, 0), EXIT_FINE);
    limit_file_size(strlen(HEADER) + 4);
    ck_assert_int_eq(add_row(&log, (const double[]){1, 2, 3, 4, 5}), EXIT_BAD_INPUT);
    ck_assert_ptr_nonnull(strstr(said, "log.csv: cannot be written"));
    close_log(&log);
    limit_file_size(SIZE_MAX);
    ck_assert_int_eq(open_at(&log, 9), EXIT_FINE); /* half a row is dropped */
    assert_file(HEADER);
    close_log(&log);
}
END_TEST

/* ---- the picture ---- */

/* How many pixels of a colour lie between two columns, and their mean row. */
static size_t pixels_of(const struct picture *picture, struct colour colour, size_t from, size_t to,
                        double *mean_row)
{
    size_t count = 0;
    double rows = 0;
    for (size_t y = 60; y < picture->height - 60; y++) /* without the legend */
        for (size_t x = from; x < to; x++) {
            const uint8_t *p = &picture->pixels[3 * (y * picture->width + x)];
            if (p[0] != colour.red || p[1] != colour.green || p[2] != colour.blue) continue;
            rows += (double)y;
            count++;
        }
    *mean_row = count ? rows / (double)count : NAN;
    return count;
}

static const struct colour rust = {190, 80, 30}, blue = {26, 92, 178}, green = {20, 130, 80};

static struct curves make_curves(size_t count, double (*training)(double), double (*held)(double))
{
    struct curves curves = {.count = count, .points = calloc(count + 1, sizeof(*curves.points))};
    for (size_t i = 0; i < count; i++) {
        curves.points[i][LOG_STEP] = (double)i + 1;
        curves.points[i][LOG_TRAINING] = training((double)i / (double)count);
        curves.points[i][LOG_HELD_OUT] = i % 10 == 9 ? held((double)i / (double)count) : NAN;
    }
    return curves;
}

static double falling(double t)
{
    return 8 - 4 * t;
}

static double level(double t)
{
    (void)t;
    return 6;
}

static double strange(double t)
{
    return t < 0.3 ? NAN : t < 0.6 ? INFINITY : t < 0.8 ? 1e300 : -2;
}

START_TEST(curves_lie_where_their_values_are)
{
    const size_t counts[] = {50, 800, 5000};
    struct curves curves = make_curves(counts[_i], falling, level);
    struct picture picture = draw_loss(&curves, 5);
    double left, right, held_left, held_right, line;
    ck_assert_uint_gt(pixels_of(&picture, blue, 100, 200, &left), 50);
    ck_assert_uint_gt(pixels_of(&picture, blue, 760, 860, &right), 50);
    ck_assert_uint_gt(pixels_of(&picture, green, 300, 400, &held_left), 50);
    ck_assert_uint_gt(pixels_of(&picture, green, 760, 860, &held_right), 50);
    ck_assert_uint_gt(pixels_of(&picture, rust, 72, 936, &line), 500);
    ck_assert_double_eq_tol(held_left, held_right, 0.6);
    ck_assert(left < held_left && held_left < line && line < right);
    /* 6 bits is as far above 5 as the falling curve falls in a quarter of the steps. */
    double a, b;
    pixels_of(&picture, blue, 300, 301, &a);
    pixels_of(&picture, blue, 300 + 863 / 4, 301 + 863 / 4, &b);
    ck_assert_double_eq_tol(b - a, line - held_left, 3);
    free(picture.pixels), free(curves.points);
}
END_TEST

/* Nothing, one point, no baseline, values of every kind: a picture all the same. */
START_TEST(any_values_make_a_picture)
{
    const size_t counts[] = {0, 1, 2, 500};
    double (*const values[])(double) = {falling, level, strange};
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 3; j++)
            for (int k = 0; k < 3; k++) {
                struct curves curves = make_curves(counts[i], values[j], values[(j + k) % 3]);
                struct picture picture = draw_loss(&curves, k * 2.5);
                ck_assert_ptr_nonnull(picture.pixels);
                free(picture.pixels), free(curves.points);
            }
}
END_TEST

START_TEST(the_picture_is_written)
{
    struct curves curves = make_curves(300, falling, level);
    const int code = write_loss_png(&curves, 4.5, in_folder("loss.png"));
    if (code == EXIT_BAD_INPUT && strstr(said, "without libpng")) return;
    ck_assert_int_eq(code, EXIT_FINE);
    size_t count;
    char *bytes = get_file("loss.png", &count);
    ck_assert_mem_eq(bytes, "\x89PNG", 4);
    ck_assert_int_eq(write_loss_png(&curves, 4.5, in_folder("none/loss.png")), EXIT_BAD_INPUT);
    free(bytes), free(curves.points);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("training_log");
    TCase *tests = tcase_create("training_log");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, rows_are_there_at_once);
    tcase_add_loop_test(tests, a_resumed_log_goes_on_after_its_step, 0, RESUMES);
    tcase_add_test(tests, what_is_no_log_of_ours_is_left_alone);
    tcase_add_test(tests, a_full_disk_is_said);
    tcase_add_loop_test(tests, curves_lie_where_their_values_are, 0, 3);
    tcase_add_test(tests, any_values_make_a_picture);
    tcase_add_test(tests, the_picture_is_written);
    suite_add_tcase(suite, tests);
    return run_host_suite(suite);
}
