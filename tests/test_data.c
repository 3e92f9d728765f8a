/* SPDX-License-Identifier: MIT */
#include "support/files.h"

#include <stdio.h>
#include <unistd.h>

#include <colt5/train.h>

#include "ops/philox.h"
#include "runtime/context.h"
#include "train/spans.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static colt5_training_options options_of(size_t seq, uint64_t seed)
{
    colt5_training_options options = colt5_training_options_default();
    options.seq = seq;
    options.seed = seed;
    return options;
}

/* ---- spans ---- */

/* As <colt5/train.h> writes it, with what C has for large numbers. */
static void hide_as_written(uint64_t seed, uint64_t number, bool held_out, size_t N,
                            uint8_t *hidden)
{
    const uint32_t key[] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    size_t budget = 15 * N / 100, count = 0;
    bool *started = calloc(N, sizeof(bool));
    memset(hidden, 0, N);
    if (budget < 1) budget = 1;
    for (uint32_t draw = 1; count < budget; draw++) {
        uint32_t w[4];
        philox((const uint32_t[]){draw, (uint32_t)(number >> 32) + (held_out ? 1u << 31 : 0),
                                  (uint32_t)number, 4},
               key, w);
        const size_t start = (size_t)floor((double)w[0] * (double)N / 4294967296.0);
        size_t length = 1;
        for (int k = 1; k <= 9; k++) length += w[1] < floor(pow(2.0 / 3, k) * 4294967296.0);
        if (started[start]) continue;
        started[start] = true;
        for (size_t n = start; n < start + length && n < N; n++)
            if (!hidden[n] && count < budget) count += hidden[n] = 1;
    }
    free(started);
}

static const size_t lengths[] = {1, 2, 6, 7, 100, 513, 4096};

START_TEST(spans_are_those_described)
{
    const size_t N = lengths[_i], windows = 20;
    uint8_t *have = malloc(N), *want = malloc(N);
    for (uint64_t w = 0; w < windows; w++) {
        const struct window window = {UINT64_C(0x123456789ABC) * w, w << (w % 2 ? 33 : 0),
                                      w % 3 == 0};
        hide_spans(window, N, have);
        hide_as_written(window.seed, window.number, window.held_out, N, want);
        ck_assert_mem_eq(have, want, N);
        size_t count = 0;
        for (size_t n = 0; n < N; n++) count += have[n];
        ck_assert_uint_eq(count, 15 * N / 100 > 0 ? 15 * N / 100 : 1); /* never one more */
        ck_assert_uint_eq(count, hidden_budget(N));
    }
    free(have), free(want);
}
END_TEST

START_TEST(lengths_are_geometric_and_starts_uniform)
{
    enum { N = 64, DRAWS = 200000 };
    size_t of_length[LONGEST_SPAN + 1] = {0}, at_start[N] = {0};
    double sum = 0;
    for (uint32_t draw = 1; draw <= DRAWS; draw++) {
        const struct span span = draw_span((struct window){7, 3, false}, draw, N);
        ck_assert(span.start < N && span.length >= 1 && span.length <= LONGEST_SPAN);
        of_length[span.length]++;
        at_start[span.start]++;
        sum += (double)span.length;
    }
    /* Cut at 10 the mean of 3 is 3 (1 - (2/3)^10); five standard deviations. */
    ck_assert_double_eq_tol(sum / DRAWS, 3 * (1 - pow(2.0 / 3, 10)), 5 * 2.4 / sqrt(DRAWS));
    for (int k = 1; k < LONGEST_SPAN; k++) {
        const double chance = pow(2.0 / 3, k - 1) / 3;
        ck_assert_double_eq_tol((double)of_length[k] / DRAWS, chance, 5 * sqrt(chance / DRAWS));
    }
    for (size_t n = 0; n < N; n++)
        ck_assert_double_eq_tol((double)at_start[n] / DRAWS, 1.0 / N, 5 * sqrt(1.0 / N / DRAWS));
}
END_TEST

