/* SPDX-License-Identifier: MIT */
/* Tuned constants: what a file may say of them, and that no choice changes a result. */
#include "support/files.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <colt5/colt5.h>

#include "runtime/context.h"

static char heard[512];
static int times_heard;

static void hear(void *user, const char *text)
{
    (void)user;
    snprintf(heard, sizeof(heard), "%s", text);
    times_heard++;
}

static colt5_context *open_context(void)
{
    colt5_context *made;
    ck_assert_ok(colt5_context_create(NULL, &made));
    heard[0] = '\0';
    times_heard = 0;
    colt5_context_set_callbacks(made, &(colt5_callbacks){.log = hear});
    return made;
}

static colt5_tunable tunable_of(colt5_context *made, const char *name)
{
    colt5_tunable tunable = {.struct_size = sizeof(tunable)};
    for (size_t i = 0; i < colt5_tunable_count(); i++) {
        ck_assert_ok(colt5_tunable_get(made, i, &tunable));
        if (!strcmp(tunable.name, name)) return tunable;
    }
    ck_abort_msg("there is no %s", name);
}

static int value_in_a_new_context(const char *name)
{
    colt5_context *made = open_context();
    const int value = tunable_of(made, name).value;
    colt5_context_destroy(made);
    return value;
}

/* COLT5_TUNING names a file in the test's folder, with this text; %s are device, driver, version.
 */
static void put_tuning(const char *format)
{
    char text[2000];
    colt5_context *made = open_context();
    const colt5_device_info *info = colt5_context_device_info(made);
    const int count = snprintf(text, sizeof(text), format, info->name, info->driver, COLT5_VERSION);
    colt5_context_destroy(made);
    setenv("COLT5_TUNING", put_file("tuning.json", text, (size_t)count), 1);
}

#define ENTRY(values) "{\"%s\": {\"driver\": \"%s\", \"library\": \"%s\", \"values\": " values "}}"

/* ---- the file ---- */

START_TEST(what_is_saved_is_read_again)
{
    char path[1000] = "";
    setenv("COLT5_TUNING", in_folder("mine.json"), 1);
    colt5_context *made = open_context();
    const int standard = tunable_of(made, "plain_group").standard;
    ck_assert_int_ne(standard, 64);
    ck_assert_ok(colt5_tunable_set(made, "plain_group", 64));
    ck_assert_ok(colt5_tuning_save(made, path, sizeof(path)));
    ck_assert_str_eq(path, in_folder("mine.json"));
    ck_assert_int_eq(value_in_a_new_context("plain_group"), 64);
    ck_assert_str_eq(heard, "");
    ck_assert_ok(colt5_tunable_set(made, "plain_group", 0));
    ck_assert_ok(colt5_tuning_save(made, NULL, 0));
    ck_assert_int_eq(value_in_a_new_context("plain_group"), standard);
    setenv("COLT5_TUNING", "off", 1);
    ck_assert_int_eq(colt5_tuning_save(made, NULL, 0), COLT5_ERROR_ARGUMENT);
    colt5_context_destroy(made);
}
END_TEST

/* In the data folder or the home folder, whose parts are made; other devices' entries stay. */
START_TEST(folders_are_made_and_other_devices_stay)
{
    char path[1000], before[1000];
    size_t count;
    unsetenv("COLT5_TUNING");
    setenv("HOME", in_folder("home"), 1);
    unsetenv("XDG_DATA_HOME");
    colt5_context *made = open_context();
    ck_assert_str_eq(heard, "");
    ck_assert_ok(colt5_tuning_save(made, path, sizeof(path)));
    ck_assert_str_eq(path, in_folder("home/.local/share/colt5/tuning.json"));
    setenv("XDG_DATA_HOME", in_folder("data"), 1);
    ck_assert_ok(colt5_tuning_save(made, path, sizeof(path)));
    ck_assert_str_eq(path, in_folder("data/colt5/tuning.json"));
    snprintf(before, sizeof(before), "{\"a toaster\": {\"values\": {\"bread\": 2}}}");
    ck_assert_ok(colt5_write_file(path, before, strlen(before)));
    ck_assert_ok(colt5_tunable_set(made, "plain_group", 128));
    ck_assert_ok(colt5_tuning_save(made, NULL, 0));
    char *text = get_file("data/colt5/tuning.json", &count);
    ck_assert_ptr_nonnull(strstr(text, "\"bread\": 2"));
    ck_assert_ptr_nonnull(strstr(text, "\"plain_group\": 128"));
    free(text);
    ck_assert_int_eq(value_in_a_new_context("plain_group"), 128);
    colt5_context_destroy(made);
}
END_TEST

