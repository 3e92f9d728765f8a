/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/flash_attention.h>

#include <math.h>

/* What a call is made of. */
struct shape {
    size_t B, Q, M, H, E, R;
    double share; /* of real keys; 1: no mask */
    bool null_kv, q_scores, kv_scores, multiply_keys;
};

/* One call, its reference, and the tensors it runs on. */
struct run {
    struct reference_flash_attention a;
    colt5_type type;
    double *q, *kv, *null_kv, *q_scores, *kv_scores, *y, *lse;
    uint8_t *mask;
    struct device_tensor dq, dkv, dnull_kv, dmask, dq_scores, dkv_scores, dy, dlse;
};

static double *scores(size_t count)
{
    double *values = random_normal(count);
    return rounded_to(COLT5_F32, values, count);
}

static struct run make_run(struct shape s, colt5_type type)
{
    const size_t q = s.B * s.Q * s.H * s.E, kv = 2 * s.B * s.M * s.H * s.E, rows = s.B * s.R * s.M;
    struct run r = {.a = {.B = s.B, .Q = s.Q, .M = s.M, .H = s.H, .E = s.E, .R = s.R},
                    .type = type};
    r.a.q = r.q = rounded_to(type, random_normal(q), q);
    r.a.kv = r.kv = rounded_to(type, random_normal(kv), kv);
    if (s.null_kv)
        r.a.null_kv = r.null_kv = rounded_to(type, random_normal(2 * s.H * s.E), 2 * s.H * s.E);
    if (s.q_scores) r.a.q_scores = r.q_scores = scores(s.B * s.Q);
    if (s.kv_scores) r.a.kv_scores = r.kv_scores = scores(rows);
    if (s.share < 1) r.a.mask = r.mask = random_mask(rows, s.share);
    r.a.multiply_keys = s.multiply_keys;
    r.y = poisoned(q);
    r.lse = poisoned(s.B * s.H * s.Q);
    return r;
}

/* What a masked token holds must not matter, nor its score. */
static void spoil_masked_keys(struct run *r)
{
    const double worst[] = {NAN, INFINITY, -INFINITY};
    const size_t width = 2 * r->a.H / r->a.R * r->a.E;
    for (size_t row = 0; r->mask && row < r->a.B * r->a.R * r->a.M; row++) {
        if (r->mask[row]) continue;
        for (size_t e = 0; e < width; e++) r->kv[row * width + e] = worst[(row + e) % 3];
        if (r->kv_scores) r->kv_scores[row] = worst[row % 3];
    }
}

static void upload_run(struct run *r)
{
    const struct reference_flash_attention *a = &r->a;
    r->dq = upload(r->q, r->type, a->B, a->Q, a->H, a->E);
    r->dkv = upload(r->kv, r->type, a->B, a->R, a->M, a->H / a->R, 2 * a->E);
    if (r->null_kv) r->dnull_kv = upload(r->null_kv, r->type, 2, a->H, a->E);
    if (r->mask) r->dmask = upload_u8(r->mask, a->B, a->R, a->M);
    if (r->q_scores) r->dq_scores = upload(r->q_scores, COLT5_F32, a->B, a->Q);
    if (r->kv_scores) r->dkv_scores = upload(r->kv_scores, COLT5_F32, a->B, a->R, a->M);
    r->dy = poisoned_tensor(r->type, a->B, a->Q, a->H, a->E);
    r->dlse = poisoned_tensor(COLT5_F32, a->B, a->H, a->Q);
}

static colt5_flash_attention_inputs inputs_of(const struct run *r)
{
    return (colt5_flash_attention_inputs){.q = &r->dq.t,
                                          .kv = &r->dkv.t,
                                          .null_kv = r->null_kv ? &r->dnull_kv.t : NULL,
                                          .mask = r->mask ? &r->dmask.t : NULL,
                                          .q_scores = r->q_scores ? &r->dq_scores.t : NULL,
                                          .kv_scores = r->kv_scores ? &r->dkv_scores.t : NULL,
                                          .multiply_keys = r->a.multiply_keys};
}

