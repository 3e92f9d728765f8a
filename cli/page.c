/* SPDX-License-Identifier: MIT */
#include "page.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool reserve(struct page *page, size_t more)
{
    if (page->failed || page->capacity - page->used > more) return !page->failed;
    size_t capacity = 2 * page->capacity + 4096;
    while (capacity - page->used <= more) capacity *= 2;
    char *text = realloc(page->text, capacity);
    page->failed = !text;
    if (!text) return false;
    page->text = text;
    page->capacity = capacity;
    return true;
}

void page_add(struct page *page, const char *bytes, size_t count)
{
    if (!reserve(page, count)) return;
    memcpy(page->text + page->used, bytes, count);
    page->used += count;
    page->text[page->used] = '\0';
}

void page_print(struct page *page, const char *format, ...)
{
    va_list arguments, again;
    va_start(arguments, format);
    va_copy(again, arguments);
    const int length = vsnprintf(NULL, 0, format, arguments);
    if (length >= 0 && reserve(page, (size_t)length)) {
        vsnprintf(page->text + page->used, (size_t)length + 1, format, again);
        page->used += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

/* Whether a code point leaves a mark of its own on paper, or is a newline or a tab. */
static bool is_plain(uint32_t c)
{
    static const struct {
        uint32_t first, last;
    } hidden[] = {
        {0x00, 0x08},     {0x0B, 0x1F},     {0x7F, 0x9F},     {0xAD, 0xAD},
        {0x61C, 0x61C},   {0x200B, 0x200F}, {0x2028, 0x202E}, {0x2060, 0x206F},
        {0xFDD0, 0xFDEF}, {0xFEFF, 0xFEFF}, {0xFFF0, 0xFFFB}, {0xE0000, 0xE0FFF},
    };
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++)
        if (c >= hidden[i].first && c <= hidden[i].last) return false;
    return (c & 0xFFFE) != 0xFFFE;
}

/* How long the first byte says its character is, and its bits; 0: it begins none. */
static size_t announced(unsigned char first, uint32_t *bits, uint32_t *least)
{
    if (first < 0x80) return *bits = first, *least = 0, 1;
    if (first >> 5 == 0x6) return *bits = first & 0x1F, *least = 0x80, 2;
    if (first >> 4 == 0xE) return *bits = first & 0x0F, *least = 0x800, 3;
    if (first >> 3 == 0x1E) return *bits = first & 0x07, *least = 0x10000, 4;
    return 0;
}

size_t character_length(const unsigned char *bytes, size_t count, bool *plain)
{
    uint32_t c, least;
    const size_t length = announced(bytes[0], &c, &least);
    *plain = false;
    if (length == 0 || length > count) return 1;
    for (size_t i = 1; i < length; i++) {
        if (bytes[i] >> 6 != 2) return 1;
        c = c << 6 | (bytes[i] & 0x3F);
    }
    if (c < least || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) return 1;
    *plain = is_plain(c);
    return length;
}

static void add_plain(struct page *page, const unsigned char *bytes, size_t length)
{
    switch (bytes[0]) {
    case '&':
        page_print(page, "&amp;");
        break;
    case '<':
        page_print(page, "&lt;");
        break;
    case '>':
        page_print(page, "&gt;");
        break;
    case '"':
        page_print(page, "&quot;");
        break;
    default:
        page_add(page, (const char *)bytes, length);
    }
}

void page_add_text(struct page *page, const unsigned char *bytes, size_t count,
                   struct escapes escapes)
{
    for (size_t i = 0, length; i < count; i += length) {
        bool plain;
        length = character_length(bytes + i, count - i, &plain);
        if (plain) {
            add_plain(page, bytes + i, length);
            continue;
        }
        page_print(page, "%s", escapes.before);
        for (size_t j = 0; j < length; j++) page_print(page, "\\x%02X", bytes[i + j]);
        page_print(page, "%s", escapes.after);
    }
}
