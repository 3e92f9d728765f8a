/* SPDX-License-Identifier: MIT */
/* colt5 run: a forward of a saved model, and its backward. */
#include <stdlib.h>

#include "commands.h"
#include "run.h"
#include "trace.h"

static int forward(struct run *run)
{
    colt5_context *ctx = run->session.ctx;
    const size_t D = output_width(run->layer);
    const size_t dims[] = {run->x.dims[0], run->x.rank > 1 ? run->x.dims[1] : 1, D};
    colt5_status status = colt5_tensor_create(ctx, run->type, 3, dims, &run->y);
    run->forward = (colt5_forward){.struct_size = sizeof(run->forward),
                                   .x = &run->x,
                                   .mask = run->mask ? &run->mask_tensor : NULL,
                                   .y = &run->y,
                                   .seed = run->seed,
                                   .num_heavy_tokens = run->counts,
                                   .routes = run->given,
                                   .chosen = run->chosen,
                                   .saved = run->saved,
                                   .recompute = run->recompute};
    if (status == COLT5_OK) status = colt5_layer_forward(ctx, run->layer, &run->forward);
    show_progress("running", 0, 0);
    if (status == COLT5_OK) status = colt5_context_finish(ctx);
    end_progress();
    return status == COLT5_OK ? EXIT_FINE : complain_status(run->session.ctx, status);
}

static int open_model(struct run *run)
{
    colt5_context_set_math(run->session.ctx, run->math);
    const int code = load_model(run->session.ctx, run->model, run->type, &run->layer);
    if (code != EXIT_FINE) return code;
    return set_counts(&run->set, colt5_layer_config(run->layer)->kind, &run->counts);
}

static int begin_trace(struct run *run)
{
    if (!run->trace_path) return EXIT_FINE;
    const colt5_status status = colt5_context_set_profiling(run->session.ctx, 1);
    return status == COLT5_OK ? EXIT_FINE : complain_status(run->session.ctx, status);
}

static int end_trace(struct run *run)
{
    if (!run->trace_path) return EXIT_FINE;
    struct trace *trace = trace_create();
    if (!trace) return complain_memory();
    int code = trace_take(trace, run->session.ctx, run->model);
    if (code == EXIT_FINE) code = trace_write(trace, run->trace_path);
    if (code == EXIT_FINE) printf("%s\n", run->trace_path);
    trace_destroy(trace);
    return code;
}

static int run_all(struct run *run)
{
    static int (*const steps[])(struct run *) = {
        open_model,     run_load_input, run_load_routes,      run_load_gradient,
        begin_trace,    forward,        run_backward,         end_trace,
        run_find_valid, run_deliver,    run_deliver_gradients};
    int result = EXIT_FINE;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        /* Once a result is in its place the run ends as one that was not interrupted. */
        if (steps[i] != run_deliver_gradients && interrupted()) return EXIT_INTERRUPTED;
        const int code = steps[i](run);
        if (code == EXIT_DIFFERS)
            result = code; /* the gradients are looked at too */
        else if (code != EXIT_FINE)
            return code;
    }
    return result;
}

static void release(struct run *run)
{
    colt5_context *ctx = run->session.ctx;
    if (!ctx) return;
    run_release_gradients(run);
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
        {"grad", OPTION_TEXT, &run.grad, "FILE.npy", "the gradient sent back, like the output"},
        {"grad-output", OPTION_TEXT, &run.grad_output, "FOLDER", "where the gradients go"},
        {"expect-grad", OPTION_TEXT, &run.expect_grad, "FOLDER",
         "compares them; exit code 5 when one differs"},
        {"grad-rtol", OPTION_REAL, &run.grad_rtol, "R",
         "the limit of each [by type and the folder's tolerance.json]"},
        {"profile", OPTION_TEXT, &run.trace_path, "FILE.json",
         "a trace of the run, for ui.perfetto.dev"},
        {"recompute", OPTION_FLAG, &run.recompute, NULL,
         "keep only the input of each block for the backward"},
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
    if (!run.grad && (run.grad_output || run.expect_grad || run.grad_rtol > 0 || run.recompute)) {
        complain("--grad-output, --expect-grad, --grad-rtol and --recompute want --grad FILE.npy");
        return EXIT_USAGE;
    }
    run.model = operands.items[0];
    code = open_session(&run.session);
    if (code == EXIT_FINE) code = run_all(&run);
    release(&run);
    close_session(&run.session);
    return code;
}
