/* SPDX-License-Identifier: MIT */
#include "support/files.h"

#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <colt5/train.h>

#include "io/digest.h"

#define TENSORS 3
#define COUNT   5000 /* elements of the largest */

static char heard[4096]; /* through the log callback */

static void listen(void *user, const char *text)
{
    (void)user;
    strncat(heard, text, sizeof(heard) - strlen(heard) - 1);
}

static void open_context(void)
{
    ck_assert_int_eq(colt5_context_create(NULL, &ctx), COLT5_OK);
    colt5_context_set_callbacks(ctx, &(colt5_callbacks){.log = listen});
}

static void close_context(void)
{
    colt5_context_destroy(ctx);
    ctx = NULL;
}

/* ---- a little model whose values tell the step ---- */

struct little {
    colt5_named_tensor model[TENSORS], optimizer[TENSORS];
    colt5_training_state state;
};

static const colt5_data_file files[] = {{"a \"file\"", 123, 0xFEDCBA9876543210},
                                        {"b", 1u << 31, 7}};

static struct little make_little(void)
{
    static const char *const names[2][TENSORS] = {{"w", "layers.0.b", "half"},
                                                  {"w.m", "w.v", "half.master"}};
    const size_t dims[TENSORS][2] = {{COUNT / 50, 50}, {1, 1}, {7, 3}};
    struct little l = {.state = {.struct_size = sizeof(l.state)}};
    for (int i = 0; i < TENSORS; i++) {
        l.model[i].name = names[0][i];
        l.optimizer[i].name = names[1][i];
        ck_assert_ok(colt5_tensor_create(ctx, i == 2 ? COLT5_BF16 : COLT5_F32, 2, dims[i],
                                         &l.model[i].tensor));
        ck_assert_ok(colt5_tensor_create(ctx, COLT5_F32, 2, dims[i], &l.optimizer[i].tensor));
    }
    l.state.model = colt5_config_default(COLT5_TEXT_ENCODER);
    l.state.model.dim = 64;
    l.state.model.depth = 2;
    l.state.model.num_heavy_tokens_ff = l.state.model.num_heavy_tokens_q = 16;
    l.state.model.num_heavy_tokens_kv = 16;
    l.state.model.router.eps = 1.0 / 3; /* more digits than config.json keeps */
    l.state.options = colt5_training_options_default();
    l.state.options.learning_rate = 1.0 / 3;
    l.state.options.dtype = COLT5_BF16;
    l.state.files = files;
    l.state.file_count = 2;
    return l;
}

static void release_little(struct little *l)
{
    for (int i = 0; i < TENSORS; i++) {
        colt5_tensor_free(ctx, &l->model[i].tensor);
        colt5_tensor_free(ctx, &l->optimizer[i].tensor);
    }
}

static float value_of(uint64_t step, size_t tensor, size_t i)
{
    return (float)step + (float)tensor / 8 + (float)(i % 97) / 256;
}

/* All tensors, in the order model, optimizer, to or from what value_of says. */
static bool each_value(struct little *l, uint64_t step, bool write)
{
    static float values[COUNT], bits[COUNT];
    bool same = true;
    for (size_t t = 0; t < 2 * TENSORS; t++) {
        const colt5_tensor *tensor =
            t < TENSORS ? &l->model[t].tensor : &l->optimizer[t - TENSORS].tensor;
        const size_t count = colt5_tensor_count(tensor);
        for (size_t i = 0; i < count; i++) values[i] = value_of(step, t, i);
        colt5_convert(COLT5_F32, values, tensor->type, values, count);
        if (write)
            ck_assert_ok(colt5_tensor_write(ctx, tensor, values));
        else
            ck_assert_ok(colt5_tensor_read(ctx, tensor, bits));
        same = same && (write || !memcmp(values, bits, count * colt5_type_size(tensor->type)));
    }
    return same;
}

static colt5_status save(struct little *l, uint64_t step)
{
    each_value(l, step, true);
    l->state.step = step;
    l->state.updates = step - step / 3;
    l->state.loss_scale = (colt5_loss_scale){1024, (uint32_t)step};
    return colt5_checkpoint_save(ctx, in_folder("run"), &l->state, l->model, TENSORS, l->optimizer,
                                 TENSORS);
}

