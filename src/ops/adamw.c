/* SPDX-License-Identifier: MIT */
#include <colt5/ops/adamw.h>

#include <math.h>

#include "runtime/check.h"
#include "runtime/launch.h"

colt5_adamw_options colt5_adamw_options_default(void)
{
    return (colt5_adamw_options){
        .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .decay = 0.1f, .step = 1};
}

static colt5_status check_options(colt5_context *ctx, const colt5_adamw_options *options)
{
    REQUIRE(ctx, options, COLT5_ERROR_ARGUMENT, "adamw: options is NULL");
    const colt5_adamw_options o = *options;
    REQUIRE(ctx, o.learning_rate >= 0 && isfinite(o.learning_rate), COLT5_ERROR_ARGUMENT,
            "adamw: learning_rate is %g, not in 0 to infinity", (double)o.learning_rate);
    REQUIRE(ctx, o.beta1 >= 0 && o.beta1 < 1, COLT5_ERROR_ARGUMENT,
            "adamw: beta1 is %g, not in 0 to 1", (double)o.beta1);
    REQUIRE(ctx, o.beta2 >= 0 && o.beta2 < 1, COLT5_ERROR_ARGUMENT,
            "adamw: beta2 is %g, not in 0 to 1", (double)o.beta2);
    REQUIRE(ctx, o.eps > 0 && isfinite(o.eps), COLT5_ERROR_ARGUMENT,
            "adamw: eps is %g, not above 0", (double)o.eps);
    REQUIRE(ctx, o.decay >= 0 && isfinite(o.decay), COLT5_ERROR_ARGUMENT,
            "adamw: decay is %g, not in 0 to infinity", (double)o.decay);
    REQUIRE(ctx, o.step >= 1, COLT5_ERROR_ARGUMENT, "adamw: step is 0, not from 1 on");
    return COLT5_OK;
}

/* Tensors of one size, none on another. */
static colt5_status check_tensors(colt5_context *ctx, const colt5_tensor *gradient,
                                  const colt5_adamw_tensors *tensors)
{
    const struct {
        const char *name;
        const colt5_tensor *tensor;
    } all[] = {{"weight", tensors->weight},
               {"m", tensors->m},
               {"v", tensors->v},
               {"gradient", gradient},
               {"master", tensors->master}};
    REQUIRE_STORAGE(ctx, "adamw", tensors->weight);
    REQUIRE(ctx, tensors->master || tensors->weight->type == COLT5_F32, COLT5_ERROR_ARGUMENT,
            "adamw: master is NULL and weight is %s", colt5_type_name(tensors->weight->type));
    const size_t count = colt5_tensor_count(tensors->weight),
                 tensor_count = tensors->master ? 5 : 4;
    for (size_t i = 1; i < tensor_count; i++) {
        CHECK(check_type(ctx, "adamw", all[i].name, all[i].tensor, COLT5_F32));
        REQUIRE(ctx, colt5_tensor_count(all[i].tensor) == count, COLT5_ERROR_SHAPE,
                "adamw: %s has %zu elements, weight %zu", all[i].name,
                colt5_tensor_count(all[i].tensor), count);
        for (size_t j = 0; j < i; j++)
            CHECK(
                check_apart(ctx, "adamw", all[i].name, all[i].tensor, all[j].name, all[j].tensor));
    }
    return COLT5_OK;
}

static colt5_status check_factor(colt5_context *ctx, const colt5_tensor *factor,
                                 const colt5_adamw_tensors *tensors)
{
    REQUIRE_TYPE(ctx, "adamw", factor, COLT5_F32);
    REQUIRE_SHAPE(ctx, "adamw", factor, 1);
    REQUIRE_APART(ctx, "adamw", factor, tensors->weight);
    REQUIRE_APART(ctx, "adamw", factor, tensors->m);
    REQUIRE_APART(ctx, "adamw", factor, tensors->v);
    if (tensors->master) REQUIRE_APART(ctx, "adamw", factor, tensors->master);
    return COLT5_OK;
}

colt5_status colt5_adamw(colt5_context *ctx, const colt5_tensor *gradient,
                         const colt5_tensor *factor, const colt5_adamw_options *options,
                         const colt5_adamw_tensors *tensors)
{
    REQUIRE(ctx, tensors, COLT5_ERROR_ARGUMENT, "adamw: tensors is NULL");
    CHECK(check_options(ctx, options));
    CHECK(check_tensors(ctx, gradient, tensors));
    if (factor) CHECK(check_factor(ctx, factor, tensors));

    const colt5_adamw_options o = *options;
    const colt5_tensor *weight = tensors->weight;
    const double t = (double)o.step, rate = o.learning_rate;
    const double mean = 1 - pow(o.beta1, t), square = 1 - pow(o.beta2, t);
    const size_t count = colt5_tensor_count(weight);
    const size_t width = vector_width(ctx, weight->type, count, weight, tensors->master, tensors->m,
                                      tensors->v, gradient);
    count_work(ctx, 0, count * (20 + (tensors->master ? 8 : 4) + colt5_type_size(weight->type)));
    return launch(ctx, KERNEL_ADAMW, DEFINES(STORAGE(weight->type), DEFINE("WIDTH", width)),
                  GRID(count / width, 1, 1),
                  ARGS(TENSOR(gradient), TENSOR(factor), TENSOR(weight), TENSOR(tensors->master),
                       TENSOR(tensors->m), TENSOR(tensors->v), SIZE(count / width), FLOAT(o.beta1),
                       FLOAT(o.beta2), FLOAT((float)(1 - rate * o.decay)),
                       FLOAT((float)(rate / mean)), FLOAT((float)(1 / sqrt(square))),
                       FLOAT(o.eps)));
}
