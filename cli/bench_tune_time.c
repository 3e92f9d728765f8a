/* SPDX-License-Identifier: MIT */
/* Two contexts beside each other: whether they come to the same, and which is faster. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bench_tune.h"

#define ROUNDS   200 /* of an op in both contexts, at most; */
#define LEAST    8   /* then, once there are … */
#define FAIR     40  /* … so many in … */
#define SHORT    0.2 /* … so many seconds, it is enough, */
#define SECONDS  1.2 /* and after so many anyway */
#define HOPELESS 1.5 /* times as slow after LEAST / 2 rounds: no more of it */

/* ---- results ---- */

static bool is_output(const struct tune_call *call, size_t i)
{
    const struct slot *slot = &call->call.op->slots[i];
    return slot->dims && slot->fill == FILL_NONE;
}

static size_t bytes_of(const colt5_tensor *tensor)
{
    return colt5_tensor_count(tensor) * colt5_type_size(tensor->type);
}

/* Once, from outputs of zeros: some are added to. */
static colt5_status run_once(colt5_context *ctx, struct tune_call *call, void *zeros)
{
    colt5_status status = COLT5_OK;
    for (size_t i = 0; i < OP_TENSORS && status == COLT5_OK; i++)
        if (is_output(call, i)) status = colt5_tensor_write(ctx, &call->call.t[i], zeros);
    if (status == COLT5_OK) status = run_op(ctx, &call->call);
    return status == COLT5_OK ? colt5_context_finish(ctx) : status;
}

/* Room for the largest output, of zeros. */
static void *make_room(const struct tune_call *call)
{
    size_t most = 0;
    for (size_t i = 0; i < OP_TENSORS; i++) {
        const size_t bytes = is_output(call, i) ? bytes_of(&call->call.t[i]) : 0;
        most = bytes > most ? bytes : most;
    }
    return calloc(most + 1, 1);
}

int tune_keep(colt5_context *ctx, struct tune_call *call)
{
    void *zeros = make_room(call);
    if (!zeros) return complain_memory();
    colt5_status status = run_once(ctx, call, zeros);
    free(zeros);
    for (size_t i = 0; i < OP_TENSORS && status == COLT5_OK; i++) {
        if (!is_output(call, i)) continue;
        free(call->wanted[i]);
        call->wanted[i] = malloc(bytes_of(&call->call.t[i]) + 1);
        if (!call->wanted[i]) return complain_memory();
        status = colt5_tensor_read(ctx, &call->call.t[i], call->wanted[i]);
    }
    return status == COLT5_OK ? EXIT_FINE : complain_status(ctx, status);
}

/* Without a look at each: most choices change no bit. */
static bool identical(const colt5_tensor *tensor, const void *have, const void *want)
{
    return !memcmp(have, want, bytes_of(tensor));
}

/* ‖have - want‖ <= bound · ‖want‖, of floats of any type; a NaN is only like a NaN. */
static bool alike(colt5_type type, size_t count, const char *have, const char *want)
{
    enum { BLOCK = 4096 };
    const double bound = type == COLT5_F32 ? 1e-5 : 1e-2;
    const size_t size = colt5_type_size(type);
    float a[BLOCK], b[BLOCK];
    double off = 0, all = 0;
    for (size_t done = 0; done < count; done += BLOCK) {
        const size_t some = count - done < BLOCK ? count - done : BLOCK;
        colt5_convert(type, have + done * size, COLT5_F32, a, some);
        colt5_convert(type, want + done * size, COLT5_F32, b, some);
        for (size_t i = 0; i < some; i++) {
            if (a[i] == b[i] || (isnan(a[i]) && isnan(b[i]))) continue;
            off += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
            all += (double)b[i] * b[i];
        }
        for (size_t i = 0; i < some; i++)
            if (a[i] == b[i]) all += (double)b[i] * b[i];
    }
    return off <= bound * bound * all; /* false where off is NaN */
}