/* Opens the newest, checks all that it holds, gives its step. */
static uint64_t check_newest(void)
{
    struct little l = make_little();
    colt5_checkpoint *checkpoint;
    ck_assert_ok(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint));
    const colt5_training_state *state = colt5_checkpoint_state(checkpoint);
    const uint64_t step = state->step;
    ck_assert_uint_eq(state->updates, step - step / 3);
    ck_assert(state->loss_scale.scale == 1024 && state->loss_scale.good_steps == step);
    ck_assert_mem_eq(&state->options, &l.state.options, sizeof(state->options));
    ck_assert_uint_eq(state->model.dim, 64);
    ck_assert(state->model.router.eps == 1.0 / 3);
    ck_assert_uint_eq(state->file_count, 2);
    for (int i = 0; i < 2; i++) {
        ck_assert_str_eq(state->files[i].path, files[i].path);
        ck_assert_uint_eq(state->files[i].bytes, files[i].bytes);
        ck_assert_uint_eq(state->files[i].fingerprint, files[i].fingerprint);
    }
    ck_assert_ok(colt5_checkpoint_load(ctx, checkpoint, l.model, TENSORS, l.optimizer, TENSORS));
    ck_assert_msg(each_value(&l, step, false), "the tensors of step %llu are others",
                  (unsigned long long)step);
    colt5_checkpoint_close(checkpoint);
    release_little(&l);
    return step;
}

static bool is_there(const char *name)
{
    return access(in_folder(name), F_OK) == 0;
}

static size_t entries_of(const char *name)
{
    size_t count = 0;
    DIR *stream = opendir(in_folder(name));
    ck_assert_ptr_nonnull(stream);
    while (readdir(stream)) count++;
    closedir(stream);
    return count - 2; /* less . and .. */
}

/* Turns one bit of a file, from its end. */
static void damage(const char *name, long from_end)
{
    FILE *file = fopen(in_folder(name), "r+b");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, -from_end, SEEK_END), 0);
    const int byte = getc(file);
    ck_assert_int_eq(fseek(file, -from_end, SEEK_END), 0);
    putc(byte ^ 4, file);
    fclose(file);
}

/* ---- tests ---- */

START_TEST(the_last_two_are_kept)
{
    open_context();
    struct little l = make_little();
    for (uint64_t step = 0; step <= 40; step += 10) {
        ck_assert_ok(save(&l, step));
        ck_assert_uint_eq(check_newest(), step);
    }
    ck_assert(is_there("run/checkpoints/40/state.json"));
    ck_assert(is_there("run/checkpoints/30/model.safetensors"));
    ck_assert(is_there("run/checkpoints/30/optimizer.safetensors"));
    ck_assert(!is_there("run/checkpoints/20"));
    ck_assert_str_eq(heard, "");

    /* Back from 40: what lies ahead belongs to another way. */
    ck_assert_ok(save(&l, 35));
    ck_assert_uint_eq(check_newest(), 35);
    ck_assert(!is_there("run/checkpoints/40"));
    ck_assert(is_there("run/checkpoints/30"));
    release_little(&l);
    close_context();
}
END_TEST

START_TEST(a_sound_checkpoint_of_the_step_is_kept)
{
    open_context();
    struct little l = make_little();
    struct stat before, after;
    ck_assert_ok(save(&l, 10));
    ck_assert_int_eq(stat(in_folder("run/checkpoints/10"), &before), 0);
    ck_assert_ok(save(&l, 10));
    ck_assert_int_eq(stat(in_folder("run/checkpoints/10"), &after), 0);
    ck_assert_uint_eq(before.st_ino, after.st_ino);
    damage("run/checkpoints/10/model.safetensors", 3);
    ck_assert_ok(save(&l, 10));
    ck_assert_uint_eq(check_newest(), 10);
    release_little(&l);
    close_context();
}
END_TEST

