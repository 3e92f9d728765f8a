/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/adamw.h>

static const size_t counts[] = {1, 8, 257, 4096};
#define COUNTS (sizeof(counts) / sizeof(counts[0]))
#define STEPS  5

/* A parameter on the device and in double. */
struct parameter {
    size_t count;
    double *weight, *m, *v;
    struct device_tensor tweight, tmaster, tm, tv;
};

static struct parameter make_parameter(size_t count, colt5_type type)
{
    struct parameter p = {.count = count};
    p.weight = rounded_to(COLT5_F32, random_normal(count), count);
    p.m = zeros(count);
    p.v = zeros(count);
    p.tweight = upload(p.weight, type, count);
    p.tmaster = upload(p.weight, COLT5_F32, count);
    p.tm = upload(p.m, COLT5_F32, count);
    p.tv = upload(p.v, COLT5_F32, count);
    return p;
}

static colt5_adamw_tensors tensors_of(const struct parameter *p, bool with_master)
{
    return (colt5_adamw_tensors){&p->tweight.t, with_master ? &p->tmaster.t : NULL, &p->tm.t,
                                 &p->tv.t};
}

static void release_parameter(struct parameter *p)
{
    release(&p->tweight), release(&p->tmaster), release(&p->tm), release(&p->tv);
    free(p->weight), free(p->m), free(p->v);
}

static void assert_parameter(const struct parameter *p, bool with_master)
{
    const colt5_type type = p->tweight.t.type;
    assert_close(&p->tm, p->m, 1e-7, 1e-5);
    assert_close(&p->tv, p->v, 1e-7, 1e-5);
    if (with_master) {
        double *master = download(&p->tmaster);
        assert_close(&p->tmaster, p->weight, 2e-6, 1e-6);
        assert_equal(&p->tweight, rounded_to(type, master, p->count)); /* the master, rounded */
        free(master);
    } else {
        assert_close(&p->tweight, p->weight, 2e-6, 1e-6);
        assert_unchanged(&p->tmaster);
    }
}

static void check_steps(size_t count, colt5_type type, bool with_master)
{
    struct parameter p = make_parameter(count, type);
    const colt5_adamw_tensors tensors = tensors_of(&p, with_master);
    const double factor = 0.25;
    struct device_tensor tfactor = upload(&factor, COLT5_F32, 1);
    colt5_adamw_options o = colt5_adamw_options_default();
    for (size_t t = 1; t <= STEPS; t++) {
        double *g = rounded_to(COLT5_F32, random_normal(count), count);
        struct device_tensor tg = upload(g, COLT5_F32, count);
        o.learning_rate = 0.01f * (float)t;
        o.step = t;
        ck_assert_ok(colt5_adamw(ctx, &tg.t, t % 2 ? &tfactor.t : NULL, &o, &tensors));
        for (size_t i = 0; i < count; i++) g[i] *= t % 2 ? factor : 1;
        reference_adamw(
            &(struct reference_adamw){o.learning_rate, o.beta1, o.beta2, o.eps, o.decay, t}, g,
            p.weight, p.m, p.v, count);
        assert_unchanged(&tg);
        release(&tg);
        free(g);
    }
    assert_parameter(&p, with_master);
    release(&tfactor);
    release_parameter(&p);
}

START_TEST(steps_are_those_of_the_formula)
{
    const size_t count = counts[_i / 3];
    const colt5_type type = storage_types[_i % 3];
    check_steps(count, type, true);
    if (type == COLT5_F32) check_steps(count, type, false);
    pretend_gpu(true);
    check_steps(count, type, true);
    pretend_gpu(false);
}
END_TEST

START_TEST(a_factor_of_zero_leaves_everything)
{
    const size_t count = 64;
    struct parameter p = make_parameter(count, COLT5_F16);
    const colt5_adamw_tensors tensors = tensors_of(&p, true);
    double *g = random_normal(count);
    const double zero = 0;
    g[3] = NAN;
    struct device_tensor tg = upload(g, COLT5_F32, count), f = upload(&zero, COLT5_F32, 1);
    colt5_adamw_options o = colt5_adamw_options_default();
    o.learning_rate = 1;
    ck_assert_ok(colt5_adamw(ctx, &tg.t, &f.t, &o, &tensors));
    assert_unchanged(&p.tweight);
    assert_unchanged(&p.tmaster);
    assert_unchanged(&p.tm);
    assert_unchanged(&p.tv);
    release(&tg), release(&f);
    free(g);
    release_parameter(&p);
}
END_TEST

