/* SPDX-License-Identifier: MIT */
/* A text that grows: pages are made whole in memory, then written whole or not at all. */
#ifndef CLI_PAGE_H
#define CLI_PAGE_H

#include <stdbool.h>
#include <stddef.h>

struct page {
    char *text;
    size_t used, capacity;
    bool failed; /* no memory: what comes after is dropped */
};

void page_add(struct page *page, const char *bytes, size_t count);
void page_print(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Text for HTML, of any bytes: the characters of markup as references, what is not UTF-8 and what
 * would not be seen (controls, marks of direction, zero widths) as its bytes, \xE2\x80\x8B, between
 * before and after. Newlines and tabs stay.
 */
struct escapes {
    const char *before, *after;
};
void page_add_text(struct page *page, const unsigned char *bytes, size_t count,
                   struct escapes escapes);

/* Bytes of the character at the start, 1 where it is no UTF-8; *plain: whether it can be shown. */
size_t character_length(const unsigned char *bytes, size_t count, bool *plain);

#endif