static const struct {
    const char *file;
    long from_end; /* the byte that is damaged; 0: the file is cut, -1: it is gone */
    const char *says;
} damages[] = {
    {"model.safetensors", 1, "its digest is another"},
    {"optimizer.safetensors", 9, "its digest is another"},
    {"optimizer.safetensors", 0, "bytes, not"},
    {"model.safetensors", -1, "cannot be opened"},
    {"state.json", 0, "state.json"},
    {"state.json", 40, "state.json"},
    {"state.json", 700, "state.json"},
    {"state.json", -1, "state.json: cannot be opened"},
};

START_TEST(a_damaged_one_gives_way_to_the_one_before)
{
    char name[64];
    open_context();
    struct little l = make_little();
    ck_assert_ok(save(&l, 10));
    ck_assert_ok(save(&l, 20));
    snprintf(name, sizeof(name), "run/checkpoints/20/%s", damages[_i].file);
    if (damages[_i].from_end > 0)
        damage(name, damages[_i].from_end);
    else if (damages[_i].from_end == 0)
        ck_assert_int_eq(truncate(in_folder(name), 100), 0);
    else
        ck_assert_int_eq(unlink(in_folder(name)), 0);
    ck_assert_uint_eq(check_newest(), 10);
    ck_assert_msg(strstr(heard, damages[_i].says) && strstr(heard, "checkpoints/20"), "%s", heard);
    ck_assert_msg(strstr(heard, "the checkpoint before it is taken"), "%s", heard);

    /* Both damaged: an error; then a new one takes their place. */
    colt5_checkpoint *checkpoint;
    damage("run/checkpoints/10/state.json", 50);
    assert_fails(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint), COLT5_ERROR_FORMAT,
                 "none of 2 checkpoints is sound");
    ck_assert_ptr_null(checkpoint);
    ck_assert_ok(save(&l, 20));
    ck_assert_uint_eq(check_newest(), 20);
    release_little(&l);
    close_context();
}
END_TEST

START_TEST(no_checkpoint_is_an_error)
{
    open_context();
    colt5_checkpoint *checkpoint;
    assert_fails(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint), COLT5_ERROR_FILE,
                 "run/checkpoints: holds no checkpoint");
    assert_fails(colt5_checkpoint_open(ctx, NULL, &checkpoint), COLT5_ERROR_ARGUMENT, "NULL");
    close_context();
}
END_TEST

/* state.json with another value of a key, and a digest that is right. */
static void rewrite(const char *key, json_t *value)
{
    const char *path = in_folder("run/checkpoints/20/state.json");
    json_t *object = json_load_file(path, 0, NULL);
    ck_assert_int_eq(json_object_set_new(object, key, value), 0);
    ck_assert_int_eq(json_object_del(object, "digest"), 0);
    char *text = json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS), digest[17];
    const uint64_t sum = digest_end(digest_add(DIGEST_START, text, strlen(text)), strlen(text));
    snprintf(digest, sizeof(digest), "%016llx", (unsigned long long)sum);
    json_object_set_new(object, "digest", json_string(digest));
    ck_assert_int_eq(json_dump_file(object, path, 0), 0);
    json_decref(object);
    free(text);
}

START_TEST(a_newer_version_is_no_damage)
{
    open_context();
    struct little l = make_little();
    colt5_checkpoint *checkpoint;
    ck_assert_ok(save(&l, 10));
    ck_assert_ok(save(&l, 20));
    rewrite("good_steps", json_integer(20)); /* the digest is right: it still opens */
    ck_assert_uint_eq(check_newest(), 20);
    rewrite("version", json_integer(2));
    assert_fails(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint), COLT5_ERROR_CONFIG,
                 "version is 2, this library knows 1");
    assert_fails(save(&l, 20), COLT5_ERROR_CONFIG, "version is 2");
    rewrite("version", json_integer(1));
    rewrite("updated", json_integer(1));
    assert_fails(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint), COLT5_ERROR_CONFIG,
                 "updated is no key");
    release_little(&l);
    close_context();
}
END_TEST