static void compare(struct run *r)
{
    const colt5_flash_attention_inputs inputs = inputs_of(r);
    ck_assert_ok(colt5_flash_attention_forward(ctx, &inputs, &r->dy.t, &r->dlse.t));
    reference_flash_attention(&r->a, r->y, r->lse);
    assert_norm(&r->dy, r->y, forward_bound(r->type));
    assert_close(&r->dlse, r->lse, 2e-6, 2e-6);
    assert_unchanged(&r->dq);
    assert_unchanged(&r->dkv);
}

static void free_run(struct run *r)
{
    release(&r->dq), release(&r->dkv), release(&r->dnull_kv), release(&r->dmask);
    release(&r->dq_scores), release(&r->dkv_scores), release(&r->dy), release(&r->dlse);
    free(r->q), free(r->kv), free(r->null_kv), free(r->q_scores), free(r->kv_scores);
    free(r->y), free(r->lse), free(r->mask);
}

static void check_run(struct run r)
{
    spoil_masked_keys(&r);
    upload_run(&r);
    compare(&r);
    free_run(&r);
}

static const struct shape shapes[] = {
    {1, 1, 1, 1, 1, 1, 1, false, false, false, false},
    {2, 3, 5, 4, 3, 2, 0.6, true, true, true, true},
    {1, 31, 33, 2, 8, 1, 0.8, true, false, true, false},
    {2, 33, 31, 4, 16, 4, 0.5, false, true, true, true},
    {1, 64, 65, 2, 33, 2, 1, true, true, false, false},
    {2, 65, 167, 2, 64, 1, 0.9, true, true, true, false},
    {1, 13, 331, 4, 64, 2, 1, false, false, false, false},
    {1, 17, 70, 2, 128, 1, 0.5, true, false, true, true},
    {1, 40, 50, 1, 256, 1, 0.9, true, true, true, true},
    {1, 5, 0, 2, 8, 1, 1, true, true, true, true},
};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* A build of the GPU's kernels takes a second, one for each width of heads: not all are tested. */
static bool on_tiles(void)
{
    return getenv("COLT5_KERNELS") && !strcmp(getenv("COLT5_KERNELS"), "gpu");
}

static bool left_out(struct shape s, bool backward)
{
    return (tiny() && s.M > 33) || (on_tiles() && (s.E == 33 || (backward && s.E == 128)));
}

START_TEST(all_keys_are_averaged)
{
    const struct shape s = shapes[_i];
    if (left_out(s, false)) return;
    check_run(make_run(s, COLT5_F32));
}
END_TEST

/* For 16 bits: heads that matrix units take and one that they do not, tiles all of whose keys are
 * there, and ragged ones. */
static const struct shape halves[] = {
    {1, 19, 90, 4, 24, 2, 0.8, true, true, true, false},
    {1, 19, 90, 4, 24, 2, 0.8, true, true, true, true},
    {1, 19, 90, 4, 13, 2, 0.8, true, true, true, false},
    {2, 130, 260, 2, 64, 1, 1, true, false, true, false},
    {1, 64, 192, 2, 64, 1, 1, false, false, false, false},
    {1, 150, 129, 4, 56, 2, 1, true, true, true, true},
    {1, 66, 200, 2, 64, 1, 0.8, true, false, true, false},
};
#define HALVES (sizeof(halves) / sizeof(halves[0]))

static struct run half_run(int i)
{
    struct shape s = halves[i / 2];
    if (tiny()) s.M = 30;
    return make_run(s, storage_types[1 + i % 2]);
}

/* Where only the plain kernels run, the narrow ones will do; under a checker one type of each. */
static bool half_left_out(int i)
{
    if (tiny() && i % 2 != (halves[i / 2].E == 13)) return true;
    if (on_tiles() && (i % 2 || halves[i / 2].E == 13)) return true;
    return (tiny() || on_tiles()) && halves[i / 2].E > 24;
}