static const struct {
    const char *text, *notice;
} unusable[] = {
    {"", "is not JSON"},
    {"{\"a\"", "is not JSON"},
    {"[1, 2]", "is not JSON"},
    {"{\"a\": 1, \"a\": 2}", "is not JSON"},
    {"{\"%s\": 7, \"b%s%s\": 1}", "another driver"},
    {"{\"%s\": {\"driver\": \"old%s\", \"library\": \"%s\", \"values\": {\"plain_group\": 64}}}",
     "another driver"},
    {"{\"%s\": {\"driver\": \"%s\", \"library\": \"0%s\", \"values\": {\"plain_group\": 64}}}",
     "another driver"},
    {"{\"%s\": {\"driver\": \"%s\", \"library\": \"%s\", \"values\": {\"plain\\u0007_group\": "
     "64}}}",
     "unknown"},
    {ENTRY("{\"plain_group\": 65}"), "the value of \"plain_group\""},
    {ENTRY("{\"plain_group\": 0}"), "the value of"},
    {ENTRY("{\"plain_group\": -64}"), "the value of"},
    {ENTRY("{\"plain_group\": 64.0}"), "the value of"},
    {ENTRY("{\"plain_group\": \"64\"}"), "the value of"},
    {ENTRY("{\"plain_group\": 4294967360}"), "the value of"},
    {ENTRY("[64]"), ""},
};
#define UNUSABLE (int)(sizeof(unusable) / sizeof(unusable[0]))

START_TEST(what_cannot_be_used_is_left_out_with_one_notice)
{
    const int standard = value_in_a_new_context("plain_group");
    put_tuning(unusable[_i].text);
    ck_assert_int_eq(value_in_a_new_context("plain_group"), standard);
    ck_assert_msg(strstr(heard, unusable[_i].notice), "\"%s\" is not \"%s\"", heard,
                  unusable[_i].notice);
    ck_assert_int_eq(times_heard, *unusable[_i].notice ? 1 : 0);
    for (const char *c = heard; *c; c++) ck_assert_int_ge((unsigned char)*c, 0x20);
}
END_TEST

START_TEST(good_values_beside_bad_ones_are_taken)
{
    put_tuning(ENTRY("{\"nothing\": 1, \"plain_group\": 64, \"parts_a_unit\": 3}"));
    ck_assert_int_eq(value_in_a_new_context("plain_group"), 64);
    ck_assert_int_eq(times_heard, 1);
    setenv("COLT5_TUNING", "off", 1);
    ck_assert_int_ne(value_in_a_new_context("plain_group"), 64);
    ck_assert_int_eq(times_heard, 0);
}
END_TEST

/* No file, or one that is none of ours: read by nobody, and never replaced. */
START_TEST(other_kinds_of_files_are_left_alone)
{
    colt5_context *made = open_context();
    ck_assert_int_eq(mkfifo(in_folder("pipe"), 0600), 0);
    const char *const paths[] = {in_folder("pipe"), in_folder(""), put_file("model", "no", 2)};
    for (size_t i = 0; i < 3; i++) {
        setenv("COLT5_TUNING", paths[i], 1);
        value_in_a_new_context("plain_group");
        ck_assert_int_eq(times_heard, 1);
        ck_assert_int_eq(colt5_tuning_save(made, NULL, 0), COLT5_ERROR_FORMAT);
    }
    setenv("COLT5_TUNING", in_folder("no such folder/file"), 1);
    value_in_a_new_context("plain_group");
    ck_assert_int_eq(times_heard, 0);
    ck_assert_int_eq(colt5_tuning_save(made, NULL, 0), COLT5_ERROR_FILE);
    colt5_context_destroy(made);
}
END_TEST

