/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/cross_entropy.h>

static const struct shape {
    size_t rows, V;
} shapes[] = {{1, 1}, {3, 31}, {37, 258}, {70, 32}, {5, 1031}};
#define SHAPES (tiny() ? 2 : (int)(sizeof(shapes) / sizeof(shapes[0])))

/* About half the rows are counted; the others hold NaN, which must not be looked at. */
struct problem {
    size_t rows, V;
    colt5_type type;
    double *logits;
    int *targets;
    struct device_tensor tlogits, ttargets;
};

static struct problem make_problem(size_t rows, size_t V, colt5_type type)
{
    struct problem p = {.rows = rows, .V = V, .type = type};
    p.logits = random_normal(rows * V);
    p.targets = random_indices(rows, V);
    for (size_t i = 0; i < rows * V; i++) p.logits[i] *= 4;
    rounded_to(type, p.logits, rows * V);
    for (size_t r = 0; r < rows; r++) {
        if (r % 2 == 0) continue;
        p.targets[r] = r % 4 == 1 ? -1 : (int)V;
        for (size_t v = 0; v < V; v++) p.logits[r * V + v] = NAN;
    }
    p.tlogits = upload(p.logits, type, rows, V);
    p.ttargets = upload_i32(p.targets, rows);
    return p;
}

static void release_problem(struct problem *p)
{
    release(&p->tlogits), release(&p->ttargets);
    free(p->logits), free(p->targets);
}

static void check_forward(size_t rows, size_t V, colt5_type type)
{
    struct problem p = make_problem(rows, V, type);
    double *losses = zeros(rows), *lse = zeros(rows);
    const double counted = (double)((rows + 1) / 2);
    const double mean = reference_cross_entropy_forward(p.logits, p.targets, losses, lse, rows, V);
    struct device_tensor loss = poisoned_tensor(COLT5_F32, 1),
                         count = poisoned_tensor(COLT5_I32, 1);
    struct device_tensor tlosses = poisoned_tensor(COLT5_F32, rows);
    struct device_tensor tlse = poisoned_tensor(COLT5_F32, rows);

    ck_assert_ok(colt5_cross_entropy_forward(ctx, &p.tlogits.t, &p.ttargets.t, &loss.t, &count.t,
                                             &tlosses.t, &tlse.t));
    assert_close(&loss, &mean, 1e-7, 2e-6);
    assert_equal(&count, &counted);
    assert_close(&tlosses, losses, 2e-6, 2e-6);
    assert_close(&tlse, lse, 2e-6, 2e-6);
    assert_unchanged(&p.tlogits);
    assert_unchanged(&p.ttargets);

    /* The loss alone, by scratch in place of losses. */
    struct device_tensor again = poisoned_tensor(COLT5_F32, 1);
    double *first = download(&loss);
    ck_assert_ok(
        colt5_cross_entropy_forward(ctx, &p.tlogits.t, &p.ttargets.t, &again.t, NULL, NULL, NULL));
    assert_equal(&again, first);
    release(&loss), release(&count), release(&tlosses), release(&tlse), release(&again);
    free(losses), free(lse), free(first);
    release_problem(&p);
}

START_TEST(the_loss_is_the_mean_over_counted_rows)
{
    const struct shape s = shapes[_i / 3];
    check_forward(s.rows, s.V, storage_types[_i % 3]);
    pretend_gpu(true);
    check_forward(s.rows, s.V, storage_types[_i % 3]);
    pretend_gpu(false);
}
END_TEST