START_TEST(sixteen_bits_are_storage)
{
    if (!half_left_out(_i)) check_run(half_run(_i));
}
END_TEST

START_TEST(no_key_gives_zeros_or_the_null_value)
{
    const struct shape s = {2, 7, _i % 2 ? 0 : 9, 2, 8, 1, 0.5, _i / 2, false, true, true};
    struct run r = make_run(s, COLT5_F32);
    memset(r.mask, 0, s.M); /* all keys of the first sample */
    spoil_masked_keys(&r);
    upload_run(&r);
    compare(&r);
    double *y = download(&r.dy);
    for (size_t i = 0; i < s.Q * s.H * s.E; i++) {
        const double want = s.null_kv ? r.null_kv[s.H * s.E + i % (s.H * s.E)] : 0;
        ck_assert(fabs(y[i] - want) <= 3e-7 * fabs(want)); /* units take a float in parts */
    }
    free(y);
    free_run(&r);
}
END_TEST

START_TEST(equal_calls_give_equal_bits)
{
    const size_t M = tiny() ? 30 : 200, E = tiny() ? 8 : 40;
    const struct shape s = {1, 40, M, 2, E, 1, 0.9, true, true, true, true};
    struct run r = make_run(s, COLT5_F32);
    upload_run(&r);
    compare(&r);
    double *first = download(&r.dy);
    compare(&r);
    assert_equal(&r.dy, first);
    free(first);
    free_run(&r);
}
END_TEST

/* One score far above the others, early or late: the running maximum has to follow. */
START_TEST(large_scores_do_not_overflow)
{
    const struct shape s = {1, 3, tiny() ? 30 : 300, 1, 4, 1, 1, true, false, false, false};
    struct run r = make_run(s, COLT5_F32);
    for (size_t i = 0; i < 12; i++) r.q[i] = 100 * (1.0 + (double)(i % 4));
    for (size_t e = 0; e < 4; e++) r.kv[(_i ? s.M - 2 : 1) * 8 + e] = 50;
    upload_run(&r);
    compare(&r);
    free_run(&r);
}
END_TEST

/* ---- backward ---- */

/* The gradients of a run, by the reference and by the library. */
struct gradients {
    size_t q, kv, null_kv, q_scores, kv_scores; /* how many numbers */
    double *dy, *dq, *dkv, *dnull_kv, *dq_scores, *dkv_scores;
    struct device_tensor ddy, ddq, ddkv, ddnull_kv, ddq_scores, ddkv_scores;
};

static struct gradients make_gradients(const struct run *r)
{
    const struct reference_flash_attention *a = &r->a;
    struct gradients g = {.q = a->B * a->Q * a->H * a->E,
                          .kv = 2 * a->B * a->M * a->H * a->E,
                          .null_kv = 2 * a->H * a->E,
                          .q_scores = a->B * a->Q,
                          .kv_scores = a->B * a->R * a->M};
    g.dy = rounded_to(r->type, random_normal(g.q), g.q);
    g.dq = poisoned(g.q), g.dkv = poisoned(g.kv), g.dnull_kv = random_normal(g.null_kv);
    g.dq_scores = poisoned(g.q_scores), g.dkv_scores = poisoned(g.kv_scores);
    rounded_to(COLT5_F32, g.dnull_kv, g.null_kv);
    g.ddy = upload(g.dy, r->type, a->B, a->Q, a->H, a->E);
    g.ddq = poisoned_tensor(r->type, a->B, a->Q, a->H, a->E);
    g.ddkv = poisoned_tensor(r->type, a->B, a->R, a->M, a->H / a->R, 2 * a->E);
    g.ddnull_kv = upload(g.dnull_kv, COLT5_F32, 2, a->H, a->E);
    g.ddq_scores = poisoned_tensor(COLT5_F32, a->B, a->Q);
    g.ddkv_scores = poisoned_tensor(COLT5_F32, a->B, a->R, a->M);
    return g;
}

