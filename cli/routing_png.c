/* SPDX-License-Identifier: MIT */
/*
 * The heatmap: for each kind of router a panel, a row a layer, positions from left to right. A
 * column stands for one token or several; its colour for the share of them that was routed.
 */
#include <stdlib.h>

#include "picture.h"
#include "routing.h"

#define PLOT_WIDTH 1024
#define LEFT       84 /* room for the layers' numbers */
#define RIGHT      40
#define TOP        44
#define BOTTOM     64
#define GAP        40 /* above a panel, for its name */

static const struct colour white = {255, 255, 255}, ink = {31, 35, 40}, grey = {140, 149, 159};

struct plot {
    const struct routing *routing;
    struct picture picture;
    size_t columns, column_width, row_height, panel_height;
    double most; /* the largest share of a column */
};

/* From nearly white through blue to nearly black: also readable without colours. */
static struct colour shade(double share)
{
    static const struct colour ramp[] = {
        {240, 243, 246}, {170, 205, 245}, {66, 133, 214}, {26, 72, 148}, {10, 25, 65}};
    const double at = (share < 0 ? 0 : share > 1 ? 1 : share) * 4;
    const int i = at >= 4 ? 3 : (int)at;
    const double t = at - i;
    return (struct colour){
        (uint8_t)(ramp[i].red + t * (ramp[i + 1].red - ramp[i].red)),
        (uint8_t)(ramp[i].green + t * (ramp[i + 1].green - ramp[i].green)),
        (uint8_t)(ramp[i].blue + t * (ramp[i + 1].blue - ramp[i].blue)),
    };
}

/* The share of a column's tokens that a branch took. */
static double share_of(const struct plot *plot, const struct branch *branch, size_t column)
{
    const size_t N = plot->routing->tokens;
    const size_t first = column * N / plot->columns, end = (column + 1) * N / plot->columns;
    size_t taken = 0;
    for (size_t n = first; n < end; n++) taken += branch->heavy[n];
    return (double)taken / (double)(end - first);
}

static double largest_share(const struct plot *plot)
{
    double most = 0;
    for (size_t i = 0; i < plot->routing->layers * ROLES; i++)
        for (size_t column = 0; column < plot->columns; column++) {
            const double share = share_of(plot, &plot->routing->branches[i], column);
            if (share > most) most = share;
        }
    return most > 0 ? most : 1;
}

static size_t panel_top(const struct plot *plot, int role)
{
    return TOP + GAP + (size_t)role * (plot->panel_height + GAP);
}

static void draw_panel(struct plot *plot, enum router_role role)
{
    static const char *const titles[] = {"queries", "key-values", "feedforward"};
    const size_t top = panel_top(plot, role), layers = plot->routing->layers;
    /* As many numbers as fit. */
    const size_t step = (LINE + plot->row_height - 1) / plot->row_height;
    draw_text(&plot->picture, LEFT, top - LINE - 6, ALIGN_LEFT, ink, titles[role]);
    for (size_t layer = 0; layer < layers; layer++) {
        const size_t y = top + layer * plot->row_height;
        for (size_t column = 0; column < plot->columns; column++) {
            const double share = share_of(plot, branch_of(plot->routing, layer, role), column);
            draw_box(&plot->picture, LEFT + column * plot->column_width, y, plot->column_width,
                     plot->row_height > 3 ? plot->row_height - 1 : plot->row_height,
                     shade(share / plot->most));
        }
        char number[32];
        snprintf(number, sizeof(number), "%zu", layer);
        if (layer % step == 0)
            draw_text(&plot->picture, LEFT - 8, y + plot->row_height / 2 - LINE / 2 + 1,
                      ALIGN_RIGHT, grey, number);
    }
}

/* Round steps, about six of them. */
static size_t tick_step(size_t tokens)
{
    size_t step = 1;
    for (int i = 0; tokens / step > 6; i++) step = step * (i % 3 == 1 ? 5 : 4) / 2;
    return step;
}

static void draw_axis(struct plot *plot)
{
    const size_t N = plot->routing->tokens, width = plot->columns * plot->column_width;
    const size_t y = panel_top(plot, ROLES - 1) + plot->panel_height + 2;
    draw_box(&plot->picture, LEFT, y, width, 1, grey);
    for (size_t n = 0; n <= N; n += tick_step(N)) {
        const size_t x = LEFT + n * width / N;
        char number[32];
        snprintf(number, sizeof(number), "%zu", n);
        draw_box(&plot->picture, x, y, 1, 6, grey);
        draw_text(&plot->picture, x, y + 10, ALIGN_CENTRE, ink, number);
    }
    draw_text(&plot->picture, LEFT + width / 2, y + 14 + LINE, ALIGN_CENTRE, grey,
              "position in the text");
    draw_text(&plot->picture, LEFT - 8, panel_top(plot, 0) - LINE - 6, ALIGN_RIGHT, grey, "layer");
}

static void draw_scale(struct plot *plot)
{
    const size_t width = plot->columns * plot->column_width, bar = 160;
    char most[32];
    snprintf(most, sizeof(most), "%.0f %%", 100 * plot->most);
    const size_t right = LEFT + width - 5 * LETTER, left = right - bar;
    draw_text(&plot->picture, left - 8, 16, ALIGN_RIGHT, grey, "tokens routed  0 %");
    for (size_t i = 0; i < bar; i++)
        draw_box(&plot->picture, left + i, 16, 1, LINE, shade((double)i / (double)(bar - 1)));
    draw_text(&plot->picture, right + 8, 16, ALIGN_LEFT, grey, most);
}

static struct plot make_plot(const struct routing *routing)
{
    struct plot plot = {.routing = routing, .columns = routing->tokens};
    if (plot.columns > PLOT_WIDTH) plot.columns = PLOT_WIDTH;
    plot.column_width = PLOT_WIDTH / plot.columns;
    plot.row_height = 240 / routing->layers;
    if (plot.row_height > 40) plot.row_height = 40;
    if (plot.row_height < 1) plot.row_height = 1;
    plot.panel_height = plot.row_height * routing->layers;
    plot.most = largest_share(&plot);
    plot.picture = make_picture(LEFT + plot.columns * plot.column_width + RIGHT,
                                panel_top(&plot, ROLES - 1) + plot.panel_height + BOTTOM, white);
    return plot;
}

int write_routing_png(const struct routing *routing, const char *path)
{
    struct plot plot = make_plot(routing);
    if (!plot.picture.pixels) return complain_memory();
    for (int role = 0; role < ROLES; role++) draw_panel(&plot, (enum router_role)role);
    draw_axis(&plot);
    draw_scale(&plot);
    const colt5_status status =
        colt5_png_write(path, plot.picture.width, plot.picture.height, plot.picture.pixels);
    free(plot.picture.pixels);
    return status == COLT5_OK ? EXIT_FINE : complain_status(NULL, status);
}