START_TEST(someone_elses_file_is_not_read)
{
    put_tuning(ENTRY("{\"plain_group\": 64}"));
    if (geteuid() != 0) return; /* who cannot give files away */
    ck_assert_int_eq(chown(in_folder("tuning.json"), 12345, 12345), 0);
    ck_assert_int_ne(value_in_a_new_context("plain_group"), 64);
    ck_assert_ptr_nonnull(strstr(heard, "someone else"));
}
END_TEST

/* ---- setting ---- */

START_TEST(bad_settings_are_refused)
{
    colt5_context *made = open_context();
    colt5_tunable tunable = {.struct_size = 1};
    const size_t dims[] = {8};
    const colt5_status wrong = COLT5_ERROR_ARGUMENT;
    ck_assert_int_eq(colt5_tunable_get(made, 0, &tunable), wrong);
    ck_assert_int_eq(colt5_tunable_get(made, 0, NULL), wrong);
    tunable.struct_size = sizeof(tunable);
    ck_assert_int_eq(colt5_tunable_get(made, colt5_tunable_count(), &tunable), wrong);
    ck_assert_int_eq(colt5_tunable_get(NULL, 0, &tunable), wrong);
    ck_assert_int_eq(colt5_tunable_set(NULL, "plain_group", 64), wrong);
    ck_assert_int_eq(colt5_tunable_set(made, NULL, 64), wrong);
    ck_assert_int_eq(colt5_tunable_set(made, "nothing", 64), wrong);
    ck_assert_int_eq(colt5_tunable_set(made, "plain_group", 65), wrong);
    ck_assert_int_eq(colt5_tuning_save(NULL, NULL, 0), wrong);
    ck_assert_ok(colt5_tunable_set(made, "plain_group", 64));
    colt5_tensor x;
    ck_assert_ok(colt5_tensor_create(made, COLT5_F32, 1, dims, &x));
    ck_assert_ok(colt5_gelu_forward(made, &x, &x));
    ck_assert_int_eq(colt5_tunable_set(made, "plain_group", 128), wrong);
    ck_assert_ptr_nonnull(strstr(colt5_message(made), "too late"));
    ck_assert_int_eq(tunable_of(made, "plain_group").value, 64);
    colt5_tensor_free(made, &x);
    colt5_context_destroy(made);
}
END_TEST

START_TEST(the_list_is_as_it_says)
{
    colt5_context *made = open_context();
    for (size_t i = 0; i < colt5_tunable_count(); i++) {
        colt5_tunable tunable = {.struct_size = sizeof(tunable)};
        ck_assert_ok(colt5_tunable_get(made, i, &tunable));
        bool found = tunable.standard == 0;
        for (const int *choice = tunable.choices; *choice; choice++)
            found = found || *choice == tunable.standard;
        ck_assert_msg(found, "%s: %d is no choice", tunable.name, tunable.standard);
        ck_assert_int_eq(tunable.value, tunable.standard);
        ck_assert(*tunable.ops && *tunable.about && tunable.types);
        ck_assert_str_eq(tunable_of(made, tunable.name).about, tunable.about);
    }
    colt5_context_destroy(made);
}
END_TEST

/* ---- results ---- */

enum { ROWS = 70, D = 72, N = 140 };

/* Random inputs and outputs of zeros, by their sizes; one type. */
struct tensors {
    colt5_tensor t[8];
    size_t count;
};

static colt5_tensor *give(struct tensors *all, bool random, size_t a, size_t b, size_t c, size_t d)
{
    colt5_tensor *tensor = &all->t[all->count++];
    const size_t sizes[] = {a, b, c, d, 64}, count = a * b * c * d;
    const int rank = d > 1 ? 4 : c > 1 ? 3 : b > 1 ? 2 : 1;
    double *values = random ? random_normal(count) : zeros(count);
    float *floats = calloc(count, sizeof(*floats));
    for (size_t i = 0; i < count; i++) floats[i] = (float)values[i];
    ck_assert_ok(colt5_tensor_create(ctx, COLT5_F32, rank, sizes, tensor));
    ck_assert_ok(colt5_tensor_write(ctx, tensor, floats));
    free(values);
    free(floats);
    return tensor;
}
#define GIVE_IN(a, b, c, d)  give(all, true, a, b, c, d)
#define GIVE_OUT(a, b, c, d) give(all, false, a, b, c, d)

