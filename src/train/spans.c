/* SPDX-License-Identifier: MIT */
#include "train/spans.h"

#include <string.h>

#include <colt5/ops/random.h>

#include "ops/philox.h"

#define HELD_OUT 0x80000000u
#define HIDDEN   1 /* marks of a byte */
#define STARTED  2

static void draw_words(struct window window, uint32_t draw, uint32_t words[4])
{
    const uint32_t slot = (uint32_t)(window.number >> 32) | (window.held_out ? HELD_OUT : 0);
    const uint32_t counter[] = {draw, slot, (uint32_t)window.number, COLT5_STREAM_DATA};
    const uint32_t key[] = {(uint32_t)window.seed, (uint32_t)(window.seed >> 32)};
    philox(counter, key, words);
}

/* The high 64 bits of a product. */
static uint64_t multiply_high(uint64_t a, uint64_t b)
{
    const uint64_t a_low = (uint32_t)a, a_high = a >> 32, b_low = (uint32_t)b, b_high = b >> 32;
    const uint64_t middle = a_high * b_low + (a_low * b_low >> 32);
    const uint64_t cross = a_low * b_high + (uint32_t)middle;
    return a_high * b_high + (middle >> 32) + (cross >> 32);
}

uint64_t window_start(struct window window, uint64_t places)
{
    uint32_t words[4];
    draw_words(window, 0, words);
    return multiply_high((uint64_t)words[1] << 32 | words[0], places);
}

/* Longer than k with chance (2/3)^k: integers, so that every machine agrees. */
static size_t span_length(uint32_t word)
{
    static const uint32_t longer[LONGEST_SPAN - 1] = {2863311530u, 1908874353u, 1272582902u,
                                                      848388601u,  565592401u,  377061600u,
                                                      251374400u,  167582933u,  111721955u};
    size_t length = 1;
    while (length < LONGEST_SPAN && word < longer[length - 1]) length++;
    return length;
}

struct span draw_span(struct window window, uint32_t draw, size_t N)
{
    uint32_t words[4];
    draw_words(window, draw, words);
    return (struct span){(size_t)((uint64_t)words[0] * N >> 32), span_length(words[1])};
}

size_t hidden_budget(size_t N)
{
    const size_t budget = N / 100 * 15 + N % 100 * 15 / 100;
    return budget > 0 ? budget : 1;
}

void hide_spans(struct window window, size_t N, uint8_t *hidden)
{
    size_t left = hidden_budget(N);
    memset(hidden, 0, N);
    for (uint32_t draw = 1; left > 0; draw++) {
        const struct span span = draw_span(window, draw, N);
        if (hidden[span.start] & STARTED) continue;
        hidden[span.start] |= STARTED;
        for (size_t n = span.start; n < N && n < span.start + span.length && left > 0; n++) {
            left -= !(hidden[n] & HIDDEN);
            hidden[n] |= HIDDEN;
        }
    }
    for (size_t n = 0; n < N; n++) hidden[n] &= HIDDEN;
}
