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
        bench->seq = discrete ? 32768 : bench->cpu ? 4096 : 8192;
}

static int measure_all(struct bench *bench, const struct operands *operands)
{
    const bool shares = !strcmp(bench->format, "md");
    const size_t layers = operands->count ? operands->count : 1;
    bench->steps = shares + layers * (1 + bench->dense) + (operands->count ? 0 : bench_op_count());
    choose_sizes(bench);
    colt5_context_set_math(bench->session.ctx, bench->math);
    int code = shares ? bench_ceilings(bench) : EXIT_FINE;
    if (code == EXIT_FINE && !operands->count) code = bench_ops(bench);
    for (size_t i = 0; i < layers && code == EXIT_FINE; i++)
        code = bench_layer(bench, operands->items[i]);
    end_progress();
    return code;
}

static int run_bench(struct bench *bench, const struct operands *operands)
{
    int code = EXIT_FINE;
    if (bench->text_path && !operands->count) {
        complain("--text wants a text model to read it");
        return EXIT_USAGE;
    }
    if (bench->text_path) code = read_text(bench->text_path, &bench->text, &bench->text_bytes);
    if (code == EXIT_FINE) code = open_session(&bench->session);
    if (code == EXIT_FINE) code = measure_all(bench, operands);
    if (code == EXIT_FINE) code = bench_report(bench);
    return code;
}

int bench_command(int count, char **arguments)
{
    struct bench bench = {.type = COLT5_F32, .format = "md"};
    const struct option options[] = {
        {"batch", OPTION_COUNT, &bench.batch, "B", "sequences [1; 2 on large GPUs]"},
        {"seq", OPTION_COUNT, &bench.seq, "N", "tokens of each [4096 to 32768 by the device]"},
        {"text", OPTION_TEXT, &bench.text_path, "FILE", "a text for text models to read"},
        {"dtype", OPTION_TYPE, &bench.type, "TYPE",
         "of weights and activations: f32 [f32], f16, bf16"},
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
    close_session(&bench.session);
    return code;
}
