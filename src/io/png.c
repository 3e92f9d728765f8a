/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <colt5/png.h>

#include "io/file.h"
#include "runtime/memory.h"

#ifdef HAVE_PNG
    #include <png.h>

/* What libpng's callbacks need. Its errors jump back to encode(). */
struct sink {
    struct output output;
    colt5_status status;
};

static void write_bytes(png_structp png, png_bytep bytes, png_size_t count)
{
    struct sink *sink = png_get_io_ptr(png);
    sink->status = output_write(&sink->output, bytes, count);
    if (sink->status != COLT5_OK) png_error(png, "");
}

static void flush(png_structp png)
{
    (void)png;
}

static void stop(png_structp png, png_const_charp text)
{
    struct sink *sink = png_get_error_ptr(png);
    if (sink->status == COLT5_OK)
        sink->status =
            fail(NULL, COLT5_ERROR_FILE, "%s: libpng: %s", sink->output.path, SHOWN(text));
    png_longjmp(png, 1);
}

static void ignore(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static png_voidp allocate(png_structp png, png_alloc_size_t bytes)
{
    (void)png;
    return host_allocate(bytes);
}

static void release(png_structp png, png_voidp memory)
{
    (void)png;
    host_release(memory);
}

/* Nothing local changes between setjmp and a jump: no variable needs to be volatile. */
static void encode(struct sink *sink, png_structp png, png_infop info, const size_t size[2],
                   const uint8_t *pixels)
{
    if (setjmp(png_jmpbuf(png))) return;
    png_set_write_fn(png, sink, write_bytes, flush);
    png_set_IHDR(png, info, (png_uint_32)size[0], (png_uint_32)size[1], 8, PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (size_t y = 0; y < size[1]; y++) png_write_row(png, pixels + y * size[0] * 3);
    png_write_end(png, info);
}

static colt5_status write_picture(const char *path, const size_t size[2], const uint8_t *pixels)
{
    struct sink sink = {.status = COLT5_OK};
    const colt5_status status = output_open(&sink.output, path);
    if (status != COLT5_OK) return status;
    png_structp png = png_create_write_struct_2(PNG_LIBPNG_VER_STRING, &sink, stop, ignore, NULL,
                                                allocate, release);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    if (info)
        encode(&sink, png, info, size, pixels);
    else
        sink.status = fail(NULL, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    if (png) png_destroy_write_struct(&png, &info);
    if (sink.status == COLT5_OK) return output_commit(&sink.output);
    output_discard(&sink.output);
    return sink.status;
}
#else
static colt5_status write_picture(const char *path, const size_t size[2], const uint8_t *pixels)
{
    (void)size;
    (void)pixels;
    return fail(NULL, COLT5_ERROR_FILE, "%s: libcolt5 was built without libpng", path);
}
#endif

colt5_status colt5_png_write(const char *path, size_t width, size_t height, const uint8_t *pixels)
{
    REQUIRE(NULL, path && pixels, COLT5_ERROR_ARGUMENT, "png_write: path or pixels is NULL");
    REQUIRE(NULL, width >= 1 && width <= 65535 && height >= 1 && height <= 65535,
            COLT5_ERROR_ARGUMENT, "%s: a picture of %zu by %zu is not in 1 to 65535", path, width,
            height);
    return write_picture(path, (const size_t[]){width, height}, pixels);
}
