/* SPDX-License-Identifier: MIT */
#include "runtime/tuning.h"

#include <string.h>

#include "runtime/context.h"
#include "runtime/launch.h"

/* Kinds of devices, in the order of STANDARD. */
enum kind { KIND_CPU, KIND_NVIDIA, KIND_AMD, KIND_INTEL, KIND_OTHER, KINDS };

#define ON_CPU      (1u << KIND_CPU)
#define ON_NVIDIA   (1u << KIND_NVIDIA)
#define ON_ALL      ((1u << KINDS) - 1)
#define ON_GPU      (ON_ALL - ON_CPU)
#define SHORT_TYPES (1u << COLT5_F16 | 1u << COLT5_BF16)
#define ALL_TYPES   (1u << COLT5_F32 | SHORT_TYPES)

#define MOST_CHOICES 8

static const struct {
    const char *name;
    unsigned types, devices;
    int standard[KINDS];
    int choices[MOST_CHOICES + 1];
    const char *ops, *about;
} tunables[TUNABLES] = {
#define ENTRY(constant, ...) [TUNED_##constant] = {__VA_ARGS__},
    TUNABLE_LIST(ENTRY)
#undef ENTRY
};

static enum kind kind_of(const colt5_context *ctx)
{
    const char *vendor = ctx->info.vendor;
    if (device_is_cpu(ctx)) return KIND_CPU;
    if (strstr(vendor, "NVIDIA")) return KIND_NVIDIA;
    if (strstr(vendor, "AMD") || strstr(vendor, "Advanced Micro Devices")) return KIND_AMD;
    return strstr(vendor, "Intel") ? KIND_INTEL : KIND_OTHER;
}

int tuned(const colt5_context *ctx, enum tunable which)
{
    const int value = ctx->tuning.values[which];
    return value ? value : tunables[which].standard[kind_of(ctx)];
}

enum tunable tunable_named(const char *name)
{
    enum tunable which = 0;
    while (which < TUNABLES && strcmp(tunables[which].name, name)) which++;
    return which;
}

const char *tunable_name(enum tunable which)
{
    return tunables[which].name;
}

bool is_choice(enum tunable which, long long value)
{
    for (const int *choice = tunables[which].choices; *choice; choice++)
        if (*choice == value) return true;
    return false;
}

size_t colt5_tunable_count(void)
{
    return TUNABLES;
}

colt5_status colt5_tunable_get(colt5_context *ctx, size_t i, colt5_tunable *tunable)
{
    REQUIRE(NULL, ctx, COLT5_ERROR_ARGUMENT, "tunable: ctx is NULL");
    REQUIRE(ctx, i < TUNABLES, COLT5_ERROR_ARGUMENT, "tunable: %zu is not below %d", i, TUNABLES);
    REQUIRE(ctx, tunable && tunable->struct_size == sizeof(*tunable), COLT5_ERROR_ARGUMENT,
            "tunable: struct_size is not %zu", sizeof(*tunable));
    const enum kind kind = kind_of(ctx);
    *tunable = (colt5_tunable){.struct_size = sizeof(*tunable),
                               .name = tunables[i].name,
                               .about = tunables[i].about,
                               .ops = tunables[i].ops,
                               .choices = tunables[i].choices,
                               .standard = tunables[i].standard[kind],
                               .value = tuned(ctx, (enum tunable)i),
                               .matters = (tunables[i].devices >> kind) & 1,
                               .types = tunables[i].types};
    return COLT5_OK;
}

colt5_status colt5_tunable_set(colt5_context *ctx, const char *name, int value)
{
    REQUIRE(NULL, ctx, COLT5_ERROR_ARGUMENT, "tunable: ctx is NULL");
    REQUIRE(ctx, name, COLT5_ERROR_ARGUMENT, "tunable: name is NULL");
    const enum tunable which = tunable_named(name);
    REQUIRE(ctx, which < TUNABLES, COLT5_ERROR_ARGUMENT, "tunable: there is no %s", name);
    REQUIRE(ctx, value == 0 || is_choice(which, value), COLT5_ERROR_ARGUMENT,
            "tunable: %d is no choice for %s", value, name);
    REQUIRE(ctx, ctx->programs.kernel_count == 0, COLT5_ERROR_ARGUMENT,
            "tunable: %s is set too late: an op has run in this context", name);
    ctx->tuning.values[which] = value;
    return COLT5_OK;
}
