/* SPDX-License-Identifier: MIT */
#include "runtime/rotary_tables.h"

#include <math.h>

#include "runtime/check.h"
#include "runtime/context.h"
#include "runtime/launch.h"

/* A list: models have one kind of head, or two. */
struct rotary_tables {
    size_t E;
    double theta;
    colt5_tensor fine, coarse;
    struct rotary_tables *next;
};

static void release_table(colt5_context *ctx, colt5_tensor *table)
{
    if (!table->buffer) return;
    ctx->buffer_bytes -= colt5_tensor_count(table) * sizeof(float);
    buffer_release(&table->buffer);
}

static void release_all(colt5_context *ctx, void *state)
{
    for (struct rotary_tables *tables = state; tables;) {
        struct rotary_tables *next = tables->next;
        release_table(ctx, &tables->fine);
        release_table(ctx, &tables->coarse);
        host_release(tables);
        tables = next;
    }
}

/* Cosines and sines of every step-th position, rounded from doubles. */
static void fill(float *values, size_t rows, size_t step, size_t E, double theta)
{
    const size_t half = E / 2;
    for (size_t i = 0; i < half; i++) {
        const double frequency = pow(theta, -2.0 * (double)i / (double)E);
        for (size_t r = 0; r < rows; r++) {
            const double angle = (double)(r * step) * frequency;
            values[r * E + i] = (float)cos(angle);
            values[r * E + half + i] = (float)sin(angle);
        }
    }
}

/* A new table; kept in *table, in place of what was there, when all went well. */
static colt5_status make_table(colt5_context *ctx, size_t rows, size_t step, size_t E, double theta,
                               colt5_tensor *table)
{
    const size_t dims[] = {rows, 2, E / 2};
    colt5_tensor made = colt5_tensor_wrap(NULL, 0, COLT5_F32, 3, dims);
    size_t bytes = colt5_tensor_count(&made);
    REQUIRE(ctx, size_multiply(bytes, sizeof(float), &bytes), COLT5_ERROR_MEMORY,
            "rotary: the tables pass 2^64 bytes");
    float *values = host_allocate(bytes);
    REQUIRE(ctx, values, COLT5_ERROR_MEMORY, "rotary: no host memory");
    fill(values, rows, step, E, theta);
    colt5_status status;
    TRY(buffer_create(ctx, bytes, &made.buffer));
    TRY(upload_tensor(ctx, values, &made));
    release_table(ctx, table);
    *table = made;
    ctx->buffer_bytes += bytes;
    made.buffer = NULL;
out:
    buffer_release(&made.buffer);
    host_release(values);
    return status;
}

/* The entry of this kind of head; a new one is still empty. */
static colt5_status find(colt5_context *ctx, size_t E, double theta, struct rotary_tables **found)
{
    struct rotary_tables *first = ctx->attached[ATTACHED_ROTARY].state;
    for (*found = first; *found; *found = (*found)->next)
        if ((*found)->E == E && (*found)->theta == theta) return COLT5_OK;
    struct rotary_tables *entry = host_allocate_zeroed(1, sizeof(*entry));
    REQUIRE(ctx, entry, COLT5_ERROR_MEMORY, "rotary: no host memory");
    entry->E = E;
    entry->theta = theta;
    entry->next = first;
    ctx->attached[ATTACHED_ROTARY].state = entry;
    ctx->attached[ATTACHED_ROTARY].release = release_all;
    *found = entry;
    return COLT5_OK;
}

colt5_status rotary_tables(colt5_context *ctx, size_t E, double theta, size_t length,
                           colt5_tensor *fine, colt5_tensor *coarse)
{
    const size_t dims[] = {0, 2, E / 2};
    *fine = *coarse = colt5_tensor_wrap(NULL, 0, COLT5_F32, 3, dims);
    if (ctx->planning) return COLT5_OK;

    struct rotary_tables *tables;
    CHECK(find(ctx, E, theta, &tables));
    if (!tables->fine.buffer) CHECK(make_table(ctx, ROTARY_FINE, 1, E, theta, &tables->fine));
    size_t rows = 1;
    while (rows < (length + ROTARY_FINE - 1) / ROTARY_FINE) rows *= 2;
    if (!tables->coarse.buffer || tables->coarse.dims[0] < rows)
        CHECK(make_table(ctx, rows, ROTARY_FINE, E, theta, &tables->coarse));
    *fine = tables->fine;
    *coarse = tables->coarse;
    return COLT5_OK;
}
