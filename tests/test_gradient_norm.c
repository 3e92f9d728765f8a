/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/gradient_norm.h>

/* Around the 16384 elements a work-group sums, aligned to vectors and not. */
static const size_t counts[] = {1, 7, 64, 16384, 16385, 40000};
#define MOST    (sizeof(counts) / sizeof(counts[0]))
#define TENSORS (tiny() ? 3 : MOST)

struct gradients {
    double *values[MOST];
    struct device_tensor device[MOST];
    colt5_tensor tensors[MOST];
    double norm;
};

static struct gradients make_gradients(void)
{
    struct gradients g = {.norm = 0};
    for (size_t i = 0; i < TENSORS; i++) {
        const colt5_type type = storage_types[i % 3];
        g.values[i] = rounded_to(type, random_normal(counts[i]), counts[i]);
        g.device[i] = upload(g.values[i], type, counts[i]);
        g.tensors[i] = g.device[i].t;
        for (size_t j = 0; j < counts[i]; j++) g.norm += g.values[i][j] * g.values[i][j];
    }
    g.norm = sqrt(g.norm);
    return g;
}

static void release_gradients(struct gradients *g)
{
    for (size_t i = 0; i < TENSORS; i++) {
        release(&g->device[i]);
        free(g->values[i]);
    }
}

static void check_norm(const struct gradients *g, float max_norm, float loss_scale)
{
    const double norm = g->norm / (loss_scale > 0 ? loss_scale : 1);
    const double factor =
        (max_norm > 0 && norm > max_norm ? max_norm / norm : 1) / (loss_scale > 0 ? loss_scale : 1);
    struct device_tensor tnorm = poisoned_tensor(COLT5_F32, 1), tf = poisoned_tensor(COLT5_F32, 1);
    ck_assert_ok(colt5_gradient_norm(ctx, g->tensors, TENSORS,
                                     &(colt5_clip_options){max_norm, loss_scale}, &tnorm.t, &tf.t));
    assert_close(&tnorm, &norm, 0, 1e-6);
    assert_close(&tf, &factor, 0, 1e-6);
    for (size_t i = 0; i < TENSORS; i++) assert_unchanged(&g->device[i]);
    release(&tnorm), release(&tf);
}

START_TEST(the_norm_is_that_of_all_gradients)
{
    struct gradients g = make_gradients();
    for (int gpu = 0; gpu < 2; gpu++) {
        pretend_gpu(gpu);
        check_norm(&g, 0, 0);
        check_norm(&g, 1, 1024);
        check_norm(&g, (float)g.norm / 3, 1);
        check_norm(&g, (float)g.norm * 2, 0);
    }
    pretend_gpu(false);
    release_gradients(&g);
}
END_TEST

START_TEST(one_element_that_is_not_finite_is_seen)
{
    const double bad[] = {NAN, INFINITY, -INFINITY, 3e38};
    struct gradients g = make_gradients();
    const size_t last = TENSORS - 1;
    g.values[last][counts[last] - 1] = bad[_i];
    release(&g.device[last]);
    g.device[last] = upload(g.values[last], COLT5_BF16, counts[last]);
    g.tensors[last] = g.device[last].t;
    struct device_tensor norm = poisoned_tensor(COLT5_F32, 1), f = poisoned_tensor(COLT5_F32, 1);
    const double zero = 0;
    ck_assert_ok(
        colt5_gradient_norm(ctx, g.tensors, TENSORS, &(colt5_clip_options){1, 1}, &norm.t, &f.t));
    double *have = download(&norm);
    ck_assert(!isfinite(*have));
    assert_equal(&f, &zero);

    /* Such gradients are worth nothing: all zero, the NaN too. */
    double *nothing = zeros(counts[last]);
    ck_assert_ok(colt5_gradient_scale(ctx, g.tensors, TENSORS, &f.t));
    assert_equal(&g.device[last], nothing);
    release(&norm), release(&f);
    free(have), free(nothing);
    release_gradients(&g);
}
END_TEST

START_TEST(scaling_multiplies_all)
{
    struct gradients g = make_gradients();
    const double factor = 0.375;
    struct device_tensor f = upload(&factor, COLT5_F32, 1);
    ck_assert_ok(colt5_gradient_scale(ctx, g.tensors, TENSORS, &f.t));
    for (size_t i = 0; i < TENSORS; i++) {
        for (size_t j = 0; j < counts[i]; j++) g.values[i][j] *= factor;
        assert_equal(&g.device[i], rounded_to(storage_types[i % 3], g.values[i], counts[i]));
    }
    assert_unchanged(&f);
    release(&f);
    release_gradients(&g);
}
END_TEST

