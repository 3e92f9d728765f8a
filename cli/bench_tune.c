/* SPDX-License-Identifier: MIT */
/*
 * colt5 bench --tune: one tunable after the other, every choice of it. The session's context runs
 * nothing: it holds what was chosen so far, and is what is saved. Choices run in contexts of their
 * own over the same queue.
 */
#include <stdlib.h>
#include <string.h>

#include "bench_tune.h"

/* What came of a tunable. */
struct outcome {
    colt5_tunable tunable;
    int chosen;
    double ratio; /* how many times as fast as the standard; 1 where that was kept */
};

struct tune {
    struct bench *bench;
    struct bench of_type[COLT5_BF16 + 1]; /* as bench, with another type */
    struct tune_call calls[TUNE_CALLS];   /* of the tunable at hand */
    size_t call_count;
    struct outcome *outcomes;
    size_t outcome_count, done, steps;
    char path[4096];
};

/* ---- contexts ---- */

static colt5_tunable tunable_at(const struct tune *tune, size_t i)
{
    colt5_tunable tunable = {.struct_size = sizeof(tunable)};
    (void)colt5_tunable_get(tune->bench->session.ctx, i, &tunable);
    return tunable;
}

/* A context with everything that was chosen so far, but for one tunable this value; NULL after a
 * message. */
static colt5_context *open_context(struct tune *tune, const colt5_tunable *tunable, int value)
{
    struct session *session = &tune->bench->session;
    colt5_context *own = session->ctx, *ctx;
    colt5_status status = colt5_context_create_from_cl(
        colt5_context_cl(own), colt5_context_device(own), colt5_context_queue(own), &ctx);
    if (status != COLT5_OK) {
        complain_status(NULL, status);
        return NULL;
    }
    obey_signals(session, ctx);
    colt5_context_set_math(ctx, tune->bench->math);
    for (size_t i = 0; i < colt5_tunable_count(); i++) {
        const colt5_tunable other = tunable_at(tune, i);
        const bool is_it = !strcmp(other.name, tunable->name);
        const int wanted = is_it ? value : other.value;
        (void)colt5_tunable_set(ctx, other.name, wanted == other.standard ? 0 : wanted);
    }
    return ctx;
}

/* ---- the ops of a tunable ---- */

static const struct op *find_op(const char *name, size_t length)
{
    static const char suffix[] = "_backward";
    const size_t tail = sizeof(suffix) - 1;
    const bool back = length > tail && !strncmp(name + length - tail, suffix, tail);
    if (back) length -= tail;
    for (const struct op *op = back ? backward_ops : forward_ops; op->name; op++)
        if (strlen(op->name) == length && !strncmp(op->name, name, length)) return op;
    return NULL;
}

static int open_call(struct tune *tune, const struct op *op, colt5_type type)
{
    struct tune_call *call = &tune->calls[tune->call_count++];
    struct bench *bench = &tune->of_type[type];
    memset(call, 0, sizeof(*call));
    return open_op(bench, op, bench->seq, routed_of(bench), &call->call);
}

static bool wants_type(const struct tune *tune, const colt5_tunable *tunable, colt5_type type)
{
    const bool asked = tune->bench->type_given ? type == tune->bench->type : type != COLT5_F16;
    return asked && (tunable->types >> type & 1);
}

static int open_calls(struct tune *tune, const colt5_tunable *tunable)
{
    int code = EXIT_FINE;
    for (const char *name = tunable->ops; *name && code == EXIT_FINE;) {
        const size_t length = strcspn(name, " ");
        const struct op *op = find_op(name, length);
        for (colt5_type type = COLT5_F32; op && type <= COLT5_BF16 && code == EXIT_FINE; type++)
            if (tune->call_count < TUNE_CALLS && wants_type(tune, tunable, type))
                code = open_call(tune, op, type);
        name += length + strspn(name + length, " ");
    }
    return code;
}

static void close_calls(struct tune *tune)
{
    while (tune->call_count > 0) tune_forget(&tune->calls[--tune->call_count]);
}

/* ---- the search ---- */

/* That this choice gives what the standard one gives. Not to run at all is an answer too; a lost
 * device or a signal is the end. */
