/* SPDX-License-Identifier: MIT */
#include "ops/columns.h"

#include <colt5/device.h>

#include "ops/rows.h"
#include "ops/warps.h"
#include "runtime/check.h"
#include "runtime/workspace.h"

#define LEAST_ROWS     16 /* a part's least, so that parts are few beside the rows */
#define ITEMS          256
#define COLUMNS        8  /* of a work-group of column_sums on a GPU: a line's sector */
#define COLUMNS_ON_CPU 32 /* and of both kernels on a CPU */

/* Rows whose loads are under way at a time. */
#define AT_ONCE(ctx) (device_is_cpu(ctx) ? 1 : 4)

size_t rows_a_part(const colt5_context *ctx, size_t rows)
{
    const size_t units = colt5_context_device_info(ctx)->compute_units;
    const size_t groups = (size_t)tuned(ctx, TUNED_PARTS_A_UNIT) * (units ? units : 1);
    const size_t each = (rows + groups - 1) / groups;
    return each < LEAST_ROWS ? LEAST_ROWS : each;
}

/* Of so many partials behind each other; other NULL: one. */
static colt5_status launch_sums(colt5_context *ctx, const colt5_tensor *partials, size_t parts,
                                const colt5_tensor *sums, const colt5_tensor *other)
{
    const size_t D = colt5_tensor_count(sums);
    const bool cpu = device_is_cpu(ctx);
    const struct define *defines = DEFINES(STORAGE(sums->type), DEFINE("WIDTH", 1),
                                           DEFINE("WARPS", 0), DEFINE("AT_ONCE", AT_ONCE(ctx)));
    size_t group;
    CHECK(group_size(ctx, KERNEL_COLUMN_SUMS, defines, cpu ? COLUMNS_ON_CPU : ITEMS, &group));
    const size_t wanted = cpu ? COLUMNS_ON_CPU : COLUMNS;
    const size_t columns = group < wanted ? group : wanted;
    return launch(ctx, KERNEL_COLUMN_SUMS, defines,
                  GROUPS((D + columns - 1) / columns, other ? 2 : 1, 1, group),
                  ARGS(TENSOR(partials), TENSOR(sums), TENSOR(other), SIZE(parts), SIZE(D),
                       SIZE(columns), LOCAL(group * sizeof(float))));
}

colt5_status add_columns(colt5_context *ctx, const colt5_tensor *partials, const colt5_tensor *sums)
{
    return launch_sums(ctx, partials, partials->dims[0], sums, NULL);
}

colt5_status add_column_pair(colt5_context *ctx, const colt5_tensor *partials,
                             const colt5_tensor *sums, const colt5_tensor *other)
{
    const size_t parts = partials->dims[1];
    if (!sums && !other) return COLT5_OK;
    if (!sums || !other) return launch_sums(ctx, partials, parts, sums ? sums : other, NULL);
    if (sums->type == other->type) return launch_sums(ctx, partials, parts, sums, other);
    colt5_tensor second = *partials;
    second.offset += parts * partials->dims[2];
    CHECK(launch_sums(ctx, partials, parts, sums, NULL));
    return launch_sums(ctx, &second, parts, other, NULL);
}

/* Columns that a work-group takes side by side, in vectors: no more than there are. */
static size_t columns_of(size_t vectors, size_t group)
{
    size_t columns = 1;
    while (columns < vectors && columns < group) columns *= 2;
    return columns;
}

colt5_status sum_rows(colt5_context *ctx, const colt5_tensor *x, const colt5_tensor *mask,
                      const colt5_tensor *sums)
{
    const size_t rows = row_count(x), D = row_width(x), each = rows_a_part(ctx, rows);
    const size_t parts = (rows + each - 1) / each, width = vector_width(ctx, x->type, D, x);
    const struct define *defines =
        DEFINES(STORAGE(x->type), DEFINE("WIDTH", width), DEFINE("WARPS", warps(ctx, x->type)),
                DEFINE("AT_ONCE", AT_ONCE(ctx)));
    const struct stack_mark mark = workspace_mark(ctx);
    colt5_tensor partials;
    colt5_status status;
    size_t group;
    TRY(scratch(ctx, COLT5_F32, 2, (size_t[]){parts, D}, &partials));
    TRY(group_size(ctx, KERNEL_COLUMN_PARTIALS, defines,
                   device_is_cpu(ctx) ? COLUMNS_ON_CPU : ITEMS, &group));
    const size_t columns = columns_of(D / width, group);
    if (device_is_cpu(ctx)) group = columns;
    TRY(launch(ctx, KERNEL_COLUMN_PARTIALS, defines,
               GROUPS((D / width + columns - 1) / columns, parts, 1, group),
               ARGS(TENSOR(x), TENSOR(mask), TENSOR(&partials), SIZE(rows), SIZE(D), SIZE(each),
                    SIZE(columns), LOCAL(group * width * sizeof(float)))));
    status = add_columns(ctx, &partials, sums);
out:
    workspace_rewind(ctx, mark);
    return status;
}
