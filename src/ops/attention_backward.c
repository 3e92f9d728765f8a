/* SPDX-License-Identifier: MIT */
#include "ops/attention.h"

#include "ops/attention_band.h"
#include "ops/attention_mma.h"

#include <colt5/device.h>

#include "runtime/check.h"
#include "runtime/workspace.h"

/* Scratch of a backward; f32. Those not wanted are NULL in a launch. */
struct parts {
    colt5_tensor terms;      /* [2][B][H][Q]: see attention_backward.cl */
    colt5_tensor dq_scores;  /* [B][H][Q], a head's share each */
    colt5_tensor dkv_scores; /* [B][H][M] */
    colt5_tensor dnull;      /* [tiles of queries][2][H][E] */
};

/* tiles: at most so many of a sample's queries. */
static colt5_status take_parts(colt5_context *ctx, const struct attention_backward *call,
                               size_t tiles, struct parts *parts)
{
    const struct attention_problem *a = call->problem;
    const size_t B = a->B, H = a->H;
    colt5_status status;
    TRY(scratch(ctx, COLT5_F32, 4, (size_t[]){2, B, H, a->Q}, &parts->terms));
    if (call->dq_scores) TRY(scratch(ctx, COLT5_F32, 3, (size_t[]){B, H, a->Q}, &parts->dq_scores));
    if (call->dkv_scores)
        TRY(scratch(ctx, COLT5_F32, 3, (size_t[]){B, H, a->M}, &parts->dkv_scores));
    if (call->dnull_kv)
        TRY(scratch(ctx, COLT5_F32, 4, (size_t[]){B * tiles, 2, H, a->E}, &parts->dnull));
out:
    return status;
}

static bool wants_queries(const struct attention_backward *call)
{
    return call->dq || call->dq_scores || call->dnull_kv;
}

static bool wants_keys(const struct attention_backward *call)
{
    return call->dkv || call->dkv_scores;
}

/* The last: what the heads, and the tiles of queries, have summed each for itself. */
static colt5_status run_sums(colt5_context *ctx, const struct attention_backward *call,
                             const struct parts *parts, size_t query_tiles)
{
    const struct attention_problem *a = call->problem;
    colt5_status status = COLT5_OK;
    if (call->dq_scores)
        TRY(launch(ctx, KERNEL_ATTENTION_SUM_HEADS, NO_DEFINES, GRID(a->Q, 1, a->B),
                   ARGS(TENSOR(&parts->dq_scores), TENSOR(call->dq_scores), SIZE(a->Q), SIZE(a->H),
                        SIZE(1))));
    if (call->dkv_scores)
        TRY(launch(ctx, KERNEL_ATTENTION_SUM_HEADS, NO_DEFINES, GRID(a->M, a->R, a->B),
                   ARGS(TENSOR(&parts->dkv_scores), TENSOR(call->dkv_scores), SIZE(a->M),
                        SIZE(a->H), SIZE(a->R))));
    if (call->dnull_kv)
        TRY(launch(ctx, KERNEL_ATTENTION_ADD_NULL, DEFINES(STORAGE(call->dnull_kv->type)),
                   GRID(2 * a->H * a->E, 1, 1),
                   ARGS(TENSOR(&parts->dnull), TENSOR(call->dnull_kv), SIZE(a->B * query_tiles),
                        SIZE(2 * a->H * a->E))));
out:
    return status;
}

/* ---- CPUs ---- */

#define LANE_ROWS ((size_t)ATTENTION_LANE_ROWS)

/* How the keys are dealt out, in tiles of LANE_ROWS. */
struct chunks {
    size_t tiles, count; /* tiles of a chunk; chunks */
};

/* So many chunks that all cores have work. A chunk of LOCAL repeats the products around it: it
 * should be long beside the window. */
static struct chunks chunks_for(const colt5_context *ctx, const struct attention_problem *a)
{
    const size_t cores = colt5_context_device_info(ctx)->compute_units, heads = a->B * a->H;
    const size_t all = (a->M + LANE_ROWS - 1) / LANE_ROWS;
    if (heads == 0 || (a->local && all == 0)) return (struct chunks){1, 0};
    if (!a->local) {
        const size_t wanted = heads < 4 * cores ? 4 * cores / heads : 1;
        const size_t tiles = wanted < all ? (all + wanted - 1) / wanted : 1;
        return (struct chunks){tiles, all > tiles ? (all + tiles - 1) / tiles : 1};
    }
    size_t tiles = (size_t)tuned(ctx, TUNED_LANES_CHUNK);
    while (tiles * LANE_ROWS < 4 * a->window) tiles *= 2;
    while (tiles > 2 && all / tiles * heads < 4 * cores) tiles /= 2;
    const size_t rows = tiles * LANE_ROWS;
    return (struct chunks){tiles, (a->first_key + a->M - 1) / rows - a->first_key / rows + 1};
}

