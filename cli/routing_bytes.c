/* SPDX-License-Identifier: MIT */
/* What a router picks: of each byte of the text, the share that went to the heavy branch. */
#include <stdlib.h>

#include "routing.h"

/* A byte that stands fewer times says nothing; one in so many of the text, and so many times. */
#define RARE_SHARE 200
#define RARE_COUNT 10

static int larger_share_first(const void *a, const void *b)
{
    const struct picked *x = a, *y = b;
    if (x->share != y->share) return x->share < y->share ? 1 : -1;
    return x->byte - y->byte;
}

size_t list_picked(const struct routing *routing, const struct branch *branch,
                   struct picked list[256])
{
    size_t there[256] = {0}, heavy[256] = {0}, count = 0;
    for (size_t n = 0; n < routing->tokens; n++) {
        there[routing->text[n]]++;
        heavy[routing->text[n]] += branch->heavy[n];
    }
    for (int byte = 0; byte < 256; byte++)
        if (there[byte] >= RARE_COUNT && there[byte] >= routing->tokens / RARE_SHARE)
            list[count++] = (struct picked){byte, 100 * (double)heavy[byte] / (double)there[byte]};
    qsort(list, count, sizeof(list[0]), larger_share_first);
    return count;
}

const char *byte_name(int byte)
{
    static char names[8][8];
    static int turn;
    if (byte == ' ') return "space";
    if (byte == '\n') return "newline";
    char *name = names[turn++ % 8];
    snprintf(name, sizeof(names[0]), byte > ' ' && byte < 127 ? "%c" : "\\x%02X", byte);
    return name;
}
