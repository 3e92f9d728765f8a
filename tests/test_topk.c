/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/topk.h>

#include "support/golden.h"

/* What a call is made of: the tensors, and their values on the host. */
struct problem {
    size_t B, R, N, K;
    bool masked;
    colt5_topk_options options;
    double *x, *g, *values, *scores, *gates;
    uint8_t *mask;
    int *index;
    struct device_tensor x_, mask_, values_, index_, scores_, gates_, state_;
};

static void make_outputs(struct problem *p)
{
    const size_t B = p->B, R = p->R, K = p->K, T = (size_t)p->options.n_iters;
    p->values_ = poisoned_tensor(COLT5_F32, B, R, K);
    p->index_ = poisoned_tensor(COLT5_I32, B, R, K);
    p->scores_ = poisoned_tensor(COLT5_F32, B, R, K);
    p->gates_ = poisoned_tensor(COLT5_F32, B, R, K);
    p->state_ = poisoned_tensor(COLT5_F32, B, R, T, COLT5_COOR_DESCENT_STATE);
}

/* x is normal, or with ties has few values, so that equal ones decide. */
static struct problem make_problem(size_t B, size_t R, size_t N, size_t K, bool masked, bool ties)
{
    struct problem p = {.B = B, .R = R, .N = N, .K = K, .masked = masked};
    p.options = colt5_topk_options_default();
    p.options.eps = 0.3f;
    p.x = rounded_to(COLT5_F32, random_normal(B * R * N), B * R * N);
    for (size_t i = 0; ties && i < B * R * N; i++) p.x[i] = rint(2 * p.x[i]) / 2;
    p.mask = random_mask(B * N, 0.6);
    p.g = poisoned(B * R * N);
    p.values = poisoned(B * R * K);
    p.scores = poisoned(B * R * K);
    p.gates = poisoned(B * R * K);
    p.index = random_indices(B * R * K, 1);
    p.x_ = upload(p.x, COLT5_F32, B, R, N);
    p.mask_ = upload_u8(p.mask, B, N);
    make_outputs(&p);
    return p;
}

static void release_problem(struct problem *p)
{
    release(&p->x_), release(&p->mask_), release(&p->values_), release(&p->index_);
    release(&p->scores_), release(&p->gates_), release(&p->state_);
    free(p->x), free(p->g), free(p->values), free(p->scores), free(p->gates);
    free(p->mask), free(p->index);
}

static const colt5_tensor *mask_of(const struct problem *p)
{
    return p->masked ? &p->mask_.t : NULL;
}

static colt5_coor_descent_options solver_of(const struct problem *p)
{
    const double k = fmin((double)p->K * (double)p->options.fetch_k_ratio, (double)p->N);
    return (colt5_coor_descent_options){(float)k, p->options.n_iters, p->options.eps,
                                        p->options.eps, p->options.eps_decay};
}

static void solve_reference(struct problem *p)
{
    const colt5_coor_descent_options solver = solver_of(p);
    const uint8_t *mask = p->masked ? p->mask : NULL;
    reference_coor_descent(p->x, mask, &solver, p->g, p->B, p->R, p->N);
    ck_assert(reference_topk(p->x, mask, p->g, p->values, p->index, p->scores, p->gates, p->B, p->R,
                             p->N, p->K));
}

static void assert_index(const struct problem *p)
{
    double *have = download(&p->index_);
    for (size_t i = 0; i < p->B * p->R * p->K; i++)
        ck_assert_msg((int)have[i] == p->index[i], "index %zu: %g, not %d", i, have[i],
                      p->index[i]);
    free(have);
}