/* What a query brings along: kernels/attention_backward.cl. */
#define TERMS_ARGUMENTS(a, call, parts)                                                            \
    TENSOR((call)->y), TENSOR((call)->dy), TENSOR((call)->lse), TENSOR((a)->mask),                 \
        TENSOR(&(parts)->terms), SIZE((a)->B *(a)->H *(a)->Q), ATTENTION_SIZES(a)

static colt5_status run_vectors(colt5_context *ctx, const struct attention_backward *call)
{
    const struct attention_problem *a = call->problem;
    const struct stack_mark mark = workspace_mark(ctx);
    const struct define *defines = ATTENTION_LANE_DEFINES(ctx, a);
    const size_t query_tiles = (a->Q + LANE_ROWS - 1) / LANE_ROWS;
    const size_t width = (a->E + LANE_ROWS - 1) / LANE_ROWS * LANE_ROWS;
    const struct chunks chunks = chunks_for(ctx, a);
    const size_t planes = a->local ? 1 : chunks.count, plane = a->B * a->H * a->Q;
    struct parts parts;
    colt5_tensor sums;
    colt5_status status;
    TRY(take_parts(ctx, call, query_tiles, &parts));
    TRY(scratch(ctx, COLT5_F32, 5, (size_t[]){planes, a->B, a->H, a->Q, width}, &sums));
    TRY(launch(ctx, KERNEL_ATTENTION_VECTORS_TERMS, defines, GROUPS(query_tiles, a->B, 1, 1),
               ARGS(TERMS_ARGUMENTS(a, call, &parts))));
    TRY(launch(ctx, KERNEL_ATTENTION_VECTORS_BACKWARD, defines, GROUPS(chunks.count, a->H, a->B, 1),
               ARGS(TENSOR(a->q), TENSOR(a->kv), TENSOR(a->mask), TENSOR(a->q_scores),
                    TENSOR(a->kv_scores), INT(a->multiply_keys), TENSOR(call->dy),
                    TENSOR(&parts.terms), SIZE(plane), INT((int)chunks.tiles),
                    TENSOR(wants_queries(call) ? &sums : NULL), TENSOR(call->dq), TENSOR(call->dkv),
                    TENSOR(call->dkv_scores ? &parts.dkv_scores : NULL), ATTENTION_SIZES(a))));
    if (!a->local && wants_queries(call))
        TRY(launch(ctx, KERNEL_ATTENTION_VECTORS_DQ, defines, GROUPS(query_tiles, a->H, a->B, 1),
                   ARGS(TENSOR(a->q), TENSOR(a->null_kv), TENSOR(a->q_scores), TENSOR(call->dy),
                        TENSOR(&parts.terms), SIZE(plane), TENSOR(&sums), INT((int)planes),
                        TENSOR(call->dq), TENSOR(call->dq_scores ? &parts.dq_scores : NULL),
                        TENSOR(call->dnull_kv ? &parts.dnull : NULL), ATTENTION_SIZES(a))));
    TRY(run_sums(ctx, call, &parts, query_tiles));
out:
    workspace_rewind(ctx, mark);
    return status;
}

/* ---- GPUs ---- */

/* The larger of the two kernels' local memory. */
static size_t tile_bytes(struct attention_tile tile)
{
    const size_t y = tile.ty * tile.ry, x = ATTENTION_TX * tile.rx, row = tile.head + 4;
    return sizeof(float) * (2 * (y + x) * row + 2 * y * (x + 4) + 10 * y + 3 * x + 1);
}

/* Smaller than the forward's: four kinds of rows share local memory. */
static struct attention_tile tile_for(size_t E)
{
    const size_t head = (E + 31) / 32 * 32;
    return head <= 64    ? (struct attention_tile){head, 16, 2, 4}
           : head <= 128 ? (struct attention_tile){head, 16, 1, 2}
                         : (struct attention_tile){head, 8, 1, 1};
}

