/* SPDX-License-Identifier: MIT */
#include "runtime/selector.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Worse than every device that is picked without being named. */
#define ONLY_BY_NAME 100

static bool contains(const char *text, const char *part, size_t length)
{
    for (; strlen(text) >= length; text++)
        if (!strncasecmp(text, part, length)) return true;
    return false;
}

static bool platform_is(const colt5_device_info *device, const char *name)
{
    return contains(device->platform_name, name, strlen(name));
}

static bool name_has(const colt5_device_info *device, const char *part)
{
    return contains(device->name, part, strlen(part));
}

/*
 * The smaller, the sooner a device is picked: discrete GPU, integrated GPU, CPU, and of each the
 * vendor's own driver before Mesa's rusticl, which may show the same device a second time (and
 * llvmpipe, a CPU device that PoCL outruns). Clover speaks only OpenCL 1.1.
 */
static int rank_of(const colt5_device_info *device)
{
    if (platform_is(device, "Clover") || device->kind == COLT5_DEVICE_OTHER) return ONLY_BY_NAME;
    return 2 * (int)device->kind + platform_is(device, "rusticl");
}

static bool is_gpu(const colt5_device_info *device)
{
    return device->kind == COLT5_DEVICE_DISCRETE_GPU || device->kind == COLT5_DEVICE_INTEGRATED_GPU;
}

/* What a selector asks for, once read. */
struct wish {
    enum { WISH_DEFAULT, WISH_NUMBERS, WISH_GPU, WISH_CPU, WISH_NAMES, WISH_WORD } form;
    unsigned long platform, device; /* numbers; device is also the K of gpu:K */
    const char *platform_part;      /* of names, not ended by 0 */
    size_t platform_length;
    const char *device_part; /* of names; the word */
};

static bool fulfils(const struct wish *wish, const colt5_device_info *device)
{
    const bool unnamed = rank_of(device) < ONLY_BY_NAME;
    switch (wish->form) {
    case WISH_DEFAULT:
        return unnamed;
    case WISH_NUMBERS:
        return device->platform == (int)wish->platform && device->device == (int)wish->device;
    case WISH_GPU:
        return unnamed && is_gpu(device);
    case WISH_CPU:
        return unnamed && device->kind == COLT5_DEVICE_CPU;
    case WISH_WORD:
        return platform_is(device, wish->device_part) || name_has(device, wish->device_part);
    case WISH_NAMES:
        break;
    }
    return contains(device->platform_name, wish->platform_part, wish->platform_length) &&
           name_has(device, wish->device_part);
}

/* A number of at most six digits that fills the text up to its end or to stop. */
static bool read_number(const char *text, char stop, unsigned long *number, const char **rest)
{
    const size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 6 || (text[digits] != '\0' && text[digits] != stop)) return false;
    *number = strtoul(text, NULL, 10);
    *rest = text + digits;
    return true;
}

static struct wish read_names(const char *selector)
{
    const char *colon = strchr(selector, ':');
    if (!colon) return (struct wish){.form = WISH_WORD, .device_part = selector};
    return (struct wish){.form = WISH_NAMES,
                         .platform_part = selector,
                         .platform_length = (size_t)(colon - selector),
                         .device_part = colon + 1};
}

static struct wish read_selector(const char *selector)
{
    struct wish wish = {.form = WISH_DEFAULT};
    const char *rest;
    if (!selector || !*selector) return wish;
    if (!strcasecmp(selector, "cpu")) {
        wish.form = WISH_CPU;
    } else if (!strcasecmp(selector, "gpu") ||
               (!strncasecmp(selector, "gpu:", 4) &&
                read_number(selector + 4, '\0', &wish.device, &rest))) {
        wish.form = WISH_GPU;
    } else if (read_number(selector, ':', &wish.platform, &rest) && *rest == ':' &&
               read_number(rest + 1, '\0', &wish.device, &rest)) {
        wish.form = WISH_NUMBERS;
    } else {
        wish = read_names(selector);
    }
    return wish;
}

size_t selector_pick(const char *selector, const colt5_device_info *devices, size_t count)
{
    const struct wish wish = read_selector(selector);
    unsigned long skip = wish.form == WISH_GPU ? wish.device : 0;
    for (int rank = 0; rank <= ONLY_BY_NAME; rank++)
        for (size_t i = 0; i < count; i++)
            if (rank_of(&devices[i]) == rank && fulfils(&wish, &devices[i]) && skip-- == 0)
                return i;
    return NO_DEVICE;
}
