/* SPDX-License-Identifier: MIT */
#include "ops/sort.h"

#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

#define CHUNK     256  /* rows a work-group counts; as in kernels/sort.cl */
#define CPU_CHUNK 4096 /* rows a work-item counts */
#define MOST_BITS 9    /* of a digit: more passes against more counts */

struct sort {
    size_t rows, chunk_rows, chunks, radix;
    colt5_tensor ranks, counts, starts;
};

/* counts [radix][chunks] to where each chunk's rows of each digit go, but for starts [radix]. */
static colt5_status scan(colt5_context *ctx, const struct sort *sort)
{
    size_t group;
    CHECK(group_size(ctx, KERNEL_SORT_SCAN, NO_DEFINES, device_is_cpu(ctx) ? 1 : CHUNK, &group));
    const size_t local = group * sizeof(int32_t);
    CHECK(launch(
        ctx, KERNEL_SORT_SCAN, NO_DEFINES, GROUPS(sort->radix, 1, 1, group),
        ARGS(TENSOR(&sort->counts), TENSOR(&sort->starts), SIZE(sort->chunks), LOCAL(local))));
    return launch(ctx, KERNEL_SORT_SCAN, NO_DEFINES, GROUPS(1, 1, 1, group),
                  ARGS(TENSOR(&sort->starts), TENSOR(NULL), SIZE(sort->radix), LOCAL(local)));
}

static colt5_status count(colt5_context *ctx, const struct sort *sort, int shift,
                          const colt5_tensor *keys)
{
    const struct arguments arguments =
        ARGS(TENSOR(keys), TENSOR(&sort->ranks), TENSOR(&sort->counts), SIZE(sort->rows),
             SIZE(sort->chunks), SIZE(sort->chunk_rows), INT(shift), INT((int)sort->radix));
    if (device_is_cpu(ctx))
        return launch(ctx, KERNEL_SORT_COUNT_ALONE, NO_DEFINES, GRID(sort->chunks, 1, 1),
                      arguments);
    size_t group;
    CHECK(group_size(ctx, KERNEL_SORT_COUNT, NO_DEFINES, CHUNK, &group));
    return launch(ctx, KERNEL_SORT_COUNT, NO_DEFINES, GROUPS(sort->chunks, 1, 1, group), arguments);
}

/* By one digit, from keys[0] and order[0] (first: rows as they lie) to keys[1] and order[1]. */
static colt5_status sort_digit(colt5_context *ctx, const struct sort *sort, int shift,
                               const colt5_tensor keys[2], const colt5_tensor order[2])
{
    CHECK(count(ctx, sort, shift, &keys[0]));
    CHECK(scan(ctx, sort));
    return launch(ctx, KERNEL_SORT_PLACE, NO_DEFINES, GRID(sort->rows, 1, 1),
                  ARGS(TENSOR(&keys[0]), TENSOR(shift > 0 ? &order[0] : NULL), TENSOR(&sort->ranks),
                       TENSOR(&sort->counts), TENSOR(&sort->starts), TENSOR(&keys[1]),
                       TENSOR(&order[1]), SIZE(sort->rows), SIZE(sort->chunks),
                       SIZE(sort->chunk_rows), INT(shift), INT((int)sort->radix)));
}

static void swap(colt5_tensor pair[2])
{
    const colt5_tensor first = pair[0];
    pair[0] = pair[1];
    pair[1] = first;
}

colt5_status sort_rows(colt5_context *ctx, size_t below, colt5_tensor keys[2],
                       colt5_tensor order[2])
{
    const size_t rows = keys[0].dims[0], chunk_rows = device_is_cpu(ctx) ? CPU_CHUNK : CHUNK;
    int bits = 1;
    while (((below - 1) >> bits) > 0) bits++;
    const int passes = (bits + MOST_BITS - 1) / MOST_BITS, digit = (bits + passes - 1) / passes;
    struct sort sort = {rows, chunk_rows, (rows + chunk_rows - 1) / chunk_rows,
                        .radix = (size_t)1 << digit};
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_status status;
    TRY(scratch(ctx, COLT5_I32, 1, &rows, &sort.ranks));
    TRY(scratch(ctx, COLT5_I32, 2, (size_t[]){sort.radix, sort.chunks}, &sort.counts));
    TRY(scratch(ctx, COLT5_I32, 1, &sort.radix, &sort.starts));

    for (int pass = 0; pass < passes; pass++) {
        TRY(sort_digit(ctx, &sort, pass * digit, keys, order));
        swap(keys);
        swap(order);
    }
    status = COLT5_OK;
out:
    workspace_rewind(ctx, mark);
    return status;
}
