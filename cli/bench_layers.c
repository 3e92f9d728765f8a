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
};

static colt5_status run_layer(colt5_context *ctx, void *what)
{
    const struct layer_call *c = what;
    return colt5_layer_forward(ctx, c->layer,
                               &(colt5_forward){.struct_size = sizeof(colt5_forward),
                                                .x = &c->x,
                                                .y = &c->y,
                                                .seed = c->seed,
                                                .num_heavy_tokens = c->counts});
}

/* The same call on the first tokens of the first sample. */
static struct layer_call shortened(const struct layer_call *c)
{
    struct layer_call piece = *c;
    piece.x.dims[0] = piece.y.dims[0] = 1;
    if (piece.x.dims[1] > SHORT) piece.x.dims[1] = piece.y.dims[1] = SHORT;
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

static int make_tensors(struct bench *bench, struct layer_call *call)
{
    colt5_context *ctx = bench->session.ctx;
    const size_t B = bench->batch, D = colt5_layer_config(call->layer)->dim;
    const size_t N = bench->seq, dims[] = {B, N, output_width(call->layer)};
    if (bench->text && !takes_text(call->layer)) {
        complain("--text is for text models, not for a %s",
                 colt5_layer_kind_name(colt5_layer_config(call->layer)->kind));
        return EXIT_USAGE;
    }
    const int code = takes_text(call->layer) ? make_ids(bench, B, N, &call->x)
                                             : make_values(bench, B, N, D, &call->x);
    if (code != EXIT_FINE) return code;
    const colt5_status status = colt5_tensor_create(ctx, bench->type, 3, dims, &call->y);
    return status == COLT5_OK ? EXIT_FINE : complain_status(ctx, status);
}

static int measure_layer(struct bench *bench, struct layer_call *call, const char *name)
{
    colt5_context *ctx = bench->session.ctx;
    const uint64_t outputs = colt5_tensor_count(&call->y) * colt5_type_size(bench->type);
    struct bench_row row = {.batch = bench->batch, .seq = bench->seq};
    snprintf(row.name, sizeof(row.name), "%s", name);
    show_progress(name, bench->steps_done++, bench->steps);
    struct layer_call warm = call->counts.ff == bench->seq ? shortened(call) : *call;
    colt5_status status = run_layer(ctx, &warm);
    if (status == COLT5_OK) status = colt5_context_finish(ctx);
    if (status != COLT5_OK) return complain_status(ctx, status);
    const int code = bench_measure(bench, run_layer, call, outputs, &row);
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
    colt5_layer_destroy(call.layer);
    return code;
}
