/* SPDX-License-Identifier: MIT */
/* Options, learning rate and loss scale. */
#include "support/files.h"

#include <stdio.h>

#include <colt5/train.h>

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const char model[] = "\"model\": {\"type\": \"text_encoder\", \"dim\": 64, \"depth\": 2, "
                            "\"num_heavy_attn_tokens\": 16, \"num_heavy_ff_tokens\": 16}";

static colt5_status read_text(const char *training, colt5_config *config,
                              colt5_training_options *options)
{
    char text[2048];
    const int count =
        snprintf(text, sizeof(text), "{%s%s%s}", model, *training ? ", " : "", training);
    return colt5_training_read(put_file("t.json", text, (size_t)count), config, options);
}

START_TEST(defaults_are_right)
{
    const colt5_training_options options = colt5_training_options_default();
    ck_assert_ok(colt5_training_options_check(&options));
    ck_assert(options.beta1 == 0.9 && options.beta2 == 0.95 && options.eps == 1e-8);
    ck_assert(options.decay == 0.1);
}
END_TEST

START_TEST(a_file_sets_what_it_names)
{
    colt5_config config;
    colt5_training_options options;
    ck_assert_ok(read_text("", &config, &options));
    const colt5_training_options defaults = colt5_training_options_default();
    ck_assert_mem_eq(&options, &defaults, sizeof(options));
    ck_assert(config.kind == COLT5_TEXT_ENCODER && config.dim == 64);

    ck_assert_ok(read_text("\"training\": {\"steps\": 7, \"learning_rate\": 0.25, \"dtype\": "
                           "\"bf16\", \"math\": \"fast\", \"recompute\": true, \"seed\": 9}",
                           &config, &options));
    ck_assert(options.steps == 7 && options.learning_rate == 0.25 && options.seed == 9);
    ck_assert(options.dtype == COLT5_BF16 && options.math == COLT5_MATH_FAST && options.recompute);
    ck_assert_uint_eq(options.batch, defaults.batch);
}
END_TEST

static const struct {
    const char *training, *says;
} bad[] = {
    {"\"training\": {\"step\": 7}", "training: step is no key"},
    {"\"training\": {\"steps\": 0}", "steps is 0, not in 1 to"},
    {"\"training\": {\"steps\": 2.5}", "steps is not an integer"},
    {"\"training\": {\"seq\": 1}", "seq is 1, not in 2 to"},
    {"\"training\": {\"dtype\": \"f64\"}", "dtype is \"f64\", not one of f32, f16, bf16"},
    {"\"training\": {\"beta2\": 1}", "beta2 is 1"},
    {"\"training\": {\"held_out_share\": 0}", "held_out_share is 0"},
    {"\"training\": []", "training is not an object"},
    {"\"trainings\": {}", "trainings is no key"},
};

START_TEST(bad_files_are_refused)
{
    colt5_config config;
    colt5_training_options options;
    assert_fails(read_text(bad[_i].training, &config, &options), COLT5_ERROR_CONFIG, bad[_i].says);
}
END_TEST

START_TEST(a_model_must_be_there_and_right)
{
    static const char none[] = "{\"training\": {}}", wrong[] = "{\"model\": {\"type\": \"cow\"}}";
    colt5_config config;
    colt5_training_options options;
    const char *path = put_file("t.json", none, strlen(none));
    assert_fails(colt5_training_read(path, &config, &options), COLT5_ERROR_CONFIG,
                 "model is missing");
    path = put_file("t.json", wrong, strlen(wrong));
    assert_fails(colt5_training_read(path, &config, &options), COLT5_ERROR_CONFIG, "cow");
    assert_fails(colt5_training_read(in_folder("none"), &config, &options), COLT5_ERROR_FILE,
                 "none");
    assert_fails(colt5_training_read(NULL, &config, &options), COLT5_ERROR_ARGUMENT, "NULL");
}
END_TEST

START_TEST(bad_options_are_refused)
{
    colt5_training_options o = colt5_training_options_default();
    o.batch = 0;
    assert_fails(colt5_training_options_check(&o), COLT5_ERROR_CONFIG, "batch is 0");
    o = colt5_training_options_default();
    o.learning_rate = NAN;
    assert_fails(colt5_training_options_check(&o), COLT5_ERROR_CONFIG, "learning_rate");
    o = colt5_training_options_default();
    o.dtype = COLT5_I32;
    assert_fails(colt5_training_options_check(&o), COLT5_ERROR_CONFIG, "dtype");
    o = colt5_training_options_default();
    o.math = (colt5_math)7;
    assert_fails(colt5_training_options_check(&o), COLT5_ERROR_CONFIG, "math");
    o = colt5_training_options_default();
    o.struct_size = 8;
    assert_fails(colt5_training_options_check(&o), COLT5_ERROR_ARGUMENT, "struct_size");
    assert_fails(colt5_training_options_check(NULL), COLT5_ERROR_ARGUMENT, "NULL");
}
END_TEST