START_TEST(every_byte_is_hidden_as_often)
{
    enum { N = 200, WINDOWS = 20000 };
    static size_t often[N];
    uint8_t hidden[N];
    size_t runs = 0, bytes = 0;
    for (uint64_t w = 0; w < WINDOWS; w++) {
        hide_spans((struct window){1, w, false}, N, hidden);
        for (size_t n = 0; n < N; n++) {
            often[n] += hidden[n];
            bytes += hidden[n];
            runs += hidden[n] && (n == 0 || !hidden[n - 1]);
        }
    }
    ck_assert_uint_eq(bytes, WINDOWS * hidden_budget(N));
    /* Away from the beginning, where fewer spans reach. */
    for (size_t n = 10; n < N; n++) ck_assert_double_eq_tol((double)often[n] / WINDOWS, 0.15, 0.02);
    /* Runs are a little longer than spans, because spans merge. */
    ck_assert_double_eq_tol((double)bytes / (double)runs, 3.3, 0.3);
}
END_TEST

START_TEST(windows_start_anywhere)
{
    enum { PLACES = 50, WINDOWS = 100000 };
    size_t often[PLACES] = {0};
    for (uint64_t w = 0; w < WINDOWS; w++)
        often[window_start((struct window){3, w, false}, PLACES)]++;
    for (size_t n = 0; n < PLACES; n++)
        ck_assert_double_eq_tol((double)often[n] / WINDOWS, 0.02, 5 * sqrt(0.02 / WINDOWS));
    uint64_t largest = 0;
    for (uint64_t w = 0; w < 1000; w++) {
        const uint64_t start = window_start((struct window){3, w, false}, UINT64_MAX);
        if (start > largest) largest = start;
    }
    ck_assert(largest > UINT64_MAX / 100 * 99);
    for (uint64_t w = 0; w < 1000; w++) {
        uint32_t words[4];
        philox((const uint32_t[]){0, 0, (uint32_t)w, 4}, (const uint32_t[]){3, 0}, words);
        const double u = (words[0] + 4294967296.0 * words[1]) / 4294967296.0 / 4294967296.0;
        const double start = (double)window_start((struct window){3, w, false}, UINT64_C(1) << 50);
        ck_assert_double_eq_tol(start, floor(u * 1125899906842624.0), 1.5);
    }
}
END_TEST

/* ---- files ---- */

/* Byte n of file f: what tells where a byte came from. */
static uint8_t byte_of(size_t f, size_t n)
{
    return (uint8_t)(n * 7 + n / 251 + f * 31);
}

#define FILES 4
static const size_t sizes[FILES] = {1000, 37, 10, 503};
static const char *paths[FILES];

static void make_files(void)
{
    static char kept[FILES][4200];
    for (size_t f = 0; f < FILES; f++) {
        uint8_t bytes[1000];
        char name[16];
        for (size_t n = 0; n < sizes[f]; n++) bytes[n] = byte_of(f, n);
        snprintf(name, sizeof(name), "f%zu", f);
        snprintf(kept[f], sizeof(kept[f]), "%s", put_file(name, bytes, sizes[f]));
        paths[f] = kept[f];
    }
}

/* The training bytes, then the held-out bytes, strung together. */
static size_t string_together(double share, uint8_t *training, uint8_t *held_out, size_t *held)
{
    size_t count = 0;
    *held = 0;
    for (size_t f = 0; f < FILES; f++) {
        const size_t end = sizes[f] - (size_t)((double)sizes[f] * share);
        for (size_t n = 0; n < end; n++) training[count++] = byte_of(f, n);
        for (size_t n = end; n < sizes[f]; n++) held_out[(*held)++] = byte_of(f, n);
    }
    return count;
}

/* Whether ids and targets are the bytes here, hidden and not. */
static bool is_window(const uint8_t *bytes, const int32_t *ids, const int32_t *targets, size_t N)
{
    for (size_t n = 0; n < N; n++) {
        const bool hidden = ids[n] == 257;
        if (hidden ? targets[n] != bytes[n] : ids[n] != bytes[n] || targets[n] != -1) return false;
    }
    return true;
}

