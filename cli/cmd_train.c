/* SPDX-License-Identifier: MIT */
/* colt5 train: trains a text model on any files. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "commands.h"
#include "train.h"

/* ---- memory ---- */

/* Whether a training with these options would fit, and what it takes. */
static bool fits(const struct train *train, const colt5_training_options *options, double *bytes)
{
    colt5_training_memory memory;
    const colt5_context *ctx = train->session.ctx;
    if (colt5_training_plan(train->session.ctx, train->layer, options, &memory) != COLT5_OK)
        return false;
    *bytes = (double)memory.total;
    return memory.total <= colt5_context_device_info(ctx)->memory;
}

/* The same windows a step in smaller batches; false where there is no smaller one. */
static bool smaller_batch(colt5_training_options *options)
{
    size_t batch = options->batch;
    const size_t windows = batch * options->accumulate;
    if (batch == 1) return false;
    for (batch--; options->batch % batch != 0;) batch--;
    options->batch = batch;
    options->accumulate = windows / batch;
    return options->accumulate <= 65536;
}

/* Which option makes it fit: first those that change nothing but the time it takes. */
static void advise(const struct train *train)
{
    double bytes;
    for (int recompute = train->options.recompute; recompute < 2; recompute++) {
        colt5_training_options options = train->options;
        options.recompute = recompute;
        do {
            if (!fits(train, &options, &bytes)) continue;
            fprintf(stderr, "with%s", recompute > train->options.recompute ? " --recompute" : "");
            if (options.batch != train->options.batch)
                fprintf(stderr, " --batch %zu --accumulate %zu", options.batch, options.accumulate);
            fprintf(stderr, " it takes %s\n", human_bytes(bytes));
            return;
        } while (smaller_batch(&options));
    }
    fputs("a smaller --seq, or a config with a smaller dim or depth, takes less\n", stderr);
}

/* ---- getting ready ---- */

static int make_layer(struct train *train)
{
    colt5_context *ctx = train->session.ctx;
    colt5_status status =
        colt5_layer_create(ctx, &train->model, train->options.dtype, &train->layer);
    if (status == COLT5_OK && !train->checkpoint)
        status = colt5_layer_initialise(train->layer, train->options.seed);
    return status == COLT5_OK ? EXIT_FINE : complain_status(train->session.ctx, status);
}

static int make_trainer(struct train *train)
{
    colt5_context *ctx = train->session.ctx;
    colt5_status status =
        colt5_trainer_create(ctx, train->layer, train->data, &train->options, &train->trainer);
    if (status == COLT5_ERROR_MEMORY && !interrupted()) {
        complain("%s", colt5_message(ctx));
        advise(train);
        return EXIT_NO_MEMORY;
    }
    if (status == COLT5_OK && train->checkpoint)
        status = colt5_trainer_resume(train->trainer, train->checkpoint);
    return status == COLT5_OK ? EXIT_FINE : complain_status(train->session.ctx, status);
}

static int open_data(struct train *train)
{
    const colt5_status status =
        colt5_data_open(train->session.ctx, (const char *const *)train->paths, train->path_count,
                        &train->options, &train->data);
    end_progress();
    return status == COLT5_OK ? EXIT_FINE : complain_status(train->session.ctx, status);
}

/* ---- training ---- */

static int evaluate(struct train *train, double *bits)
{
    const colt5_status status = colt5_trainer_evaluate(train->trainer, bits);
    return status == COLT5_OK ? EXIT_FINE : complain_step(train, status);
}

/* The state before the first step: from then on the folder can be gone on with. */
static int begin(struct train *train)
{
    colt5_step_report none = {.bits = NAN, .learning_rate = NAN, .norm = NAN, .loss_scale = NAN};
    double bits;
    const colt5_status status = colt5_trainer_save(train->trainer, train->folder);
    if (status != COLT5_OK) return complain_step(train, status);
    int code = lock_folder(train);
    if (code == EXIT_FINE) code = open_training_log(train, -1);
    if (code == EXIT_FINE) code = save_all(train);
    if (code == EXIT_FINE) code = evaluate(train, &bits);
    if (code == EXIT_FINE) code = report_step(train, &none, bits);
    return code == EXIT_FINE ? save_picture(train) : code;
}

