/* SPDX-License-Identifier: MIT */
/*
 * The picture of a training: bits per hidden byte over the steps. A column of pixels stands for
 * one step or several: its line goes through their mean, a pale bar from the least to the most.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "training.h"

#define WIDTH   960
#define HEIGHT  540
#define LEFT    72
#define RIGHT   24
#define TOP     64
#define BOTTOM  64
#define PLOT_W  (WIDTH - LEFT - RIGHT)
#define PLOT_H  (HEIGHT - TOP - BOTTOM)
#define TICKS   6   /* about so many on an axis */
#define CEILING 1.6 /* of the baseline: first steps that lie higher are cut */

static const struct colour white = {255, 255, 255}, ink = {31, 35, 40}, grey = {140, 149, 159};
static const struct colour faint = {232, 236, 240}, rust = {190, 80, 30};
static const struct colour blue = {26, 92, 178}, pale_blue = {205, 222, 242};
static const struct colour green = {20, 130, 80}, pale_green = {205, 232, 216};

/* Values and where they lie in the picture. */
struct axes {
    double last_step, least, most, step_tick, bits_tick;
    struct picture picture;
};

/* 1, 2 or 5 times a power of ten, so that range takes about TICKS of it. */
static double tick_of(double range)
{
    const double rough = range / TICKS, power = pow(10, floor(log10(rough))), part = rough / power;
    return power * (part <= 1 ? 1 : part <= 2 ? 2 : part <= 5 ? 5 : 10);
}

static double column_of(const struct axes *axes, double step)
{
    return LEFT + (PLOT_W - 1) * step / axes->last_step;
}

/* Rows count from above. */
static double row_of(const struct axes *axes, double bits)
{
    const double up = (bits - axes->least) / (axes->most - axes->least);
    return TOP + (PLOT_H - 1) * (1 - (up < 0 ? 0 : up > 1 ? 1 : up));
}

static void widen(struct axes *axes, double bits)
{
    if (!isfinite(bits)) return;
    axes->least = fmin(axes->least, bits);
    axes->most = fmax(axes->most, bits);
}

static struct axes make_axes(const struct curves *curves, double baseline)
{
    struct axes axes = {.last_step = 1, .least = INFINITY, .most = -INFINITY};
    for (size_t i = 0; i < curves->count; i++) {
        axes.last_step = fmax(axes.last_step, curves->points[i][LOG_STEP]);
        widen(&axes, curves->points[i][LOG_TRAINING]);
        widen(&axes, curves->points[i][LOG_HELD_OUT]);
    }
    if (baseline > 0) {
        widen(&axes, baseline);
        axes.most = fmin(axes.most, CEILING * baseline);
    }
    if (axes.least > axes.most) axes.least = 0, axes.most = 8;
    if (axes.most - axes.least < 0.01) axes.most = axes.least + 0.01;
    axes.step_tick = fmax(1, tick_of(axes.last_step));
    axes.bits_tick = tick_of(axes.most - axes.least);
    axes.least = axes.bits_tick * floor(axes.least / axes.bits_tick);
    axes.most = axes.bits_tick * ceil(axes.most / axes.bits_tick);
    return axes;
}

/* ---- the frame ---- */

static void draw_bits_axis(struct axes *axes)
{
    const int digits = axes->bits_tick < 1 ? (int)ceil(-log10(axes->bits_tick) - 1e-9) : 0;
    char number[32];
    for (double bits = axes->least; bits < axes->most + axes->bits_tick / 2;
         bits += axes->bits_tick) {
        const size_t y = (size_t)row_of(axes, bits);
        draw_box(&axes->picture, LEFT, y, PLOT_W, 1, faint);
        draw_box(&axes->picture, LEFT - 6, y, 6, 1, grey);
        snprintf(number, sizeof(number), "%.*f", digits, bits);
        draw_text(&axes->picture, LEFT - 10, y - LINE / 2 + 1, ALIGN_RIGHT, ink, number);
    }
    draw_box(&axes->picture, LEFT - 1, TOP, 1, PLOT_H, grey);
    draw_text(&axes->picture, 8, TOP - 2 * LINE - 4, ALIGN_LEFT, grey, "bits per hidden byte");
}

static void draw_step_axis(struct axes *axes)
{
    char number[32];
    for (double step = 0; step <= axes->last_step; step += axes->step_tick) {
        const size_t x = (size_t)column_of(axes, step);
        draw_box(&axes->picture, x, TOP + PLOT_H, 1, 6, grey);
        snprintf(number, sizeof(number), "%.0f", step);
        draw_text(&axes->picture, x, TOP + PLOT_H + 10, ALIGN_CENTRE, ink, number);
    }
    draw_box(&axes->picture, LEFT - 1, TOP + PLOT_H, PLOT_W + 1, 1, grey);
    draw_text(&axes->picture, LEFT + PLOT_W / 2, HEIGHT - LINE - 8, ALIGN_CENTRE, grey, "step");
}