START_TEST(windows_lie_where_they_should)
{
    enum { N = 60, B = 40 };
    static int32_t ids[B][N], targets[B][N], again[B][N];
    static uint8_t training[2000], held_out[2000];
    size_t held;
    make_files();
    const colt5_training_options options = options_of(N, 11);
    const size_t count = string_together(options.held_out_share, training, held_out, &held);
    colt5_data *data;
    ck_assert_ok(colt5_data_open(NULL, paths, FILES, &options, &data));
    const colt5_data_info *info = colt5_data_describe(data);
    ck_assert_uint_eq(info->training_bytes, count);
    ck_assert_uint_eq(info->held_out_bytes, held);
    ck_assert_uint_eq(info->held_out_windows, held / N);
    ck_assert_uint_eq(info->hidden, 9);
    ck_assert_uint_eq(info->file_count, FILES);

    ck_assert_ok(colt5_data_batch(data, 5, B, *ids, *targets));
    for (size_t b = 0; b < B; b++) {
        const size_t start = (size_t)window_start((struct window){11, 5 + b, false}, count - N + 1);
        ck_assert_msg(is_window(training + start, ids[b], targets[b], N), "window %zu", b);
    }
    /* Any part of any batch is the same again. */
    ck_assert_ok(colt5_data_batch(data, 25, 20, *again, *targets));
    ck_assert_mem_eq(again, ids[20], 20 * sizeof(*ids));

    ck_assert_ok(colt5_data_held_out(data, 0, info->held_out_windows, *ids, *targets));
    const size_t last = held / N - 1;
    for (size_t w = 0; w <= last; w++)
        ck_assert(is_window(held_out + (last ? (held - N) * w / last : 0), ids[w], targets[w], N));
    ck_assert_int_eq(ids[last][N - 1] == 257 ? targets[last][N - 1] : ids[last][N - 1],
                     held_out[held - 1]);
    colt5_data_close(data);
}
END_TEST

/* Another seed, other windows; the same seed in another run, the same. */
START_TEST(the_seed_is_all_there_is)
{
    enum { N = 60, B = 8 };
    static int32_t ids[3][B][N], targets[3][B][N];
    make_files();
    for (int i = 0; i < 3; i++) {
        const colt5_training_options options = options_of(N, i == 2 ? 12 : 11);
        colt5_data *data;
        ck_assert_ok(colt5_data_open(NULL, paths, FILES, &options, &data));
        ck_assert_ok(colt5_data_batch(data, 0, B, **(ids + i), **(targets + i)));
        colt5_data_close(data);
    }
    ck_assert_mem_eq(ids[0], ids[1], sizeof(ids[0]));
    ck_assert_mem_eq(targets[0], targets[1], sizeof(ids[0]));
    ck_assert_mem_ne(ids[0], ids[2], sizeof(ids[0]));
}
END_TEST

START_TEST(the_baseline_is_what_frequencies_score)
{
    enum { N = 60 };
    static int32_t ids[1][N], targets[1][N];
    static uint8_t training[2000], held_out[2000];
    size_t held, counts[256] = {0}, hidden = 0;
    double bits = 0;
    make_files();
    const colt5_training_options options = options_of(N, 2);
    const size_t count = string_together(options.held_out_share, training, held_out, &held);
    for (size_t n = 0; n < count; n++) counts[training[n]]++;
    colt5_data *data;
    ck_assert_ok(colt5_data_open(NULL, paths, FILES, &options, &data));
    const colt5_data_info *info = colt5_data_describe(data);
    for (size_t w = 0; w < info->held_out_windows; w++) {
        ck_assert_ok(colt5_data_held_out(data, w, 1, *ids, *targets));
        for (size_t n = 0; n < N; n++)
            if (targets[0][n] >= 0) {
                bits -= log2(((double)counts[targets[0][n]] + 1) / ((double)count + 256));
                hidden++;
            }
    }
    ck_assert_uint_eq(hidden, info->hidden * info->held_out_windows);
    ck_assert_double_eq_tol(info->baseline_bits, bits / (double)hidden, 1e-9);
    colt5_data_close(data);
}
END_TEST

