/* SPDX-License-Identifier: MIT */
/* Layers under the clock: a config with seeded weights, or a model folder with its own. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"

/* Kernels are built on a piece of this many tokens before a dense twin runs whole. */
#define SHORT 1024

struct layer_call {
    colt5_layer *layer;
    colt5_tensor x, y;
    colt5_token_counts counts;
    uint64_t seed;
    /* With the backward: */
    colt5_tensor dy, dx; /* dx: no buffer in text models */
    colt5_saved *saved;
    colt5_gradients *gradients;
};

/* A step of a training, but for the optimiser. */
static colt5_status run_layer(colt5_context *ctx, void *what)
{
    const struct layer_call *c = what;
    const colt5_forward forward = {.struct_size = sizeof(forward),
                                   .x = &c->x,
                                   .y = &c->y,
                                   .seed = c->seed,
                                   .num_heavy_tokens = c->counts,
                                   .saved = c->saved};
    colt5_status status = colt5_layer_forward(ctx, c->layer, &forward);
    if (status != COLT5_OK || !c->saved) return status;
    status = colt5_gradients_clear(c->gradients);
    if (status != COLT5_OK) return status;
    return colt5_layer_backward(ctx, c->layer, &forward,
                                &(colt5_backward){.struct_size = sizeof(colt5_backward),
                                                  .dy = &c->dy,
                                                  .dx = c->dx.buffer ? &c->dx : NULL,
                                                  .gradients = c->gradients});
}

/* The same call on the first tokens of the first sample. */
static struct layer_call shortened(const struct layer_call *c)
{
    struct layer_call piece = *c;
    colt5_tensor *const tensors[] = {&piece.x, &piece.y, &piece.dy, &piece.dx};
    for (size_t i = 0; i < 4; i++) {
        tensors[i]->dims[0] = 1;
        if (tensors[i]->dims[1] > SHORT) tensors[i]->dims[1] = SHORT;
    }
    return piece;
}

static bool has_weights(const char *folder)
{
    static const char *const names[] = {"model.safetensors", "model.safetensors.index.json"};
    char path[4096];
    struct stat status;
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        if (stat(path, &status) == 0) return true;
    }
    return false;
}

/* The block of the README. */
static colt5_config readme_block(void)
{
    colt5_config config = colt5_config_default(COLT5_TRANSFORMER_BLOCK);
    config.dim = 512;
    config.num_heavy_tokens_ff = config.num_heavy_tokens_q = config.num_heavy_tokens_kv = 1024;
    return config;
}

static int make_layer(struct bench *bench, const char *path, colt5_layer **layer)
{
    colt5_context *ctx = bench->session.ctx;
    colt5_config config = readme_block();
    colt5_status status;
    if (path && has_weights(path)) return load_model(ctx, path, bench->type, layer);
    if (path && (status = colt5_config_read(path, &config)) != COLT5_OK)
        return complain_status(NULL, status);
    status = colt5_layer_create(ctx, &config, bench->type, layer);
    if (status == COLT5_OK) status = colt5_layer_initialise(*layer, bench->seed);
    return status == COLT5_OK ? EXIT_FINE : complain_status(ctx, status);
}

/* Random values [B][N][D]. */
static int make_values(struct bench *bench, size_t B, size_t N, size_t D, colt5_tensor *x)
{
    colt5_context *ctx = bench->session.ctx;
    const size_t dims[] = {B, N, D}, count = B * N * D;
    void *values = malloc(count * colt5_type_size(bench->type) + 1);
    if (!values) return complain_memory();
    bench_noise(bench->type, count, values);
    colt5_status status = colt5_tensor_create(ctx, bench->type, 3, dims, x);
    if (status == COLT5_OK) status = colt5_tensor_write(ctx, x, values);
    free(values);
    return status == COLT5_OK ? EXIT_FINE : complain_status(ctx, status);
}

/* The text, or bytes without meaning, as ids [B][N]. */
static int make_ids(struct bench *bench, size_t B, size_t N, colt5_tensor *x)
{
    if (bench->text) {
        if (B * N <= bench->text_bytes) return place_text(bench->session.ctx, bench->text, B, N, x);
        complain("%s: has %zu bytes, not %zu x %zu", bench->text_path, bench->text_bytes, B, N);
        return EXIT_BAD_INPUT;
    }
    char *bytes = malloc(B * N + 1);
    if (!bytes) return complain_memory();
    for (size_t i = 0; i < B * N; i++) bytes[i] = (char)(i * 2654435761u >> 13);
    const int code = place_text(bench->session.ctx, bytes, B, N, x);
    free(bytes);
    return code;
}

/* The file's values or ids; they say how many sequences and tokens there are. */
static int load_input(struct bench *bench, const struct layer_call *call, colt5_tensor *x)
{
    const int code = load_array(bench->session.ctx, bench->input_path, bench->type, x);
    if (code != EXIT_FINE) return code;
    if (x->rank != (takes_text(call->layer) ? 2 : 3)) {
        complain("%s: is no input of a %s", bench->input_path,
                 colt5_layer_kind_name(colt5_layer_config(call->layer)->kind));
        return EXIT_BAD_INPUT;
    }
    bench->batch = x->dims[0];
    bench->seq = x->dims[1];
    return EXIT_FINE;
}

