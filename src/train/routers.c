/* SPDX-License-Identifier: MIT */
/* How routers fared in the last step. */
#include <math.h>
#include <string.h>

#include "runtime/check.h"
#include "runtime/memory.h"
#include "train/trainer.h"

size_t colt5_trainer_router_count(const colt5_trainer *trainer)
{
    return trainer->router_count;
}

const char *colt5_trainer_router_name(const colt5_trainer *trainer, size_t i)
{
    return i < trainer->router_count ? trainer->paths[i] : NULL;
}

/* All elements of a float32 tensor; the caller releases them. */
static colt5_status fetch(colt5_context *ctx, const colt5_tensor *tensor, float **values)
{
    *values = host_allocate_zeroed(colt5_tensor_count(tensor), sizeof(float));
    REQUIRE(ctx, *values, COLT5_ERROR_MEMORY, "trainer: no host memory");
    return colt5_tensor_read(ctx, tensor, *values);
}

static colt5_status gradient_length(colt5_trainer *trainer, const colt5_tensor *gradient,
                                    double *norm)
{
    float *values;
    double sum = 0;
    const colt5_status status = fetch(trainer->ctx, gradient, &values);
    for (size_t i = 0; status == COLT5_OK && i < colt5_tensor_count(gradient); i++)
        sum += (double)values[i] * (double)values[i];
    host_release(values);
    *norm = sqrt(sum) / (double)trainer->used_scale;
    return status;
}

static colt5_status count_ones(colt5_context *ctx, const colt5_tensor *scores, double *share)
{
    float *values;
    size_t ones = 0;
    const size_t count = colt5_tensor_count(scores);
    const colt5_status status = fetch(ctx, scores, &values);
    for (size_t i = 0; status == COLT5_OK && i < count; i++) ones += values[i] == 1.0f;
    host_release(values);
    *share = count > 0 ? (double)ones / (double)count : NAN;
    return status;
}

colt5_status colt5_trainer_router(colt5_trainer *trainer, size_t i, colt5_router_report *report)
{
    REQUIRE(NULL, trainer && report, COLT5_ERROR_ARGUMENT, "trainer: an argument is NULL");
    colt5_context *ctx = trainer->ctx;
    REQUIRE(ctx, i < trainer->router_count, COLT5_ERROR_ARGUMENT, "trainer: there is no router %zu",
            i);
    REQUIRE(ctx, trainer->used_scale > 0, COLT5_ERROR_ARGUMENT, "trainer: no step was made yet");
    *report = (colt5_router_report){.router = trainer->paths[i], .saturated = NAN};
    CHECK(gradient_length(trainer, &trainer->gradient_list[trainer->routers[i]], &report->norm));
    for (size_t r = 0; r < colt5_saved_route_count(trainer->saved); r++) {
        colt5_saved_route route;
        CHECK(colt5_saved_get_route(trainer->saved, r, &route));
        if (!strcmp(route.router, report->router))
            return count_ones(ctx, &route.scores, &report->saturated);
    }
    return COLT5_OK;
}
