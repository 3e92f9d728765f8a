/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "support/files.h"

#include <colt5/png.h>

static uint8_t *picture(size_t width, size_t height)
{
    uint8_t *pixels = malloc(width * height * 3);
    for (size_t i = 0; i < width * height * 3; i++) pixels[i] = (uint8_t)(random_uniform() * 256);
    return pixels;
}

#ifdef HAVE_PNG
    #include <png.h>

static const size_t sizes[][2] = {{1, 1}, {7, 3}, {64, 1}, {1, 129}, {300, 200}};

START_TEST(pixels_come_back)
{
    const size_t width = sizes[_i][0], height = sizes[_i][1];
    uint8_t *pixels = picture(width, height), *back = malloc(width * height * 3);
    ck_assert_ok(colt5_png_write(in_folder("p.png"), width, height, pixels));
    png_image image = {.version = PNG_IMAGE_VERSION};
    ck_assert(png_image_begin_read_from_file(&image, in_folder("p.png")));
    image.format = PNG_FORMAT_RGB;
    ck_assert(image.width == width && image.height == height);
    ck_assert(png_image_finish_read(&image, NULL, back, 0, NULL));
    ck_assert(!memcmp(back, pixels, width * height * 3));
    ck_assert_uint_eq(files_in_folder(), 1);
    free(back), free(pixels);
}
END_TEST

START_TEST(a_full_disk_leaves_nothing)
{
    uint8_t *pixels = picture(300, 200);
    limit_file_size(4096);
    assert_fails(colt5_png_write(in_folder("p.png"), 300, 200, pixels), COLT5_ERROR_FILE,
                 "p.png: cannot be written");
    assert_fails(colt5_png_write("/dev/full", 300, 200, pixels), COLT5_ERROR_FILE, "/dev/full");
    ck_assert_uint_eq(files_in_folder(), 0);
    free(pixels);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    uint8_t *pixels = picture(20, 20);
    colt5_status status = COLT5_ERROR_MEMORY;
    for (size_t n = 0; status != COLT5_OK; n++) {
        fail_allocations_from(n);
        status = colt5_png_write(in_folder("p.png"), 20, 20, pixels);
        ck_assert_uint_eq(files_in_folder(), status == COLT5_OK);
    }
    free(pixels);
}
END_TEST
#else
static const size_t sizes[1][2];

START_TEST(pixels_come_back)
{
    uint8_t pixel[3] = {1, 2, 3};
    assert_fails(colt5_png_write(in_folder("p.png"), 1, 1, pixel), COLT5_ERROR_FILE,
                 "built without libpng");
}
END_TEST
#endif

START_TEST(bad_calls_are_refused)
{
    uint8_t *pixels = picture(1, 1);
    const char *path = in_folder("p.png");
    assert_fails(colt5_png_write(NULL, 1, 1, pixels), COLT5_ERROR_ARGUMENT, "path or pixels");
    assert_fails(colt5_png_write(path, 1, 1, NULL), COLT5_ERROR_ARGUMENT, "path or pixels");
    assert_fails(colt5_png_write(path, 0, 1, pixels), COLT5_ERROR_ARGUMENT,
                 "p.png: a picture of 0");
    assert_fails(colt5_png_write(path, 1, 65536, pixels), COLT5_ERROR_ARGUMENT, "1 by 65536");
    ck_assert_uint_eq(files_in_folder(), 0);
    free(pixels);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("png");
    TCase *tests = tcase_create("png");
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_loop_test(tests, pixels_come_back, 0, sizeof(sizes) / sizeof(sizes[0]));
    tcase_add_test(tests, bad_calls_are_refused);
#ifdef HAVE_PNG
    tcase_add_test(tests, a_full_disk_leaves_nothing);
    tcase_add_test(tests, every_allocation_may_fail);
#endif
    suite_add_tcase(suite, tests);
    return run_host_suite(suite);
}