static colt5_flash_attention_gradients wanted(const struct run *r, const struct gradients *g)
{
    return (colt5_flash_attention_gradients){.dq = &g->ddq.t,
                                             .dkv = &g->ddkv.t,
                                             .dnull_kv = r->null_kv ? &g->ddnull_kv.t : NULL,
                                             .dq_scores = r->q_scores ? &g->ddq_scores.t : NULL,
                                             .dkv_scores = r->kv_scores ? &g->ddkv_scores.t : NULL};
}

static struct reference_flash_attention_gradients references(const struct gradients *g)
{
    return (struct reference_flash_attention_gradients){g->dq, g->dkv, g->dnull_kv, g->dq_scores,
                                                        g->dkv_scores};
}

static void free_gradients(struct gradients *g)
{
    release(&g->ddy), release(&g->ddq), release(&g->ddkv), release(&g->ddnull_kv);
    release(&g->ddq_scores), release(&g->ddkv_scores);
    free(g->dy), free(g->dq), free(g->dkv), free(g->dnull_kv);
    free(g->dq_scores), free(g->dkv_scores);
}

static void compare_gradients(struct run *r, struct gradients *g)
{
    const colt5_flash_attention_inputs inputs = inputs_of(r);
    const colt5_flash_attention_gradients d = wanted(r, g);
    const struct reference_flash_attention_gradients want = references(g);
    const double bound = r->type == COLT5_F32 ? 1e-5 : 1e-2;
    /* Sums over whole rows, with y rounded, whose terms cancel. */
    const double scores_bound = r->type == COLT5_F32 ? bound : 2e-2;
    ck_assert_ok(colt5_flash_attention_forward(ctx, &inputs, &r->dy.t, &r->dlse.t));
    ck_assert_ok(colt5_flash_attention_backward(ctx, &inputs, &r->dy.t, &r->dlse.t, &g->ddy.t, &d));
    reference_flash_attention_backward(&r->a, g->dy, &want);
    assert_norm(&g->ddq, g->dq, bound);
    assert_norm(&g->ddkv, g->dkv, bound);
    if (d.dnull_kv) assert_norm(&g->ddnull_kv, g->dnull_kv, bound);
    if (d.dq_scores) assert_norm(&g->ddq_scores, g->dq_scores, scores_bound);
    if (d.dkv_scores) assert_norm(&g->ddkv_scores, g->dkv_scores, scores_bound);
}

static void check_backward(struct run r)
{
    spoil_masked_keys(&r);
    upload_run(&r);
    struct gradients g = make_gradients(&r);
    compare_gradients(&r, &g);
    free_gradients(&g);
    free_run(&r);
}

START_TEST(the_gradient_is_that_of_the_average)
{
    const struct shape s = shapes[_i];
    if (left_out(s, true)) return;
    check_backward(make_run(s, COLT5_F32));
}
END_TEST

START_TEST(gradients_of_sixteen_bits)
{
    if (half_left_out(_i)) return;
    check_backward(half_run(_i));
}
END_TEST

/* A query that asks for nothing, as one of a masked token, may hold anything. */
START_TEST(queries_without_dy_do_not_matter)
{
    const struct shape s = {1, 40, 30, 2, 16, 1, 0.9, true, true, true, true};
    struct run r = make_run(s, COLT5_F32);
    for (size_t e = 0; e < 32; e++) r.q[11 * 32 + e] = NAN;
    spoil_masked_keys(&r);
    upload_run(&r);
    struct gradients g = make_gradients(&r);
    memset(g.dy + 11 * 32, 0, 32 * sizeof(double));
    release(&g.ddy);
    g.ddy = upload(g.dy, COLT5_F32, 1, 40, 2, 16);
    compare_gradients(&r, &g);
    free_gradients(&g);
    free_run(&r);
}
END_TEST

