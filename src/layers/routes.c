/* SPDX-License-Identifier: MIT */
#include "layers/routes.h"

#include <stdlib.h>
#include <string.h>

#include "runtime/context.h"
#include "runtime/launch.h"

struct colt5_routes {
    colt5_context *ctx;
    struct route_entry *entries;
    size_t count, capacity;
};

colt5_status colt5_routes_create(colt5_context *ctx, colt5_routes **out)
{
    REQUIRE(ctx, ctx && out, COLT5_ERROR_ARGUMENT, "routes: ctx or routes is NULL");
    colt5_routes *routes = host_allocate_zeroed(1, sizeof(*routes));
    *out = routes;
    REQUIRE(ctx, routes, COLT5_ERROR_MEMORY, "routes: no host memory");
    routes->ctx = ctx;
    return COLT5_OK;
}

static void clear_entry(colt5_context *ctx, struct route_entry *entry)
{
    colt5_tensor_free(ctx, &entry->index);
    colt5_tensor_free(ctx, &entry->scores);
    entry->tokens = entry->largest = 0;
    entry->repeated = false;
}

void routes_clear(colt5_routes *routes)
{
    for (size_t i = 0; i < routes->count; i++) {
        clear_entry(routes->ctx, &routes->entries[i]);
        host_release(routes->entries[i].router);
    }
    routes->count = 0;
}

void colt5_routes_destroy(colt5_routes *routes)
{
    if (!routes) return;
    routes_clear(routes);
    host_release(routes->entries);
    host_release(routes);
}

colt5_context *routes_context(const colt5_routes *routes)
{
    return routes->ctx;
}

size_t colt5_routes_count(const colt5_routes *routes)
{
    return routes->count;
}

colt5_status colt5_routes_get(const colt5_routes *routes, size_t i, colt5_route *route)
{
    REQUIRE(NULL, routes && route && i < routes->count, COLT5_ERROR_ARGUMENT,
            "routes: there is no entry %zu", i);
    const struct route_entry *entry = &routes->entries[i];
    *route = (colt5_route){entry->router, entry->index, entry->scores, entry->tokens};
    return COLT5_OK;
}

static struct route_entry *find(const colt5_routes *routes, const char *router)
{
    for (size_t i = 0; i < routes->count; i++)
        if (!strcmp(routes->entries[i].router, router)) return &routes->entries[i];
    return NULL;
}

const struct route_entry *routes_find(const colt5_routes *routes, const char *router)
{
    return find(routes, router);
}

/* The router's entry, emptied, or a new one at the end. */
static struct route_entry *renew(colt5_routes *routes, const char *router)
{
    struct route_entry *entry = find(routes, router);
    if (entry) {
        clear_entry(routes->ctx, entry);
        return entry;
    }
    if (routes->count == routes->capacity) {
        const size_t capacity = 2 * routes->capacity + 16;
        struct route_entry *entries = host_reallocate(routes->entries, capacity * sizeof(*entries));
        if (!entries) return NULL;
        routes->entries = entries;
        routes->capacity = capacity;
    }
    char *name = host_copy_text(router);
    if (!name) return NULL;
    entry = &routes->entries[routes->count++];
    *entry = (struct route_entry){.router = name};
    return entry;
}

colt5_status routes_record(colt5_routes *routes, const char *router, const colt5_tensor *index,
                           const colt5_tensor *scores, size_t N)
{
    colt5_context *ctx = routes->ctx;
    struct route_entry *entry = renew(routes, router);
    REQUIRE(ctx, entry, COLT5_ERROR_MEMORY, "routes: no host memory");
    entry->tokens = N;
    if (ctx->planning) {
        entry->index = colt5_tensor_wrap(NULL, 0, COLT5_I32, index->rank, index->dims);
        entry->scores = colt5_tensor_wrap(NULL, 0, COLT5_F32, index->rank, index->dims);
        return COLT5_OK;
    }
    colt5_status status;
    TRY(colt5_tensor_create(ctx, COLT5_I32, index->rank, index->dims, &entry->index));
    TRY(colt5_tensor_create(ctx, COLT5_F32, index->rank, index->dims, &entry->scores));
    TRY(copy_tensor(ctx, index, &entry->index));
    TRY(copy_tensor(ctx, scores, &entry->scores));
out:
    return status;
}

