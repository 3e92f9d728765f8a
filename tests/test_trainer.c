/* SPDX-License-Identifier: MIT */
/* Steps of training: repeated and resumed to the bit, added up, skipped, stopped. */
#include "support/files.h"

#include <stdio.h>

#include <colt5/train.h>

#include "train/trainer.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- a little training ---- */

/* Router settings under which scores stay below 1. */
static colt5_config little_model(void)
{
    colt5_config config = colt5_config_default(COLT5_MASKED_LANGUAGE_MODEL);
    config.dim = 16;
    config.depth = 2;
    config.num_heavy_tokens_ff = config.num_heavy_tokens_q = config.num_heavy_tokens_kv = 8;
    config.light_heads = config.heavy_heads = 2;
    config.light_dim_head = config.heavy_dim_head = 8;
    config.light_window_size = 8;
    config.router.eps = config.router.eps_init = 2;
    return config;
}

static colt5_training_options little_options(colt5_type type)
{
    colt5_training_options options = colt5_training_options_default();
    options.steps = 100;
    options.seq = 32;
    options.batch = 2;
    options.learning_rate = 0.01;
    options.warmup_steps = 2;
    options.seed = 7;
    options.held_out_windows = 3;
    options.dtype = type;
    return options;
}

struct training {
    colt5_layer *layer;
    colt5_data *data;
    colt5_trainer *trainer;
};

/* Letters that depend on those before them. */
static const char *put_text(void)
{
    static char text[3000];
    for (size_t i = 0; i < sizeof(text); i++) text[i] = (char)('a' + (i * i / 7 + i) % 13);
    return put_file("text", text, sizeof(text));
}

static struct training begin_with(const colt5_config *config, const colt5_training_options *options)
{
    struct training t = {.layer = NULL};
    const char *path = put_text();
    ck_assert_ok(colt5_data_open(ctx, &path, 1, options, &t.data));
    ck_assert_ok(colt5_layer_create(ctx, config, options->dtype, &t.layer));
    ck_assert_ok(colt5_layer_initialise(t.layer, options->seed));
    ck_assert_ok(colt5_trainer_create(ctx, t.layer, t.data, options, &t.trainer));
    return t;
}

static struct training begin(const colt5_training_options *options)
{
    const colt5_config config = little_model();
    return begin_with(&config, options);
}

static void end(struct training *t)
{
    colt5_trainer_destroy(t->trainer);
    colt5_data_close(t->data);
    colt5_layer_destroy(t->layer);
    *t = (struct training){.layer = NULL};
}

static colt5_step_report step(struct training *t)
{
    colt5_step_report report;
    ck_assert_ok(colt5_trainer_step(t->trainer, &report));
    return report;
}

static colt5_step_report steps(struct training *t, int count)
{
    colt5_step_report report = {.step = 0};
    for (int i = 0; i < count; i++) {
        report = step(t);
        ck_assert_int_eq(report.outcome, COLT5_STEP_TAKEN);
    }
    return report;
}

/* All bytes of a tensor; the caller frees them. */
static void *bits_of(const colt5_tensor *tensor, size_t *bytes)
{
    *bytes = colt5_tensor_count(tensor) * colt5_type_size(tensor->type);
    void *bits = malloc(*bytes);
    ck_assert_ok(colt5_tensor_read(ctx, tensor, bits));
    return bits;
}

static bool same_bits(const colt5_tensor *a, const colt5_tensor *b)
{
    size_t bytes, other;
    void *x = bits_of(a, &bytes), *y = bits_of(b, &other);
    const bool same = bytes == other && !memcmp(x, y, bytes);
    free(x), free(y);
    return same;
}

static void assert_same(const struct training *a, const struct training *b)
{
    for (size_t i = 0; i < a->trainer->count; i++) {
        const struct trained *x = &a->trainer->parameters[i], *y = &b->trainer->parameters[i];
        ck_assert_msg(same_bits(&x->weight, &y->weight), "%s differs", x->name);
        ck_assert_msg(same_bits(&x->m, &y->m) && same_bits(&x->v, &y->v), "%s: m or v", x->name);
        if (x->master.buffer)
            ck_assert_msg(same_bits(&x->master, &y->master), "%s: master", x->name);
    }
    ck_assert_uint_eq(a->trainer->step, b->trainer->step);
    ck_assert_uint_eq(a->trainer->updates, b->trainer->updates);
}