static colt5_tensor *linear(struct tensors *all)
{
    colt5_tensor *x = GIVE_IN(ROWS, 200, 1, 1), *w = GIVE_IN(D, 200, 1, 1);
    colt5_tensor *y = GIVE_OUT(ROWS, D, 1, 1);
    ck_assert_ok(colt5_linear_forward(ctx, x, w, NULL, y));
    return y;
}

/* Long along the rows, so that they are cut to parts. */
static colt5_tensor *linear_backward(struct tensors *all)
{
    colt5_tensor *x = GIVE_IN(1200, 24, 1, 1), *w = GIVE_IN(40, 24, 1, 1);
    colt5_tensor *dy = GIVE_IN(1200, 40, 1, 1), *dw = GIVE_OUT(40, 24, 1, 1);
    const colt5_linear_gradients gradients = {.dweight = dw};
    ck_assert_ok(colt5_linear_backward(ctx, x, w, NULL, dy, &gradients));
    return dw;
}

static const colt5_local_attention_options window = {.window = 40, .length = N};

static colt5_tensor *local_attention(struct tensors *all)
{
    const size_t qkv_dims[] = {1, N, 3, 2, 64}, y_dims[] = {1, N, 2, 64};
    colt5_tensor *qkv = GIVE_IN(N, 3, 2, 64), *y = GIVE_OUT(N, 2, 64, 1);
    *qkv = colt5_tensor_wrap(qkv->buffer, 0, COLT5_F32, 5, qkv_dims);
    *y = colt5_tensor_wrap(y->buffer, 0, COLT5_F32, 4, y_dims);
    ck_assert_ok(colt5_local_attention_forward(ctx, qkv, NULL, &window, y, NULL));
    return y;
}

static colt5_tensor *local_attention_backward(struct tensors *all)
{
    const size_t qkv_dims[] = {1, N, 3, 2, 64}, y_dims[] = {1, N, 2, 64}, lse_dims[] = {1, 2, N};
    colt5_tensor *qkv = GIVE_IN(N, 3, 2, 64), *y = GIVE_OUT(N, 2, 64, 1),
                 *dy = GIVE_IN(N, 2, 64, 1);
    colt5_tensor *lse = GIVE_OUT(2, N, 1, 1), *dqkv = GIVE_OUT(N, 3, 2, 64);
    *qkv = colt5_tensor_wrap(qkv->buffer, 0, COLT5_F32, 5, qkv_dims);
    *dqkv = colt5_tensor_wrap(dqkv->buffer, 0, COLT5_F32, 5, qkv_dims);
    *y = colt5_tensor_wrap(y->buffer, 0, COLT5_F32, 4, y_dims);
    *dy = colt5_tensor_wrap(dy->buffer, 0, COLT5_F32, 4, y_dims);
    *lse = colt5_tensor_wrap(lse->buffer, 0, COLT5_F32, 3, lse_dims);
    ck_assert_ok(colt5_local_attention_forward(ctx, qkv, NULL, &window, y, lse));
    ck_assert_ok(colt5_local_attention_backward(ctx, qkv, NULL, &window, y, lse, dy, dqkv));
    return dqkv;
}

static colt5_tensor *rms_norm(struct tensors *all)
{
    colt5_tensor *x = GIVE_IN(ROWS, D, 1, 1), *gamma = GIVE_IN(D, 1, 1, 1);
    colt5_tensor *y = GIVE_OUT(ROWS, D, 1, 1);
    ck_assert_ok(colt5_rms_norm_forward(ctx, x, gamma, y, NULL));
    return y;
}