static int compare(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

/* Finds the largest index, and whether a row has one twice. */
static colt5_status inspect(colt5_context *ctx, const char *router, size_t rows, size_t K,
                            const int32_t *index, struct route_entry *entry)
{
    int32_t *row = host_allocate(K * sizeof(*row));
    REQUIRE(ctx, row, COLT5_ERROR_MEMORY, "routes: no host memory");
    int32_t least = 0;
    for (size_t r = 0; r < rows; r++) {
        memcpy(row, index + r * K, K * sizeof(*row));
        qsort(row, K, sizeof(*row), compare);
        if (row[0] < least) least = row[0];
        if (row[K - 1] > 0 && (size_t)row[K - 1] > entry->largest)
            entry->largest = (size_t)row[K - 1];
        for (size_t k = 1; k < K; k++) entry->repeated |= row[k] == row[k - 1];
    }
    host_release(row);
    REQUIRE(ctx, least >= 0, COLT5_ERROR_ARGUMENT, "routes: %s has an index of %d", router,
            (int)least);
    return COLT5_OK;
}

static colt5_status fill(colt5_context *ctx, struct route_entry *entry, const size_t dims[3],
                         const int32_t *index, const float *scores)
{
    const size_t count = dims_product(dims, 3);
    float *ones = NULL;
    colt5_status status;
    TRY(inspect(ctx, entry->router, dims[0] * dims[1], dims[2], index, entry));
    TRY(colt5_tensor_create(ctx, COLT5_I32, 3, dims, &entry->index));
    TRY(colt5_tensor_create(ctx, COLT5_F32, 3, dims, &entry->scores));
    TRY(colt5_tensor_write(ctx, &entry->index, index));
    if (!scores) {
        ones = host_allocate(count * sizeof(*ones));
        if (!ones) TRY(fail(ctx, COLT5_ERROR_MEMORY, "routes: no host memory"));
        for (size_t i = 0; i < count; i++) ones[i] = 1;
    }
    TRY(colt5_tensor_write(ctx, &entry->scores, scores ? scores : ones));
out:
    host_release(ones);
    return status;
}

/* Drops the last entry or empties another, so that a failed put leaves nothing half made. */
static void forget(colt5_routes *routes, struct route_entry *entry)
{
    const size_t place = (size_t)(entry - routes->entries);
    clear_entry(routes->ctx, entry);
    host_release(entry->router);
    memmove(entry, entry + 1, (routes->count - place - 1) * sizeof(*entry));
    routes->count--;
}

colt5_status colt5_routes_put(colt5_routes *routes, const char *router, size_t B, size_t R,
                              size_t K, const int32_t *index, const float *scores)
{
    REQUIRE(NULL, routes, COLT5_ERROR_ARGUMENT, "routes: routes is NULL");
    colt5_context *ctx = routes->ctx;
    const size_t dims[] = {B, R, K}, count = dims_product(dims, 3);
    REQUIRE(ctx, router && *router && index, COLT5_ERROR_ARGUMENT,
            "routes: router or index is NULL");
    REQUIRE(ctx, count > 0 && count < SIZE_MAX / sizeof(float), COLT5_ERROR_SHAPE,
            "routes: %s has no sane size", router);
    struct route_entry *entry = renew(routes, router);
    REQUIRE(ctx, entry, COLT5_ERROR_MEMORY, "routes: no host memory");
    const colt5_status status = fill(ctx, entry, dims, index, scores);
    if (status != COLT5_OK) forget(routes, entry);
    return status;
}

colt5_status routes_merge(colt5_routes *routes, colt5_routes *from)
{
    for (size_t i = 0; i < from->count; i++) {
        struct route_entry *entry = renew(routes, from->entries[i].router);
        REQUIRE(routes->ctx, entry, COLT5_ERROR_MEMORY, "routes: no host memory");
        host_release(entry->router);
        *entry = from->entries[i];
        from->entries[i] = (struct route_entry){.router = NULL};
    }
    from->count = 0;
    return COLT5_OK;
}
