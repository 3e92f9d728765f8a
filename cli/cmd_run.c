/* SPDX-License-Identifier: MIT */
/* colt5 run: a forward of a saved model. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "commands.h"
#include "compare.h"

#define PADDING 256 /* the id of text models that counts as masked */

struct run {
    struct session session;
    const char *model, *input, *text, *mask, *output, *pool, *routes, *routes_output, *expect;
    struct list set;
    uint64_t seed;
    colt5_type type;
    colt5_math math;
    double rtol; /* 0: by the type */

    colt5_layer *layer;
    colt5_tensor x, mask_tensor, y;
    colt5_routes *given, *chosen;
    colt5_token_counts counts;
    uint8_t *valid; /* [B][N], or NULL: all */
};

/* ---- input ---- */

static int fail_call(struct run *run, colt5_status status)
{
    return complain_status(run->session.ctx, status);
}

static int load_text(struct run *run)
{
    char *bytes;
    size_t count;
    int code = read_text(run->text, &bytes, &count);
    if (code == EXIT_FINE) code = place_text(run->session.ctx, bytes, 1, count, &run->x);
    free(bytes);
    return code;
}

static int load_input(struct run *run)
{
    colt5_context *ctx = run->session.ctx;
    if (run->text && !takes_text(run->layer)) {
        complain("--text is for text models; a %s takes --input",
                 colt5_layer_kind_name(colt5_layer_config(run->layer)->kind));
        return EXIT_USAGE;
    }
    const int code = run->text ? load_text(run) : load_array(ctx, run->input, run->type, &run->x);
    if (code != EXIT_FINE || !run->mask) return code;
    return load_array(ctx, run->mask, run->type, &run->mask_tensor);
}

static bool is_padding(const colt5_tensor *tensor, const void *ids, size_t i)
{
    return tensor->type == COLT5_I64 ? ((const int64_t *)ids)[i] == PADDING
                                     : ((const int32_t *)ids)[i] == PADDING;
}

static colt5_status leave_out_padding(struct run *run, size_t count)
{
    void *ids = malloc(count * colt5_type_size(run->x.type) + 1);
    if (!ids) return COLT5_ERROR_MEMORY;
    const colt5_status status = colt5_tensor_read(run->session.ctx, &run->x, ids);
    for (size_t i = 0; status == COLT5_OK && i < count; i++)
        if (is_padding(&run->x, ids, i)) run->valid[i] = 0;
    free(ids);
    return status;
}

/* Which rows of y count: those the mask names; in text models without one, those not padding. */
static int find_valid(struct run *run)
{
    const size_t count = run->x.dims[0] * run->x.dims[1];
    run->valid = malloc(count + 1);
    if (!run->valid) return complain_memory();
    memset(run->valid, 1, count);
    colt5_status status = COLT5_OK;
    if (run->mask) status = colt5_tensor_read(run->session.ctx, &run->mask_tensor, run->valid);
    if (status == COLT5_OK && takes_text(run->layer)) status = leave_out_padding(run, count);
    return status == COLT5_OK ? EXIT_FINE : fail_call(run, status);
}

static bool has_router(const colt5_layer *layer, const char *router)
{
    const size_t length = strlen(router);
    for (size_t i = 0; i < colt5_layer_parameter_count(layer); i++) {
        colt5_parameter parameter;
        if (colt5_layer_parameter(layer, i, &parameter) == COLT5_OK &&
            !strncmp(parameter.name, router, length) &&
            !strcmp(parameter.name + length, ".routing_token"))
            return true;
    }
    return false;
}

/* Routes of a router that the model has not would be passed over in silence. */
static int check_routers(const struct run *run)
{
    for (size_t i = 0; i < colt5_routes_count(run->given); i++) {
        colt5_route route;
        if (colt5_routes_get(run->given, i, &route) != COLT5_OK) return EXIT_INTERNAL;
        if (has_router(run->layer, route.router)) continue;
        complain("%s: the model has no router called %s", run->routes, route.router);
        return EXIT_BAD_INPUT;
    }
    return EXIT_FINE;
}

