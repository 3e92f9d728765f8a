/* SPDX-License-Identifier: MIT */
/* A picture in memory, with rectangles and small letters: enough for a labelled plot. */
#ifndef CLI_PICTURE_H
#define CLI_PICTURE_H

#include <stddef.h>
#include <stdint.h>

struct colour {
    uint8_t red, green, blue;
};

struct picture {
    size_t width, height;
    uint8_t *pixels; /* [height][width][3] */
};

/* All of one colour; pixels is NULL without memory. */
struct picture make_picture(size_t width, size_t height, struct colour colour);

/* What lies outside the picture is not drawn. */
void draw_box(struct picture *picture, size_t x, size_t y, size_t width, size_t height,
              struct colour colour);

/* From one point to another, centre of a pixel to centre of a pixel, `thick` wide. */
void draw_line(struct picture *picture, double x, double y, double to_x, double to_y, size_t thick,
               struct colour colour);

/*
 * Lower-case letters, digits, "-", "." and "%"; others are blank. LETTER wide and LINE high each,
 * from the left, the centre or the right of x.
 */
#define LETTER 12
#define LINE   16
enum align { ALIGN_LEFT, ALIGN_CENTRE, ALIGN_RIGHT };
void draw_text(struct picture *picture, size_t x, size_t y, enum align align, struct colour colour,
               const char *text);

#endif
