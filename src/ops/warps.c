/* SPDX-License-Identifier: MIT */
#include "ops/warps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <colt5/device.h>

#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/probe.h"
#include "runtime/workspace.h"

#define ITEMS  32 /* as in the kernel */
#define SUMS   5  /* over 2, 4, 8, 16 and 32 lanes */
#define WIDEST 8

/* Halves of the last digit of both 16-bit types, the ends of their ranges, and what is no number.
 */
static const float hard[] = {0.0f,           -0.0f,      1.00390625f,   1.01171875f,
                             1.00048828125f, 1.0014648f, -1.0039064f,   65504.0f,
                             65520.0f,       3.3953e38f, 5.9604645e-8f, 6.1e-5f,
                             1e-40f,         INFINITY,   -INFINITY,     NAN};

static bool same(float a, float b)
{
    return isnan(a) ? isnan(b) : a == b && signbit(a) == signbit(b);
}

/* What the kernel should come to; type f32: nothing is rounded. */
static bool right(colt5_type type, size_t count, const float *values, const float *back,
                  const float *sums)
{
    unsigned char rounded[ITEMS * WIDEST * sizeof(float)];
    float wanted[ITEMS * WIDEST];
    colt5_convert(COLT5_F32, values, type, rounded, count);
    colt5_convert(type, rounded, COLT5_F32, wanted, count);
    bool good = true;
    for (size_t i = 0; i < count; i++) good = good && same(wanted[i], back[i]);
    for (size_t s = 0; s < SUMS; s++)
        for (size_t i = 0; i < ITEMS; i++) {
            const size_t lanes = (size_t)2 << s, first = i / lanes * lanes;
            good = good && sums[s * ITEMS + i] == (float)(lanes * first + lanes * (lanes - 1) / 2);
        }
    return good;
}

static colt5_status run_trial(colt5_context *ctx, void *data, bool *works)
{
    const colt5_type type = *(const colt5_type *)data;
    const size_t width = 16 / colt5_type_size(type), count = ITEMS * width;
    float values[ITEMS * WIDEST], back[ITEMS * WIDEST], sums[SUMS * ITEMS];
    for (size_t i = 0; i < count; i++) values[i] = hard[i % (sizeof(hard) / sizeof(hard[0]))];
    colt5_tensor x, y, z, s;
    CHECK(scratch(ctx, COLT5_F32, 1, &count, &x));
    CHECK(scratch(ctx, type, 1, &count, &y));
    CHECK(scratch(ctx, COLT5_F32, 1, &count, &z));
    CHECK(scratch(ctx, COLT5_F32, 2, (size_t[]){SUMS, ITEMS}, &s));
    CHECK(colt5_tensor_write(ctx, &x, values));
    CHECK(launch(ctx, KERNEL_WARPS_TRIAL,
                 DEFINES(STORAGE(type), DEFINE("WIDTH", width), DEFINE("WARPS", 1)),
                 GROUPS(1, 1, 1, ITEMS), ARGS(TENSOR(&x), TENSOR(&y), TENSOR(&z), TENSOR(&s))));
    CHECK(colt5_tensor_read(ctx, &z, back));
    CHECK(colt5_tensor_read(ctx, &s, sums));
    *works = right(type, count, values, back, sums);
    return COLT5_OK;
}

bool warps_there(const colt5_context *ctx)
{
    const char *units = colt5_context_device_info(ctx)->matrix_units;
    return !strcmp(units, "mma") || !strcmp(units, "wgmma");
}

bool warps_wanted(const colt5_context *ctx)
{
    const char *wanted = getenv("COLT5_WARPS");
    return warps_there(ctx) && !(wanted && !strcmp(wanted, "off"));
}

bool warps(colt5_context *ctx, colt5_type type)
{
    return !device_is_cpu(ctx) && warps_wanted(ctx) &&
           probe(ctx, PROBE_WARPS + (size_t)type, "rows: NVIDIA's instructions are", run_trial,
                 &type);
}
