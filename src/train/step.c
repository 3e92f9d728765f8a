/* SPDX-License-Identifier: MIT */
/* One step of a trainer, and its look at the held-out windows. */
#include <math.h>

#include <colt5/ops/adamw.h>
#include <colt5/ops/cross_entropy.h>
#include <colt5/ops/gradient_norm.h>

#include "runtime/check.h"
#include "train/trainer.h"

#define BITS_PER_NAT 1.4426950408889634
#define HELD_OUT     (UINT64_C(1) << 63) /* seeds of forwards over held-out windows */

/* The text of a failure that had no context, for the context's caller. */
static colt5_status pass_on(colt5_context *ctx, colt5_status status)
{
    return status == COLT5_OK ? status : fail(ctx, status, "%s", colt5_message(NULL));
}

/* Element i of the results. */
static colt5_tensor result(const colt5_trainer *trainer, size_t i)
{
    return colt5_tensor_wrap(trainer->results.buffer, i, COLT5_F32, 1, (const size_t[]){1});
}

/* ---- a batch ---- */

/* The same buffers for the first B windows. */
static struct batch part_of(const colt5_trainer *trainer, size_t B)
{
    const struct batch *whole = &trainer->batch;
    struct batch part = *whole;
    part.B = B;
    part.M = whole->M / whole->B * B;
    part.ids.dims[0] = B;
    part.positions.dims[0] = part.targets.dims[0] = part.M;
    part.logits.dims[0] = part.lse.dims[0] = part.M;
    return part;
}

/* What the host copies hold, to the device: rows of hidden bytes, and those bytes. */
static colt5_status send(colt5_trainer *trainer, const struct batch *batch)
{
    colt5_context *ctx = trainer->ctx;
    const size_t rows = batch->B * trainer->options.seq;
    size_t found = 0;
    for (size_t n = 0; n < rows && found < batch->M; n++) {
        if (batch->host_targets[n] < 0) continue;
        batch->host_positions[found] = (int32_t)n;
        batch->host_hidden[found++] = batch->host_targets[n];
    }
    REQUIRE(ctx, found == batch->M, COLT5_ERROR_INTERNAL, "trainer: %zu bytes are hidden, not %zu",
            found, batch->M);
    CHECK(colt5_tensor_write(ctx, &batch->ids, batch->host_ids));
    CHECK(colt5_tensor_write(ctx, &batch->positions, batch->host_positions));
    return colt5_tensor_write(ctx, &batch->targets, batch->host_hidden);
}

static colt5_forward forward_of(const colt5_trainer *trainer, const struct batch *batch,
                                uint64_t number)
{
    return (colt5_forward){.struct_size = sizeof(colt5_forward),
                           .x = &batch->ids,
                           .y = &batch->logits,
                           .positions = &batch->positions,
                           .seed = trainer->options.seed + number * trainer->router_count};
}

/* Logits of the hidden bytes and their loss, into element i of the results. */
static colt5_status run_forward(colt5_trainer *trainer, const struct batch *batch,
                                const colt5_forward *forward, size_t i)
{
    const colt5_tensor loss = result(trainer, i);
    CHECK(colt5_layer_forward(trainer->ctx, trainer->layer, forward));
    return colt5_cross_entropy_forward(trainer->ctx, &batch->logits, &batch->targets, &loss, NULL,
                                       NULL, &batch->lse);
}

/* Batch i of the step: its loss, and its part of the gradients. */
static colt5_status run_batch(colt5_trainer *trainer, size_t i)
{
    colt5_context *ctx = trainer->ctx;
    const struct batch *batch = &trainer->batch;
    const uint64_t number = trainer->step * trainer->options.accumulate + i;
    const double rows = (double)batch->M * (double)trainer->options.accumulate;
    CHECK(pass_on(ctx, colt5_data_batch(trainer->data, number * batch->B, batch->B, batch->host_ids,
                                        batch->host_targets)));
    CHECK(send(trainer, batch));
    colt5_forward forward = forward_of(trainer, batch, number);
    forward.saved = trainer->saved;
    forward.recompute = trainer->options.recompute;
    CHECK(run_forward(trainer, batch, &forward, i));
    CHECK(colt5_cross_entropy_backward(ctx, &batch->logits, &batch->targets, NULL, &batch->lse,
                                       (float)((double)trainer->loss_scale.scale / rows),
                                       &batch->logits));
    const colt5_backward backward = {
        .struct_size = sizeof(backward), .dy = &batch->logits, .gradients = trainer->gradients};
    return colt5_layer_backward(ctx, trainer->layer, &forward, &backward);
}

/* ---- a step ---- */