/* Each gradient alone, and equal bits for equal calls. */
START_TEST(gradients_can_be_left_out)
{
    const struct shape s = {1, 9, 12, 4, 8, 2, 0.9, true, true, true, true};
    struct run r = make_run(s, COLT5_F32);
    upload_run(&r);
    struct gradients g = make_gradients(&r);
    compare_gradients(&r, &g);
    const colt5_flash_attention_inputs inputs = inputs_of(&r);
    const colt5_flash_attention_gradients all = wanted(&r, &g);
    double *dq = download(&g.ddq), *dkv = download(&g.ddkv), *scores_q = download(&g.ddq_scores);
    double *scores_kv = download(&g.ddkv_scores);
    const colt5_flash_attention_gradients some[] = {{.dq = all.dq},
                                                    {.dkv = all.dkv},
                                                    {.dq_scores = all.dq_scores},
                                                    {0},
                                                    {.dkv_scores = all.dkv_scores},
                                                    {.dnull_kv = all.dnull_kv}};
    for (size_t i = 0; i < 6; i++)
        ck_assert_ok(
            colt5_flash_attention_backward(ctx, &inputs, &r.dy.t, &r.dlse.t, &g.ddy.t, &some[i]));
    assert_equal(&g.ddq, dq);
    assert_equal(&g.ddkv, dkv);
    assert_equal(&g.ddq_scores, scores_q);
    assert_equal(&g.ddkv_scores, scores_kv);
    free(dq), free(dkv), free(scores_q), free(scores_kv);
    free_gradients(&g);
    free_run(&r);
}
END_TEST

static void forward_again(void *data)
{
    struct run *r = data;
    reference_flash_attention(&r->a, r->y, r->lse);
}

START_TEST(the_reference_is_its_difference_quotient)
{
    const struct shape s = {2, 3, 4, 4, 3, 2, 0.8, true, true, true, _i};
    struct run r = make_run(s, COLT5_F32);
    struct gradients g = make_gradients(&r);
    memset(g.dnull_kv, 0, g.null_kv * sizeof(double));
    const struct reference_flash_attention_gradients d = references(&g);
    reference_flash_attention_backward(&r.a, g.dy, &d);
    const struct difference_check check = {forward_again, &r, r.y, g.dy, g.q};
    assert_gradient(&check, r.q, g.dq, g.q);
    assert_gradient(&check, r.kv, g.dkv, g.kv);
    assert_gradient(&check, r.null_kv, g.dnull_kv, g.null_kv);
    assert_gradient(&check, r.q_scores, g.dq_scores, g.q_scores);
    assert_gradient(&check, r.kv_scores, g.dkv_scores, g.kv_scores);
    free_gradients(&g);
    free_run(&r);
}
END_TEST

static const struct bad_gradient {
    const char *what;
    int argument;
    colt5_status expected;
} bad_gradients[] = {
    {"no gradients", 0, COLT5_ERROR_ARGUMENT},
    {"dq of another type", 1, COLT5_ERROR_TYPE},
    {"dkv of other tokens", 2, COLT5_ERROR_SHAPE},
    {"dnull_kv of integers", 3, COLT5_ERROR_TYPE},
    {"dq_scores of 16 bits", 4, COLT5_ERROR_TYPE},
    {"dkv_scores without scores", 5, COLT5_ERROR_ARGUMENT},
    {"dq on q", 6, COLT5_ERROR_ARGUMENT},
    {"dq on dy", 7, COLT5_ERROR_ARGUMENT},
    {"no lse", 8, COLT5_ERROR_ARGUMENT},
    {"dy of other queries", 9, COLT5_ERROR_SHAPE},
};