START_TEST(the_model_beside_it_must_be_its_own)
{
    open_context();
    struct little l = make_little();
    colt5_checkpoint *checkpoint;
    ck_assert_ok(save(&l, 10));
    ck_assert_ok(colt5_config_write(in_folder("run"), &l.state.model));
    ck_assert_uint_eq(check_newest(), 10);
    l.state.model.depth = 3;
    ck_assert_ok(colt5_config_write(in_folder("run"), &l.state.model));
    assert_fails(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint), COLT5_ERROR_CONFIG,
                 "config.json: depth is 3, the checkpoint's is 2");
    l.state.model.depth = 2;
    l.state.model.router.eps = 0.33333;
    ck_assert_ok(colt5_config_write(in_folder("run"), &l.state.model));
    assert_fails(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint), COLT5_ERROR_CONFIG,
                 "config.json: eps is 0.333");
    release_little(&l);
    close_context();
}
END_TEST

START_TEST(tensors_must_be_those_it_holds)
{
    open_context();
    struct little l = make_little();
    colt5_checkpoint *c;
    ck_assert_ok(save(&l, 10));
    ck_assert_ok(colt5_checkpoint_open(ctx, in_folder("run"), &c));
    assert_fails(colt5_checkpoint_load(ctx, c, l.model, 2, l.optimizer, TENSORS),
                 COLT5_ERROR_FORMAT, "has 3 tensors, not 2");
    assert_fails(colt5_checkpoint_load(ctx, c, l.model, TENSORS, l.model, TENSORS),
                 COLT5_ERROR_FORMAT, "optimizer.safetensors: tensor w is missing");
    l.model[0].tensor.dims[0]--;
    ck_assert_int_eq(colt5_checkpoint_load(ctx, c, l.model, TENSORS, l.optimizer, TENSORS),
                     COLT5_ERROR_SHAPE);
    assert_fails(colt5_checkpoint_load(ctx, NULL, NULL, 0, NULL, 0), COLT5_ERROR_ARGUMENT, "NULL");
    assert_fails(colt5_checkpoint_load(ctx, c, NULL, 1, NULL, 0), COLT5_ERROR_ARGUMENT, "NULL");
    colt5_checkpoint_close(c);
    colt5_checkpoint_close(NULL);
    release_little(&l);
    close_context();
}
END_TEST

START_TEST(a_failed_save_leaves_what_was_there)
{
    open_context();
    struct little l = make_little();
    ck_assert_ok(save(&l, 10));
    limit_file_size(15000); /* within the model's values */
    assert_fails(save(&l, 20), COLT5_ERROR_FILE, "model.safetensors: cannot be written");
    limit_file_size(SIZE_MAX);
    l.optimizer[1].name = l.optimizer[0].name;
    assert_fails(save(&l, 20), COLT5_ERROR_ARGUMENT, "is there twice");
    l.optimizer[1].name = "w.v";
    l.state.options.seq = 0;
    assert_fails(save(&l, 20), COLT5_ERROR_CONFIG, "seq is 0");
    l.state.options.seq = 512;
    l.state.struct_size--;
    assert_fails(save(&l, 20), COLT5_ERROR_ARGUMENT, "struct_size");
    ck_assert_uint_eq(entries_of("run/checkpoints"), 1);
    ck_assert_uint_eq(check_newest(), 10);
    ck_assert_int_eq(mkdir(in_folder("run/checkpoints/.colt5-5-1.tmp"), 0777),
                     0); /* a dead one's */
    l.state.struct_size++;
    ck_assert_ok(save(&l, 20));
    ck_assert(!is_there("run/checkpoints/.colt5-5-1.tmp"));
    ck_assert_uint_eq(entries_of("run/checkpoints"), 2);
    put_file("file", "x", 1);
    assert_fails(colt5_checkpoint_save(ctx, in_folder("file"), &l.state, NULL, 0, NULL, 0),
                 COLT5_ERROR_FILE, "file: is not a folder");
    release_little(&l);
    close_context();
}
END_TEST

