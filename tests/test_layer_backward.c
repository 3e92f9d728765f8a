/* SPDX-License-Identifier: MIT */
/* What holds for layers' backward whatever its numbers: sums, bits, masks, plans, refusals. */
#include <stdio.h>
#include <unistd.h>

#include <colt5/safetensors.h>

#include "support/round.h"

#define B 2
#define N ((size_t)(tiny() ? 9 : 21)) /* more than a window, than a chunk, than heavy tokens */

static void open(struct round *round, int index)
{
    const colt5_config config =
        round_config((colt5_layer_kind)(index % ROUND_KINDS), index / ROUND_KINDS);
    round_open(&config, COLT5_F32, B, N, 7, round);
}

static double *results_of(struct round *round, size_t *count)
{
    round_run(round);
    return round_results(round, count);
}

/* ---- sums ---- */

/* Two backwards give twice the gradients; cleared, they begin anew. */
START_TEST(gradients_are_added_to)
{
    struct round round;
    size_t count;
    open(&round, _i);
    double *once = results_of(&round, &count);
    round_backward(&round);
    double *twice = round_results(&round, &count);
    const size_t weights = count - round.dx.count;
    for (size_t i = 0; i < weights; i++) twice[i] /= 2;
    ck_assert_double_le(relative_error(twice, once, weights), 1e-6);
    assert_same_bits(twice + weights, once + weights, count - weights); /* dx is written */
    if (!tiny()) {
        double *again = results_of(&round, &count);
        assert_same_bits(again, once, count);
        free(again);
    }
    free(once), free(twice);
    round_close(&round);
}
END_TEST

/* What is not wanted is left out, and changes nothing of the rest. */
START_TEST(each_is_wanted_alone)
{
    struct round round;
    size_t count;
    open(&round, _i);
    double *both = results_of(&round, &count);
    const size_t weights = count - round.dx.count;
    round.backward.dx = NULL;
    double *without_dx = results_of(&round, &count);
    assert_same_bits(without_dx, both, weights);
    if (round.dx.count) {
        round.backward.dx = &round.dx.t;
        round.backward.gradients = NULL;
        double *dx = results_of(&round, &count);
        for (size_t i = 0; i < weights; i++) ck_assert(dx[i] == 0);
        assert_same_bits(dx + weights, both + weights, count - weights);
        free(dx);
    }
    free(both), free(without_dx);
    round_close(&round);
}
END_TEST

/* ---- bits ---- */

START_TEST(runs_agree)
{
    struct round round;
    size_t count;
    const colt5_config config = round_config(COLT5_TRANSFORMER_BLOCK, _i);
    round_open(&config, COLT5_F32, 1, 13, 3, &round);
    double *first = results_of(&round, &count);
    for (int repeat = 0; repeat < (tiny() ? 1 : 100); repeat++) {
        double *again = results_of(&round, &count);
        assert_same_bits(again, first, count);
        free(again);
    }
    free(first);
    round_close(&round);
}
END_TEST

/* Computed again from each block's input, all is as it was, and less is kept. */
START_TEST(recomputing_gives_the_same_bits)
{
    struct round round;
    size_t count;
    open(&round, _i);
    round_mask(&round);
    double *kept = results_of(&round, &count);
    const uint64_t bytes = colt5_saved_bytes(round.saved);
    round.forward.recompute = 1;
    double *recomputed = results_of(&round, &count);
    assert_same_bits(recomputed, kept, count);
    ck_assert_uint_gt(bytes, 0);
    ck_assert_uint_le(colt5_saved_bytes(round.saved), bytes);
    if (colt5_layer_config(round.layer)->kind >= COLT5_ENCODER)
        ck_assert_uint_lt(colt5_saved_bytes(round.saved), bytes);
    free(kept), free(recomputed);
    round_close(&round);
}
END_TEST