START_TEST(bad_gradients_are_refused)
{
    const struct bad_gradient bad = bad_gradients[_i];
    struct run r =
        make_run((struct shape){1, 5, 6, 4, 4, 2, 0.9, true, true, true, true}, COLT5_F32);
    upload_run(&r);
    struct gradients g = make_gradients(&r);
    colt5_flash_attention_inputs inputs = inputs_of(&r);
    colt5_flash_attention_gradients d = wanted(&r, &g);
    colt5_tensor dq = g.ddq.t, dkv = g.ddkv.t, dnull = g.ddnull_kv.t, scores_q = g.ddq_scores.t;
    colt5_tensor dy = g.ddy.t;
    d.dq = &dq, d.dkv = &dkv, d.dnull_kv = &dnull, d.dq_scores = &scores_q;
    if (bad.argument == 1) dq.type = COLT5_F16;
    if (bad.argument == 2) dkv.dims[2] = 5;
    if (bad.argument == 3) dnull.type = COLT5_I32;
    if (bad.argument == 4) scores_q.type = COLT5_F16;
    if (bad.argument == 5) inputs.kv_scores = NULL, inputs.multiply_keys = 0;
    if (bad.argument == 6) dq = r.dq.t;
    if (bad.argument == 7) dq = dy;
    if (bad.argument == 9) dy.dims[1] = 4;
    const colt5_status status =
        colt5_flash_attention_backward(ctx, &inputs, &r.dy.t, bad.argument == 8 ? NULL : &r.dlse.t,
                                       &dy, bad.argument == 0 ? NULL : &d);
    ck_assert_msg(status == bad.expected, "%s: %s", bad.what, colt5_status_text(status));
    ck_assert_msg(strncmp(colt5_message(ctx), "flash_attention: ", 17) == 0, "%s",
                  colt5_message(ctx));
    assert_untouched(&g.ddq);
    assert_untouched(&g.ddkv);
    assert_unchanged(&g.ddnull_kv);
    free_gradients(&g);
    free_run(&r);
}
END_TEST

/* ---- bad calls ---- */

static const struct bad_call {
    const char *what;
    int argument; /* see below */
    size_t value;
    colt5_status expected;
} bad_calls[] = {
    {"q of rank 3", 0, 3, COLT5_ERROR_SHAPE},
    {"kv of rank 4", 1, 4, COLT5_ERROR_SHAPE},
    {"three routes for four heads", 2, 3, COLT5_ERROR_SHAPE},
    {"kv of another width", 3, 9, COLT5_ERROR_SHAPE},
    {"kv of another type", 4, COLT5_BF16, COLT5_ERROR_TYPE},
    {"q of integers", 5, COLT5_I32, COLT5_ERROR_TYPE},
    {"null_kv of other heads", 6, 2, COLT5_ERROR_SHAPE},
    {"a mask of other tokens", 7, 4, COLT5_ERROR_SHAPE},
    {"a mask of floats", 8, 0, COLT5_ERROR_TYPE},
    {"q_scores of other queries", 9, 4, COLT5_ERROR_SHAPE},
    {"kv_scores of 16 bits", 10, COLT5_F16, COLT5_ERROR_TYPE},
    {"y of another type", 11, COLT5_F16, COLT5_ERROR_TYPE},
    {"y of other queries", 12, 4, COLT5_ERROR_SHAPE},
    {"lse of other queries", 13, 4, COLT5_ERROR_SHAPE},
    {"a head of width 0", 14, 0, COLT5_ERROR_SHAPE},
    {"multiply_keys without scores", 15, 0, COLT5_ERROR_ARGUMENT},
    {"no q", 16, 0, COLT5_ERROR_ARGUMENT},
    {"no kv", 17, 0, COLT5_ERROR_ARGUMENT},
    {"no inputs", 18, 0, COLT5_ERROR_ARGUMENT},
    {"no y", 19, 0, COLT5_ERROR_ARGUMENT},
    {"y on q", 20, 0, COLT5_ERROR_ARGUMENT},
    {"y on kv", 21, 0, COLT5_ERROR_ARGUMENT},
};