static colt5_tensor *rms_norm_backward(struct tensors *all)
{
    colt5_tensor *x = GIVE_IN(ROWS, D, 1, 1), *gamma = GIVE_IN(D, 1, 1, 1);
    colt5_tensor *dy = GIVE_IN(ROWS, D, 1, 1), *dx = GIVE_OUT(ROWS, D, 1, 1);
    colt5_tensor *dgamma = GIVE_OUT(D, 1, 1, 1);
    ck_assert_ok(colt5_rms_norm_backward(ctx, x, gamma, dy, NULL, dx, dgamma));
    return dgamma;
}

static const size_t x_dims[] = {1, ROWS, D}, token_dims[] = {1, D}, s_dims[] = {1, 1, ROWS};

static colt5_tensor *score(struct tensors *all)
{
    colt5_tensor *x = GIVE_IN(ROWS, D, 1, 1), *token = GIVE_IN(D, 1, 1, 1);
    colt5_tensor *s = GIVE_OUT(ROWS, 1, 1, 1);
    *x = colt5_tensor_wrap(x->buffer, 0, COLT5_F32, 3, x_dims);
    *token = colt5_tensor_wrap(token->buffer, 0, COLT5_F32, 2, token_dims);
    *s = colt5_tensor_wrap(s->buffer, 0, COLT5_F32, 3, s_dims);
    ck_assert_ok(colt5_score_forward(ctx, x, 1, &(colt5_score_target){token, s}, NULL));
    return s;
}

static colt5_tensor *score_backward(struct tensors *all)
{
    colt5_tensor *x = GIVE_IN(ROWS, D, 1, 1), *token = GIVE_IN(D, 1, 1, 1);
    colt5_tensor *ds = GIVE_IN(ROWS, 1, 1, 1), *dtoken = GIVE_OUT(D, 1, 1, 1);
    *x = colt5_tensor_wrap(x->buffer, 0, COLT5_F32, 3, x_dims);
    *token = colt5_tensor_wrap(token->buffer, 0, COLT5_F32, 2, token_dims);
    *dtoken = colt5_tensor_wrap(dtoken->buffer, 0, COLT5_F32, 2, token_dims);
    *ds = colt5_tensor_wrap(ds->buffer, 0, COLT5_F32, 3, s_dims);
    ck_assert_ok(
        colt5_score_backward(ctx, x, 1, &(colt5_score_gradient){token, ds, dtoken}, NULL, NULL, 0));
    return dtoken;
}

static colt5_tensor *sinkhorn(struct tensors *all)
{
    const size_t dims[] = {1, 1, N}, slots[] = {1, 1, 12};
    colt5_tensor *s = GIVE_IN(N, 1, 1, 1), *index = GIVE_OUT(12, 1, 1, 1);
    colt5_tensor *scores = GIVE_OUT(12, 1, 1, 1);
    *s = colt5_tensor_wrap(s->buffer, 0, COLT5_F32, 3, dims);
    *index = colt5_tensor_wrap(index->buffer, 0, COLT5_I32, 3, slots);
    *scores = colt5_tensor_wrap(scores->buffer, 0, COLT5_F32, 3, slots);
    const colt5_sinkhorn_options options = {.temperature = 0.7f, .n_iters = 4, .seed = 3};
    ck_assert_ok(colt5_sinkhorn_forward(ctx, s, NULL, &options, index, scores, NULL));
    return scores;
}

static colt5_tensor *gelu(struct tensors *all)
{
    colt5_tensor *x = GIVE_IN(1600, 1, 1, 1), *y = GIVE_OUT(1600, 1, 1, 1);
    ck_assert_ok(colt5_gelu_forward(ctx, x, y));
    return y;
}

static const struct {
    const char *name;
    colt5_tensor *(*run)(struct tensors *all); /* gives one that depends on it */
} ops[] = {
    {"linear", linear},
    {"linear_backward", linear_backward},
    {"local_attention", local_attention},
    {"local_attention_backward", local_attention_backward},
    {"rms_norm", rms_norm},
    {"rms_norm_backward", rms_norm_backward},
    {"score", score},
    {"score_backward", score_backward},
    {"sinkhorn", sinkhorn},
    {"gelu", gelu},
};
#define OPS (sizeof(ops) / sizeof(ops[0]))