/* What the two kernels are built and run with. */
struct plan {
    enum kernel dq, dkv;
    const struct define *defines;
    size_t query_tiles, key_tiles, group;
};

#define TERMS_LANES 8   /* of a query: they read 32 elements at once */
#define TERMS_ITEMS 256 /* as in the kernel */
#define TERMS_DEFINES(a, width, lanes)                                                             \
    DEFINES(STORAGE((a)->q->type), DEFINE("LOCAL", (a)->local), DEFINE("WIDTH", width),            \
            DEFINE("LANES", lanes))

static colt5_status run_terms(colt5_context *ctx, const struct attention_backward *call,
                              const struct parts *parts)
{
    const struct attention_problem *a = call->problem;
    const colt5_tensor *const rows[] = {call->y, call->dy};
    const size_t width = attention_width(a, rows, 2);
    size_t lanes = TERMS_LANES, group;
    for (;; lanes = 1) {
        CHECK(group_size(ctx, KERNEL_ATTENTION_TERMS, TERMS_DEFINES(a, width, lanes), TERMS_ITEMS,
                         &group));
        if (group >= lanes) break;
    }
    const size_t queries = group / lanes;
    return launch(ctx, KERNEL_ATTENTION_TERMS, TERMS_DEFINES(a, width, lanes),
                  GROUPS((a->Q + queries - 1) / queries * a->H, 1, a->B, group),
                  ARGS(TERMS_ARGUMENTS(a, call, parts)));
}

static colt5_status run_dq(colt5_context *ctx, const struct attention_backward *call,
                           const struct parts *parts, const struct plan *plan)
{
    const struct attention_problem *a = call->problem;
    if (!wants_queries(call)) return COLT5_OK;
    return launch(ctx, plan->dq, plan->defines, GROUPS(plan->query_tiles, a->H, a->B, plan->group),
                  ARGS(TENSOR(a->q), TENSOR(a->kv), TENSOR(a->null_kv), TENSOR(a->mask),
                       TENSOR(a->q_scores), TENSOR(a->kv_scores), INT(a->multiply_keys),
                       TENSOR(call->dy), TENSOR(&parts->terms), SIZE(a->B * a->H * a->Q),
                       TENSOR(call->dq), TENSOR(call->dq_scores ? &parts->dq_scores : NULL),
                       TENSOR(call->dnull_kv ? &parts->dnull : NULL), ATTENTION_SIZES(a)));
}

static colt5_status run_dkv(colt5_context *ctx, const struct attention_backward *call,
                            const struct parts *parts, const struct plan *plan)
{
    const struct attention_problem *a = call->problem;
    if (!wants_keys(call)) return COLT5_OK;
    return launch(ctx, plan->dkv, plan->defines, GROUPS(plan->key_tiles, a->H, a->B, plan->group),
                  ARGS(TENSOR(a->q), TENSOR(a->kv), TENSOR(a->mask), TENSOR(a->q_scores),
                       TENSOR(a->kv_scores), INT(a->multiply_keys), TENSOR(call->dy),
                       TENSOR(&parts->terms), SIZE(a->B * a->H * a->Q), TENSOR(call->dkv),
                       TENSOR(call->dkv_scores ? &parts->dkv_scores : NULL), ATTENTION_SIZES(a)));
}

/* Scratch is taken for the smallest tiles: which they are is not known while the context plans. */
static colt5_status run_planned(colt5_context *ctx, const struct attention_backward *call,
                                const struct plan *plan)
{
    const struct attention_problem *a = call->problem;
    const struct stack_mark mark = workspace_mark(ctx);
    const size_t least = ATTENTION_LEAST_TY * tile_for(a->E).ry;
    struct parts parts;
    colt5_status status;
    TRY(take_parts(ctx, call, attention_query_tiles(a, least), &parts));
    TRY(run_terms(ctx, call, &parts));
    TRY(run_dq(ctx, call, &parts, plan));
    TRY(run_dkv(ctx, call, &parts, plan));
    TRY(run_sums(ctx, call, &parts, plan->query_tiles));
out:
    workspace_rewind(ctx, mark);
    return status;
}