/* A weight by its name. */
static const colt5_tensor *weight(const struct training *t, const char *name)
{
    for (size_t i = 0; i < t->trainer->count; i++)
        if (!strcmp(t->trainer->parameters[i].name, name)) return &t->trainer->parameters[i].weight;
    ck_abort_msg("there is no %s", name);
}

/* ---- to the bit ---- */

START_TEST(steps_repeat_to_the_bit)
{
    const colt5_training_options options = little_options(COLT5_F32);
    struct training a = begin(&options), b = begin(&options);
    for (int i = 0; i < 100; i++) {
        const colt5_step_report x = step(&a), y = step(&b);
        ck_assert(x.loss == y.loss && x.norm == y.norm && x.outcome == y.outcome);
    }
    assert_same(&a, &b);
    end(&a), end(&b);
}
END_TEST

START_TEST(resumed_is_straight_on)
{
    const colt5_training_options options = little_options(storage_types[_i]);
    struct training straight = begin(&options), parts = begin(&options);
    colt5_checkpoint *checkpoint;
    double x, y;
    steps(&straight, 5);
    steps(&parts, 2);
    ck_assert_ok(colt5_trainer_evaluate(parts.trainer, &x)); /* changes nothing */
    ck_assert_ok(colt5_trainer_save(parts.trainer, in_folder("run")));
    end(&parts);

    parts = begin(&options);
    step(&parts); /* to be forgotten */
    ck_assert_ok(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint));
    ck_assert_ok(colt5_trainer_resume(parts.trainer, checkpoint));
    colt5_checkpoint_close(checkpoint);
    ck_assert_uint_eq(steps(&parts, 3).step, 5);
    assert_same(&straight, &parts);
    ck_assert_ok(colt5_trainer_evaluate(straight.trainer, &x));
    ck_assert_ok(colt5_trainer_evaluate(parts.trainer, &y));
    ck_assert(x == y);
    end(&straight), end(&parts);
}
END_TEST

START_TEST(other_data_is_not_gone_on_with)
{
    colt5_training_options options = little_options(COLT5_F32);
    struct training t = begin(&options);
    colt5_checkpoint *checkpoint;
    ck_assert_ok(colt5_trainer_save(t.trainer, in_folder("run")));
    ck_assert_ok(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint));
    colt5_data_close(t.data);
    const char *path = put_file("other", "0123456789", 10);
    options.seq = 2;
    options.held_out_share = 0.5;
    ck_assert_ok(colt5_data_open(ctx, &path, 1, &options, &t.data));
    t.trainer->data = t.data;
    assert_fails(colt5_trainer_resume(t.trainer, checkpoint), COLT5_ERROR_FORMAT, "other");
    colt5_checkpoint_close(checkpoint);
    end(&t);
}
END_TEST

/* ---- what a step is ---- */

START_TEST(the_loss_comes_down)
{
    const colt5_training_options options = little_options(COLT5_F32);
    struct training t = begin(&options);
    double before, after;
    ck_assert_ok(colt5_trainer_evaluate(t.trainer, &before));
    const colt5_step_report report = steps(&t, 60);
    ck_assert_ok(colt5_trainer_evaluate(t.trainer, &after));
    ck_assert_msg(after < before - 1, "held out %g bits, then %g", before, after);
    ck_assert_double_eq_tol(report.bits, report.loss / log(2), 1e-9);
    ck_assert_double_eq(report.learning_rate, colt5_learning_rate(&options, report.step - 1));
    end(&t);
}
END_TEST

/* The same windows in more batches: the same gradients, but for the order of sums. */
START_TEST(batches_add_up)
{
    colt5_training_options whole = little_options(COLT5_F32), parts = whole;
    whole.batch = 4;
    parts.batch = 1;
    parts.accumulate = 4;
    struct training a = begin(&whole), b = begin(&parts);
    const colt5_step_report x = step(&a), y = step(&b);
    ck_assert_double_eq_tol(x.loss, y.loss, 1e-5 * x.loss);
    ck_assert_double_eq_tol(x.norm, y.norm, 1e-4 * x.norm);
    end(&a), end(&b);
}
END_TEST