static bool names(const char *list, const char *name)
{
    char spaced[500], word[60];
    snprintf(spaced, sizeof(spaced), " %s ", list);
    snprintf(word, sizeof(word), " %s ", name);
    return strstr(spaced, word);
}

/* The op's result in a context with this choice; the caller frees it. */
static float *result_of(size_t op, const char *name, int value, size_t *count)
{
    struct tensors all = {.count = 0};
    ctx = open_context();
    ck_assert_ok(colt5_tunable_set(ctx, name, value));
    seed_random(5);
    const colt5_tensor *y = ops[op].run(&all);
    *count = colt5_tensor_count(y);
    float *values = malloc(*count * sizeof(*values));
    ck_assert_ok(colt5_tensor_read(ctx, y, values));
    for (size_t i = 0; i < all.count; i++) colt5_tensor_free(ctx, &all.t[i]);
    colt5_context_destroy(ctx);
    ctx = NULL;
    return values;
}

static void compare(size_t op, const char *name, int value, const float *want)
{
    size_t count;
    double off = 0, all = 0;
    float *have = result_of(op, name, value, &count);
    for (size_t i = 0; i < count; i++) {
        off += pow((double)have[i] - want[i], 2);
        all += pow(want[i], 2);
    }
    ck_assert_msg(all > 0 && sqrt(off / all) < 3e-6, "%s with %s = %d is off by %g", ops[op].name,
                  name, value, sqrt(off / all));
    free(have);
}

/* The last choice, or the first where that is the standard (a build each), by one of its ops. */
static void try_choices(const colt5_tunable *tunable)
{
    size_t op = OPS, count;
    int last = 0;
    if (!tunable->matters || !(tunable->types >> COLT5_F32 & 1)) return;
    for (size_t i = 0; i < OPS; i++)
        if (names(tunable->ops, ops[i].name)) op = i;
    ck_assert_msg(op < OPS, "no op here depends on %s", tunable->name);
    float *want = result_of(op, tunable->name, 0, &count);
    for (const int *choice = tunable->choices; *choice; choice++) last = *choice;
    compare(op, tunable->name, last != tunable->standard ? last : tunable->choices[0], want);
    free(want);
}

static colt5_tunable tunable_at(int i)
{
    colt5_tunable tunable = {.struct_size = sizeof(tunable)};
    colt5_context *made = open_context();
    ck_assert_ok(colt5_tunable_get(made, (size_t)i, &tunable));
    colt5_context_destroy(made);
    return tunable;
}

START_TEST(no_choice_changes_a_result)
{
    const colt5_tunable here = tunable_at(_i);
    try_choices(&here);
    setenv("COLT5_KERNELS", "gpu", 1);
    const colt5_tunable elsewhere = tunable_at(_i);
    if (!here.matters) try_choices(&elsewhere);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tuning");
    TCase *file = tcase_create("file"), *results = tcase_create("results");
    setenv("COLT5_TUNING", "off", 1);
    unsetenv("COLT5_BUILD_LOG"); /* no device has to be able to build every choice */
    tcase_set_timeout(file, 60);
    tcase_add_checked_fixture(file, make_folder, remove_folder);
    tcase_add_test(file, what_is_saved_is_read_again);
    tcase_add_test(file, folders_are_made_and_other_devices_stay);
    tcase_add_loop_test(file, what_cannot_be_used_is_left_out_with_one_notice, 0, UNUSABLE);
    tcase_add_test(file, good_values_beside_bad_ones_are_taken);
    tcase_add_test(file, other_kinds_of_files_are_left_alone);
    tcase_add_test(file, someone_elses_file_is_not_read);
    tcase_add_test(file, bad_settings_are_refused);
    tcase_add_test(file, the_list_is_as_it_says);
    suite_add_tcase(suite, file);
    if (!tiny()) {
        const int count = (int)colt5_tunable_count();
        tcase_set_timeout(results, 240);
        tcase_add_loop_test(results, no_choice_changes_a_result, 0, count);
        suite_add_tcase(suite, results);
    }
    return run_forked_device_suite(suite);
}