static colt5_status update_weights(colt5_trainer *trainer, double learning_rate)
{
    const colt5_training_options *options = &trainer->options;
    const colt5_clip_options clip = {.max_norm = (float)options->max_norm,
                                     .loss_scale = trainer->loss_scale.scale};
    const colt5_tensor norm = result(trainer, options->accumulate);
    const colt5_tensor factor = result(trainer, options->accumulate + 1);
    CHECK(colt5_gradient_norm(trainer->ctx, trainer->gradient_list, trainer->count, &clip, &norm,
                              &factor));
    for (size_t i = 0; i < trainer->count; i++) {
        const struct trained *parameter = &trainer->parameters[i];
        const colt5_adamw_options adamw = {
            .learning_rate = (float)learning_rate,
            .beta1 = (float)options->beta1,
            .beta2 = (float)options->beta2,
            .eps = (float)options->eps,
            .decay = parameter->decays ? (float)options->decay : 0,
            .step = trainer->updates + 1,
        };
        const colt5_adamw_tensors tensors = {.weight = &parameter->weight,
                                             .master = parameter->master.buffer ? &parameter->master
                                                                                : NULL,
                                             .m = &parameter->m,
                                             .v = &parameter->v};
        CHECK(colt5_adamw(trainer->ctx, &trainer->gradient_list[i], &factor, &adamw, &tensors));
    }
    return COLT5_OK;
}

static colt5_status run_step(colt5_trainer *trainer, double learning_rate)
{
    CHECK(colt5_gradients_clear(trainer->gradients));
    for (size_t i = 0; i < trainer->options.accumulate; i++) CHECK(run_batch(trainer, i));
    CHECK(update_weights(trainer, learning_rate));
    return colt5_tensor_read(trainer->ctx, &trainer->results, trainer->host_results);
}

/* What came of it, from the results. */
static void conclude(colt5_trainer *trainer, colt5_step_report *report)
{
    const size_t batches = trainer->options.accumulate;
    double sum = 0;
    for (size_t i = 0; i < batches; i++) sum += (double)trainer->host_results[i];
    report->loss = sum / (double)batches;
    report->bits = report->loss * BITS_PER_NAT;
    report->norm = (double)trainer->host_results[batches];
    report->outcome = colt5_loss_scale_update(&trainer->loss_scale, trainer->options.dtype,
                                              report->loss, report->norm);
    trainer->broken = report->outcome == COLT5_STEP_FAILED;
    if (!trainer->broken) trainer->step++;
    if (report->outcome == COLT5_STEP_TAKEN) trainer->updates++;
    report->skipped = trainer->step - trainer->updates;
}

static colt5_status check_whole(const colt5_trainer *trainer)
{
    REQUIRE(trainer->ctx, !trainer->broken, COLT5_ERROR_ARGUMENT,
            "trainer: step %llu failed; a checkpoint must be loaded first",
            (unsigned long long)trainer->step + 1);
    return COLT5_OK;
}

colt5_status colt5_trainer_step(colt5_trainer *trainer, colt5_step_report *report)
{
    REQUIRE(NULL, trainer && report, COLT5_ERROR_ARGUMENT, "trainer: an argument is NULL");
    CHECK(check_whole(trainer));
    *report = (colt5_step_report){.step = trainer->step + 1};
    report->learning_rate = colt5_learning_rate(&trainer->options, trainer->step);
    report->loss_scale = (double)trainer->loss_scale.scale;
    trainer->used_scale = trainer->loss_scale.scale;
    trainer->broken = true; /* until all of it is done */
    CHECK(run_step(trainer, report->learning_rate));
    conclude(trainer, report);
    return COLT5_OK;
}

/* ---- held out ---- */

colt5_status colt5_trainer_evaluate(colt5_trainer *trainer, double *bits)
{
    REQUIRE(NULL, trainer && bits, COLT5_ERROR_ARGUMENT, "trainer: an argument is NULL");
    CHECK(check_whole(trainer));
    const size_t windows = colt5_data_describe(trainer->data)->held_out_windows;
    const colt5_tensor loss = result(trainer, 0);
    double sum = 0;
    for (size_t first = 0; first < windows;) {
        const size_t left = windows - first, B = trainer->options.batch;
        const struct batch batch = part_of(trainer, left < B ? left : B);
        const colt5_forward forward = forward_of(trainer, &batch, HELD_OUT + first);
        float mean;
        CHECK(pass_on(trainer->ctx, colt5_data_held_out(trainer->data, first, batch.B,
                                                        batch.host_ids, batch.host_targets)));
        CHECK(send(trainer, &batch));
        CHECK(run_forward(trainer, &batch, &forward, 0));
        CHECK(colt5_tensor_read(trainer->ctx, &loss, &mean));
        sum += (double)mean * (double)batch.B;
        first += batch.B;
    }
    *bits = sum / (double)windows * BITS_PER_NAT;
    return COLT5_OK;
}
