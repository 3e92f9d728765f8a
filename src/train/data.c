/* SPDX-License-Identifier: MIT */
/* Windows of any files: where they lie, and what of them is hidden. */
#include <jansson.h>
#include <math.h>
#include <string.h>

#include <colt5/train.h>

#include "io/digest.h"
#include "io/file.h"
#include "runtime/check.h"
#include "runtime/launch.h"
#include "runtime/memory.h"
#include "train/spans.h"

#define MASK_SYMBOL 257

enum part { TRAINING, HELD_OUT };

struct colt5_data {
    colt5_data_info info;
    colt5_data_file *files;
    uint64_t *training;   /* bytes of each file for training: its beginning */
    uint64_t *ends[2];    /* of each part: where the bytes of each file end */
    uint64_t counts[256]; /* of each byte in the training part */
    size_t N;
    uint64_t seed;
    struct input open;       /* the file read last, */
    size_t open_file;        /* and its number */
    uint8_t *bytes, *hidden; /* of a window */
};

/* ---- files ---- */

static colt5_status open_file(colt5_data *data, size_t i)
{
    const colt5_data_file *file = &data->files[i];
    if (data->open.path && data->open_file == i) return COLT5_OK;
    input_close(&data->open);
    CHECK(input_open(&data->open, file->path));
    data->open_file = i;
    if (data->open.size == file->bytes) return COLT5_OK;
    const uint64_t size = data->open.size;
    input_close(&data->open);
    return fail(NULL, COLT5_ERROR_FORMAT, "%s: has changed: %llu bytes, it had %llu", file->path,
                (unsigned long long)size, (unsigned long long)file->bytes);
}

