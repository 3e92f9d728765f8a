/* SPDX-License-Identifier: MIT */
#include "gemm/wgmma_plan.h"

#include "gemm/arrivals.h"
#include "runtime/context.h"

#define LINE          128  /* bytes of k that a slab has of a row */
#define WARPS         8    /* of a tile, at most */
#define WIDE_TIME     15   /* of a wide tile, in eighths of a narrow one's */
#define LONG_K        1024 /* from where wide tiles may pay */
#define SMALLEST_PART 1024 /* k of a part */
#define MOST_PARTS    16
#define PART_COST     128 /* of a part more, relative to the whole: 1 / this */

/* How many thousandths of the device's time are work when K is cut to so many parts, MOST_PARTS at
 * most, less what the parts cost. */
static size_t use_of(size_t tiles, size_t parts, size_t units)
{
    const size_t works = tiles * parts, rounds = (works + units - 1) / units;
    return 1000 * works / (rounds * units) * (PART_COST - (parts - 1)) / PART_COST;
}

static size_t tiles_of(const struct gemm *product, size_t columns)
{
    return (product->M + WGMMA_TILE - 1) / WGMMA_TILE * ((product->N + columns - 1) / columns);
}

/* The parts that leave the fewest compute units idle: for a weight's gradient there are few tiles,
 * but long ones. */
static size_t best_parts(const struct gemm *product, size_t tiles, size_t units)
{
    size_t most = product->K / SMALLEST_PART, best = 1;
    if (tiles >= units) return 1; /* parts would cost more than idle units */
    if (most > MOST_PARTS) most = MOST_PARTS;
    for (size_t parts = 2; parts <= most; parts++)
        if (use_of(tiles, parts, units) > use_of(tiles, best, units)) best = parts;
    return best;
}

/* What a product in tiles of so many columns takes, in eighths of a narrow tile of the whole K,
 * times 1024. */
static size_t time_of(const struct gemm *product, size_t columns, size_t units)
{
    const size_t tiles = tiles_of(product, columns), parts = best_parts(product, tiles, units);
    const size_t rounds = (tiles * parts + units - 1) / units;
    return rounds * (columns == WGMMA_WIDE ? WIDE_TIME : 8) * 1024 / parts;
}

/* Wide tiles read less, but their consumers do not take turns: a long K pays for that. Of pairs the
 * registers are not enough for them. */
static size_t best_columns(const struct gemm *product, bool by_pairs, size_t units)
{
    if (by_pairs || product->K < LONG_K) return WGMMA_NARROW;
    const size_t wide = time_of(product, WGMMA_WIDE, units);
    return wide < time_of(product, WGMMA_NARROW, units) ? WGMMA_WIDE : WGMMA_NARROW;
}

/* Cuts K as evenly as slabs can be; of floats these come in twos. */
static void cut(struct wgmma_plan *plan, const struct gemm *product, size_t parts)
{
    const size_t together = product->a->type == COLT5_F32 ? 2 : 1;
    const size_t depth = LINE / colt5_type_size(product->a->type) * together;
    const size_t all = (product->K + depth - 1) / depth, each = (all + parts - 1) / parts;
    plan->parts = (all + each - 1) / each;
    plan->slabs = each * together;
}

struct wgmma_plan wgmma_plan(const colt5_context *ctx, const struct gemm *product)
{
    const struct gemm *like = product->like ? product->like : product; /* whose kernel it is */
    const size_t units = ctx->info.compute_units;
    const bool is_f32 = product->a->type == COLT5_F32;
    struct wgmma_plan plan = {.by_pairs = is_f32 && ctx->math == COLT5_MATH_STRICT};
    plan.converts_b = is_f32 && (plan.by_pairs || !product->transpose_b);
    plan.columns = best_columns(like, plan.by_pairs, units);
    plan.tiles = tiles_of(product, plan.columns);
    const size_t tiles = tiles_of(like, plan.columns);
    size_t parts = like->parts ? like->parts : best_parts(like, tiles, units);
    if (tiles * WARPS * parts > ARRIVALS) parts = 1; /* cannot be counted */
    plan.in_parts = parts > 1;
    /* Not where each work-group has one tile at most. */
    plan.alternates = !plan.by_pairs && plan.columns == WGMMA_NARROW && tiles * parts > units;
    cut(&plan, product, product->like && parts > 1 ? 2 : parts);
    return plan;
}
