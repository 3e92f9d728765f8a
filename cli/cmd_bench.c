/* SPDX-License-Identifier: MIT */
/* colt5 bench: how long calls take, and what share of the device that is. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "commands.h"

/* Sizes that keep the device busy and a person waiting for seconds only. */
static void choose_sizes(struct bench *bench)
{
    const colt5_device_info *device = colt5_context_device_info(bench->session.ctx);
    bench->cpu = device->kind == COLT5_DEVICE_CPU || device->kind == COLT5_DEVICE_OTHER;
    const bool discrete = device->kind == COLT5_DEVICE_DISCRETE_GPU;
    if (!bench->batch) bench->batch = discrete && !bench->text ? 2 : 1;
    if (bench->seq) return;
    if (bench->text)
        bench->seq = bench->text_bytes / bench->batch;
    else
        bench->seq = discrete ? 32768 : bench->cpu ? (bench->tune ? 2048 : 4096) : 8192;
}

static int measure_all(struct bench *bench, const struct operands *operands)
{
    const size_t layers = operands->count ? operands->count : bench->only.count == 0;
    bench->steps = !bench->no_ceilings + layers * (1 + bench->dense) +
                   (operands->count ? 0 : bench_op_count(bench));
    choose_sizes(bench);
    colt5_context_set_math(bench->session.ctx, bench->math);
    if (bench->tune) return bench_tune(bench);
    int code = bench->no_ceilings ? EXIT_FINE : bench_ceilings(bench);
    if (code == EXIT_FINE && !operands->count) code = bench_ops(bench);
    for (size_t i = 0; i < layers && code == EXIT_FINE; i++)
        code = bench_layer(bench, operands->items[i]);
    end_progress();
    return code;
}

static int write_trace(const struct bench *bench)
{
    const int code = bench->trace ? trace_write(bench->trace, bench->trace_path) : EXIT_FINE;
    /* Not on standard output, where the report goes. */
    if (bench->trace && code == EXIT_FINE) note("%s", bench->trace_path);
    return code;
}

static int open_files(struct bench *bench)
{
    if (bench->trace_path && !(bench->trace = trace_create())) return complain_memory();
    int code = EXIT_FINE;
    if (bench->compare_path) code = read_comparison(bench->compare_path, &bench->others);
    if (code == EXIT_FINE && bench->text_path)
        code = read_text(bench->text_path, &bench->text, &bench->text_bytes);
    return code;
}

static int run_bench(struct bench *bench, const struct operands *operands)
{
    if ((bench->text_path || bench->input_path) && !operands->count) {
        complain("%s", bench->text_path ? "--text wants a text model to read it"
                                        : "--input wants a model to read it");
        return EXIT_USAGE;
    }
    if (bench->input_path && (bench->text_path || bench->batch || bench->seq)) {
        complain("--input says what there is: no --text, --batch or --seq beside it");
        return EXIT_USAGE;
    }
    if ((bench->only.count || bench->tune) && operands->count) {
        complain("%s is for ops; %s is a model", bench->tune ? "--tune" : "--only",
                 operands->items[0]);
        return EXIT_USAGE;
    }
    int code = bench->tune ? bench_check_tune(bench) : bench_check_only(bench);
    if (code == EXIT_FINE) code = open_files(bench);
    if (code == EXIT_FINE) code = open_session(&bench->session);
    if (code == EXIT_FINE) code = measure_all(bench, operands);
    if (bench->tune) return code;
    if (code == EXIT_FINE) code = write_trace(bench);
    if (code == EXIT_FINE) code = bench_report(bench);
    return code;
}

int bench_command(int count, char **arguments)
{
    struct bench bench = {.type = COLT5_F32, .format = "md"};
    const struct option options[] = {
        {"batch", OPTION_COUNT, &bench.batch, "B", "sequences [1; 2 on large GPUs]"},
        {"seq", OPTION_COUNT, &bench.seq, "N", "tokens of each [4096 to 32768 by the device]"},
        {"only", OPTION_LIST, &bench.only, "NAME",
         "this op, or of --tune this constant, alone; may be repeated"},
        {"tune", OPTION_FLAG, &bench.tune, NULL,
         "search for the kernels' constants that are fastest here, and keep them"},
        {"text", OPTION_TEXT, &bench.text_path, "FILE", "a text for text models to read"},
        {"input", OPTION_TEXT, &bench.input_path, "FILE.npy",
         "values [B,N,D] or ids [B,N] for models to read"},
        {"backward", OPTION_FLAG, &bench.backward, NULL,
         "forward and backward of models, and of the ops that have one"},
        {"dtype", OPTION_TYPE, &bench.type, "TYPE",
         "of weights and activations: f32 [f32], f16, bf16; of --tune [f32 and bf16]",
         &bench.type_given},
        {"math", OPTION_MATH, &bench.math, "MODE",
         "float32 products: strict [strict], or fast (tf32)"},
        {"set", OPTION_LIST, &bench.set, "NAME=K",
         "another number of heavy tokens; may be repeated"},
        {"dense", OPTION_FLAG, &bench.dense, NULL,
         "beside each model the same with every token heavy"},
        {"repeat", OPTION_COUNT, &bench.repeat, "R",
         "runs of each, after a warm one [two seconds, 1 to 20]"},
        {"seed", OPTION_SEED, &bench.seed, "S", "of weights, noise and random routes [0]"},
        {"format", OPTION_WORD, &bench.format, "md|csv|json", "of the report [md]"},
        {"compare", OPTION_TEXT, &bench.compare_path, "FILE.json",
         "a report of --format json: how many times as fast each row is now"},
        {"profile", OPTION_TEXT, &bench.trace_path, "FILE.json",
         "a trace of each call, for ui.perfetto.dev"},
        {"no-ceilings", OPTION_FLAG, &bench.no_ceilings, NULL,
         "do not measure what the device can do at most"},
        SESSION_OPTIONS(&bench.session),
        {NULL},
    };
    struct operands operands;
    int code;
    if (!parse_options(find_command("bench"), options, count, arguments, 0, 64, &operands, &code))
        return code;
    code = run_bench(&bench, &operands);
    free(bench.rows);
    free(bench.text);
    free_comparison(bench.others);
    trace_destroy(bench.trace);
    close_session(&bench.session);
    return code;
}