static const struct shape {
    size_t B, R, N, K;
    bool masked, ties, gpu;
} shapes[] = {
    {1, 1, 1, 1, false, false, false},   {2, 3, 7, 7, true, false, false},
    {2, 1, 33, 9, false, true, true},    {2, 2, 130, 65, true, true, false},
    {1, 2, 300, 299, true, false, true},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

static struct shape shape_of(int i)
{
    struct shape s = shapes[i];
    if (tiny() && s.N > 31) s.N = 31;
    if (s.K > s.N) s.K = s.N;
    return s;
}

START_TEST(values_are_sorted_and_carry_scores)
{
    const struct shape s = shape_of(_i);
    struct problem p = make_problem(s.B, s.R, s.N, s.K, s.masked, s.ties);
    pretend_gpu(s.gpu);
    ck_assert_ok(colt5_topk_forward(ctx, &p.x_.t, mask_of(&p), &p.options, &p.values_.t,
                                    &p.index_.t, &p.scores_.t, &p.gates_.t, &p.state_.t));
    pretend_gpu(false);
    solve_reference(&p);
    assert_index(&p);
    assert_equal(&p.values_, p.values);
    assert_equal(&p.gates_, p.gates);
    assert_norm(&p.scores_, p.scores, 2e-6);
    assert_unchanged(&p.x_), assert_unchanged(&p.mask_);
    release_problem(&p);
}
END_TEST

/* More than one run of keys, merged; the solver is left out. */
START_TEST(long_rows_are_sorted)
{
    static const size_t counts[] = {2048, 2049, 4097, 9001};
    const size_t K = counts[_i / 2], N = tiny() ? 31 : 9001;
    struct problem p = make_problem(1, 2, N, K < N ? K : N, true, _i / 2 % 2);
    p.options.non_differentiable = 1;
    pretend_gpu(_i % 2);
    ck_assert_ok(colt5_topk_forward(ctx, &p.x_.t, mask_of(&p), &p.options, &p.values_.t,
                                    &p.index_.t, NULL, &p.gates_.t, NULL));
    pretend_gpu(false);
    for (size_t i = 0; i < p.B * p.R * p.N; i++) p.g[i] = 0;
    ck_assert(
        reference_topk(p.x, p.mask, p.g, p.values, p.index, p.scores, p.gates, p.B, p.R, p.N, p.K));
    assert_index(&p);
    assert_equal(&p.values_, p.values);
    assert_equal(&p.gates_, p.gates);
    release_problem(&p);
}
END_TEST

/* Each of the three gradients in turn, then all. */
START_TEST(gradients_go_through_values_scores_and_gates)
{
    const struct shape s = shape_of(_i / 4);
    struct problem p = make_problem(s.B, s.R, s.N, s.K, s.masked, false);
    const size_t picked = s.B * s.R * s.K, count = s.B * s.R * s.N;
    double *d[3], *dg = zeros(count), *dx = zeros(count), *dk = zeros(s.B * s.R);
    struct device_tensor d_[3], dx_ = poisoned_tensor(COLT5_F32, s.B, s.R, s.N);
    bool used[3];
    for (int i = 0; i < 3; i++) {
        used[i] = _i % 4 == 3 || _i % 4 == i;
        d[i] = used[i] ? rounded_to(COLT5_F32, random_normal(picked), picked) : zeros(picked);
        d_[i] = upload(d[i], COLT5_F32, s.B, s.R, s.K);
    }
    const colt5_topk_gradient gradient = {used[0] ? &d_[0].t : NULL, used[1] ? &d_[1].t : NULL,
                                          used[2] ? &d_[2].t : NULL};
    pretend_gpu(s.gpu);
    ck_assert_ok(colt5_topk_forward(ctx, &p.x_.t, mask_of(&p), &p.options, &p.values_.t,
                                    &p.index_.t, NULL, NULL, &p.state_.t));
    ck_assert_ok(colt5_topk_backward(ctx, &p.x_.t, mask_of(&p), &p.options, &p.index_.t,
                                     &p.state_.t, &gradient, &dx_.t));
    pretend_gpu(false);

    solve_reference(&p);
    const colt5_coor_descent_options solver = solver_of(&p);
    const uint8_t *mask = s.masked ? p.mask : NULL;
    reference_topk_gate_gradient(p.x, mask, p.index, d[0], d[1], d[2], dg, s.B, s.R, s.N, s.K);
    reference_coor_descent_backward(p.x, mask, &solver, dg, dx, dk, s.B, s.R, s.N);
    for (size_t i = 0; i < picked; i++) dx[i / s.K * s.N + (size_t)p.index[i]] += d[0][i];
    assert_norm(&dx_, dx, 1e-5);

    for (int i = 0; i < 3; i++) release(&d_[i]), free(d[i]);
    release(&dx_);
    release_problem(&p);
    free(dg), free(dx), free(dk);
}
END_TEST

START_TEST(the_plain_gradient_goes_back_in_place)
{
    const double x[] = {3, 1, 2, 5}, dvalues[] = {10, 20}, want[] = {20, 0, 0, 10};
    struct device_tensor x_ = upload(x, COLT5_F32, 1, 1, 4);
    struct device_tensor dvalues_ = upload(dvalues, COLT5_F32, 1, 1, 2);
    struct device_tensor values_ = poisoned_tensor(COLT5_F32, 1, 1, 2);
    struct device_tensor index_ = poisoned_tensor(COLT5_I32, 1, 1, 2);
    struct device_tensor dx_ = poisoned_tensor(COLT5_F32, 1, 1, 4);
    const colt5_topk_options plain = {.non_differentiable = 1};
    const colt5_topk_gradient gradient = {.dvalues = &dvalues_.t};
    ck_assert_ok(
        colt5_topk_forward(ctx, &x_.t, NULL, &plain, &values_.t, &index_.t, NULL, NULL, NULL));
    ck_assert_ok(colt5_topk_backward(ctx, &x_.t, NULL, &plain, &index_.t, NULL, &gradient, &dx_.t));
    assert_equal(&dx_, want);
    release(&x_), release(&dvalues_), release(&values_), release(&index_), release(&dx_);
}
END_TEST

/* ---- golden ---- */

static const char *const golden[] = {"topk_batch", "topk_default", "topk_k_is_n",
                                     "topk_k_one", "topk_mask",    "topk_vector"};

/* Leading dimensions become samples, each with a mask of its own. */
static struct device_tensor golden_rows(const char *name, const char *file, colt5_type type)
{
    struct device_tensor tensor = golden_tensor(name, file, type);
    const size_t last = tensor.t.dims[tensor.t.rank - 1], rows = tensor.count / last;
    const bool bytes = tensor.t.type == COLT5_U8;
    tensor.t.rank = bytes ? 2 : 3;
    tensor.t.dims[0] = rows;
    tensor.t.dims[1] = bytes ? last : 1;
    tensor.t.dims[2] = last;
    return tensor;
}

static void assert_golden(const char *name, const char *file, const char *key,
                          const struct device_tensor *have, double bound)
{
    size_t count;
    double *want = golden_values(name, file, &count);
    ck_assert_uint_eq(count, have->count);
    assert_norm(have, want, fmax(bound, 1.5 * golden_number(name, "tolerance.json", key, 0)));
    free(want);
}

START_TEST(golden_cases_are_met)
{
    const char *name = golden[_i], *file = "case.json";
    const size_t K = (size_t)golden_number(name, file, "k", 0);
    colt5_topk_options o = colt5_topk_options_default();
    o.fetch_k_ratio = (float)golden_number(name, file, "ratio", 9.0 / 8);
    o.n_iters = (int)golden_number(name, file, "n_iters", 20);
    o.eps = (float)golden_number(name, file, "eps", 0.1);
    o.eps_init = (float)golden_number(name, file, "eps_init", 0);
    o.eps_decay = (float)golden_number(name, file, "eps_decay", 1);
    const bool masked = golden_has(name, "mask.npy");
    struct device_tensor x = golden_rows(name, "x.npy", COLT5_F32), mask = {.count = 0};
    struct device_tensor dvalues = golden_rows(name, "dvalues.npy", COLT5_F32);
    struct device_tensor want = golden_rows(name, "indices.npy", COLT5_I32);
    if (masked) mask = golden_rows(name, "mask.npy", COLT5_U8);
    const size_t B = x.t.dims[0], N = x.t.dims[2];
    struct problem p = {.B = B, .R = 1, .N = N, .K = K, .options = o};
    struct device_tensor dx = poisoned_tensor(COLT5_F32, B, 1, N);
    const colt5_topk_gradient gradient = {.dvalues = &dvalues.t};
    const colt5_tensor *mask_t = masked ? &mask.t : NULL;
    make_outputs(&p);

    ck_assert_ok(colt5_topk_forward(ctx, &x.t, mask_t, &o, &p.values_.t, &p.index_.t, &p.scores_.t,
                                    &p.gates_.t, &p.state_.t));
    double *index = download(&want);
    assert_equal(&p.index_, index);
    assert_golden(name, "values.npy", "values", &p.values_, 0);
    assert_golden(name, "gates.npy", "gates", &p.gates_, 0);
    assert_golden(name, "coor_descent_values.npy", "coor_descent_values", &p.scores_, 2e-6);
    ck_assert_ok(
        colt5_topk_backward(ctx, &x.t, mask_t, &o, &p.index_.t, &p.state_.t, &gradient, &dx.t));
    assert_golden(name, "dx.npy", "dx", &dx, 1e-5);

    release(&x), release(&mask), release(&dvalues), release(&want), release(&dx);
    release_problem(&p);
    free(index);
}
END_TEST

/* ---- bad calls ---- */

struct tensors {
    colt5_tensor x, mask, values, index, scores, gates, state, dvalues, dx;
    colt5_topk_options options;
};

static void x_of_rank_2(struct tensors *t)
{
    t->x.rank = 2;
}

static void x_of_16_bits(struct tensors *t)
{
    t->x.type = COLT5_F16;
}

static void mask_of_another_n(struct tensors *t)
{
    t->mask.dims[1] = 4;
}

static void float_index(struct tensors *t)
{
    t->index.type = COLT5_F32;
}

static void k_above_n(struct tensors *t)
{
    t->index.dims[2] = 6;
}

static void values_of_another_k(struct tensors *t)
{
    t->values.dims[2] = t->dvalues.dims[2] = 2;
}

static void values_on_x(struct tensors *t)
{
    t->values = t->x;
    t->values.dims[2] = 3;
    t->dvalues = t->dx;
    t->dvalues.dims[2] = 3;
}

static void short_state(struct tensors *t)
{
    t->state.dims[2]--;
}

static void ratio_below_one(struct tensors *t)
{
    t->options.fetch_k_ratio = 0.9f;
}

static void no_iterations(struct tensors *t)
{
    t->options.n_iters = 0;
}

static void no_eps(struct tensors *t)
{
    t->options.eps = 0;
}

static void plain_with_state(struct tensors *t)
{
    t->options.non_differentiable = 1;
}

static const struct bad_call {
    void (*spoil)(struct tensors *);
    colt5_status expected;
} bad_calls[] = {
    {x_of_rank_2, COLT5_ERROR_SHAPE},        {x_of_16_bits, COLT5_ERROR_TYPE},
    {mask_of_another_n, COLT5_ERROR_SHAPE},  {float_index, COLT5_ERROR_TYPE},
    {k_above_n, COLT5_ERROR_SHAPE},          {values_of_another_k, COLT5_ERROR_SHAPE},
    {values_on_x, COLT5_ERROR_ARGUMENT},     {short_state, COLT5_ERROR_SHAPE},
    {ratio_below_one, COLT5_ERROR_ARGUMENT}, {no_iterations, COLT5_ERROR_ARGUMENT},
    {no_eps, COLT5_ERROR_ARGUMENT},          {plain_with_state, COLT5_ERROR_ARGUMENT},
};

static colt5_status forward(const struct tensors *t)
{
    return colt5_topk_forward(ctx, &t->x, &t->mask, &t->options, &t->values, &t->index, &t->scores,
                              &t->gates, &t->state);
}

static colt5_status backward(const struct tensors *t)
{
    const colt5_topk_gradient gradient = {.dvalues = &t->dvalues};
    return colt5_topk_backward(ctx, &t->x, &t->mask, &t->options, &t->index, &t->state, &gradient,
                               &t->dx);
}

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    struct problem p = make_problem(2, 2, 5, 3, true, false);
    struct device_tensor dvalues = upload(p.x, COLT5_F32, 2, 2, 3);
    struct device_tensor dx = poisoned_tensor(COLT5_F32, 2, 2, 5);
    const struct tensors whole = {p.x_.t,     p.mask_.t,  p.values_.t, p.index_.t, p.scores_.t,
                                  p.gates_.t, p.state_.t, dvalues.t,   dx.t,       p.options};
    struct tensors spoiled = whole;
    c.spoil(&spoiled);
    ck_assert_msg(forward(&spoiled) == c.expected, "%d: %s", _i, colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), "topk_forward: ", 14), "%s", colt5_message(ctx));
    ck_assert_msg(backward(&spoiled) == c.expected, "%d: %s", _i, colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), "topk_backward: ", 15), "%s", colt5_message(ctx));
    assert_untouched(&p.values_), assert_untouched(&p.index_), assert_untouched(&p.scores_);
    assert_untouched(&p.gates_), assert_untouched(&p.state_), assert_untouched(&dx);
    if (!tiny() || _i % 4 == 0) {
        ck_assert_ok(forward(&whole));
        ck_assert_ok(backward(&whole));
    }
    release(&dvalues), release(&dx);
    release_problem(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("topk");
    TCase *tests = tcase_create("topk");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, values_are_sorted_and_carry_scores, 0, SHAPES);
    tcase_add_loop_test(tests, long_rows_are_sorted, 0, 8);
    tcase_add_loop_test(tests, gradients_go_through_values_scores_and_gates, 0, 4 * SHAPES);
    tcase_add_test(tests, the_plain_gradient_goes_back_in_place);
    tcase_add_loop_test(tests, golden_cases_are_met, 0, sizeof(golden) / sizeof(golden[0]));
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
