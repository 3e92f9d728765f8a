/* SPDX-License-Identifier: MIT */
/* Which bytes of a window are hidden: <colt5/train.h> says how. */
#ifndef COLT5_TRAIN_SPANS_H
#define COLT5_TRAIN_SPANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LONGEST_SPAN 10

/* A window of a data set: its random numbers are a function of this alone. */
struct window {
    uint64_t seed, number;
    bool held_out;
};

struct span {
    size_t start, length;
};

/* Where it starts, among `places` places, at least one. */
uint64_t window_start(struct window window, uint64_t places);

/* Draw 1, 2, … of a window of N bytes; it may pass the window's end. */
struct span draw_span(struct window window, uint32_t draw, size_t N);

/* How many of N bytes are hidden. */
size_t hidden_budget(size_t N);

/* Sets hidden[n] to 1 for exactly hidden_budget(N) bytes, 0 for the others. */
void hide_spans(struct window window, size_t N, uint8_t *hidden);

#endif