START_TEST(no_gradients_have_no_length)
{
    const double zero = 0, one = 1;
    struct device_tensor norm = poisoned_tensor(COLT5_F32, 1), f = poisoned_tensor(COLT5_F32, 1);
    ck_assert_ok(colt5_gradient_norm(ctx, NULL, 0, NULL, &norm.t, &f.t));
    assert_equal(&norm, &zero);
    assert_equal(&f, &one);
    struct device_tensor empty = poisoned_tensor(COLT5_F32, 0);
    struct device_tensor again = poisoned_tensor(COLT5_F32, 1);
    ck_assert_ok(colt5_gradient_norm(ctx, &empty.t, 1, NULL, &again.t, NULL));
    assert_equal(&again, &zero);
    release(&norm), release(&f), release(&empty), release(&again);
}
END_TEST

START_TEST(it_is_the_same_every_time)
{
    struct gradients g = make_gradients();
    struct device_tensor norm = poisoned_tensor(COLT5_F32, 1);
    ck_assert_ok(colt5_gradient_norm(ctx, g.tensors, TENSORS, NULL, &norm.t, NULL));
    double *first = download(&norm);
    for (int i = 0; i < (tiny() ? 2 : 100); i++) {
        ck_assert_ok(colt5_gradient_norm(ctx, g.tensors, TENSORS, NULL, &norm.t, NULL));
        assert_equal(&norm, first);
    }
    release(&norm);
    free(first);
    release_gradients(&g);
}
END_TEST

static const struct bad_call {
    const char *what;
    colt5_type x_type, norm_type;
    size_t norm_count;
    float max_norm, loss_scale;
    bool no_x, overlap;
    colt5_status expected;
} bad_calls[] = {
    {"x of ints", COLT5_I32, COLT5_F32, 1, 0, 0, false, false, COLT5_ERROR_TYPE},
    {"norm of halves", COLT5_F32, COLT5_F16, 1, 0, 0, false, false, COLT5_ERROR_TYPE},
    {"two norms", COLT5_F32, COLT5_F32, 2, 0, 0, false, false, COLT5_ERROR_SHAPE},
    {"negative max_norm", COLT5_F32, COLT5_F32, 1, -1, 0, false, false, COLT5_ERROR_ARGUMENT},
    {"max_norm NaN", COLT5_F32, COLT5_F32, 1, NAN, 0, false, false, COLT5_ERROR_ARGUMENT},
    {"negative scale", COLT5_F32, COLT5_F32, 1, 0, -2, false, false, COLT5_ERROR_ARGUMENT},
    {"no x", COLT5_F32, COLT5_F32, 1, 0, 0, true, false, COLT5_ERROR_ARGUMENT},
    {"norm in x", COLT5_F32, COLT5_F32, 1, 0, 0, false, true, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const double x[8] = {1};
    struct device_tensor tx = upload(x, COLT5_F32, 8), norm = poisoned_tensor(COLT5_F32, 2);
    colt5_tensor g = tx.t, n = norm.t;
    g.type = c.x_type;
    n.type = c.norm_type;
    n.dims[0] = c.norm_count;
    if (c.overlap) n.buffer = g.buffer, n.offset = g.offset + 3;
    ck_assert_msg(colt5_gradient_norm(ctx, c.no_x ? NULL : &g, 1,
                                      &(colt5_clip_options){c.max_norm, c.loss_scale}, &n,
                                      NULL) == c.expected,
                  "%s", c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "gradient_norm: ", 15) == 0, "%s",
                  colt5_message(ctx));
    assert_untouched(&norm);
    assert_unchanged(&tx);
    n = norm.t;
    n.dims[0] = 1;
    ck_assert_ok(colt5_gradient_norm(ctx, &tx.t, 1, NULL, &n, NULL));
    release(&tx), release(&norm);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gradient_norm");
    TCase *tests = tcase_create("gradient_norm");
    tcase_set_timeout(tests, 120);
    tcase_add_test(tests, the_norm_is_that_of_all_gradients);
    tcase_add_loop_test(tests, one_element_that_is_not_finite_is_seen, 0, 4);
    tcase_add_test(tests, scaling_multiplies_all);
    tcase_add_test(tests, no_gradients_have_no_length);
    tcase_add_test(tests, it_is_the_same_every_time);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