START_TEST(the_gradient_is_softmax_less_onehot)
{
    const struct shape s = shapes[_i / 3];
    const colt5_type type = storage_types[_i % 3];
    const float scale = 3.5f;
    struct problem p = make_problem(s.rows, s.V, type);
    double *want = zeros(s.rows * s.V);
    reference_cross_entropy_backward(p.logits, p.targets, scale, want, s.rows, s.V);
    struct device_tensor loss = poisoned_tensor(COLT5_F32, 1),
                         count = poisoned_tensor(COLT5_I32, 1);
    struct device_tensor lse = poisoned_tensor(COLT5_F32, s.rows);
    struct device_tensor dlogits = poisoned_tensor(type, s.rows, s.V);

    ck_assert_ok(colt5_cross_entropy_forward(ctx, &p.tlogits.t, &p.ttargets.t, &loss.t, &count.t,
                                             NULL, &lse.t));
    ck_assert_ok(colt5_cross_entropy_backward(ctx, &p.tlogits.t, &p.ttargets.t, &count.t, &lse.t,
                                              scale, &dlogits.t));
    assert_close(&dlogits, want, 4e-6, rounding(type) + 4e-6);
    assert_unchanged(&p.tlogits);

    /* The number of rows within the scale, and over the logits. */
    const float share = scale / (float)((s.rows + 1) / 2);
    ck_assert_ok(colt5_cross_entropy_backward(ctx, &p.tlogits.t, &p.ttargets.t, NULL, &lse.t, share,
                                              &p.tlogits.t));
    assert_close(&p.tlogits, want, 4e-6, rounding(type) + 4e-6);
    release(&loss), release(&count), release(&lse), release(&dlogits);
    free(want);
    release_problem(&p);
}
END_TEST

/* Values no exponential could hold, one row with the largest last. */
START_TEST(large_logits_are_no_matter)
{
    pretend_gpu(_i == 1);
    const double logits[] = {-1000, 1000, 900, -500, -500, -500, 0, -INFINITY, 88};
    const double losses[] = {100, log(3), 88};
    const int targets[] = {2, 2, 0};
    struct device_tensor tlogits = upload(logits, COLT5_F32, 3, 3), tt = upload_i32(targets, 3);
    struct device_tensor loss = poisoned_tensor(COLT5_F32, 1);
    struct device_tensor tlosses = poisoned_tensor(COLT5_F32, 3);
    const double mean = (losses[0] + losses[1] + losses[2]) / 3;
    ck_assert_ok(
        colt5_cross_entropy_forward(ctx, &tlogits.t, &tt.t, &loss.t, NULL, &tlosses.t, NULL));
    assert_close(&tlosses, losses, 0, 1e-6);
    assert_close(&loss, &mean, 0, 1e-6);
    release(&tlogits), release(&tt), release(&loss), release(&tlosses);
    pretend_gpu(false);
}
END_TEST

/* No row is counted: loss 0, gradients 0; a counted NaN is not hidden. */
START_TEST(nothing_counted_is_zero_and_nan_is_seen)
{
    const double logits[] = {NAN, 1, 2, NAN}, zero[4] = {0};
    const int none[] = {-1, 2}, one[] = {-1, 0};
    struct device_tensor tlogits = upload(logits, COLT5_F32, 2, 2), tnone = upload_i32(none, 2);
    struct device_tensor tone = upload_i32(one, 2), loss = poisoned_tensor(COLT5_F32, 1);
    struct device_tensor count = poisoned_tensor(COLT5_I32, 1), lse = poisoned_tensor(COLT5_F32, 2);
    struct device_tensor dlogits = poisoned_tensor(COLT5_F32, 2, 2);
    ck_assert_ok(
        colt5_cross_entropy_forward(ctx, &tlogits.t, &tnone.t, &loss.t, &count.t, NULL, &lse.t));
    assert_equal(&loss, zero);
    assert_equal(&count, zero);
    assert_equal(&lse, zero);
    ck_assert_ok(
        colt5_cross_entropy_backward(ctx, &tlogits.t, &tnone.t, &count.t, &lse.t, 1, &dlogits.t));
    assert_equal(&dlogits, zero);

    const double nan = NAN;
    ck_assert_ok(colt5_cross_entropy_forward(ctx, &tlogits.t, &tone.t, &loss.t, NULL, NULL, NULL));
    assert_equal(&loss, &nan);
    release(&tlogits), release(&tnone), release(&tone), release(&loss), release(&count);
    release(&lse), release(&dlogits);
}
END_TEST

struct loss_call {
    double logits[15], loss;
    int targets[3];
};

static void loss_of(void *call)
{
    struct loss_call *c = call;
    double losses[3], lse[3];
    c->loss = reference_cross_entropy_forward(c->logits, c->targets, losses, lse, 3, 5);
}