static int stop_at(const struct train *train, const colt5_step_report *step)
{
    complain("step %llu: %s: training stopped; %s/checkpoints/%llu is the last good checkpoint",
             (unsigned long long)step->step,
             isfinite(step->loss) ? "the gradients are not finite" : "the loss is not finite",
             train->folder, (unsigned long long)train->checkpoint_step);
    fputs("a smaller --lr, or --dtype bf16 in place of f16, may help\n", stderr);
    return EXIT_BAD_INPUT;
}

/* One step and what is due after it. */
static int advance(struct train *train)
{
    const colt5_training_options *options = &train->options;
    colt5_step_report step;
    const colt5_status status = colt5_trainer_step(train->trainer, &step);
    if (status != COLT5_OK) return complain_step(train, status);
    if (step.outcome == COLT5_STEP_FAILED) return stop_at(train, &step);
    train->step = step.step;
    const bool last = step.step == options->steps;
    double bits = NAN;
    int code = EXIT_FINE;
    if (last || step.step % options->evaluate_every == 0) code = evaluate(train, &bits);
    if (code == EXIT_FINE) code = report_step(train, &step, bits);
    const bool due = last || step.step % options->checkpoint_every == 0 || interrupted();
    if (code == EXIT_FINE && due) code = save_all(train);
    return code;
}

static void list_files(const struct train *train)
{
    printf("%s/config.json\n%s/model.safetensors\n%s/log.csv\n", train->folder, train->folder,
           train->folder);
    if (!train->no_picture) printf("%s/loss.png\n", train->folder);
    printf("%s/checkpoints/%llu\n", train->folder, (unsigned long long)train->checkpoint_step);
}

static int run_steps(struct train *train)
{
    int code = EXIT_FINE;
    while (code == EXIT_FINE && train->step < train->options.steps && !interrupted())
        code = advance(train);
    end_progress();
    if (code == EXIT_FINE) list_files(train);
    if (train->step < train->options.steps)
        fprintf(stderr, "`colt5 train --resume %s` goes on from step %llu of %zu\n", train->folder,
                (unsigned long long)train->checkpoint_step, train->options.steps);
    return code == EXIT_FINE && train->step < train->options.steps ? EXIT_INTERRUPTED : code;
}

static int train_model(struct train *train)
{
    int code = EXIT_FINE;
    if (train->given.resume) code = lock_folder(train);
    if (code == EXIT_FINE && train->given.resume) code = settle_resumed(train);
    if (code == EXIT_FINE && train->checkpoint && train->step == train->options.steps) {
        note("%s: all %zu steps are done; --steps adds more", train->folder, train->options.steps);
        return EXIT_FINE;
    }
    if (code == EXIT_FINE) code = open_data(train);
    if (code == EXIT_FINE) code = make_layer(train);
    if (code == EXIT_FINE) code = make_trainer(train);
    if (code != EXIT_FINE) return code;
    if (interrupted()) return EXIT_INTERRUPTED;
    report_start(train);
    train->session.finish_calls = true;
    code = train->step > 0 ? open_training_log(train, (double)train->step) : begin(train);
    return code == EXIT_FINE ? run_steps(train) : code;
}

static void release(struct train *train)
{
    close_log(&train->log);
    free(train->columns);
    free(train->column_names);
    free(train->row);
    for (size_t i = 0; i < train->path_count; i++) free(train->paths[i]);
    free(train->paths);
    if (train->lock) close(train->lock);
    if (!train->session.ctx) return;
    colt5_trainer_destroy(train->trainer);
    colt5_data_close(train->data);
    colt5_layer_destroy(train->layer);
    colt5_checkpoint_close(train->checkpoint);
    close_session(&train->session);
}

