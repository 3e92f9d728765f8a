/* SPDX-License-Identifier: MIT */
/* --set: other numbers of heavy tokens for one run, by SPEC's names. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Which counts a name sets, and which kinds of layer have it. */
static const struct {
    const char *name;
    bool feed_forward, attention, blocks;
    bool ff, q, kv;
} names[] = {
    {"num_heavy_tokens", true, false, false, true, false, false},
    {"num_heavy_tokens", false, true, false, false, true, true},
    {"num_heavy_tokens_q", false, true, false, false, true, false},
    {"num_heavy_tokens_kv", false, true, false, false, false, true},
    {"num_heavy_ff_tokens", false, false, true, true, false, false},
    {"num_heavy_attn_tokens", false, false, true, false, true, true},
    {"num_heavy_attn_tokens_q", false, false, true, false, true, false},
    {"num_heavy_attn_tokens_kv", false, false, true, false, false, true},
};
#define NAMES (sizeof(names) / sizeof(names[0]))

/* The row of a name for a kind, or NAMES. */
static size_t find_name(colt5_layer_kind kind, const char *name, size_t length)
{
    for (size_t i = 0; i < NAMES; i++) {
        const bool has = kind == COLT5_FEED_FORWARD ? names[i].feed_forward
                         : kind == COLT5_ATTENTION  ? names[i].attention
                                                    : names[i].blocks;
        if (has && strlen(names[i].name) == length && !strncmp(names[i].name, name, length))
            return i;
    }
    return NAMES;
}

static bool parse_count(const char *text, size_t *count)
{
    char *end;
    const unsigned long long value = strtoull(text, &end, 10);
    *count = (size_t)value;
    return *text >= '0' && *text <= '9' && !*end && value >= 1 && value <= INT32_MAX;
}

static int set_count(const char *text, colt5_layer_kind kind, colt5_token_counts *counts)
{
    const char *equals = strchr(text, '=');
    size_t count = 0;
    if (!equals || !parse_count(equals + 1, &count)) {
        complain("--set is \"%s\", not NAME=K with K from 1 to 2147483647", text);
        return EXIT_USAGE;
    }
    const size_t i = find_name(kind, text, (size_t)(equals - text));
    if (i == NAMES) {
        complain("--set: a %s has no number of heavy tokens called %.*s",
                 colt5_layer_kind_name(kind), (int)(equals - text), text);
        return EXIT_USAGE;
    }
    if (names[i].ff) counts->ff = count;
    if (names[i].q) counts->q = count;
    if (names[i].kv) counts->kv = count;
    return EXIT_FINE;
}

int set_counts(const struct list *settings, colt5_layer_kind kind, colt5_token_counts *counts)
{
    for (size_t i = 0; i < settings->count; i++) {
        const int code = set_count(settings->items[i], kind, counts);
        if (code != EXIT_FINE) return code;
    }
    return EXIT_FINE;
}