START_TEST(the_reference_gradient_is_the_difference_quotient)
{
    struct loss_call c = {.targets = {2, -1, 4}};
    double gradient[15];
    const double dy = 1.5;
    for (int i = 0; i < 15; i++) c.logits[i] = 4 * random_uniform();
    reference_cross_entropy_backward(c.logits, c.targets, dy, gradient, 3, 5);
    const struct difference_check check = {loss_of, &c, &c.loss, &dy, 1};
    assert_gradient(&check, c.logits, gradient, 15);
}
END_TEST

static const struct bad_call {
    const char *what;
    colt5_type logits_type, targets_type, lse_type;
    size_t targets_count, loss_count, lse_count;
    bool no_logits, overlap;
    colt5_status expected;
} bad_calls[] = {
    {"logits of ints", COLT5_I32, COLT5_I32, COLT5_F32, 2, 1, 2, false, false, COLT5_ERROR_TYPE},
    {"targets of floats", COLT5_F32, COLT5_F32, COLT5_F32, 2, 1, 2, false, false, COLT5_ERROR_TYPE},
    {"too few targets", COLT5_F32, COLT5_I32, COLT5_F32, 1, 1, 2, false, false, COLT5_ERROR_SHAPE},
    {"lse of halves", COLT5_F32, COLT5_I32, COLT5_F16, 2, 1, 2, false, false, COLT5_ERROR_TYPE},
    {"too few lse", COLT5_F32, COLT5_I32, COLT5_F32, 2, 1, 1, false, false, COLT5_ERROR_SHAPE},
    {"no logits", COLT5_F32, COLT5_I32, COLT5_F32, 2, 1, 2, true, false, COLT5_ERROR_ARGUMENT},
    {"lse on logits", COLT5_F32, COLT5_I32, COLT5_F32, 2, 1, 2, false, true, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const double logits[6] = {0};
    const int targets[2] = {0, 1};
    struct device_tensor tlogits = upload(logits, COLT5_F32, 2, 3), tt = upload_i32(targets, 2);
    struct device_tensor loss = poisoned_tensor(COLT5_F32, 1), lse = poisoned_tensor(COLT5_F32, 2);
    struct device_tensor dlogits = poisoned_tensor(COLT5_F32, 2, 3);
    colt5_tensor l = tlogits.t, t = tt.t, e = lse.t;
    l.type = c.logits_type;
    t.type = c.targets_type;
    t.dims[0] = c.targets_count;
    e.type = c.lse_type;
    e.dims[0] = c.lse_count;
    if (c.overlap) e.buffer = l.buffer, e.offset = l.offset + 1;
    const colt5_tensor *in = c.no_logits ? NULL : &l;
    ck_assert_msg(colt5_cross_entropy_forward(ctx, in, &t, &loss.t, NULL, NULL, &e) == c.expected,
                  "forward: %s", c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "cross_entropy: ", 15) == 0, "%s",
                  colt5_message(ctx));
    const colt5_tensor *out = c.overlap ? in : &dlogits.t; /* the gradient on its lse */
    ck_assert_msg(colt5_cross_entropy_backward(ctx, in, &t, NULL, &e, 1, out) == c.expected,
                  "backward: %s", c.what);
    assert_untouched(&loss);
    assert_untouched(&lse);
    assert_untouched(&dlogits);
    assert_unchanged(&tlogits);
    ck_assert_ok(colt5_cross_entropy_forward(ctx, &tlogits.t, &tt.t, &loss.t, NULL, NULL, &lse.t));
    release(&tlogits), release(&tt), release(&loss), release(&lse), release(&dlogits);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cross_entropy");
    TCase *tests = tcase_create("cross_entropy");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, the_loss_is_the_mean_over_counted_rows, 0, 3 * SHAPES);
    tcase_add_loop_test(tests, the_gradient_is_softmax_less_onehot, 0, 3 * SHAPES);
    tcase_add_loop_test(tests, large_logits_are_no_matter, 0, 2);
    tcase_add_test(tests, nothing_counted_is_zero_and_nan_is_seen);
    tcase_add_test(tests, the_reference_gradient_is_the_difference_quotient);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