START_TEST(recomputed_is_the_same)
{
    colt5_training_options kept = little_options(COLT5_F32), again = kept;
    again.recompute = 1;
    struct training a = begin(&kept), b = begin(&again);
    steps(&a, 3), steps(&b, 3);
    assert_same(&a, &b);
    colt5_training_memory x, y;
    ck_assert_ok(colt5_training_plan(ctx, a.layer, &kept, &x));
    ck_assert_ok(colt5_training_plan(ctx, a.layer, &again, &y));
    ck_assert_msg(y.saved < x.saved, "%llu bytes, recomputed %llu", (unsigned long long)x.saved,
                  (unsigned long long)y.saved);
    end(&a), end(&b);
}
END_TEST

START_TEST(only_maps_decay)
{
    static const struct {
        const char *name;
        int decays;
    } known[] = {
        {"token_emb.weight", 0},
        {"embed_attn.norm.weight", 0},
        {"embed_attn.to_qkv.weight", 1},
        {"layers.0.conditional_attn.null_q_token", 0},
        {"layers.0.conditional_attn.q_router.routing_token", 0},
        {"layers.1.conditional_attn.heavy_attn.null_kv", 0},
        {"layers.1.conditional_attn.heavy_attn.norm.gamma", 0},
        {"layers.1.conditional_attn.heavy_attn.to_kv.weight", 1},
        {"layers.1.conditional_ff.light_ff.1.weight", 1},
        {"layers.1.conditional_ff.light_ff.1.bias", 0},
        {"norm.gamma", 0},
        {"to_logits.bias", 0},
    };
    colt5_layer *layer;
    const colt5_config config = little_model();
    size_t found = 0;
    ck_assert_ok(colt5_layer_create(ctx, &config, COLT5_F32, &layer));
    for (size_t i = 0; i < colt5_layer_parameter_count(layer); i++) {
        colt5_parameter parameter;
        ck_assert_ok(colt5_layer_parameter(layer, i, &parameter));
        for (size_t k = 0; k < COUNT(known); k++) {
            if (strcmp(known[k].name, parameter.name) != 0) continue;
            found++;
            ck_assert_msg(colt5_parameter_decays(&parameter) == known[k].decays, "%s",
                          parameter.name);
        }
    }
    ck_assert_uint_eq(found, COUNT(known));
    colt5_layer_destroy(layer);
}
END_TEST

/* The exact weights beside 16-bit ones, which are those, rounded. */
START_TEST(weights_of_16_bits_have_exact_ones)
{
    const colt5_training_options options = little_options(COLT5_BF16);
    struct training t = begin(&options);
    bool finer = false;
    steps(&t, 3);
    for (size_t i = 0; i < t.trainer->count; i++) {
        const struct trained *parameter = &t.trainer->parameters[i];
        const size_t count = colt5_tensor_count(&parameter->weight);
        size_t bytes;
        uint16_t *bits = bits_of(&parameter->weight, &bytes), *rounded = malloc(bytes);
        float *exact = bits_of(&parameter->master, &bytes);
        colt5_convert(COLT5_F32, exact, COLT5_BF16, rounded, count);
        ck_assert_msg(!memcmp(bits, rounded, 2 * count), "%s is not rounded", parameter->name);
        for (size_t k = 0; k < count; k++) {
            float back;
            colt5_convert(COLT5_BF16, &bits[k], COLT5_F32, &back, 1);
            finer = finer || back != exact[k];
        }
        free(bits), free(rounded), free(exact);
    }
    ck_assert(finer);
    end(&t);
}
END_TEST

/* ---- not finite ---- */

static void poison(const struct training *t, const char *name)
{
    const colt5_tensor *tensor = weight(t, name);
    size_t bytes;
    float *values = bits_of(tensor, &bytes);
    values[0] = NAN;
    ck_assert_ok(colt5_tensor_write(ctx, tensor, values));
    free(values);
}

