/* SPDX-License-Identifier: MIT */
#include "ops/rows.h"

#include <colt5/device.h>
#include <colt5/tensor.h>

#include "ops/warps.h"

#define FAIR_STEPS    4  /* enough in flight for a work-item to hide the memory */
#define LEAST_LANES   8  /* what lanes_sum takes */
#define FAIR_LANES    32 /* a warp reads whole lines */
#define GROUPS_A_UNIT 8  /* groups of a compute unit that goes on from row to row */
#define ROWS_ON_CPU   32 /* of a group: enough for its overhead, few enough to share out */

size_t row_width(const colt5_tensor *x)
{
    return x->dims[x->rank - 1];
}

size_t row_count(const colt5_tensor *x)
{
    size_t rows = 1;
    for (int i = 0; i + 1 < x->rank; i++) rows *= x->dims[i];
    return rows;
}

static size_t power_of_two_from(size_t least)
{
    size_t power = 1;
    while (power < least) power *= 2;
    return power;
}

static void set_lanes(colt5_context *ctx, struct row_plan *plan, colt5_type type, size_t vectors,
                      const struct row_limits *limits, size_t lanes)
{
    const size_t steps = (vectors + lanes - 1) / lanes;
    plan->lanes = lanes;
    plan->steps = lanes > 1 && steps <= limits->steps ? steps : 0;
    const struct define defines[] = {STORAGE(type),
                                     DEFINE("WIDTH", plan->width),
                                     DEFINE("LANES", lanes),
                                     DEFINE("STEPS", plan->steps),
                                     DEFINE("WHOLE", plan->steps * lanes == vectors),
                                     DEFINE("WARPS", warps(ctx, type)),
                                     limits->more[0],
                                     limits->more[1],
                                     limits->more[2],
                                     {NULL, 0}};
    for (int i = 0; i < 10; i++) plan->defines[i] = defines[i];
}

/* Few enough that each has fair_steps in flight, which hide the memory. */
static size_t wanted_lanes(const colt5_context *ctx, size_t vectors, size_t fair_steps)
{
    const size_t most = (size_t)tuned(ctx, TUNED_ROW_GROUP);
    const size_t all = power_of_two_from(vectors);
    size_t lanes = power_of_two_from((vectors + fair_steps - 1) / fair_steps);
    if (lanes < FAIR_LANES) lanes = all < FAIR_LANES ? all : FAIR_LANES;
    if (lanes < LEAST_LANES) lanes = LEAST_LANES;
    return lanes < most ? lanes : most;
}

colt5_status plan_rows(colt5_context *ctx, enum kernel id, colt5_type type, size_t D, size_t width,
                       struct row_limits limits, struct row_plan *plan)
{
    const size_t vectors = D / width, asked = (size_t)tuned(ctx, TUNED_ROW_STEPS);
    const size_t fair = limits.values >= width ? limits.values / width : FAIR_STEPS;
    size_t lanes = device_is_cpu(ctx) ? 1 : wanted_lanes(ctx, vectors, asked ? asked : fair);
    plan->width = width;
    for (;;) {
        set_lanes(ctx, plan, type, vectors, &limits, lanes);
        const size_t wanted = lanes > 1 ? (size_t)tuned(ctx, TUNED_ROW_GROUP) : ROWS_ON_CPU;
        const colt5_status status = group_size(ctx, id, plan->defines, wanted, &plan->group);
        if (status != COLT5_OK || plan->group >= lanes) return status;
        lanes = plan->group < LEAST_LANES ? 1 : plan->group;
    }
}

struct grid row_groups(const struct row_plan *plan, size_t rows)
{
    const size_t rows_a_group = plan->group / plan->lanes;
    return GROUPS((rows + rows_a_group - 1) / rows_a_group, 1, 1, plan->group);
}

struct grid row_groups_in_turn(const colt5_context *ctx, const struct row_plan *plan, size_t rows)
{
    const size_t units = colt5_context_device_info(ctx)->compute_units;
    const size_t most = GROUPS_A_UNIT * (units ? units : 1);
    struct grid grid = row_groups(plan, rows);
    if (!device_is_cpu(ctx) && grid.items[0] > most) grid.items[0] = most;
    return grid;
}