static int check_choice(struct tune *tune, colt5_context *ctx, const colt5_tunable *tunable,
                        int value, bool *works)
{
    *works = true;
    for (size_t i = 0; i < tune->call_count && *works; i++) {
        colt5_status status;
        const int code = tune_check(ctx, &tune->calls[i], &status, works);
        if (code != EXIT_FINE) return code;
        if (status == COLT5_CANCELLED || status == COLT5_ERROR_LOST)
            return complain_status(ctx, status);
        if (status == COLT5_OK && *works) continue;
        note("%s = %d: %s", tunable->name, value,
             status == COLT5_OK ? "gives other results; it is left out" : colt5_message(ctx));
        *works = false;
    }
    return EXIT_FINE;
}

/* The best so far: a context, and its value. */
struct best {
    colt5_context *ctx;
    int value;
};

static int try_choice(struct tune *tune, const colt5_tunable *tunable, int value, struct best *best)
{
    char text[80];
    struct tune_result result = {.works = false};
    colt5_context *ctx = open_context(tune, tunable, value);
    if (!ctx) return EXIT_INTERNAL;
    snprintf(text, sizeof(text), "%s = %d", tunable->name, value);
    show_progress(text, tune->done++, tune->steps);
    int code = check_choice(tune, ctx, tunable, value, &result.works);
    if (code == EXIT_FINE && result.works)
        code = tune_race(best->ctx, ctx, tune->calls, tune->call_count, &result);
    if (code == EXIT_FINE && result.works) note("%s: %.2f times as fast", text, result.ratio);
    const bool better =
        code == EXIT_FINE && result.works && !result.slower && result.ratio > 1 + TUNE_MARGIN;
    if (better) {
        colt5_context *loser = best->ctx;
        *best = (struct best){ctx, value};
        ctx = loser;
    }
    colt5_context_destroy(ctx);
    return code;
}

/* Once more beside the standard: what won by chance does not win again. */
static int confirm(struct tune *tune, const colt5_tunable *tunable, struct best *best,
                   struct outcome *outcome)
{
    if (best->value == tunable->standard) return EXIT_FINE;
    struct tune_result result;
    colt5_context *standard = open_context(tune, tunable, 0);
    if (!standard) return EXIT_INTERNAL;
    bool works;
    int code = check_choice(tune, standard, tunable, 0, &works); /* kernels are built then */
    if (code == EXIT_FINE)
        code = tune_race(standard, best->ctx, tune->calls, tune->call_count, &result);
    colt5_context_destroy(standard);
    if (code != EXIT_FINE || result.slower || result.ratio < 1 + TUNE_MARGIN) return code;
    outcome->chosen = best->value;
    outcome->ratio = result.ratio;
    return EXIT_FINE;
}

static int search(struct tune *tune, const colt5_tunable *tunable, struct outcome *outcome)
{
    struct best best = {open_context(tune, tunable, 0), tunable->standard};
    int code = best.ctx ? open_calls(tune, tunable) : EXIT_INTERNAL;
    for (size_t i = 0; i < tune->call_count && code == EXIT_FINE; i++)
        code = tune_keep(best.ctx, &tune->calls[i]);
    for (const int *choice = tunable->choices; *choice && code == EXIT_FINE; choice++)
        if (*choice != tunable->standard) code = try_choice(tune, tunable, *choice, &best);
    if (code == EXIT_FINE) code = confirm(tune, tunable, &best, outcome);
    colt5_context_destroy(best.ctx);
    close_calls(tune);
    return code;
}

static int save(struct tune *tune)
{
    colt5_context *ctx = tune->bench->session.ctx;
    const colt5_status status = colt5_tuning_save(ctx, tune->path, sizeof(tune->path));
    return status == COLT5_OK ? EXIT_FINE : complain_failure(ctx, status);
}

/* Kept at once, so that whatever ends the search leaves it. */
static int tune_one(struct tune *tune, const colt5_tunable *tunable)
{
    colt5_context *ctx = tune->bench->session.ctx;
    struct outcome outcome = {*tunable, tunable->standard, 1};
    const int code = search(tune, tunable, &outcome);
    if (code != EXIT_FINE) return code;
    (void)colt5_tunable_set(ctx, tunable->name,
                            outcome.chosen == tunable->standard ? 0 : outcome.chosen);
    tune->outcomes[tune->outcome_count++] = outcome;
    return save(tune);
}