START_TEST(the_rate_warms_up_and_comes_down)
{
    colt5_training_options o = colt5_training_options_default();
    o.learning_rate = 2;
    o.final_share = 0.25;
    o.warmup_steps = 4;
    o.steps = 15;
    const double up[] = {0.5, 1, 1.5, 2, 2};
    for (uint64_t i = 0; i < COUNT(up); i++) ck_assert_double_eq(colt5_learning_rate(&o, i), up[i]);
    ck_assert_double_eq_tol(colt5_learning_rate(&o, 9), 1.25, 1e-12); /* half-way */
    ck_assert_double_eq(colt5_learning_rate(&o, 14), 0.5);
    ck_assert_double_eq(colt5_learning_rate(&o, 1000), 0.5);
    for (uint64_t i = 4; i < 14; i++)
        ck_assert(colt5_learning_rate(&o, i) > colt5_learning_rate(&o, i + 1));
}
END_TEST

START_TEST(short_runs_have_rates_too)
{
    colt5_training_options o = colt5_training_options_default();
    for (o.steps = 1; o.steps < 5; o.steps++)
        for (o.warmup_steps = 0; o.warmup_steps < 7; o.warmup_steps++)
            for (uint64_t i = 0; i < 8; i++) {
                const double rate = colt5_learning_rate(&o, i);
                ck_assert(rate > 0 && rate <= o.learning_rate);
            }
}
END_TEST

START_TEST(the_scale_of_f16_finds_its_size)
{
    colt5_loss_scale s = colt5_loss_scale_start(COLT5_F16);
    ck_assert(s.scale == 65536);
    ck_assert(colt5_loss_scale_update(&s, COLT5_F16, 1, INFINITY) == COLT5_STEP_SKIPPED);
    ck_assert(colt5_loss_scale_update(&s, COLT5_F16, 1, NAN) == COLT5_STEP_SKIPPED);
    ck_assert(s.scale == 16384);
    for (int i = 0; i < 1999; i++)
        ck_assert(colt5_loss_scale_update(&s, COLT5_F16, 1, 1) == COLT5_STEP_TAKEN);
    ck_assert(s.scale == 16384);
    ck_assert(colt5_loss_scale_update(&s, COLT5_F16, 1, 1) == COLT5_STEP_TAKEN);
    ck_assert(s.scale == 32768 && s.good_steps == 0);
    for (int i = 0; i < 40000; i++) colt5_loss_scale_update(&s, COLT5_F16, 1, 1);
    ck_assert(s.scale == 16777216);
    for (int i = 0; i < 24; i++)
        ck_assert(colt5_loss_scale_update(&s, COLT5_F16, 1, NAN) == COLT5_STEP_SKIPPED);
    ck_assert(s.scale == 1);
    ck_assert(colt5_loss_scale_update(&s, COLT5_F16, 1, NAN) == COLT5_STEP_FAILED);
}
END_TEST

START_TEST(other_types_have_no_scale)
{
    const colt5_type type = _i ? COLT5_BF16 : COLT5_F32;
    colt5_loss_scale s = colt5_loss_scale_start(type);
    for (int i = 0; i < 5000; i++)
        ck_assert(colt5_loss_scale_update(&s, type, 1, 1) == COLT5_STEP_TAKEN);
    ck_assert(s.scale == 1);
    ck_assert(colt5_loss_scale_update(&s, type, 1, INFINITY) == COLT5_STEP_FAILED);
}
END_TEST

START_TEST(no_scale_helps_a_loss_that_is_nan)
{
    colt5_loss_scale s = colt5_loss_scale_start(COLT5_F16);
    ck_assert(colt5_loss_scale_update(&s, COLT5_F16, NAN, 1) == COLT5_STEP_FAILED);
    ck_assert(colt5_loss_scale_update(&s, COLT5_F16, INFINITY, NAN) == COLT5_STEP_FAILED);
    ck_assert(s.scale == 65536);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("train");
    TCase *tests = tcase_create("train");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, defaults_are_right);
    tcase_add_test(tests, a_file_sets_what_it_names);
    tcase_add_loop_test(tests, bad_files_are_refused, 0, COUNT(bad));
    tcase_add_test(tests, a_model_must_be_there_and_right);
    tcase_add_test(tests, bad_options_are_refused);
    tcase_add_test(tests, the_rate_warms_up_and_comes_down);
    tcase_add_test(tests, short_runs_have_rates_too);
    tcase_add_test(tests, the_scale_of_f16_finds_its_size);
    tcase_add_loop_test(tests, other_types_have_no_scale, 0, 2);
    tcase_add_test(tests, no_scale_helps_a_loss_that_is_nan);
    suite_add_tcase(suite, tests);
    return run_host_suite(suite);
}