/* A forward that keeps what its backward needs gives the bits of one that does not. */
START_TEST(keeping_changes_no_output)
{
    struct round round;
    open(&round, _i);
    round_forward(&round);
    double *kept = download(&round.y);
    round.forward.saved = NULL;
    round_forward(&round);
    double *plain = download(&round.y);
    assert_same_bits(kept, plain, round.y.count);
    free(kept), free(plain);
    round_close(&round);
}
END_TEST

/* Cut to pieces of 8 tokens, the numbers stay. */
START_TEST(chunks_agree)
{
    struct round round;
    size_t count;
    open(&round, _i);
    double *whole = results_of(&round, &count);
    setenv("COLT5_CHUNK", "8", 1);
    double *pieces = results_of(&round, &count);
    unsetenv("COLT5_CHUNK");
    ck_assert_double_le(relative_error(pieces, whole, count), 1e-5);
    free(whole), free(pieces);
    round_close(&round);
}
END_TEST

/* A saved object holds its own forward's values, whatever ran meanwhile; then it is used again. */
START_TEST(forwards_may_interleave)
{
    struct round a, b;
    size_t count, other;
    open(&a, _i);
    double *want = results_of(&a, &count);
    open(&b, _i + 2 * ROUND_KINDS);
    ck_assert_ok(colt5_gradients_clear(a.gradients));
    round_forward(&a);
    double *of_b = results_of(&b, &other);
    round_backward(&a);
    double *have = round_results(&a, &count);
    assert_same_bits(have, want, count);
    b.forward.saved = a.saved;
    double *again = results_of(&b, &other);
    assert_same_bits(again, of_b, other);
    free(want), free(of_b), free(have), free(again);
    round_close(&a);
    round_close(&b);
}
END_TEST

/* ---- masks ---- */

