/* SPDX-License-Identifier: MIT */
/*
 * Fits a layer, a routed block for instance, to values of your own: steps of AdamW on the mean
 * squared error between layer(x) and a target. Any loss will do: it sees y and gives back dy.
 *
 *     ./fit MODEL x.npy target.npy STEPS LEARNING_RATE OUTPUT
 *
 * MODEL and OUTPUT are model folders, as PyTorch writes and reads them too
 * (docs/there_and_back.py); x and target are float32 [B][N][D].
 */
#include <colt5/colt5.h>
#include <stdio.h>
#include <stdlib.h>

static colt5_context *ctx;

static void must(colt5_status status)
{
    if (status == COLT5_OK) return;
    fprintf(stderr, "fit: %s\n", colt5_message(ctx));
    exit(1);
}

/* What AdamW remembers of each parameter, zeros at first. */
struct moments {
    colt5_tensor m, v;
};

static colt5_tensor zeros_like(const colt5_tensor *like)
{
    colt5_tensor zeros;
    void *values = calloc(colt5_tensor_count(like), sizeof(float));
    must(colt5_tensor_create(ctx, COLT5_F32, like->rank, like->dims, &zeros));
    must(colt5_tensor_write(ctx, &zeros, values));
    free(values);
    return zeros;
}

static struct moments *make_moments(const colt5_layer *layer)
{
    const size_t count = colt5_layer_parameter_count(layer);
    struct moments *moments = malloc(count * sizeof(*moments));
    for (size_t i = 0; i < count; i++) {
        colt5_parameter weight;
        must(colt5_layer_parameter(layer, i, &weight));
        moments[i].m = zeros_like(&weight.tensor);
        moments[i].v = zeros_like(&weight.tensor);
    }
    return moments;
}

static void adamw(const colt5_layer *layer, const colt5_gradients *gradients,
                  const struct moments *moments, float rate, unsigned long step)
{
    colt5_adamw_options options = colt5_adamw_options_default();
    options.learning_rate = rate;
    options.decay = 0;
    options.step = step;
    for (size_t i = 0; i < colt5_layer_parameter_count(layer); i++) {
        colt5_parameter weight, gradient;
        must(colt5_layer_parameter(layer, i, &weight));
        must(colt5_gradients_get(gradients, i, &gradient));
        const colt5_adamw_tensors tensors = {
            .weight = &weight.tensor, .m = &moments[i].m, .v = &moments[i].v};
        must(colt5_adamw(ctx, &gradient.tensor, NULL, &options, &tensors));
    }
}

/* The mean of (y - target)^2; y becomes its gradient. */
static double loss(float *y, const float *target, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        const double error = (double)y[i] - target[i];
        sum += error * error;
        y[i] = (float)(2 * error / (double)count);
    }
    return sum / (double)count;
}

static void fit(colt5_layer *layer, const colt5_npy *x, const float *target, unsigned long steps,
                float rate)
{
    colt5_tensor tx, ty;
    colt5_saved *saved;
    colt5_gradients *gradients;
    float *y = malloc(x->count * sizeof(*y));
    struct moments *moments = make_moments(layer);
    must(colt5_tensor_create(ctx, COLT5_F32, 3, x->dims, &tx));
    must(colt5_tensor_create(ctx, COLT5_F32, 3, x->dims, &ty));
    must(colt5_tensor_write(ctx, &tx, x->values));
    must(colt5_saved_create(ctx, &saved));
    must(colt5_gradients_create(ctx, layer, &gradients));

    /* The tensor of y holds dy after it. */
    const colt5_forward forward = {
        .struct_size = sizeof(forward), .x = &tx, .y = &ty, .saved = saved};
    const colt5_backward backward = {
        .struct_size = sizeof(backward), .dy = &ty, .gradients = gradients};
    for (unsigned long step = 1; step <= steps; step++) {
        must(colt5_layer_forward(ctx, layer, &forward));
        must(colt5_tensor_read(ctx, &ty, y));
        printf("%.9g\n", loss(y, target, x->count));
        must(colt5_tensor_write(ctx, &ty, y));
        must(colt5_gradients_clear(gradients));
        must(colt5_layer_backward(ctx, layer, &forward, &backward));
        adamw(layer, gradients, moments, rate, step);
    }

    for (size_t i = 0; i < colt5_layer_parameter_count(layer); i++) {
        colt5_tensor_free(ctx, &moments[i].m);
        colt5_tensor_free(ctx, &moments[i].v);
    }
    free(moments);
    free(y);
    colt5_gradients_destroy(gradients);
    colt5_saved_destroy(saved);
    colt5_tensor_free(ctx, &tx);
    colt5_tensor_free(ctx, &ty);
}

int main(int count, char **arguments)
{
    colt5_npy x, target;
    colt5_layer *layer;
    if (count != 7)
        return fprintf(stderr, "usage: fit MODEL x.npy target.npy STEPS RATE OUTPUT\n"), 2;
    must(colt5_npy_read(arguments[2], &x));
    must(colt5_npy_read(arguments[3], &target));
    if (x.rank != 3 || x.type != COLT5_F32 || target.type != COLT5_F32 || target.count != x.count)
        return fprintf(stderr, "fit: x and target are not float32 [B][N][D]\n"), 2;
    must(colt5_context_create(NULL, &ctx));
    must(colt5_layer_load(ctx, arguments[1], COLT5_F32, &layer));
    fit(layer, &x, target.values, strtoul(arguments[4], NULL, 10), strtof(arguments[5], NULL));
    must(colt5_layer_save(layer, arguments[6]));
    colt5_layer_destroy(layer);
    colt5_context_destroy(ctx);
    colt5_npy_release(&x);
    colt5_npy_release(&target);
    return 0;
}