START_TEST(a_fingerprint_tells_content)
{
    const colt5_training_options options = options_of(20, 0);
    uint64_t fingerprints[3];
    make_files();
    for (int i = 0; i < 3; i++) {
        colt5_data *data;
        ck_assert_ok(colt5_data_open(NULL, paths, 1, &options, &data));
        fingerprints[i] = colt5_data_describe(data)->files[0].fingerprint;
        ck_assert_uint_eq(colt5_data_describe(data)->files[0].bytes, sizes[0]);
        ck_assert_str_eq(colt5_data_describe(data)->files[0].path, paths[0]);
        colt5_data_close(data);
        if (i == 1) { /* two bytes change places */
            size_t count;
            char *bytes = get_file("f0", &count), first = bytes[990];
            bytes[990] = bytes[991];
            bytes[991] = first;
            put_file("f0", bytes, count);
            free(bytes);
        }
    }
    ck_assert_uint_eq(fingerprints[0], fingerprints[1]);
    ck_assert_uint_ne(fingerprints[0], fingerprints[2]);
}
END_TEST

/* ---- what can be wrong ---- */

START_TEST(bad_data_is_refused)
{
    colt5_data *data = (colt5_data *)paths;
    const colt5_training_options options = options_of(60, 0), large = options_of(1398, 0);
    colt5_training_options little = options_of(160, 0), wrong = options_of(1, 0);
    little.held_out_share = 0.05;
    make_files();
    const char *const missing[] = {paths[0], in_folder("none")};
    const char *const empty[] = {paths[0], put_file("empty", "", 0)};
    const char *const folder[] = {in_folder("."), paths[0]};
    const char *const strange[] = {put_file("\xFF", "abc", 3)};
    const struct {
        const char *const *paths;
        size_t count;
        const colt5_training_options *options;
        colt5_status expected;
        const char *says;
    } bad[] = {
        {missing, 2, &options, COLT5_ERROR_FILE, "none: cannot be opened"},
        {empty, 2, &options, COLT5_ERROR_FORMAT, "empty: is empty"},
        {folder, 2, &options, COLT5_ERROR_FILE, "is not a regular file"},
        {strange, 1, &options, COLT5_ERROR_ARGUMENT, "not UTF-8"},
        {paths, FILES, &large, COLT5_ERROR_FORMAT,
         "1396 bytes are for training, a window (seq) has"},
        {paths, FILES, &little, COLT5_ERROR_FORMAT, "bytes are held out (held_out_share 0.05"},
        {paths, 1, &wrong, COLT5_ERROR_CONFIG, "seq is 1"},
        {paths, 0, &options, COLT5_ERROR_ARGUMENT, "no file"},
        {NULL, 1, &options, COLT5_ERROR_ARGUMENT, "no file"},
        {paths, 1, NULL, COLT5_ERROR_ARGUMENT, "NULL"},
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        assert_fails(colt5_data_open(NULL, bad[i].paths, bad[i].count, bad[i].options, &data),
                     bad[i].expected, bad[i].says);
        ck_assert_ptr_null(data);
    }
}
END_TEST

START_TEST(a_file_that_changes_is_noticed)
{
    enum { N = 60 };
    static int32_t ids[N], targets[N];
    const colt5_training_options options = options_of(N, 0);
    colt5_data *data;
    colt5_status status = COLT5_OK;
    make_files();
    ck_assert_ok(colt5_data_open(NULL, paths, FILES, &options, &data));
    ck_assert_int_eq(truncate(paths[0], 300), 0);
    for (uint64_t w = 0; status == COLT5_OK && w < 100; w++)
        status = colt5_data_batch(data, w, 1, ids, targets);
    ck_assert_int_eq(status, COLT5_ERROR_FORMAT);
    ck_assert_msg(strstr(colt5_message(NULL), "f0: has changed: 300 bytes, it had 1000"), "%s",
                  colt5_message(NULL));
    colt5_data_close(data);
}
END_TEST