/* The file in which byte `offset` of a part lies. */
static size_t file_of(const uint64_t *ends, size_t count, uint64_t offset)
{
    size_t low = 0, high = count - 1;
    while (low < high) {
        const size_t middle = (low + high) / 2;
        if (ends[middle] > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* N bytes of a part, from as many files as they lie in. */
static colt5_status read_part(colt5_data *data, enum part part, uint64_t offset)
{
    const uint64_t *ends = data->ends[part];
    size_t done = 0;
    for (size_t i = file_of(ends, data->info.file_count, offset); done < data->N; i++) {
        const uint64_t begin = i > 0 ? ends[i - 1] : 0, at = offset + done;
        const uint64_t left = ends[i] - at, wanted = data->N - done;
        const size_t count = (size_t)(left < wanted ? left : wanted);
        if (count == 0) continue;
        CHECK(open_file(data, i));
        CHECK(input_read(&data->open, at - begin + (part == HELD_OUT ? data->training[i] : 0),
                         data->bytes + done, count));
        done += count;
    }
    return COLT5_OK;
}

/* ---- windows ---- */

/* Window `number` of a part into bytes and hidden. */
static colt5_status read_window(colt5_data *data, enum part part, uint64_t number)
{
    const struct window window = {data->seed, number, part == HELD_OUT};
    const uint64_t total = data->ends[part][data->info.file_count - 1],
                   places = total - data->N + 1;
    const size_t windows = data->info.held_out_windows;
    uint64_t start = 0;
    if (part == TRAINING)
        start = window_start(window, places);
    else if (windows > 1)
        start = (places - 1) / (windows - 1) * number +
                (places - 1) % (windows - 1) * number / (windows - 1);
    CHECK(read_part(data, part, start));
    hide_spans(window, data->N, data->hidden);
    return COLT5_OK;
}

static colt5_status read_windows(colt5_data *data, enum part part, uint64_t first, size_t B,
                                 int32_t *ids, int32_t *targets)
{
    for (size_t b = 0; b < B; b++, ids += data->N, targets += data->N) {
        CHECK(read_window(data, part, first + b));
        for (size_t n = 0; n < data->N; n++) {
            ids[n] = data->hidden[n] ? MASK_SYMBOL : data->bytes[n];
            targets[n] = data->hidden[n] ? data->bytes[n] : -1;
        }
    }
    return COLT5_OK;
}

colt5_status colt5_data_batch(colt5_data *data, uint64_t first, size_t B, int32_t *ids,
                              int32_t *targets)
{
    REQUIRE(NULL, data && ids && targets, COLT5_ERROR_ARGUMENT,
            "data: data, ids or targets is NULL");
    REQUIRE(NULL, first < UINT64_C(1) << 63 && B <= (UINT64_C(1) << 63) - first,
            COLT5_ERROR_ARGUMENT, "data: window %llu passes 2^63", (unsigned long long)first);
    return read_windows(data, TRAINING, first, B, ids, targets);
}

colt5_status colt5_data_held_out(colt5_data *data, uint64_t first, size_t B, int32_t *ids,
                                 int32_t *targets)
{
    REQUIRE(NULL, data && ids && targets, COLT5_ERROR_ARGUMENT,
            "data: data, ids or targets is NULL");
    const size_t windows = data->info.held_out_windows;
    REQUIRE(NULL, first <= windows && B <= windows - first, COLT5_ERROR_ARGUMENT,
            "data: held-out windows %llu to %llu of %zu", (unsigned long long)first,
            (unsigned long long)(first + B), windows);
    return read_windows(data, HELD_OUT, first, B, ids, targets);
}

/* ---- opening ---- */

static void count_bytes(colt5_data *data, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++) data->counts[bytes[i]]++;
}

/* Reads all of file i: its fingerprint, and the bytes of its training part. */
static colt5_status survey(colt5_context *ctx, colt5_data *data, size_t i, uint8_t *piece)
{
    colt5_data_file *file = &data->files[i];
    uint64_t digest = DIGEST_START;
    for (uint64_t done = 0; done < file->bytes;) {
        const uint64_t left = file->bytes - done, wanted = data->training[i];
        const size_t count = left < FILE_PIECE ? (size_t)left : FILE_PIECE;
        if (ctx) CHECK(may_enqueue(ctx, "data"));
        say_progress(ctx, "reading data", (size_t)(done >> 10), (size_t)(file->bytes >> 10));
        CHECK(input_read(&data->open, done, piece, count));
        digest = digest_add(digest, piece, count);
        if (done < wanted)
            count_bytes(data, piece, wanted - done < count ? (size_t)(wanted - done) : count);
        done += count;
    }
    file->fingerprint = digest_end(digest, file->bytes);
    return COLT5_OK;
}

/* Checkpoints keep names as JSON. */
static bool is_utf8(const char *text)
{
    json_t *string = json_string(text);
    json_decref(string);
    return string != NULL;
}

/* Opens file i for the first time and cuts it into its two parts. */
static colt5_status add_file(colt5_data *data, size_t i, const char *path, double share)
{
    colt5_data_file *file = &data->files[i];
    REQUIRE(NULL, is_utf8(path), COLT5_ERROR_ARGUMENT, "%s: its name is not UTF-8", SHOWN(path));
    file->path = host_copy_text(path);
    REQUIRE(NULL, file->path, COLT5_ERROR_MEMORY, "%s: no host memory", path);
    input_close(&data->open);
    CHECK(input_open(&data->open, path));
    data->open_file = i;
    file->bytes = data->open.size;
    REQUIRE(NULL, file->bytes > 0, COLT5_ERROR_FORMAT, "%s: is empty", path);
    const uint64_t kept = (uint64_t)((double)file->bytes * share);
    data->training[i] = file->bytes - (kept < file->bytes ? kept : file->bytes);
    data->ends[TRAINING][i] = (i > 0 ? data->ends[TRAINING][i - 1] : 0) + data->training[i];
    data->ends[HELD_OUT][i] =
        (i > 0 ? data->ends[HELD_OUT][i - 1] : 0) + file->bytes - data->training[i];
    return COLT5_OK;
}

static colt5_status check_lengths(const colt5_data *data, double share)
{
    const unsigned long long training = data->info.training_bytes;
    const unsigned long long held_out = data->info.held_out_bytes;
    REQUIRE(NULL, training >= data->N, COLT5_ERROR_FORMAT,
            "data: %llu bytes are for training, a window (seq) has %zu", training, data->N);
    REQUIRE(NULL, held_out >= data->N, COLT5_ERROR_FORMAT,
            "data: %llu bytes are held out (held_out_share %g of %llu), a window (seq) has %zu",
            held_out, share, training + held_out, data->N);
    return COLT5_OK;
}

/* What the frequencies of the training part score on the held-out windows. */
static colt5_status set_baseline(colt5_data *data)
{
    const double all = (double)data->info.training_bytes + 256;
    double bits = 0;
    for (size_t w = 0; w < data->info.held_out_windows; w++) {
        CHECK(read_window(data, HELD_OUT, w));
        for (size_t n = 0; n < data->N; n++)
            if (data->hidden[n]) bits -= log2(((double)data->counts[data->bytes[n]] + 1) / all);
    }
    data->info.baseline_bits =
        bits / ((double)data->info.held_out_windows * (double)data->info.hidden);
    return COLT5_OK;
}

static colt5_status make_room(colt5_data *data, size_t count)
{
    data->files = host_allocate_zeroed(count, sizeof(*data->files));
    data->training = host_allocate_zeroed(count, sizeof(*data->training));
    data->ends[TRAINING] = host_allocate_zeroed(count, sizeof(uint64_t));
    data->ends[HELD_OUT] = host_allocate_zeroed(count, sizeof(uint64_t));
    data->bytes = host_allocate(data->N);
    data->hidden = host_allocate(data->N);
    REQUIRE(NULL,
            data->files && data->training && data->ends[TRAINING] && data->ends[HELD_OUT] &&
                data->bytes && data->hidden,
            COLT5_ERROR_MEMORY, "data: no host memory");
    data->info.files = data->files;
    data->info.file_count = count;
    return COLT5_OK;
}

static colt5_status set_up(colt5_context *ctx, colt5_data *data, const char *const *paths,
                           const colt5_training_options *options, uint8_t *piece)
{
    const size_t count = data->info.file_count;
    for (size_t i = 0; i < count; i++) {
        CHECK(add_file(data, i, paths[i], options->held_out_share));
        CHECK(survey(ctx, data, i, piece));
    }
    data->info.training_bytes = data->ends[TRAINING][count - 1];
    data->info.held_out_bytes = data->ends[HELD_OUT][count - 1];
    CHECK(check_lengths(data, options->held_out_share));
    const uint64_t room = data->info.held_out_bytes / data->N;
    data->info.held_out_windows =
        room < options->held_out_windows ? (size_t)room : options->held_out_windows;
    data->info.seq = data->N;
    data->info.hidden = hidden_budget(data->N);
    return set_baseline(data);
}

colt5_status colt5_data_open(colt5_context *ctx, const char *const *paths, size_t count,
                             const colt5_training_options *options, colt5_data **out)
{
    colt5_data *data = NULL;
    uint8_t *piece = NULL;
    colt5_status status;
    REQUIRE(ctx, out, COLT5_ERROR_ARGUMENT, "data: there is nowhere to put it");
    *out = NULL;
    REQUIRE(ctx, paths && count > 0, COLT5_ERROR_ARGUMENT, "data: no file is given");
    TRY(colt5_training_options_check(options));
    data = host_allocate_zeroed(1, sizeof(*data));
    piece = host_allocate(FILE_PIECE);
    if (!data || !piece) TRY(fail(NULL, COLT5_ERROR_MEMORY, "data: no host memory"));
    data->N = options->seq;
    data->seed = options->seed;
    TRY(make_room(data, count));
    TRY(set_up(ctx, data, paths, options, piece));
    *out = data;
    data = NULL;
out:
    host_release(piece);
    colt5_data_close(data);
    /* These two are said in the context already. */
    if (status == COLT5_CANCELLED || status == COLT5_ERROR_LOST) return status;
    return status == COLT5_OK || !ctx ? status : fail(ctx, status, "%s", colt5_message(NULL));
}

void colt5_data_close(colt5_data *data)
{
    if (!data) return;
    input_close(&data->open);
    for (size_t i = 0; data->files && i < data->info.file_count; i++)
        host_release((char *)data->files[i].path);
    host_release(data->files);
    host_release(data->training);
    host_release(data->ends[TRAINING]);
    host_release(data->ends[HELD_OUT]);
    host_release(data->bytes);
    host_release(data->hidden);
    host_release(data);
}

const colt5_data_info *colt5_data_describe(const colt5_data *data)
{
    return &data->info;
}
