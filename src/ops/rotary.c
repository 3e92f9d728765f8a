/* SPDX-License-Identifier: MIT */
#include <colt5/ops/rotary.h>

#include <math.h>

#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/memory.h"
#include "runtime/rotary_tables.h"

#define HEADS_EACH 4 /* of a work-item: shares an angle, and leaves enough work-items */

static colt5_status check_rotary(colt5_context *ctx, const colt5_tensor *x,
                                 const colt5_tensor *positions, const colt5_rotary_options *o)
{
    REQUIRE_TENSOR(ctx, "rotary", x, 4);
    const size_t B = x->dims[0], N = x->dims[1], H = x->dims[2], E = x->dims[3];
    REQUIRE_STORAGE(ctx, "rotary", x);
    REQUIRE(ctx, E > 0 && E % 2 == 0, COLT5_ERROR_SHAPE, "rotary: E = %zu is not even", E);
    if (positions) {
        REQUIRE_TYPE(ctx, "rotary", positions, COLT5_I32);
        REQUIRE_SHAPE(ctx, "rotary", positions, B, N);
        REQUIRE_APART(ctx, "rotary", positions, x);
    }
    REQUIRE(ctx, o->theta > 0 && isfinite(o->theta), COLT5_ERROR_ARGUMENT,
            "rotary: theta = %g is not above 0", o->theta);
    const size_t most = (size_t)INT32_MAX + 1;
    REQUIRE(ctx, o->length <= most, COLT5_ERROR_ARGUMENT, "rotary: positions reach %zu, past 2^31",
            o->length);
    REQUIRE(ctx,
            o->heads == 0 || (o->heads <= H && o->first_head < H &&
                              (H - 1 - o->first_head) / o->head_step >= o->heads - 1),
            COLT5_ERROR_ARGUMENT, "rotary: %zu heads from %zu by %zu are not among %zu", o->heads,
            o->first_head, o->head_step, H);
    return COLT5_OK;
}

/* The options with what their zeros stand for; length is where positions end in any case. */
static colt5_rotary_options complete(const colt5_rotary_options *given, size_t N, size_t H,
                                     bool has_positions)
{
    colt5_rotary_options o = given ? *given : (colt5_rotary_options){0};
    if (o.theta == 0) o.theta = 10000;
    if (o.head_step == 0) o.head_step = 1;
    if (o.heads == 0 && o.first_head < H) o.heads = (H - 1 - o.first_head) / o.head_step + 1;
    if (!has_positions && !size_add(o.first_position, N, &o.length)) o.length = SIZE_MAX;
    return o;
}

colt5_status colt5_rotary(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *positions,
                          const colt5_rotary_options *options)
{
    REQUIRE_TENSOR(ctx, "rotary", x, 4);
    const size_t B = x->dims[0], N = x->dims[1], H = x->dims[2], E = x->dims[3];
    const colt5_rotary_options o = complete(options, N, H, positions != NULL);
    CHECK(check_rotary(ctx, x, positions, &o));
    if (B * N * o.heads == 0) return COLT5_OK;

    colt5_tensor fine, coarse;
    CHECK(rotary_tables(ctx, E, o.theta, o.length, &fine, &coarse));
    const size_t width = vector_width(ctx, x->type, E / 2, x);
    const size_t each = device_is_cpu(ctx) ? o.heads : HEADS_EACH;
    const size_t groups = (o.heads + each - 1) / each;
    count_work(ctx, 0, 2 * B * N * o.heads * E * colt5_type_size(x->type));
    return launch(
        ctx, KERNEL_ROTARY,
        DEFINES(STORAGE(x->type), DEFINE("WIDTH", width), DEFINE("ROTARY_FINE", ROTARY_FINE)),
        ROW_GRID(E / 2 / width * groups, B * N),
        ARGS(TENSOR(x), TENSOR(positions), TENSOR(&fine), TENSOR(&coarse), SIZE(B * N), SIZE(N),
             SIZE(H), SIZE(E), SIZE(o.first_position), SIZE(o.length), SIZE(o.first_head),
             SIZE(o.heads), SIZE(o.head_step), SIZE(each), INT(o.inverse != 0)));
}