/* ---- what is asked for, and the report ---- */

static bool is_searched(const struct tune *tune, const colt5_tunable *tunable)
{
    const struct list *only = &tune->bench->only;
    bool wanted = only->count == 0, types = false;
    for (size_t i = 0; i < only->count; i++)
        wanted = wanted || !strcmp(only->items[i], tunable->name);
    for (colt5_type type = COLT5_F32; type <= COLT5_BF16; type++)
        types = types || wants_type(tune, tunable, type);
    return wanted && types && tunable->matters;
}

static size_t steps_of(const colt5_tunable *tunable)
{
    size_t steps = 0;
    for (const int *choice = tunable->choices; *choice; choice++)
        steps += *choice != tunable->standard;
    return steps;
}

static const char *number_of(int value, char text[16])
{
    snprintf(text, 16, value ? "%d" : "by size", value);
    return text;
}

static void report(const struct tune *tune)
{
    char a[16], b[16];
    printf("\n| name | standard | chosen | times as fast | what it is |\n|---|---|---|---|---|\n");
    for (size_t i = 0; i < tune->outcome_count; i++) {
        const struct outcome *o = &tune->outcomes[i];
        const bool changed = o->chosen != o->tunable.standard;
        printf("| %s | %s | %s | ", o->tunable.name, number_of(o->tunable.standard, a),
               changed ? number_of(o->chosen, b) : "-");
        if (changed)
            printf("%.2f", o->ratio);
        else
            printf("-");
        printf(" | %s |\n", o->tunable.about);
    }
    printf("\n%s\n", tune->path);
}

static int tune_all(struct tune *tune)
{
    int code = save(tune); /* what cannot be kept is not searched for */
    const size_t count = colt5_tunable_count();
    for (size_t i = 0; i < count; i++) {
        const colt5_tunable tunable = tunable_at(tune, i);
        if (is_searched(tune, &tunable)) tune->steps += steps_of(&tunable);
    }
    if (code == EXIT_FINE && !tune->steps) note("nothing to tune in this type on this device");
    for (size_t i = 0; i < count && code == EXIT_FINE; i++) {
        const colt5_tunable tunable = tunable_at(tune, i);
        if (is_searched(tune, &tunable)) code = tune_one(tune, &tunable);
    }
    end_progress();
    if (tune->path[0]) report(tune);
    return code;
}

int bench_check_tune(const struct bench *bench)
{
    if (bench->backward || bench->compare_path || bench->trace_path || bench->text_path ||
        bench->input_path || bench->dense || bench->set.count || bench->repeat ||
        strcmp(bench->format, "md")) {
        complain("--tune has beside it --only, --batch, --seq, --dtype and --math alone");
        return EXIT_USAGE;
    }
    return EXIT_FINE;
}

int bench_tune(struct bench *bench)
{
    for (size_t i = 0; i < bench->only.count; i++) {
        colt5_tunable tunable = {.struct_size = sizeof(tunable)};
        size_t at = 0;
        while (colt5_tunable_get(bench->session.ctx, at, &tunable) == COLT5_OK &&
               strcmp(tunable.name, bench->only.items[i]))
            at++;
        if (at < colt5_tunable_count()) continue;
        complain("--only is \"%s\", no tunable", bench->only.items[i]);
        return EXIT_USAGE;
    }
    struct tune *tune = calloc(1, sizeof(*tune));
    struct outcome *outcomes = calloc(colt5_tunable_count(), sizeof(*outcomes));
    int code = EXIT_FINE;
    if (tune && outcomes) {
        *tune = (struct tune){.bench = bench, .outcomes = outcomes};
        for (colt5_type type = COLT5_F32; type <= COLT5_BF16; type++) {
            tune->of_type[type] = *bench;
            tune->of_type[type].type = type;
        }
        code = tune_all(tune);
    } else {
        code = complain_memory();
    }
    free(outcomes);
    free(tune);
    return code;
}