static void draw_baseline(struct axes *axes, double baseline)
{
    const size_t y = (size_t)row_of(axes, baseline);
    for (size_t x = 0; x < PLOT_W; x += 12)
        draw_box(&axes->picture, LEFT + x, y - 1, x + 7 < PLOT_W ? 7 : PLOT_W - x, 2, rust);
}

/* From the right: the last entry of the legend first. */
static size_t draw_entry(struct picture *picture, size_t right, struct colour colour,
                         const char *text)
{
    const size_t width = strlen(text) * LETTER;
    draw_text(picture, right, 12, ALIGN_RIGHT, ink, text);
    draw_box(picture, right - width - 30, 12 + LINE / 2 - 2, 22, 3, colour);
    return right - width - 54;
}

static void draw_legend(struct picture *picture, double baseline)
{
    char text[64];
    size_t right = WIDTH - RIGHT;
    if (baseline > 0) {
        snprintf(text, sizeof(text), "byte frequencies %.2f", baseline);
        right = draw_entry(picture, right, rust, text);
    }
    right = draw_entry(picture, right, green, "held out");
    draw_entry(picture, right, blue, "training");
}

/* ---- curves ---- */

/* What the points of one column of pixels come to. */
struct column {
    double sum, least, most;
    size_t count;
};

static void gather_columns(const struct axes *axes, const struct curves *curves, size_t which,
                           struct column columns[PLOT_W])
{
    memset(columns, 0, PLOT_W * sizeof(columns[0]));
    for (size_t i = 0; i < curves->count; i++) {
        const double bits = curves->points[i][which];
        const double step = curves->points[i][LOG_STEP];
        if (!isfinite(bits) || !(step >= 0)) continue;
        struct column *column = &columns[(size_t)column_of(axes, step) - LEFT];
        column->least = column->count ? fmin(column->least, bits) : bits;
        column->most = column->count ? fmax(column->most, bits) : bits;
        column->sum += bits;
        column->count++;
    }
}

static void draw_bars(struct axes *axes, const struct column columns[PLOT_W], struct colour pale)
{
    for (size_t x = 0; x < PLOT_W; x++) {
        if (columns[x].count < 2) continue;
        const size_t y = (size_t)row_of(axes, columns[x].most);
        draw_box(&axes->picture, LEFT + x, y, 1, (size_t)row_of(axes, columns[x].least) - y + 1,
                 pale);
    }
}

static void draw_means(struct axes *axes, const struct column columns[PLOT_W], struct colour colour)
{
    double last_x = -1, last_y = 0;
    for (size_t x = 0; x < PLOT_W; x++) {
        if (columns[x].count == 0) continue;
        const double y = row_of(axes, columns[x].sum / (double)columns[x].count);
        if (last_x < 0) last_x = (double)x, last_y = y;
        draw_line(&axes->picture, LEFT + last_x, last_y, LEFT + (double)x, y, 2, colour);
        last_x = (double)x;
        last_y = y;
    }
}

struct picture draw_loss(const struct curves *curves, double baseline)
{
    static struct column training[PLOT_W], held_out[PLOT_W];
    struct axes axes = make_axes(curves, baseline);
    axes.picture = make_picture(WIDTH, HEIGHT, white);
    if (!axes.picture.pixels) return axes.picture;
    gather_columns(&axes, curves, LOG_TRAINING, training);
    gather_columns(&axes, curves, LOG_HELD_OUT, held_out);
    draw_bits_axis(&axes);
    draw_step_axis(&axes);
    draw_bars(&axes, training, pale_blue);
    draw_bars(&axes, held_out, pale_green);
    if (baseline > 0) draw_baseline(&axes, baseline);
    draw_means(&axes, training, blue);
    draw_means(&axes, held_out, green);
    draw_legend(&axes.picture, baseline);
    return axes.picture;
}

int write_loss_png(const struct curves *curves, double baseline, const char *path)
{
    const struct picture picture = draw_loss(curves, baseline);
    if (!picture.pixels) return complain_memory();
    const colt5_status status =
        colt5_png_write(path, picture.width, picture.height, picture.pixels);
    free(picture.pixels);
    return status == COLT5_OK ? EXIT_FINE : complain_status(NULL, status);
}