/* ---- options ---- */

/* With --resume the checkpoint says everything else. */
static int check_resume(const struct option *options, const struct operands *operands)
{
    for (; options->name; options++)
        if (options->given && *options->given) {
            complain("--resume goes on as before and takes no --%s; only --steps and --device may "
                     "be added",
                     options->name);
            return EXIT_USAGE;
        }
    if (operands->count == 0) return EXIT_FINE;
    complain("--resume goes on with the same data and takes no %s", operands->items[0]);
    return EXIT_USAGE;
}

static int check_new(const struct train_options *given)
{
    const char *wrong = NULL;
    if (given->preset && given->config)
        wrong = "takes --preset or --config, not both";
    else if (!given->preset && !given->config)
        wrong = "wants --preset NAME or --config FILE, or --resume DIR";
    else if (given->data.count == 0)
        wrong = "wants --data FILE, once or more";
    else if (!given->output)
        wrong = "wants --output DIR";
    if (wrong) complain("train %s", wrong);
    return wrong ? EXIT_USAGE : EXIT_FINE;
}

int train_command(int count, char **arguments)
{
    struct train train = {.given = {.learning_rate = NAN}, .held_out = NAN};
    struct train_options *given = &train.given;
    bool other[11] = {false}; /* options that --resume does not take */
    const struct option options[] = {
        {"preset", OPTION_TEXT, &given->preset, "NAME", "tiny (CPU, minutes) or small (GPU)",
         &other[0]},
        {"config", OPTION_TEXT, &given->config, "FILE", "model and training as JSON instead",
         &other[1]},
        {"data", OPTION_LIST, &given->data, "FILE", "what to train on; more may follow it",
         &other[2]},
        {"output", OPTION_TEXT, &given->output, "DIR", "the folder to make", &other[3]},
        {"resume", OPTION_TEXT, &given->resume, "DIR", "goes on with a training"},
        {"steps", OPTION_COUNT, &given->steps, "N", "steps in all"},
        {"batch", OPTION_COUNT, &given->batch, "B", "windows at once", &other[4]},
        {"seq", OPTION_COUNT, &given->seq, "N", "bytes of a window", &other[5]},
        {"accumulate", OPTION_COUNT, &given->accumulate, "M", "batches of a step", &other[6]},
        {"lr", OPTION_REAL, &given->learning_rate, "RATE", "the learning rate at its highest",
         &other[7]},
        {"seed", OPTION_SEED, &given->seed, "S", "of weights, data and noise", &given->seed_given},
        {"dtype", OPTION_TYPE, &given->dtype, "TYPE", "of weights and activations: f32, f16, bf16",
         &given->dtype_given},
        {"math", OPTION_MATH, &given->math, "MODE", "float32 products: strict, or fast (tf32)",
         &given->math_given},
        {"recompute", OPTION_FLAG, &given->recompute, NULL,
         "activations once more in the backward: less memory", &other[8]},
        {"eval-every", OPTION_COUNT, &given->evaluate_every, "N",
         "steps between looks at the held-out part", &other[9]},
        {"checkpoint-every", OPTION_COUNT, &given->checkpoint_every, "N",
         "steps between checkpoints", &other[10]},
        SESSION_OPTIONS(&train.session),
        {NULL},
    };
    static struct operands operands;
    int code;
    if (!parse_options(find_command("train"), options, count, arguments, 0, 1024, &operands, &code))
        return code;
    train.folder = given->resume ? given->resume : given->output;
    code = given->resume ? check_resume(options, &operands) : check_new(given);
    if (code == EXIT_FINE && !given->resume) code = check_folder(train.folder);
    if (code == EXIT_FINE && !given->resume) code = settle_new(&train, &operands);
    if (code == EXIT_FINE) code = open_session(&train.session);
    if (code == EXIT_FINE) code = train_model(&train);
    release(&train);
    return code;
}