static int load_routes(struct run *run)
{
    colt5_context *ctx = run->session.ctx;
    colt5_status status = COLT5_OK;
    if (run->routes_output) status = colt5_routes_create(ctx, &run->chosen);
    if (status == COLT5_OK && run->routes) {
        status = colt5_routes_create(ctx, &run->given);
        if (status == COLT5_OK) status = colt5_routes_load(run->given, run->routes);
        if (status == COLT5_OK) return check_routers(run);
    }
    return status == COLT5_OK ? EXIT_FINE : fail_call(run, status);
}

/* ---- the call ---- */

static int forward(struct run *run)
{
    colt5_context *ctx = run->session.ctx;
    const size_t D = colt5_layer_config(run->layer)->dim;
    const size_t dims[] = {run->x.dims[0], run->x.rank > 1 ? run->x.dims[1] : 1, D};
    colt5_status status = colt5_tensor_create(ctx, run->type, 3, dims, &run->y);
    if (status == COLT5_OK)
        status = colt5_layer_forward(ctx, run->layer,
                                     &(colt5_forward){.struct_size = sizeof(colt5_forward),
                                                      .x = &run->x,
                                                      .mask = run->mask ? &run->mask_tensor : NULL,
                                                      .y = &run->y,
                                                      .seed = run->seed,
                                                      .num_heavy_tokens = run->counts,
                                                      .routes = run->given,
                                                      .chosen = run->chosen});
    show_progress("running", 0, 0);
    if (status == COLT5_OK) status = colt5_context_finish(ctx);
    end_progress();
    return status == COLT5_OK ? EXIT_FINE : fail_call(run, status);
}

/* ---- output ---- */

/* Means over the valid rows of each sample, in place: [B][D]; zeros where there are none. */
static void pool_mean(const struct run *run, float *values)
{
    const size_t B = run->y.dims[0], N = run->y.dims[1], D = run->y.dims[2];
    for (size_t b = 0; b < B; b++)
        for (size_t d = 0; d < D; d++) {
            double sum = 0;
            size_t count = 0;
            for (size_t n = 0; n < N; n++) {
                if (!run->valid[b * N + n]) continue;
                sum += values[(b * N + n) * D + d];
                count++;
            }
            values[b * D + d] = (float)(count ? sum / (double)count : 0);
        }
}

static int write_output(const struct run *run, float *values)
{
    colt5_npy array = {.type = COLT5_F32, .rank = 3, .values = values};
    memcpy(array.dims, run->y.dims, sizeof(array.dims));
    if (run->pool) {
        array.rank = 2;
        array.dims[1] = array.dims[2];
    }
    const colt5_status status = colt5_npy_write(run->output, &array);
    if (status != COLT5_OK) return complain_status(NULL, status);
    printf("%s\n", run->output);
    return EXIT_FINE;
}

static double limit_of(const struct run *run)
{
    if (run->rtol > 0) return run->rtol;
    if (run->type != COLT5_F32) return 1e-2;
    return run->math == COLT5_MATH_FAST ? 1e-3 : 2e-6;
}

/* Compares values, [B][N][D] or pooled [B][D], with the expected array. */
static int compare(const struct run *run, const float *values)
{
    colt5_npy want;
    const colt5_status status = colt5_npy_read(run->expect, &want);
    if (status != COLT5_OK) return complain_status(NULL, status);
    const size_t B = run->y.dims[0], N = run->y.dims[1], D = run->y.dims[2];
    const size_t rows = run->pool ? B : B * N;
    const bool same = want.type == COLT5_F32 && want.count == rows * D &&
                      want.rank == (run->pool ? 2 : 3) && want.dims[0] == B;
    if (!same) {
        complain("%s: is not f4 or f8 of the output's shape, %zu x %zu x %zu", run->expect, B, N,
                 D);
        colt5_npy_release(&want);
        return EXIT_BAD_INPUT;
    }
    const struct difference found =
        compare_rows(values, want.values, run->pool ? NULL : run->valid, rows, D);
    colt5_npy_release(&want);
    const double limit = limit_of(run);
    const size_t row = found.worst / D;
    printf("relative error %.3g (limit %.3g); worst element [%zu, %zu, %zu]: %.9g, not %.9g\n",
           found.error, limit, run->pool ? row : row / N, run->pool ? 0 : row % N, found.worst % D,
           found.have, found.want);
    if (found.error <= limit) return EXIT_FINE;
    complain("%s: the result differs", run->expect);
    if (!run->routes && found.rows_off)
        note(
            "%zu rows differ as a whole: tokens with equal scores may have been routed differently "
            "(ties). Inject the routes with --routes to be sure.",
            found.rows_off);
    return EXIT_DIFFERS;
}

