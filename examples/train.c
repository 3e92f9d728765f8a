/* SPDX-License-Identifier: MIT */
/*
 * Trains a masked language model on a text, by hand: forward, loss, backward, step.
 *
 *     ./train examples/presets/tiny.json TEXT STEPS
 *
 * colt5_trainer (train.h) does the same with clipping, a schedule, checkpoints and 16-bit types.
 */
#include <colt5/colt5.h>
#include <stdio.h>
#include <stdlib.h>

static colt5_context *ctx;

static void must(colt5_status status)
{
    if (status == COLT5_OK) return;
    fprintf(stderr, "train: %s %s\n", colt5_message(NULL), ctx ? colt5_message(ctx) : "");
    exit(1);
}

static colt5_tensor zeros(colt5_type type, int rank, const size_t *dims)
{
    colt5_tensor tensor;
    must(colt5_tensor_create(ctx, type, rank, dims, &tensor));
    void *values = calloc(colt5_tensor_count(&tensor), colt5_type_size(type));
    must(colt5_tensor_write(ctx, &tensor, values));
    free(values);
    return tensor;
}

int main(int count, char **arguments)
{
    colt5_config config;
    colt5_training_options options;
    colt5_data *data;
    colt5_layer *model;
    colt5_saved *saved;
    colt5_gradients *gradients;
    if (count != 4) return fprintf(stderr, "usage: train CONFIG TEXT STEPS\n"), 2;
    must(colt5_context_create(NULL, &ctx));
    must(colt5_training_read(arguments[1], &config, &options));
    must(colt5_data_open(ctx, (const char *const *)&arguments[2], 1, &options, &data));
    must(colt5_layer_create(ctx, &config, COLT5_F32, &model));
    must(colt5_layer_initialise(model, options.seed));
    must(colt5_saved_create(ctx, &saved));
    must(colt5_gradients_create(ctx, model, &gradients));

    const size_t dims[] = {options.batch, options.seq, config.vocab_size}, one = 1;
    const size_t parameters = colt5_layer_parameter_count(model);
    int32_t *bytes = malloc(2 * dims[0] * dims[1] * sizeof(*bytes));
    int32_t *hidden = bytes + dims[0] * dims[1]; /* -1 where a byte is not hidden: no loss there */
    const colt5_tensor ids = zeros(COLT5_I32, 2, dims), targets = zeros(COLT5_I32, 2, dims);
    const colt5_tensor logits = zeros(COLT5_F32, 3, dims), lse = zeros(COLT5_F32, 2, dims);
    const colt5_tensor loss = zeros(COLT5_F32, 1, &one), rows = zeros(COLT5_I32, 1, &one);
    colt5_tensor *m = malloc(2 * parameters * sizeof(*m)), *v = m + parameters;
    for (size_t i = 0; i < parameters; i++) {
        colt5_parameter weight;
        must(colt5_layer_parameter(model, i, &weight));
        m[i] = zeros(COLT5_F32, weight.tensor.rank, weight.tensor.dims);
        v[i] = zeros(COLT5_F32, weight.tensor.rank, weight.tensor.dims);
    }

    for (unsigned long step = 0; step < strtoul(arguments[3], NULL, 10); step++) {
        must(colt5_data_batch(data, step * dims[0], dims[0], bytes, hidden));
        must(colt5_tensor_write(ctx, &ids, bytes));
        must(colt5_tensor_write(ctx, &targets, hidden));

        const colt5_forward forward = {
            .struct_size = sizeof(forward), .x = &ids, .y = &logits, .saved = saved};
        const colt5_backward backward = {
            .struct_size = sizeof(backward), .dy = &logits, .gradients = gradients};
        must(colt5_layer_forward(ctx, model, &forward));
        must(colt5_cross_entropy_forward(ctx, &logits, &targets, &loss, &rows, NULL, &lse));
        must(colt5_cross_entropy_backward(ctx, &logits, &targets, &rows, &lse, 1, &logits));
        must(colt5_gradients_clear(gradients));
        must(colt5_layer_backward(ctx, model, &forward, &backward));

        colt5_adamw_options adamw = colt5_adamw_options_default();
        adamw.learning_rate = 1e-3f;
        adamw.step = step + 1;
        for (size_t i = 0; i < parameters; i++) {
            colt5_parameter weight, gradient;
            must(colt5_layer_parameter(model, i, &weight));
            must(colt5_gradients_get(gradients, i, &gradient));
            adamw.decay = colt5_parameter_decays(&weight) ? 0.1f : 0;
            must(colt5_adamw(ctx, &gradient.tensor, NULL, &adamw,
                             &(colt5_adamw_tensors){&weight.tensor, NULL, &m[i], &v[i]}));
        }
        float nats;
        must(colt5_tensor_read(ctx, &loss, &nats));
        printf("step %lu: %.3f bits per hidden byte\n", step + 1, nats / 0.693147);
    }
    must(colt5_layer_save(model, "trained"));

    free(bytes);
    for (size_t i = 0; i < 2 * parameters; i++) colt5_tensor_free(ctx, &m[i]);
    free(m);
    const colt5_tensor made[] = {ids, targets, logits, lse, loss, rows};
    for (size_t i = 0; i < sizeof(made) / sizeof(made[0]); i++)
        colt5_tensor_free(ctx, &(colt5_tensor){made[i].buffer});
    colt5_gradients_destroy(gradients);
    colt5_saved_destroy(saved);
    colt5_layer_destroy(model);
    colt5_data_close(data);
    colt5_context_destroy(ctx);
    return 0;
}