START_TEST(bad_calls_are_refused)
{
    int32_t ids[60], targets[60];
    const colt5_training_options options = options_of(60, 0);
    colt5_data *data;
    make_files();
    ck_assert_ok(colt5_data_open(NULL, paths, FILES, &options, &data));
    assert_fails(colt5_data_batch(NULL, 0, 1, ids, targets), COLT5_ERROR_ARGUMENT, "NULL");
    assert_fails(colt5_data_batch(data, 0, 1, NULL, targets), COLT5_ERROR_ARGUMENT, "NULL");
    assert_fails(colt5_data_batch(data, UINT64_MAX, 1, ids, targets), COLT5_ERROR_ARGUMENT, "2^63");
    assert_fails(colt5_data_held_out(data, 2, 1, ids, targets), COLT5_ERROR_ARGUMENT,
                 "held-out windows 2 to 3 of 2");
    assert_fails(colt5_data_held_out(data, 0, 1, ids, NULL), COLT5_ERROR_ARGUMENT, "NULL");
    assert_fails(colt5_data_open(NULL, paths, FILES, &options, NULL), COLT5_ERROR_ARGUMENT,
                 "nowhere");
    ck_assert_ok(colt5_data_batch(data, (UINT64_C(1) << 63) - 1, 1, ids, targets));
    colt5_data_close(data);
    colt5_data_close(NULL);
}
END_TEST

static size_t progress_calls;

static void count_progress(void *user, const char *what, size_t done, size_t total)
{
    (void)user;
    ck_assert(*what && done <= total);
    progress_calls++;
}

static int cancel(void *user)
{
    (void)user;
    return 1;
}

START_TEST(reading_tells_and_can_be_stopped)
{
    struct colt5_context *fake = calloc(1, sizeof(*fake));
    const colt5_training_options options = options_of(60, 0);
    colt5_data *data;
    make_files();
    fake->callbacks = (colt5_callbacks){.progress = count_progress};
    ck_assert_int_eq(colt5_data_open(fake, paths, FILES, &options, &data), COLT5_OK);
    ck_assert_uint_eq(progress_calls, FILES);
    colt5_data_close(data);
    fake->callbacks.cancel = cancel;
    ck_assert_int_eq(colt5_data_open(fake, paths, FILES, &options, &data), COLT5_CANCELLED);
    fake->callbacks.cancel = NULL;
    const char *const missing[] = {in_folder("none")};
    ck_assert_int_eq(colt5_data_open(fake, missing, 1, &options, &data), COLT5_ERROR_FILE);
    ck_assert_ptr_nonnull(strstr(colt5_message(fake), "none"));
    free(fake);
}
END_TEST

START_TEST(every_allocation_may_fail)
{
    const colt5_training_options options = options_of(60, 0);
    colt5_status status = COLT5_ERROR_MEMORY;
    colt5_data *data = NULL;
    make_files();
    for (size_t n = 0; status != COLT5_OK; n++) {
        fail_allocations_from(n);
        status = colt5_data_open(NULL, paths, FILES, &options, &data);
        ck_assert(status == COLT5_OK || status == COLT5_ERROR_MEMORY);
    }
    colt5_data_close(data);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("data");
    TCase *tests = tcase_create("data");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, make_folder, remove_folder);
    tcase_add_loop_test(tests, spans_are_those_described, 0, COUNT(lengths));
    tcase_add_test(tests, lengths_are_geometric_and_starts_uniform);
    tcase_add_test(tests, every_byte_is_hidden_as_often);
    tcase_add_test(tests, windows_start_anywhere);
    tcase_add_test(tests, windows_lie_where_they_should);
    tcase_add_test(tests, the_seed_is_all_there_is);
    tcase_add_test(tests, the_baseline_is_what_frequencies_score);
    tcase_add_test(tests, a_fingerprint_tells_content);
    tcase_add_test(tests, bad_data_is_refused);
    tcase_add_test(tests, a_file_that_changes_is_noticed);
    tcase_add_test(tests, bad_calls_are_refused);
    tcase_add_test(tests, reading_tells_and_can_be_stopped);
    tcase_add_test(tests, every_allocation_may_fail);
    suite_add_tcase(suite, tests);
    return run_host_suite(suite);
}