static int deliver(struct run *run)
{
    if (run->chosen) {
        const colt5_status status = colt5_routes_save(run->chosen, run->routes_output);
        if (status != COLT5_OK) return fail_call(run, status);
        printf("%s\n", run->routes_output);
    }
    if (!run->output && !run->expect) {
        note("done: [%zu, %zu, %zu]; --output FILE keeps it", run->y.dims[0], run->y.dims[1],
             run->y.dims[2]);
        return EXIT_FINE;
    }
    float *values;
    int code = fetch_floats(run->session.ctx, &run->y, &values);
    if (code != EXIT_FINE) return code;
    if (run->pool) pool_mean(run, values);
    if (run->output) code = write_output(run, values);
    if (code == EXIT_FINE && run->expect) code = compare(run, values);
    free(values);
    return code;
}

static int open_model(struct run *run)
{
    colt5_context_set_math(run->session.ctx, run->math);
    const int code = load_model(run->session.ctx, run->model, run->type, &run->layer);
    if (code != EXIT_FINE) return code;
    return set_counts(&run->set, colt5_layer_config(run->layer)->kind, &run->counts);
}

static int run_all(struct run *run)
{
    static int (*const steps[])(struct run *) = {open_model, load_input, load_routes,
                                                 forward,    find_valid, deliver};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        const int code = steps[i](run);
        if (code != EXIT_FINE) return code;
        if (interrupted()) return EXIT_INTERRUPTED;
    }
    return EXIT_FINE;
}

static void release(struct run *run)
{
    colt5_context *ctx = run->session.ctx;
    if (!ctx) return;
    free(run->valid);
    colt5_routes_destroy(run->given);
    colt5_routes_destroy(run->chosen);
    colt5_tensor_free(ctx, &run->x);
    colt5_tensor_free(ctx, &run->mask_tensor);
    colt5_tensor_free(ctx, &run->y);
    colt5_layer_destroy(run->layer);
}

int run_command(int count, char **arguments)
{
    struct run run = {.type = COLT5_F32};
    const struct option options[] = {
        {"input", OPTION_TEXT, &run.input, "FILE.npy",
         "values [B,N,D], or ids [B,N] for text models"},
        {"text", OPTION_TEXT, &run.text, "FILE", "a text instead, for text models"},
        {"mask", OPTION_TEXT, &run.mask, "FILE.npy", "[B,N], nonzero = real token"},
        {"output", OPTION_TEXT, &run.output, "FILE.npy", "where the result goes"},
        {"pool", OPTION_WORD, &run.pool, "mean", "the mean over the valid tokens, [B,D]"},
        {"seed", OPTION_SEED, &run.seed, "S", "of noise and random routes [0]"},
        {"set", OPTION_LIST, &run.set, "NAME=K", "another number of heavy tokens; may be repeated"},
        {"dtype", OPTION_TYPE, &run.type, "TYPE",
         "of weights and activations: f32 [f32], f16, bf16"},
        {"math", OPTION_MATH, &run.math, "MODE",
         "float32 products: strict [strict], or fast (tf32)"},
        {"routes", OPTION_TEXT, &run.routes, "FILE", "routes to use instead of choosing"},
        {"routes-output", OPTION_TEXT, &run.routes_output, "FILE", "where the routes used go"},
        {"expect", OPTION_TEXT, &run.expect, "FILE.npy", "compares; exit code 5 when it differs"},
        {"rtol", OPTION_REAL, &run.rtol, "R", "the limit of the relative error [by type]"},
        SESSION_OPTIONS(&run.session),
        {NULL},
    };
    struct operands operands;
    int code;
    if (!parse_options(find_command("run"), options, count, arguments, 1, 1, &operands, &code))
        return code;
    if (!run.input == !run.text) {
        complain("run wants either --input FILE.npy or --text FILE");
        return EXIT_USAGE;
    }
    run.model = operands.items[0];
    code = open_session(&run.session);
    if (code == EXIT_FINE) code = run_all(&run);
    release(&run);
    close_session(&run.session);
    return code;
}