static void spoil(const struct bad_call *bad, struct run *r, colt5_flash_attention_inputs *inputs)
{
    const colt5_type type = (colt5_type)bad->value;
    switch (bad->argument) {
    case 0:
        r->dq.t.rank = (int)bad->value;
        break;
    case 1:
        r->dkv.t.rank = (int)bad->value;
        break;
    case 2:
        r->dkv.t.dims[1] = bad->value;
        break;
    case 3:
        r->dkv.t.dims[4] = bad->value;
        break;
    case 4:
        r->dkv.t.type = type;
        break;
    case 5:
        r->dq.t.type = type;
        break;
    case 6:
        r->dnull_kv.t.dims[1] = bad->value;
        break;
    case 7:
        r->dmask.t.dims[2] = bad->value;
        break;
    case 8:
        inputs->mask = inputs->kv_scores;
        break;
    case 9:
        r->dq_scores.t.dims[1] = bad->value;
        break;
    case 10:
        r->dkv_scores.t.type = type;
        break;
    case 11:
        r->dy.t.type = type;
        break;
    case 12:
        r->dy.t.dims[1] = bad->value;
        break;
    case 13:
        r->dlse.t.dims[2] = bad->value;
        break;
    case 14:
        r->dq.t.dims[3] = bad->value;
        break;
    case 15:
        inputs->kv_scores = NULL;
        break;
    case 16:
        inputs->q = NULL;
        break;
    case 17:
        inputs->kv = NULL;
        break;
    case 20:
        r->dy.t = r->dq.t;
        break;
    case 21:
        r->dy.t.buffer = r->dkv.t.buffer, r->dy.t.offset = r->dkv.t.offset;
        break;
    }
}

START_TEST(bad_calls_are_refused)
{
    const struct bad_call bad = bad_calls[_i];
    struct run r =
        make_run((struct shape){1, 5, 6, 4, 4, 2, 0.9, true, true, true, true}, COLT5_F32);
    upload_run(&r);
    const struct run good = r;
    colt5_flash_attention_inputs inputs = inputs_of(&r);
    spoil(&bad, &r, &inputs);
    const colt5_status status = colt5_flash_attention_forward(
        ctx, bad.argument == 18 ? NULL : &inputs, bad.argument == 19 ? NULL : &r.dy.t, &r.dlse.t);
    ck_assert_msg(status == bad.expected, "%s: %s", bad.what, colt5_status_text(status));
    ck_assert_msg(strncmp(colt5_message(ctx), "flash_attention: ", 17) == 0, "%s",
                  colt5_message(ctx));
    r = good;
    assert_untouched(&r.dy);
    assert_untouched(&r.dlse);
    if (!tiny() || _i % 4 == 0) compare(&r);
    free_run(&r);
}
END_TEST

static TCase *make_case(const char *name)
{
    TCase *tests = tcase_create(name);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, all_keys_are_averaged, 0, SHAPES);
    tcase_add_loop_test(tests, sixteen_bits_are_storage, 0, 2 * HALVES);
    tcase_add_loop_test(tests, no_key_gives_zeros_or_the_null_value, 0, 4);
    tcase_add_test(tests, equal_calls_give_equal_bits);
    tcase_add_loop_test(tests, large_scores_do_not_overflow, 0, 2);
    tcase_add_loop_test(tests, the_gradient_is_that_of_the_average, 0, SHAPES);
    tcase_add_loop_test(tests, gradients_of_sixteen_bits, 0, 2 * HALVES);
    tcase_add_test(tests, queries_without_dy_do_not_matter);
    tcase_add_test(tests, gradients_can_be_left_out);
    tcase_add_loop_test(tests, the_reference_is_its_difference_quotient, 0, 2);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("flash_attention");
    TCase *tests = make_case("own kernels");
    tcase_add_loop_test(tests, bad_gradients_are_refused, 0,
                        sizeof(bad_gradients) / sizeof(bad_gradients[0]));
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    if (!has_gpu_kernels()) {
        TCase *tiles = make_case("GPU kernels");
        use_gpu_kernels(tiles);
        suite_add_tcase(suite, tiles);
    }
    return run_device_suite(suite);
}