START_TEST(the_data_must_be_the_same)
{
    static const char bytes[] = "the quick brown fox jumps over the lazy dog, again and again";
    char first[4200], second[4200];
    snprintf(first, sizeof(first), "%s", put_file("one", bytes, sizeof(bytes)));
    snprintf(second, sizeof(second), "%s", put_file("two", bytes, sizeof(bytes) - 1));
    const char *const both[] = {first, second}, *const turned[] = {second, first};
    colt5_training_options options = colt5_training_options_default();
    options.seq = 5;
    open_context();
    struct little l = make_little();
    colt5_checkpoint *checkpoint;
    colt5_data *data;
    ck_assert_ok(colt5_data_open(ctx, both, 2, &options, &data));
    l.state.files = colt5_data_describe(data)->files;
    ck_assert_ok(save(&l, 10));
    ck_assert_ok(colt5_checkpoint_open(ctx, in_folder("run"), &checkpoint));
    ck_assert_ok(colt5_checkpoint_check_data(checkpoint, data));
    colt5_data_close(data);

    ck_assert_ok(colt5_data_open(ctx, turned, 2, &options, &data));
    ck_assert_int_eq(colt5_checkpoint_check_data(checkpoint, data), COLT5_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(colt5_message(NULL), "two: is not what"));
    colt5_data_close(data);
    ck_assert_ok(colt5_data_open(ctx, both, 1, &options, &data));
    ck_assert_int_eq(colt5_checkpoint_check_data(checkpoint, data), COLT5_ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(colt5_message(NULL), "1 files, the checkpoint had 2"));
    colt5_data_close(data);
    colt5_checkpoint_close(checkpoint);
    release_little(&l);
    close_context();
}
END_TEST

/* ---- kill -9 ---- */

/* Saves step after step from the newest on, for ever. */
static void save_for_ever(int announce)
{
    open_context();
    struct little l = make_little();
    uint64_t step = is_there("run/checkpoints") ? check_newest() : 0;
    if (*heard) _exit(1); /* one was damaged */
    for (;;) {
        if (save(&l, ++step) != COLT5_OK) _exit(1);
        if (write(announce, &step, sizeof(step)) != sizeof(step)) _exit(1);
    }
}

/* What is announced was saved: after any death it, or a later one, is there and whole. */
START_TEST(a_kill_at_any_moment_loses_nothing_saved)
{
    uint64_t saved = 0, step;
    const int kills = tiny() ? 3 : 30;
    for (int i = 0; i < kills; i++) {
        int announce[2];
        ck_assert_int_eq(pipe(announce), 0);
        const pid_t child = fork();
        if (child == 0) save_for_ever(announce[1]);
        close(announce[1]);
        /* Alive until its first save, then for some milliseconds. */
        ck_assert_int_eq(read(announce[0], &step, sizeof(step)), sizeof(step));
        ck_assert_uint_gt(step, saved);
        usleep((useconds_t)(random_uniform() * 20000));
        ck_assert_int_eq(kill(child, SIGKILL), 0);
        int outcome;
        ck_assert_int_eq(waitpid(child, &outcome, 0), child);
        ck_assert_msg(WIFSIGNALED(outcome), "the child ended by itself");
        do saved = step;
        while (read(announce[0], &step, sizeof(step)) == sizeof(step));
        close(announce[0]);
    }
    open_context();
    ck_assert_uint_ge(check_newest(), saved);
    ck_assert_str_eq(heard, "");
    close_context();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("checkpoint");
    TCase *tests = tcase_create("checkpoint");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_test(tests, the_last_two_are_kept);
    tcase_add_test(tests, a_sound_checkpoint_of_the_step_is_kept);
    tcase_add_loop_test(tests, a_damaged_one_gives_way_to_the_one_before, 0,
                        sizeof(damages) / sizeof(damages[0]));
    tcase_add_test(tests, no_checkpoint_is_an_error);
    tcase_add_test(tests, a_newer_version_is_no_damage);
    tcase_add_test(tests, the_model_beside_it_must_be_its_own);
    tcase_add_test(tests, tensors_must_be_those_it_holds);
    tcase_add_test(tests, a_failed_save_leaves_what_was_there);
    tcase_add_test(tests, the_data_must_be_the_same);
    tcase_add_test(tests, a_kill_at_any_moment_loses_nothing_saved);
    suite_add_tcase(suite, tests);
    return run_forked_device_suite(suite);
}