START_TEST(nan_stops_and_a_checkpoint_mends)
{
    const colt5_training_options options = little_options(COLT5_F32);
    struct training t = begin(&options), straight = begin(&options);
    colt5_checkpoint *checkpoint;
    double bits;
    steps(&t, 2);
    ck_assert_ok(colt5_trainer_save(t.trainer, in_folder("run")));
    poison(&t, "layers.0.conditional_ff.light_ff.1.weight");
    colt5_step_report report = step(&t);
    ck_assert_int_eq(report.outcome, COLT5_STEP_FAILED);
    ck_assert_uint_eq(report.step, 3);
    assert_fails(colt5_trainer_step(t.trainer, &report), COLT5_ERROR_ARGUMENT, "step 3 failed");
    assert_fails(colt5_trainer_evaluate(t.trainer, &bits), COLT5_ERROR_ARGUMENT, "step 3 failed");
    assert_fails(colt5_trainer_save(t.trainer, in_folder("run")), COLT5_ERROR_ARGUMENT,
                 "step 3 failed");

    ck_assert_ok(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint));
    ck_assert_ok(colt5_trainer_resume(t.trainer, checkpoint));
    colt5_checkpoint_close(checkpoint);
    steps(&t, 1);
    steps(&straight, 3);
    assert_same(&t, &straight);
    end(&t), end(&straight);
}
END_TEST

START_TEST(infinities_of_f16_are_skipped)
{
    const colt5_training_options options = little_options(COLT5_F16);
    struct training t = begin(&options), before = begin(&options);
    t.trainer->loss_scale.scale = 16777216;
    colt5_step_report report = step(&t);
    ck_assert_int_eq(report.outcome, COLT5_STEP_SKIPPED);
    ck_assert(!isfinite(report.norm) && isfinite(report.loss) && report.loss_scale == 16777216);
    for (size_t i = 0; i < t.trainer->count; i++)
        ck_assert(
            same_bits(&t.trainer->parameters[i].weight, &before.trainer->parameters[i].weight));
    for (int i = 0; i < 24 && report.outcome == COLT5_STEP_SKIPPED; i++) {
        ck_assert_uint_eq(report.skipped, report.step);
        ck_assert(t.trainer->loss_scale.scale == (float)report.loss_scale / 2);
        report = step(&t);
    }
    ck_assert_int_eq(report.outcome, COLT5_STEP_TAKEN);
    ck_assert_uint_eq(report.skipped, report.step - 1);
    ck_assert_uint_eq(t.trainer->updates, 1);
    end(&t), end(&before);
}
END_TEST

/* ---- routers ---- */

START_TEST(routers_are_told_of)
{
    const colt5_training_options options = little_options(COLT5_F32);
    struct training t = begin(&options);
    colt5_router_report router;
    const size_t count = colt5_trainer_router_count(t.trainer);
    ck_assert_uint_eq(count, 6);
    assert_fails(colt5_trainer_router(t.trainer, 0, &router), COLT5_ERROR_ARGUMENT, "no step");
    steps(&t, 2);
    for (size_t i = 0; i < count; i++) {
        ck_assert_ok(colt5_trainer_router(t.trainer, i, &router));
        ck_assert_str_eq(router.router, colt5_trainer_router_name(t.trainer, i));
        /* In the last layer hidden tokens alone matter, and none of them need be chosen. */
        ck_assert_msg((i < 3 ? router.norm > 0 : router.norm >= 0) && isfinite(router.norm),
                      "%s: %g", router.router, router.norm);
        ck_assert_msg(router.saturated >= 0 && router.saturated < 1, "%s: %g", router.router,
                      router.saturated);
    }
    ck_assert_ptr_null(colt5_trainer_router_name(t.trainer, count));
    assert_fails(colt5_trainer_router(t.trainer, count, &router), COLT5_ERROR_ARGUMENT, "router 6");
    end(&t);
}
END_TEST

/* SPEC section 6: wide scores and a small eps stop the solver early, and nothing moves. */
START_TEST(saturation_is_seen)
{
    const colt5_training_options options = little_options(COLT5_F32);
    colt5_config config = little_model();
    config.router.eps = 1e-4;
    config.router.eps_init = 1e-4;
    struct training t = begin_with(&config, &options);
    colt5_router_report router;
    steps(&t, 1);
    for (size_t i = 0; i < colt5_trainer_router_count(t.trainer); i++) {
        ck_assert_ok(colt5_trainer_router(t.trainer, i, &router));
        ck_assert_msg(router.norm == 0 && router.saturated == 1, "%s: norm %g, saturated %g",
                      router.router, router.norm, router.saturated);
    }
    end(&t);
}
END_TEST

/* ---- what cannot be ---- */

