/* SPDX-License-Identifier: MIT */
/* What colt5 train says while it runs: rows of log.csv, a live line, plain lines, JSON. */
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "report.h"
#include "train.h"

#define SILENCE 10.0 /* seconds without a plain line, at most */

int complain_step(const struct train *train, colt5_status status)
{
    const bool driver = status == COLT5_ERROR_BUILD || status == COLT5_ERROR_OPENCL;
    const int code = complain_failure(train->session.ctx, status);
    return driver && interrupted() ? EXIT_INTERRUPTED : code;
}

static double tokens_per_second(const struct train *train)
{
    const colt5_training_options *options = &train->options;
    const double tokens =
        (double)options->batch * (double)options->seq * (double)options->accumulate;
    return train->pace.step > 0 ? tokens / train->pace.step : NAN;
}

/* A step's time, of late and with all there is to do between steps. */
static void keep_pace(struct pace *pace, uint64_t step)
{
    const double now = seconds_now();
    if (pace->begun == 0) {
        pace->begun = now;
        pace->begun_at = step;
    } else {
        const double took = now - pace->last;
        pace->step = pace->step > 0 ? 0.9 * pace->step + 0.1 * took : took;
    }
    pace->last = now;
}

/* Seconds; NaN where nobody knows yet. */
static double time_left(const struct train *train)
{
    const struct pace *pace = &train->pace;
    const double left = (double)(train->options.steps - train->step);
    if (train->step <= pace->begun_at) return left > 0 ? NAN : 0;
    return left * (pace->last - pace->begun) / (double)(train->step - pace->begun_at);
}

static double memory_held(const struct train *train)
{
    colt5_statistics statistics = {.struct_size = sizeof(statistics)};
    (void)colt5_context_statistics(train->session.ctx, &statistics);
    return (double)(statistics.buffers + statistics.workspace);
}

/* ---- log.csv ---- */

/* The order of train_folder.c's columns. */
static int add_log_row(struct train *train, const colt5_step_report *step, double held_out)
{
    double *cell = train->row;
    *cell++ = (double)step->step;
    *cell++ = step->bits;
    *cell++ = held_out;
    *cell++ = step->learning_rate;
    *cell++ = step->norm;
    *cell++ = step->loss_scale;
    *cell++ = (double)step->skipped;
    *cell++ = tokens_per_second(train);
    for (size_t i = 0; i < colt5_trainer_router_count(train->trainer); i++) {
        colt5_router_report router = {.norm = NAN, .saturated = NAN};
        if (step->step > 0) {
            const colt5_status status = colt5_trainer_router(train->trainer, i, &router);
            if (status != COLT5_OK) return complain_step(train, status);
        }
        *cell++ = router.norm;
        *cell++ = router.saturated;
    }
    return add_row(&train->log, train->row);
}

/* ---- lines ---- */

static void print_time(char *text, size_t size, double seconds)
{
    const long whole = (long)(seconds + 0.5);
    if (isnan(seconds))
        snprintf(text, size, "?");
    else if (whole >= 3600)
        snprintf(text, size, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(text, size, "%ld:%02ld", whole / 60, whole % 60);
}

static void print_line(const struct train *train, const colt5_step_report *step, char *text,
                       size_t size)
{
    char left[32], held_out[32] = "-";
    print_time(left, sizeof(left), time_left(train));
    if (!isnan(train->held_out)) snprintf(held_out, sizeof(held_out), "%.3f", train->held_out);
    snprintf(text, size,
             "step %llu/%zu  training %.3f, held out %s bits/byte  %.0f tokens/s  %s  %s left",
             (unsigned long long)step->step, train->options.steps, step->bits, held_out,
             isnan(tokens_per_second(train)) ? 0 : tokens_per_second(train),
             human_bytes(memory_held(train)), left);
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *routers_json(const struct train *train)
{
    const size_t routers = colt5_trainer_router_count(train->trainer);
    const double *cell = train->row + train->log.columns - 2 * routers;
    json_t *list = json_array();
    for (size_t i = 0; i < routers; i++, cell += 2)
        json_array_append_new(list, json_pack("{s:s, s:o, s:o}", "router",
                                              colt5_trainer_router_name(train->trainer, i), "norm",
                                              number_or_null(cell[0]), "saturated",
                                              number_or_null(cell[1])));
    return list;
}

static void print_step_json(const struct train *train, const colt5_step_report *step,
                            double held_out)
{
    json_t *line = json_pack(
        "{s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:I, s:o, s:o, s:o, s:o}", "step",
        (json_int_t)step->step, "steps", (json_int_t)train->options.steps, "training_bits",
        number_or_null(step->bits), "held_out_bits", number_or_null(held_out), "learning_rate",
        number_or_null(step->learning_rate), "norm", number_or_null(step->norm), "loss_scale",
        number_or_null(step->loss_scale), "skipped", (json_int_t)step->skipped, "tokens_per_second",
        number_or_null(tokens_per_second(train)), "memory", number_or_null(memory_held(train)),
        "seconds_left", number_or_null(time_left(train)), "routers", routers_json(train));
    json_dumpf(line, stderr, JSON_COMPACT);
    fputc('\n', stderr);
    json_decref(line);
}

static void show_step(struct train *train, const colt5_step_report *step, double held_out)
{
    const struct report_style style = report_style();
    const double now = seconds_now();
    const bool last = step->step == train->options.steps;
    char text[256];
    if (style.quiet) return;
    if (style.json) {
        print_step_json(train, step, held_out);
        return;
    }
    const bool terminal = isatty(STDERR_FILENO);
    const double pause = terminal ? 0.1 : SILENCE;
    if (now - train->pace.told < pause && !last && (terminal || isnan(held_out))) return;
    train->pace.told = now;
    print_line(train, step, text, sizeof(text));
    if (terminal && !last)
        show_live(text);
    else
        note("%s", text);
}

int report_step(struct train *train, const colt5_step_report *step, double held_out)
{
    if (step->step > 0) keep_pace(&train->pace, step->step);
    if (!isnan(held_out)) train->held_out = held_out;
    const int code = add_log_row(train, step, held_out);
    if (code != EXIT_FINE) return code;
    if (step->step > 0 && step->outcome == COLT5_STEP_SKIPPED)
        note("step %llu: skipped, its gradients are not finite at the loss scale %g; the next has "
             "%g (%llu skipped so far)",
             (unsigned long long)step->step, step->loss_scale, step->loss_scale / 2,
             (unsigned long long)step->skipped);
    if (step->step > 0) show_step(train, step, held_out);
    return EXIT_FINE;
}

void report_start(const struct train *train)
{
    const colt5_data_info *data = colt5_data_describe(train->data);
    note("data: %zu %s, %s for training, %s held out; byte frequencies score %.3f bits per hidden "
         "byte",
         data->file_count, data->file_count == 1 ? "file" : "files",
         human_bytes((double)data->training_bytes), human_bytes((double)data->held_out_bytes),
         data->baseline_bits);
}