/* Updates far below the step of a 16-bit weight add up in the master. */
START_TEST(the_master_keeps_what_rounding_would_lose)
{
    const double one = 1, zero = 0, gradient = -1;
    struct device_tensor w = upload(&one, COLT5_BF16, 1), master = upload(&one, COLT5_F32, 1);
    struct device_tensor m = upload(&zero, COLT5_F32, 1), v = upload(&zero, COLT5_F32, 1);
    struct device_tensor g = upload(&gradient, COLT5_F32, 1);
    colt5_adamw_options o = colt5_adamw_options_default();
    o.learning_rate = 1e-3f;
    o.decay = 0;
    for (o.step = 1; o.step <= 10; o.step++)
        ck_assert_ok(
            colt5_adamw(ctx, &g.t, NULL, &o, &(colt5_adamw_tensors){&w.t, &master.t, &m.t, &v.t}));
    const double want = 1.01, rounded = 1.0078125; /* the nearest bf16 */
    assert_close(&master, &want, 1e-6, 0);
    assert_equal(&w, &rounded);
    release(&w), release(&master), release(&m), release(&v), release(&g);
}
END_TEST

static const struct bad_call {
    const char *what;
    colt5_adamw_options o;
    colt5_type weight_type, g_type;
    size_t v_count, factor_count;
    bool no_master, no_m, overlap;
    colt5_status expected;
} bad_calls[] = {
#define GOOD                                                                                       \
    {                                                                                              \
        1e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1                                                         \
    }
#define F32 COLT5_F32
    {"weight of ints", GOOD, COLT5_I32, F32, 8, 1, 0, 0, 0, COLT5_ERROR_TYPE},
    {"gradient of halves", GOOD, F32, COLT5_F16, 8, 1, 0, 0, 0, COLT5_ERROR_TYPE},
    {"short v", GOOD, F32, F32, 7, 1, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"two factors", GOOD, F32, F32, 8, 2, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"no master for halves", GOOD, COLT5_F16, F32, 8, 1, 1, 0, 0, COLT5_ERROR_ARGUMENT},
    {"no m", GOOD, F32, F32, 8, 1, 0, 1, 0, COLT5_ERROR_ARGUMENT},
    {"v on m", GOOD, F32, F32, 8, 1, 0, 0, 1, COLT5_ERROR_ARGUMENT},
    {"rate NaN", {NAN, 0.9f, 0.95f, 1e-8f, 0, 1}, F32, F32, 8, 1, 0, 0, 0, COLT5_ERROR_ARGUMENT},
    {"beta1 of 1", {0, 1, 0.95f, 1e-8f, 0, 1}, F32, F32, 8, 1, 0, 0, 0, COLT5_ERROR_ARGUMENT},
    {"beta2 below 0", {0, 0, -1, 1e-8f, 0, 1}, F32, F32, 8, 1, 0, 0, 0, COLT5_ERROR_ARGUMENT},
    {"eps of 0", {0, 0, 0, 0, 0, 1}, F32, F32, 8, 1, 0, 0, 0, COLT5_ERROR_ARGUMENT},
    {"negative decay", {0, 0, 0, 1, -1, 1}, F32, F32, 8, 1, 0, 0, 0, COLT5_ERROR_ARGUMENT},
    {"step 0", {0, 0, 0, 1, 0, 0}, F32, F32, 8, 1, 0, 0, 0, COLT5_ERROR_ARGUMENT},
#undef GOOD
#undef F32
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    struct parameter p = make_parameter(8, COLT5_F32);
    const double g[8] = {1}, factor[2] = {1, 1};
    struct device_tensor tg = upload(g, COLT5_F32, 8), tf = upload(factor, COLT5_F32, 2);
    colt5_tensor w = p.tweight.t, v = p.tv.t, gradient = tg.t, f = tf.t;
    w.type = c.weight_type;
    gradient.type = c.g_type;
    v.dims[0] = c.v_count;
    f.dims[0] = c.factor_count;
    if (c.overlap) v.buffer = p.tm.t.buffer, v.offset = p.tm.t.offset + 1;
    const colt5_adamw_tensors tensors = {&w, c.no_master ? NULL : &p.tmaster.t,
                                         c.no_m ? NULL : &p.tm.t, &v};
    ck_assert_msg(colt5_adamw(ctx, &gradient, &f, &c.o, &tensors) == c.expected, "%s", c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "adamw: ", 7) == 0, "%s", colt5_message(ctx));
    assert_unchanged(&p.tweight);
    assert_unchanged(&p.tmaster);
    assert_unchanged(&p.tm);
    assert_unchanged(&p.tv);
    const colt5_adamw_tensors good = tensors_of(&p, true);
    const colt5_adamw_options o = colt5_adamw_options_default();
    ck_assert_ok(colt5_adamw(ctx, &tg.t, NULL, &o, &good));
    release(&tg), release(&tf);
    release_parameter(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("adamw");
    TCase *tests = tcase_create("adamw");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, steps_are_those_of_the_formula, 0, 3 * COUNTS);
    tcase_add_test(tests, a_factor_of_zero_leaves_everything);
    tcase_add_test(tests, the_master_keeps_what_rounding_would_lose);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