static bool same_output(const colt5_tensor *tensor, const void *have, const void *want)
{
    const bool floats =
        tensor->type == COLT5_F32 || tensor->type == COLT5_F16 || tensor->type == COLT5_BF16;
    return identical(tensor, have, want) ||
           (floats && alike(tensor->type, colt5_tensor_count(tensor), have, want));
}

int tune_check(colt5_context *ctx, struct tune_call *call, colt5_status *status, bool *same)
{
    void *room = make_room(call);
    if (!room) return complain_memory();
    *same = true;
    *status = run_once(ctx, call, room);
    for (size_t i = 0; i < OP_TENSORS && *status == COLT5_OK && *same; i++) {
        if (!is_output(call, i)) continue;
        *status = colt5_tensor_read(ctx, &call->call.t[i], room);
        if (*status == COLT5_OK) *same = same_output(&call->call.t[i], room, call->wanted[i]);
    }
    free(room);
    return EXIT_FINE;
}

void tune_forget(struct tune_call *call)
{
    for (size_t i = 0; i < OP_TENSORS; i++) free(call->wanted[i]);
    close_op(&call->call);
}

/* ---- times ---- */

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

struct times {
    double seconds[ROUNDS];
    size_t count;
};

static colt5_status time_once(colt5_context *ctx, struct tune_call *call, struct times *times)
{
    const double start = seconds_now();
    colt5_status status = run_op(ctx, &call->call);
    if (status == COLT5_OK) status = colt5_context_finish(ctx);
    times->seconds[times->count++] = seconds_now() - start;
    return status;
}

/* What a call takes undisturbed: the mean of the fastest third. What else runs on the device makes
 * calls slower, on a CPU most of them; the one fastest alone would be luck. */
static double typical(const struct times *times)
{
    const size_t third = (times->count + 2) / 3;
    double sorted[ROUNDS], sum = 0;
    memcpy(sorted, times->seconds, sizeof(sorted));
    qsort(sorted, times->count, sizeof(sorted[0]), by_size);
    for (size_t i = 0; i < third; i++) sum += sorted[i];
    return sum / (double)third;
}

/* In turn, and in turn the first, so that neither has the better half of a device that drifts. */
static int time_both(colt5_context *best, colt5_context *other, struct tune_call *call,
                     struct times *a, struct times *b)
{
    const double start = seconds_now();
    a->count = b->count = 0;
    for (size_t round = 0; round < ROUNDS; round++) {
        const bool swap = round % 2;
        if (interrupted()) return EXIT_INTERRUPTED;
        colt5_status status = time_once(swap ? other : best, call, swap ? b : a);
        if (status != COLT5_OK) return complain_status(swap ? other : best, status);
        status = time_once(swap ? best : other, call, swap ? a : b);
        if (status != COLT5_OK) return complain_status(swap ? best : other, status);
        if (round + 1 == LEAST / 2 && typical(b) > HOPELESS * typical(a)) break;
        const double spent = seconds_now() - start;
        if (round + 1 >= (spent < SECONDS ? FAIR : LEAST) && spent > SHORT) break;
    }
    return EXIT_FINE;
}

int tune_race(colt5_context *best, colt5_context *other, struct tune_call *calls, size_t count,
              struct tune_result *result)
{
    double sums[COLT5_BF16 + 1] = {0};
    size_t counts[COLT5_BF16 + 1] = {0};
    *result = (struct tune_result){.works = true};
    for (size_t i = 0; i < count; i++) {
        struct times a, b;
        const int code = time_both(best, other, &calls[i], &a, &b);
        if (code != EXIT_FINE) return code;
        const double ratio = typical(&a) / typical(&b);
        result->slower = result->slower || ratio < 1 - TUNE_MARGIN;
        const colt5_type type = calls[i].call.bench->type;
        sums[type] += log(ratio);
        counts[type]++;
    }
    for (colt5_type type = COLT5_F32; type <= COLT5_BF16; type++) {
        const double ratio = counts[type] ? exp(sums[type] / (double)counts[type]) : 0;
        if (ratio > result->ratio) result->ratio = ratio;
    }
    return EXIT_FINE;
}
