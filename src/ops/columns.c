/* SPDX-License-Identifier: MIT */
#include "ops/columns.h"

#include <colt5/device.h>

#include "runtime/check.h"
#include "runtime/launch.h"

#define GROUPS_A_UNIT 8  /* of a GPU: what a compute unit keeps running */
#define LEAST_ROWS    16 /* a part's least, so that parts are few beside the rows */
#define COLUMNS       32 /* of a work-group of column_sums; as there */

size_t rows_a_part(const colt5_context *ctx, size_t rows)
{
    const size_t units = colt5_context_device_info(ctx)->compute_units;
    const size_t groups = (device_is_cpu(ctx) ? 4 : GROUPS_A_UNIT) * (units ? units : 1);
    const size_t each = (rows + groups - 1) / groups;
    return each < LEAST_ROWS ? LEAST_ROWS : each;
}

colt5_status add_columns(colt5_context *ctx, const colt5_tensor *partials, const colt5_tensor *sums)
{
    const size_t parts = partials->dims[0], D = partials->dims[1];
    const struct define *defines = DEFINES(STORAGE(sums->type), DEFINE("WIDTH", 1));
    size_t group;
    CHECK(
        group_size(ctx, KERNEL_COLUMN_SUMS, defines, device_is_cpu(ctx) ? COLUMNS : 1024, &group));
    const size_t columns = group < COLUMNS ? group : COLUMNS;
    return launch(
        ctx, KERNEL_COLUMN_SUMS, defines, GROUPS((D + columns - 1) / columns, 1, 1, group),
        ARGS(TENSOR(partials), TENSOR(sums), SIZE(parts), SIZE(D), LOCAL(group * sizeof(float))));
}