START_TEST(bad_trainings_are_refused)
{
    const colt5_training_options right = little_options(COLT5_F32);
    struct training t = begin(&right);
    colt5_trainer *trainer;
    colt5_training_options o = right;
    o.dtype = COLT5_BF16;
    assert_fails(colt5_trainer_create(ctx, t.layer, t.data, &o, &trainer), COLT5_ERROR_TYPE,
                 "dtype is bf16, the layer is f32");
    ck_assert_ptr_null(trainer);
    o = right;
    o.seq = 16;
    assert_fails(colt5_trainer_create(ctx, t.layer, t.data, &o, &trainer), COLT5_ERROR_ARGUMENT,
                 "opened for 32");
    o = right;
    o.batch = 65536;
    o.seq = 65536;
    assert_fails(colt5_trainer_create(ctx, t.layer, t.data, &o, &trainer), COLT5_ERROR_CONFIG,
                 "more than 2^31 - 1");
    o = right;
    o.batch = 0;
    assert_fails(colt5_trainer_create(ctx, t.layer, t.data, &o, &trainer), COLT5_ERROR_CONFIG,
                 "batch is 0");
    assert_fails(colt5_trainer_create(ctx, t.layer, NULL, &right, &trainer), COLT5_ERROR_ARGUMENT,
                 "NULL");
    steps(&t, 1);
    end(&t);
}
END_TEST

START_TEST(other_models_are_refused)
{
    const colt5_training_options options = little_options(COLT5_F32);
    colt5_training_memory memory;
    colt5_config config = little_model();
    colt5_layer *layer;
    config.vocab_size = 257;
    ck_assert_ok(colt5_layer_create(ctx, &config, COLT5_F32, &layer));
    assert_fails(colt5_training_plan(ctx, layer, &options, &memory), COLT5_ERROR_CONFIG,
                 "vocab_size is 257");
    colt5_layer_destroy(layer);
    config.vocab_size = 258;
    config.kind = COLT5_TEXT_ENCODER;
    ck_assert_ok(colt5_layer_create(ctx, &config, COLT5_F32, &layer));
    assert_fails(colt5_training_plan(ctx, layer, &options, &memory), COLT5_ERROR_CONFIG,
                 "only a masked_language_model");
    colt5_layer_destroy(layer);
}
END_TEST

START_TEST(what_does_not_fit_is_refused)
{
    const colt5_training_options right = little_options(COLT5_F32);
    struct training t = begin(&right);
    colt5_training_memory memory;
    colt5_training_options o = right;
    ck_assert_ok(colt5_training_plan(ctx, t.layer, &right, &memory));
    uint64_t weights = 0;
    for (size_t i = 0; i < t.trainer->count; i++)
        weights += 4 * colt5_tensor_count(&t.trainer->parameters[i].weight);
    ck_assert_uint_eq(memory.weights, weights);
    ck_assert_uint_eq(memory.optimizer, 3 * weights);
    ck_assert(memory.saved > 0 && memory.scratch > 0);
    o.batch = 65536;
    o.seq = 32767; /* 137 GB for the inputs of one block */
    assert_fails(colt5_training_plan(ctx, t.layer, &o, &memory), COLT5_ERROR_MEMORY, "bytes");
    ck_assert(strstr(colt5_message(ctx), "the device has"));
    end(&t);
}
END_TEST

/* A step is hundreds of kernels: under a slow checker the layers' own tests stand for it. */
static void add_steps(TCase *tests)
{
    tcase_add_test(tests, steps_repeat_to_the_bit);
    tcase_add_loop_test(tests, resumed_is_straight_on, 0, 3);
    tcase_add_test(tests, the_loss_comes_down);
    tcase_add_test(tests, batches_add_up);
    tcase_add_test(tests, recomputed_is_the_same);
    tcase_add_test(tests, weights_of_16_bits_have_exact_ones);
    tcase_add_test(tests, nan_stops_and_a_checkpoint_mends);
    tcase_add_test(tests, infinities_of_f16_are_skipped);
    tcase_add_test(tests, routers_are_told_of);
    tcase_add_test(tests, saturation_is_seen);
    tcase_add_test(tests, bad_trainings_are_refused);
    tcase_add_test(tests, what_does_not_fit_is_refused);
}

int main(void)
{
    Suite *suite = suite_create("trainer");
    TCase *tests = tcase_create("trainer");
    tcase_set_timeout(tests, 300);
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, only_maps_decay);
    tcase_add_test(tests, other_models_are_refused);
    tcase_add_test(tests, other_data_is_not_gone_on_with);
    if (!tiny()) add_steps(tests);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