static int make_input(struct bench *bench, struct layer_call *call)
{
    const size_t D = colt5_layer_config(call->layer)->dim;
    if (bench->text && !takes_text(call->layer)) {
        complain("--text is for text models, not for a %s",
                 colt5_layer_kind_name(colt5_layer_config(call->layer)->kind));
        return EXIT_USAGE;
    }
    if (bench->input_path) return load_input(bench, call, &call->x);
    return takes_text(call->layer) ? make_ids(bench, bench->batch, bench->seq, &call->x)
                                   : make_values(bench, bench->batch, bench->seq, D, &call->x);
}

/* What the backward reads and writes besides. */
static int make_gradients(struct bench *bench, struct layer_call *call)
{
    colt5_context *ctx = bench->session.ctx;
    const int code =
        make_values(bench, bench->batch, bench->seq, output_width(call->layer), &call->dy);
    if (code != EXIT_FINE) return code;
    colt5_status status = colt5_saved_create(ctx, &call->saved);
    if (status == COLT5_OK) status = colt5_gradients_create(ctx, call->layer, &call->gradients);
    if (status == COLT5_OK && !takes_text(call->layer))
        status = colt5_tensor_create(ctx, bench->type, 3, call->x.dims, &call->dx);
    return status == COLT5_OK ? EXIT_FINE : complain_status(ctx, status);
}

static int make_tensors(struct bench *bench, struct layer_call *call)
{
    colt5_context *ctx = bench->session.ctx;
    const int code = make_input(bench, call);
    if (code != EXIT_FINE) return code;
    const size_t dims[] = {bench->batch, bench->seq, output_width(call->layer)};
    const colt5_status status = colt5_tensor_create(ctx, bench->type, 3, dims, &call->y);
    if (status != COLT5_OK) return complain_status(ctx, status);
    return bench->backward ? make_gradients(bench, call) : EXIT_FINE;
}

static uint64_t bytes_of(const colt5_tensor *tensor)
{
    return tensor->buffer ? colt5_tensor_count(tensor) * colt5_type_size(tensor->type) : 0;
}

/* What the call takes besides weights, inputs and scratch. */
static uint64_t output_bytes(const struct layer_call *call)
{
    uint64_t bytes = bytes_of(&call->y) + bytes_of(&call->dx);
    if (!call->saved) return bytes;
    for (size_t i = 0; i < colt5_layer_parameter_count(call->layer); i++) {
        colt5_parameter gradient;
        if (colt5_gradients_get(call->gradients, i, &gradient) == COLT5_OK)
            bytes += bytes_of(&gradient.tensor);
    }
    return bytes;
}

static int measure_layer(struct bench *bench, struct layer_call *call, const char *name)
{
    colt5_context *ctx = bench->session.ctx;
    struct bench_row row = bench_row_of(bench, name);
    show_progress(name, bench->steps_done++, bench->steps);
    struct layer_call warm = call->counts.ff == bench->seq ? shortened(call) : *call;
    colt5_status status = run_layer(ctx, &warm);
    if (status == COLT5_OK) status = colt5_context_finish(ctx);
    if (status != COLT5_OK) return complain_status(ctx, status);
    const int code = bench_measure(bench, run_layer, call, output_bytes(call), &row);
    if (call->saved) row.peak_bytes += colt5_saved_bytes(call->saved);
    return code == EXIT_FINE ? bench_add(bench, &row) : code;
}

/* Beside the layer, where asked, the same with every token heavy. */
static int measure_both(struct bench *bench, struct layer_call *call, const char *name)
{
    int code = measure_layer(bench, call, name);
    if (code != EXIT_FINE || !bench->dense) return code;
    char dense[160];
    snprintf(dense, sizeof(dense), "%.140s (dense)", name);
    call->counts = (colt5_token_counts){bench->seq, bench->seq, bench->seq};
    return measure_layer(bench, call, dense);
}

int bench_layer(struct bench *bench, const char *path)
{
    struct layer_call call = {.seed = bench->seed};
    int code = make_layer(bench, path, &call.layer);
    if (code == EXIT_FINE)
        code = set_counts(&bench->set, colt5_layer_config(call.layer)->kind, &call.counts);
    if (code == EXIT_FINE) code = make_tensors(bench, &call);
    if (code == EXIT_FINE) code = measure_both(bench, &call, path ? path : "block");
    colt5_tensor_free(bench->session.ctx, &call.x);
    colt5_tensor_free(bench->session.ctx, &call.y);
    colt5_tensor_free(bench->session.ctx, &call.dy);
    colt5_tensor_free(bench->session.ctx, &call.dx);
    colt5_saved_destroy(call.saved);
    colt5_gradients_destroy(call.gradients);
    colt5_layer_destroy(call.layer);
    return code;
}