static colt5_status run_tiles(colt5_context *ctx, const struct attention_backward *call)
{
    const struct attention_problem *a = call->problem;
    const colt5_tensor *const others[] = {call->dy, call->dq, call->dkv};
    const size_t width = attention_width(a, others, 3);
    struct attention_tile tile = tile_for(a->E);
    CHECK(attention_fit_tile(ctx, KERNEL_ATTENTION_TILES_DQ, a, width, tile_bytes, &tile));
    CHECK(attention_fit_tile(ctx, KERNEL_ATTENTION_TILES_DKV, a, width, tile_bytes, &tile));
    const size_t rows = tile.ty * tile.ry;
    const struct plan plan = {.dq = KERNEL_ATTENTION_TILES_DQ,
                              .dkv = KERNEL_ATTENTION_TILES_DKV,
                              .defines = ATTENTION_TILE_DEFINES(a, tile, width),
                              .query_tiles = attention_query_tiles(a, rows),
                              .key_tiles = (a->M + rows - 1) / rows,
                              .group = ATTENTION_TX * tile.ty};
    return run_planned(ctx, call, &plan);
}

/* ---- NVIDIA's matrix units ---- */

static colt5_status run_mma(colt5_context *ctx, const struct attention_backward *call)
{
    const struct attention_problem *a = call->problem;
    const struct attention_mma_shape shape = attention_mma_shape(ctx, a, true);
    const struct plan plan = {.dq = KERNEL_ATTENTION_MMA_DQ,
                              .dkv = KERNEL_ATTENTION_MMA_DKV,
                              .defines = ATTENTION_MMA_DEFINES(a, shape),
                              .query_tiles = attention_query_tiles(a, ATTENTION_MMA_ROWS),
                              .key_tiles = (a->M + ATTENTION_MMA_ROWS - 1) / ATTENTION_MMA_ROWS,
                              .group = ATTENTION_MMA_ITEMS};
    return run_planned(ctx, call, &plan);
}

/* Local, and all gradients are wanted: dq and dkv are one tensor. */
static colt5_status run_band(colt5_context *ctx, const struct attention_backward *call)
{
    const struct attention_problem *a = call->problem;
    const struct stack_mark mark = workspace_mark(ctx);
    const struct define *defines = ATTENTION_BAND_DEFINES(a);
    const size_t query_tiles = attention_query_tiles(a, ATTENTION_BAND_ROWS);
    const size_t key_tiles = (a->M + ATTENTION_BAND_ROWS - 1) / ATTENTION_BAND_ROWS;
    struct parts parts;
    colt5_status status;
    TRY(take_parts(ctx, call, 0, &parts));
    TRY(run_terms(ctx, call, &parts));
    const struct arguments arguments =
        ARGS(TENSOR(a->q), TENSOR(a->mask), TENSOR(call->dy), TENSOR(&parts.terms),
             SIZE(a->B * a->H * a->Q), TENSOR(call->dq), ATTENTION_SIZES(a));
    TRY(launch(ctx, KERNEL_ATTENTION_BAND_DQ, defines,
               GROUPS(query_tiles * a->H, 1, a->B, ATTENTION_BAND_ITEMS), arguments));
    TRY(launch(ctx, KERNEL_ATTENTION_BAND_DKV, defines,
               GROUPS(key_tiles * a->H, 1, a->B, ATTENTION_BAND_ITEMS), arguments));
out:
    workspace_rewind(ctx, mark);
    return status;
}

static colt5_status run(colt5_context *ctx, void *data)
{
    struct attention_backward *call = data;
    const struct attention_problem *a = call->problem;
    const uint64_t row = a->H * a->E * colt5_type_size(a->q->type);
    if (a->Q == 0) call->dnull_kv = NULL;
    /* Rows of a piece whose queries are elsewhere. */
    if (a->local && a->Q < a->M) CHECK(clear_tensor(ctx, call->dq));
    if (attention_kernels_for(ctx) == ATTENTION_VECTORS) {
        count_work(ctx, 10 * a->B * a->H * a->E * a->pairs, a->B * row * (4 * a->Q + 4 * a->M));
        return run_vectors(ctx, call);
    }
    count_work(ctx, 14 * a->B * a->H * a->E * a->pairs, a->B * row * (6 * a->Q + 6 * a->M));
    return attention_band_can_go_back(ctx, call, attention_forward_tiles, run_tiles, run_band)
               ? run_band(ctx, call)
           : attention_mma_can_go_back(ctx, call, attention_forward_tiles, run_tiles, run_mma)
               ? run_mma(ctx, call)
               : run_tiles(ctx, call);
}

colt5_status attend_backward(colt5_context *ctx, struct attention_backward *backward)
{
    return workspace_call(ctx, backward->op, run, backward, NULL, 0);
}