static void replace_masked(const struct round *round, struct device_tensor *tensor, double *values)
{
    double *mask = download(&round->mask);
    const size_t width = tensor->count / round->rows;
    for (size_t i = 0; i < tensor->count; i++)
        if (mask[i / width] == 0) values[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : 1e30;
    const colt5_tensor t = tensor->t;
    release(tensor);
    *tensor = upload_dims(values, t.type, t.rank, t.dims);
    free(mask), free(values);
}

/* What stands in masked rows of x and dy, NaN and infinity too, reaches no gradient. */
START_TEST(masked_rows_reach_nothing)
{
    struct round round;
    size_t count;
    open(&round, _i);
    round_mask(&round);
    round.forward.recompute = _i & 1;
    double *want = results_of(&round, &count);
    if (round.dx.count) replace_masked(&round, &round.x, download(&round.x));
    replace_masked(&round, &round.dy, download(&round.dy));
    double *have = results_of(&round, &count);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(isfinite(have[i]), "result %zu is not finite", i);
    assert_same_bits(have, want, count);
    free(want), free(have);
    round_close(&round);
}
END_TEST

/* ---- what is told of routers ---- */

START_TEST(scores_of_routers_are_kept)
{
    struct round round;
    open(&round, _i);
    colt5_routes *chosen;
    ck_assert_ok(colt5_routes_create(ctx, &chosen));
    round.forward.chosen = chosen;
    round_forward(&round);
    const bool real = !colt5_layer_config(round.layer)->router.straight_through;
    ck_assert_uint_eq(colt5_saved_route_count(round.saved), colt5_routes_count(chosen));
    for (size_t i = 0; i < colt5_routes_count(chosen); i++) {
        colt5_saved_route kept;
        colt5_route route;
        ck_assert_ok(colt5_saved_get_route(round.saved, i, &kept));
        ck_assert_ok(colt5_routes_get(chosen, i, &route));
        ck_assert_str_eq(kept.router, route.router);
        const size_t count = colt5_tensor_count(&kept.scores);
        ck_assert_uint_eq(count, colt5_tensor_count(&route.scores));
        double *scores = download(&(struct device_tensor){.t = kept.scores, .count = count});
        double *used = download(&(struct device_tensor){.t = route.scores, .count = count});
        for (size_t k = 0; k < count; k++) {
            ck_assert_msg(scores[k] > 0 && scores[k] <= 1, "%s: %.9g", kept.router, scores[k]);
            ck_assert(used[k] == (real ? scores[k] : 1));
        }
        free(scores), free(used);
    }
    colt5_saved_route none;
    ck_assert_status(
        colt5_saved_get_route(round.saved, colt5_saved_route_count(round.saved), &none),
        COLT5_ERROR_ARGUMENT);
    colt5_routes_destroy(chosen);
    round_close(&round);
}
END_TEST

/* ---- files ---- */

START_TEST(gradients_are_written)
{
    struct round round;
    size_t count, at = 0;
    open(&round, _i);
    double *want = results_of(&round, &count);
    char path[] = "/tmp/colt5-gradients-XXXXXX";
    close(mkstemp(path));
    ck_assert_ok(colt5_gradients_save(round.gradients, path));
    colt5_safetensors *file;
    ck_assert_ok(colt5_safetensors_open(path, &file));
    ck_assert_uint_eq(colt5_safetensors_count(file), colt5_layer_parameter_count(round.layer));
    for (size_t i = 0; i < colt5_layer_parameter_count(round.layer); i++) {
        colt5_parameter weight;
        ck_assert_ok(colt5_layer_parameter(round.layer, i, &weight));
        const colt5_safetensors_entry *entry = colt5_safetensors_find(file, weight.name);
        ck_assert_ptr_nonnull(entry);
        ck_assert_str_eq(entry->dtype, "F32");
        ck_assert_int_eq(entry->rank, weight.tensor.rank);
        float *values = malloc(entry->count * sizeof(*values));
        ck_assert_ok(colt5_safetensors_read(file, entry, COLT5_F32, 0, entry->count, values));
        for (size_t k = 0; k < entry->count; k++) ck_assert(values[k] == (float)want[at++]);
        free(values);
    }
    colt5_safetensors_close(file);
    remove(path);
    free(want);
    round_close(&round);
}
END_TEST

/* ---- memory ---- */

static colt5_plan plan_backward(const struct round *round)
{
    colt5_tensor x = round->x.t, y = round->y.t, dy = round->dy.t, dx = round->dx.t;
    x.buffer = y.buffer = dy.buffer = dx.buffer = NULL;
    colt5_forward forward = round->forward;
    colt5_backward backward = round->backward;
    forward.x = &x;
    forward.y = &y;
    backward.dy = &dy;
    if (backward.dx) backward.dx = &dx;
    colt5_plan plan, plan_forward;
    ck_assert_ok(colt5_layer_plan(ctx, round->layer, &forward, &plan_forward));
    ck_assert_ok(colt5_layer_plan_backward(ctx, round->layer, &forward, &backward, &plan));
    plan.saved = plan_forward.saved;
    return plan;
}

/* A plan's numbers are those of the run. */
START_TEST(a_plan_is_what_happens)
{
    struct round round;
    open(&round, _i % (2 * ROUND_KINDS));
    round.forward.recompute = _i / (2 * ROUND_KINDS);
    round_run(&round); /* products have been tried and tables are made */
    const colt5_plan plan = plan_backward(&round);
    round_forward(&round);
    ck_assert_uint_eq(colt5_saved_bytes(round.saved), plan.saved);
    colt5_context_reset_statistics(ctx);
    round_backward(&round);
    colt5_statistics statistics = {.struct_size = sizeof(statistics)};
    ck_assert_ok(colt5_context_statistics(ctx, &statistics));
    ck_assert_uint_le(statistics.launches, plan.launches);
    ck_assert_uint_eq(statistics.flop, plan.flop);
    ck_assert_uint_eq(statistics.workspace_peak, plan.scratch);
    round_close(&round);
}
END_TEST

/* Too little memory: refused before anything runs, nothing is added; the next call works. */
START_TEST(a_small_device_is_refused_early)
{
    struct round round;
    size_t count;
    open(&round, _i);
    double *want = results_of(&round, &count);
    ck_assert_ok(colt5_gradients_clear(round.gradients));
    round_forward(&round);
    colt5_context_limit_workspace(ctx, 1024);
    ck_assert_status(colt5_layer_backward(ctx, round.layer, &round.forward, &round.backward),
                     COLT5_ERROR_MEMORY);
    ck_assert_msg(strstr(colt5_message(ctx), "1024") != NULL, "%s", colt5_message(ctx));
    colt5_context_limit_workspace(ctx, 0);
    round_backward(&round);
    double *have = round_results(&round, &count);
    assert_same_bits(have, want, count);
    free(want), free(have);
    round_close(&round);
}
END_TEST

/* ---- refusals ---- */

enum fault {
    FAULT_SIZE,
    FAULT_NO_DY,
    FAULT_DY_RANK,
    FAULT_DY_SHORT,
    FAULT_DY_TYPE,
    FAULT_DX_SHORT,
    FAULT_DX_TYPE,
    FAULT_DX_OF_IDS,
    FAULT_NOT_SAVED,
    FAULT_NO_FORWARD,
    FAULT_OTHER_FORWARD,
    FAULT_OTHER_GRADIENTS,
    FAULTS
};

static const struct bad_call {
    const char *what;
    colt5_status expected;
} bad_calls[FAULTS] = {
    [FAULT_SIZE] = {"no struct_size", COLT5_ERROR_ARGUMENT},
    [FAULT_NO_DY] = {"no dy", COLT5_ERROR_ARGUMENT},
    [FAULT_DY_RANK] = {"dy of rank 2", COLT5_ERROR_SHAPE},
    [FAULT_DY_SHORT] = {"dy too short", COLT5_ERROR_SHAPE},
    [FAULT_DY_TYPE] = {"dy of f16", COLT5_ERROR_TYPE},
    [FAULT_DX_SHORT] = {"dx too short", COLT5_ERROR_SHAPE},
    [FAULT_DX_TYPE] = {"dx of bf16", COLT5_ERROR_TYPE},
    [FAULT_DX_OF_IDS] = {"dx of ids", COLT5_ERROR_ARGUMENT},
    [FAULT_NOT_SAVED] = {"a forward that kept nothing", COLT5_ERROR_ARGUMENT},
    [FAULT_NO_FORWARD] = {"no forward before it", COLT5_ERROR_ARGUMENT},
    [FAULT_OTHER_FORWARD] = {"a forward of another length", COLT5_ERROR_ARGUMENT},
    [FAULT_OTHER_GRADIENTS] = {"gradients of another layer", COLT5_ERROR_ARGUMENT},
};

static colt5_status bad_backward(struct round *round, struct round *other, enum fault fault)
{
    colt5_forward forward = round->forward;
    colt5_backward backward = round->backward;
    colt5_tensor dy = round->dy.t, dx = round->dx.count ? round->dx.t : round->dy.t;
    backward.dy = fault == FAULT_NO_DY ? NULL : &dy;
    if (round->dx.count || fault == FAULT_DX_OF_IDS) backward.dx = &dx;
    if (fault == FAULT_SIZE) backward.struct_size = 0;
    if (fault == FAULT_DY_RANK) dy.rank = 2;
    if (fault == FAULT_DY_SHORT) dy.dims[1]--;
    if (fault == FAULT_DY_TYPE) dy.type = COLT5_F16;
    if (fault == FAULT_DX_SHORT) dx.dims[1]--;
    if (fault == FAULT_DX_TYPE) dx.type = COLT5_BF16;
    if (fault == FAULT_NOT_SAVED) forward.saved = NULL;
    if (fault == FAULT_OTHER_FORWARD || fault == FAULT_NO_FORWARD) forward.saved = other->saved;
    if (fault == FAULT_OTHER_GRADIENTS) backward.gradients = other->gradients;
    return colt5_layer_backward(ctx, round->layer, &forward, &backward);
}

START_TEST(bad_calls_are_refused)
{
    struct round round, other;
    size_t count;
    const colt5_config config =
        round_config(_i == FAULT_DX_OF_IDS ? COLT5_TEXT_ENCODER : COLT5_FEED_FORWARD, 0);
    const colt5_config wider = round_config(COLT5_ATTENTION, 0);
    const size_t batch = tiny() ? 1 : B;
    round_open(&config, COLT5_F32, batch, N, 1, &round);
    round_open(_i == FAULT_OTHER_GRADIENTS ? &wider : &config, COLT5_F32, batch, N - 2, 1, &other);
    if (_i == FAULT_OTHER_FORWARD) round_forward(&other);
    double *want = results_of(&round, &count);
    ck_assert_ok(colt5_gradients_clear(round.gradients));
    const size_t weights = count - round.dx.count;
    ck_assert_msg(bad_backward(&round, &other, (enum fault)_i) == bad_calls[_i].expected, "%s: %s",
                  bad_calls[_i].what, colt5_message(ctx));
    double *have = round_results(&round, &count);
    for (size_t i = 0; i < weights; i++) ck_assert(have[i] == 0);
    assert_same_bits(have + weights, want + weights, count - weights);
    free(have);
    if (!tiny() || _i == 0) {
        have = results_of(&round, &count);
        assert_same_bits(have, want, count);
        free(have);
    }
    free(want);
    round_close(&round);
    round_close(&other);
}
END_TEST

START_TEST(nothing_is_refused_by_null)
{
    struct round round;
    colt5_gradients *gradients = NULL;
    colt5_parameter gradient;
    open(&round, COLT5_FEED_FORWARD);
    ck_assert_status(colt5_layer_backward(ctx, round.layer, &round.forward, NULL),
                     COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_layer_backward(ctx, round.layer, NULL, &round.backward),
                     COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_layer_backward(ctx, NULL, &round.forward, &round.backward),
                     COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_gradients_create(ctx, NULL, &gradients), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_saved_create(ctx, NULL), COLT5_ERROR_ARGUMENT);
    ck_assert_status(
        colt5_gradients_get(round.gradients, colt5_layer_parameter_count(round.layer), &gradient),
        COLT5_ERROR_ARGUMENT);
    colt5_gradients_destroy(NULL);
    colt5_saved_destroy(NULL);
    round_close(&round);
}
END_TEST

int main(void)
{
    /* Under a checker a block alone, which holds all there is; for what the host alone does, the
     * least of layers. */
    const int first = tiny() ? COLT5_TRANSFORMER_BLOCK : 0, one = first + 1;
    const int kinds = tiny() ? one : ROUND_KINDS, all = tiny() ? one : ROUND_KINDS * ROUND_VARIANTS;
    const int least = tiny() ? 1 : ROUND_KINDS;
    Suite *suite = suite_create("layer_backward");
    TCase *tests = tcase_create("layer_backward");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, gradients_are_added_to, first, all);
    tcase_add_loop_test(tests, each_is_wanted_alone, first, kinds);
    tcase_add_loop_test(tests, runs_agree, 0, tiny() ? 1 : 2);
    tcase_add_loop_test(tests, recomputing_gives_the_same_bits, tiny() ? COLT5_ENCODER : 0,
                        tiny() ? COLT5_ENCODER + 1 : all);
    tcase_add_loop_test(tests, keeping_changes_no_output, first, all);
    tcase_add_loop_test(tests, chunks_agree, first, all);
    tcase_add_loop_test(tests, forwards_may_interleave, 0, least);
    tcase_add_loop_test(tests, masked_rows_reach_nothing, first, all);
    tcase_add_loop_test(tests, scores_of_routers_are_kept, first, all);
    tcase_add_loop_test(tests, gradients_are_written, 0, least);
    tcase_add_loop_test(tests, a_plan_is_what_happens, 0, tiny() ? 1 : 4 * ROUND_KINDS);
    tcase_add_loop_test(tests, a_small_device_is_refused_early, 0, least);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, FAULTS);
    tcase_add_test(tests, nothing_is_refused_by_null);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
