/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include "ops/norm.h"

/* Rows of one vector, of a part of a group, of several vectors a work-item, too long for registers
   in a GPU's geometry; D even and odd. */
static const struct shape {
    size_t rows, D;
} shapes[] = {{1, 1}, {3, 7}, {33, 8}, {65, 64}, {9, 257}, {5, 512}, {2, 8200}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))
#define CASES  (2 * SHAPES)

struct values {
    size_t rows, D;
    colt5_type type;
    double *x, *weight, *bias, *y, *mean, *scale;
    struct device_tensor dx, dweight, dbias, dy, dmean, dscale;
};

/* A shape and a kind of device for each case; the types take turns. */
static struct values make_values(int test_case)
{
    const struct shape s = shapes[test_case / 2];
    struct values v = {
        .rows = s.rows, .D = s.D, .type = storage_types[(test_case / 2 + test_case % 2) % 3]};
    const size_t count = s.rows * s.D;
    pretend_gpu(test_case % 2);
    v.x = random_normal(count);
    for (size_t i = 0; i < count; i++) v.x[i] += (double)(i / s.D % 5); /* rows of other means */
    rounded_to(v.type, v.x, count);
    v.weight = rounded_to(v.type, random_normal(s.D), s.D);
    v.bias = rounded_to(v.type, random_normal(s.D), s.D);
    v.y = zeros(count), v.mean = zeros(s.rows), v.scale = zeros(s.rows);
    v.dx = upload(v.x, v.type, s.rows, s.D);
    v.dweight = upload(v.weight, v.type, s.D);
    v.dbias = upload(v.bias, v.type, s.D);
    v.dy = poisoned_tensor(v.type, s.rows, s.D);
    v.dmean = poisoned_tensor(COLT5_F32, s.rows);
    v.dscale = poisoned_tensor(COLT5_F32, s.rows);
    return v;
}

static void free_values(struct values *v)
{
    release(&v->dx), release(&v->dweight), release(&v->dbias);
    release(&v->dy), release(&v->dmean), release(&v->dscale);
    free(v->x), free(v->weight), free(v->bias), free(v->y), free(v->mean), free(v->scale);
    pretend_gpu(false);
}

/* Where there is no other kind of device, a long row need not be there twice. */
static bool left_out(int test_case)
{
    return has_gpu_kernels() && test_case % 2 && shapes[test_case / 2].D > 64;
}

/* What a sum of D float32 values loses, relative: roundings that add up like a random walk. */
static double sum_error(size_t D)
{
    return (4 + 2 * sqrt((double)D)) * 0x1p-24;
}

static void assert_rows(const struct device_tensor *have, const double *want,
                        const struct values *v)
{
    assert_close(have, want, 4 * sum_error(v->D), rounding(v->type) + sum_error(v->D));
}

START_TEST(rms_norm_is_the_formula)
{
    if (left_out(_i)) return;
    struct values v = make_values(_i);
    reference_rms_norm_forward(v.x, v.weight, v.y, v.scale, v.rows, v.D);

    ck_assert_ok(colt5_rms_norm_forward(ctx, &v.dx.t, &v.dweight.t, &v.dy.t, &v.dscale.t));
    assert_rows(&v.dy, v.y, &v);
    assert_close(&v.dscale, v.scale, 0, sum_error(v.D));
    assert_unchanged(&v.dx);
    assert_unchanged(&v.dweight);
    ck_assert_ok(colt5_rms_norm_forward(ctx, &v.dx.t, &v.dweight.t, &v.dx.t, NULL)); /* in place */
    assert_rows(&v.dx, v.y, &v);
    free_values(&v);
}
END_TEST

/* Rows picked on the way: those of a sample, in any order, none for one that is not there. */
START_TEST(picked_rows_are_normalised)
{
    enum { B = 2, K = 3 };
    if (left_out(_i)) return;
    struct values v = make_values(_i);
    const size_t D = v.D, N = (v.rows + 1) / 2, count = B * N * D;
    double *x = rounded_to(v.type, random_normal(count), count), *want = zeros(B * K * D);
    const int last = (int)N - 1, index[B * K] = {last, 0, (int)N, 0, -1, last};
    struct device_tensor dx = upload(x, v.type, B, N, D), di = upload_i32(index, B, K);
    struct device_tensor dy = poisoned_tensor(v.type, B, K, D);
    for (size_t r = 0; r < B * K; r++)
        if (index[r] >= 0 && index[r] <= last)
            reference_rms_norm_forward(x + (r / K * N + (size_t)index[r]) * D, v.weight,
                                       want + r * D, NULL, 1, D);
    ck_assert_ok(rms_norm_picked(ctx, &dx.t, &di.t, &v.dweight.t, &dy.t));
    assert_rows(&dy, want, &v);
    assert_unchanged(&dx);
    release(&dx), release(&di), release(&dy);
    free(x), free(want);
    free_values(&v);
}
END_TEST

START_TEST(layer_norm_is_the_formula)
{
    if (left_out(_i)) return;
    struct values v = make_values(_i);
    reference_layer_norm_forward(v.x, v.weight, v.bias, v.y, v.mean, v.scale, v.rows, v.D);

    ck_assert_ok(colt5_layer_norm_forward(ctx, &v.dx.t, &v.dweight.t, &v.dbias.t, &v.dy.t,
                                          &v.dmean.t, &v.dscale.t));
    assert_rows(&v.dy, v.y, &v);
    assert_close(&v.dmean, v.mean, sum_error(v.D), sum_error(v.D));
    assert_close(&v.dscale, v.scale, 0, 2 * sum_error(v.D));
    assert_unchanged(&v.dx);
    ck_assert_ok(
        colt5_layer_norm_forward(ctx, &v.dx.t, &v.dweight.t, &v.dbias.t, &v.dx.t, NULL, NULL));
    assert_rows(&v.dx, v.y, &v);
    free_values(&v);
}
END_TEST

/* y left out: the numbers of a row alone, for products that scale rows themselves. */
START_TEST(y_may_be_left_out)
{
    struct values v = make_values(10 + _i);
    reference_rms_norm_forward(v.x, v.weight, v.y, v.scale, v.rows, v.D);
    ck_assert_ok(colt5_rms_norm_forward(ctx, &v.dx.t, NULL, NULL, &v.dscale.t));
    assert_close(&v.dscale, v.scale, 0, sum_error(v.D));

    reference_layer_norm_forward(v.x, v.weight, v.bias, v.y, v.mean, v.scale, v.rows, v.D);
    ck_assert_ok(colt5_layer_norm_forward(ctx, &v.dx.t, NULL, NULL, NULL, &v.dmean.t, &v.dscale.t));
    assert_close(&v.dmean, v.mean, sum_error(v.D), sum_error(v.D));
    assert_close(&v.dscale, v.scale, 0, 2 * sum_error(v.D));
    assert_untouched(&v.dy);
    free_values(&v);
}
END_TEST

/* The variance of a row far from 0 is not lost to the mean. */
START_TEST(layer_norm_of_a_far_row)
{
    pretend_gpu(_i);
    double x[64], one[64], none[64], want[64];
    for (int d = 0; d < 64; d++) {
        x[d] = 4096 + d % 4;
        one[d] = 1;
        none[d] = 0;
    }
    struct device_tensor dx = upload(x, COLT5_F32, 1, 64), dw = upload(one, COLT5_F32, 64);
    struct device_tensor db = upload(none, COLT5_F32, 64), dy = poisoned_tensor(COLT5_F32, 1, 64);
    reference_layer_norm_forward(x, one, none, want, NULL, NULL, 1, 64);
    ck_assert_ok(colt5_layer_norm_forward(ctx, &dx.t, &dw.t, &db.t, &dy.t, NULL, NULL));
    assert_close(&dy, want, 1e-6, 1e-6);
    release(&dx), release(&dw), release(&db), release(&dy);
    pretend_gpu(false);
}
END_TEST

/* A row of zeros is 0 (or the bias); one row's NaN or infinity stays there. */
START_TEST(rows_do_not_touch)
{
    pretend_gpu(_i);
    enum { ROWS = 11, D = 40 };
    double x[ROWS * D], weight[D], bias[D], rms[ROWS * D], layer[ROWS * D];
    for (int i = 0; i < ROWS * D; i++) x[i] = random_uniform() - 0.5;
    for (int d = 0; d < D; d++) {
        weight[d] = 1 + d;
        bias[d] = -d;
        x[2 * D + d] = 0;
        x[5 * D + d] = d % 2 ? NAN : INFINITY;
        x[7 * D + d] = 1e-15 * d; /* below the least norm */
    }
    struct device_tensor dx = upload(x, COLT5_F32, ROWS, D), dw = upload(weight, COLT5_F32, D);
    struct device_tensor db = upload(bias, COLT5_F32, D), dy = poisoned_tensor(COLT5_F32, ROWS, D);
    reference_rms_norm_forward(x, weight, rms, NULL, ROWS, D);
    reference_layer_norm_forward(x, weight, bias, layer, NULL, NULL, ROWS, D);
    for (int d = 0; d < D; d++) rms[5 * D + d] = layer[5 * D + d] = NAN;

    ck_assert_ok(colt5_rms_norm_forward(ctx, &dx.t, &dw.t, &dy.t, NULL));
    assert_close(&dy, rms, 1e-12, 2e-6);
    ck_assert_ok(colt5_layer_norm_forward(ctx, &dx.t, &dw.t, &db.t, &dy.t, NULL, NULL));
    assert_close(&dy, layer, 1e-4, 2e-6);
    release(&dx), release(&dw), release(&db), release(&dy);
    pretend_gpu(false);
}
END_TEST

/* What a backward call reads and writes beside the values of the forward. */
struct gradients {
    double *dy, *base, *dx, *dweight, *dbias;
    struct device_tensor tdy, tbase, tdx, tdweight, tdbias;
};

/* Parameters' gradients begin at 1, in float32 or in the storage type. */
static struct gradients make_gradients(const struct values *v, colt5_type parameters)
{
    const size_t count = v->rows * v->D;
    struct gradients g = {.dx = zeros(count), .dweight = zeros(v->D), .dbias = zeros(v->D)};
    g.dy = rounded_to(v->type, random_normal(count), count);
    g.base = rounded_to(v->type, random_normal(count), count);
    for (size_t d = 0; d < v->D; d++) g.dweight[d] = g.dbias[d] = 1;
    g.tdy = upload(g.dy, v->type, v->rows, v->D);
    g.tbase = upload(g.base, v->type, v->rows, v->D);
    g.tdx = poisoned_tensor(v->type, v->rows, v->D);
    g.tdweight = upload(g.dweight, parameters, v->D);
    g.tdbias = upload(g.dbias, parameters, v->D);
    return g;
}

static void free_gradients(struct gradients *g)
{
    release(&g->tdy), release(&g->tbase), release(&g->tdx);
    release(&g->tdweight), release(&g->tdbias);
    free(g->dy), free(g->base), free(g->dx), free(g->dweight), free(g->dbias);
}

/* dx is rounded once; its terms are a few, up to √D times dy. */
static void assert_dx(const struct device_tensor *have, const double *want, const struct values *v)
{
    assert_close(have, want, 40 * sum_error(v->D), 2 * rounding(v->type));
}

static void assert_parameters(const struct device_tensor *have, const double *want,
                              const struct values *v)
{
    assert_close(have, want, 20 * sum_error(v->rows) + 20 * sum_error(v->D),
                 rounding(have->t.type) + sum_error(v->rows));
}

static void add_base(struct gradients *g, const struct values *v)
{
    for (size_t i = 0; i < v->rows * v->D; i++) g->dx[i] += g->base[i];
}

START_TEST(rms_norm_backward_is_the_gradient)
{
    if (left_out(_i)) return;
    struct values v = make_values(_i);
    struct gradients g = make_gradients(&v, _i % 4 < 2 ? COLT5_F32 : v.type);
    reference_rms_norm_backward(v.x, v.weight, g.dy, g.dx, g.dweight, v.rows, v.D);

    ck_assert_ok(colt5_rms_norm_backward(ctx, &v.dx.t, &v.dweight.t, &g.tdy.t, NULL, &g.tdx.t,
                                         &g.tdweight.t));
    assert_dx(&g.tdx, g.dx, &v);
    assert_parameters(&g.tdweight, g.dweight, &v);
    assert_unchanged(&v.dx);
    assert_unchanged(&g.tdy);
    add_base(&g, &v);
    ck_assert_ok(colt5_rms_norm_backward(ctx, &v.dx.t, &v.dweight.t, &g.tdy.t, &g.tbase.t, &g.tdy.t,
                                         NULL)); /* in place */
    assert_dx(&g.tdy, g.dx, &v);
    assert_unchanged(&g.tbase);
    free_gradients(&g);
    free_values(&v);
}
END_TEST

START_TEST(layer_norm_backward_is_the_gradient)
{
    if (left_out(_i)) return;
    struct values v = make_values(_i);
    struct gradients g = make_gradients(&v, _i % 4 < 2 ? v.type : COLT5_F32);
    reference_layer_norm_backward(v.x, v.weight, g.dy, g.dx, g.dweight, g.dbias, v.rows, v.D);
    if (v.D == 1) g.dx[0] = 0; /* z is 0, and so is its gradient */

    ck_assert_ok(colt5_layer_norm_backward(ctx, &v.dx.t, &v.dweight.t, &g.tdy.t, NULL, &g.tdx.t,
                                           &g.tdweight.t, &g.tdbias.t));
    assert_dx(&g.tdx, g.dx, &v);
    assert_parameters(&g.tdweight, g.dweight, &v);
    assert_parameters(&g.tdbias, g.dbias, &v);
    assert_unchanged(&v.dx);
    add_base(&g, &v);
    ck_assert_ok(colt5_layer_norm_backward(ctx, &v.dx.t, &v.dweight.t, &g.tdy.t, &g.tbase.t,
                                           &g.tbase.t, NULL, NULL)); /* on the residual's */
    assert_dx(&g.tbase, g.dx, &v);
    assert_unchanged(&g.tdy);
    free_gradients(&g);
    free_values(&v);
}
END_TEST

/* Many rows a work-group, and gradients of parameters alone; twice the same bits. */
START_TEST(parameters_alone_and_repeatable)
{
    enum { ROWS = 700, D = 24 };
    struct values v = {.rows = ROWS, .D = D, .type = COLT5_F32};
    double *x = random_normal(ROWS * D), weight[D];
    for (int d = 0; d < D; d++) weight[d] = 1 + d % 3;
    struct device_tensor dx = upload(x, COLT5_F32, ROWS, D), dw = upload(weight, COLT5_F32, D);
    struct gradients g = make_gradients(&v, COLT5_F32), again = make_gradients(&v, COLT5_F32);
    reference_layer_norm_backward(x, weight, g.dy, g.dx, g.dweight, g.dbias, ROWS, D);
    pretend_gpu(_i);
    ck_assert_ok(colt5_layer_norm_backward(ctx, &dx.t, &dw.t, &g.tdy.t, NULL, NULL, &g.tdweight.t,
                                           &g.tdbias.t));
    ck_assert_ok(colt5_layer_norm_backward(ctx, &dx.t, &dw.t, &g.tdy.t, NULL, NULL,
                                           &again.tdweight.t, &again.tdbias.t));
    pretend_gpu(false);
    assert_parameters(&g.tdweight, g.dweight, &v);
    assert_parameters(&g.tdbias, g.dbias, &v);
    double *first = download(&g.tdweight), *first_bias = download(&g.tdbias);
    assert_equal(&again.tdweight, first);
    assert_equal(&again.tdbias, first_bias);
    free(first), free(first_bias);
    free_gradients(&g);
    free_gradients(&again);
    release(&dx), release(&dw);
    free(x);
}
END_TEST

/* A masked row holds NaN and its dy is 0: its dx is the base, the parameters do not see it. A row
   of zeros, and one below the least norm, have their own gradient. */
START_TEST(masked_rows_give_nothing)
{
    enum { ROWS = 5, D = 16 };
    double x[ROWS * D], weight[D], dy[ROWS * D], dx[ROWS * D], dweight[D] = {0}, dbias[D] = {0};
    double y[ROWS * D], dlayer[D] = {0};
    for (int i = 0; i < ROWS * D; i++) {
        x[i] = random_uniform() - 0.5;
        dy[i] = i / D == 1 || i / D == 3 ? 0 : random_uniform() - 0.5;
        if (i / D == 2) x[i] = 0;
        if (i / D == 4) x[i] *= 1e-14;
    }
    for (int d = 0; d < D; d++) weight[d] = 1 + d % 3;
    reference_rms_norm_backward(x, weight, dy, dx, dweight, ROWS, D);
    reference_layer_norm_backward(x, weight, dy, y, dlayer, dbias, ROWS, D);
    for (int d = 0; d < D; d++) {
        x[D + d] = d % 3 ? NAN : 1;
        x[3 * D + d] = d % 2 ? INFINITY : -INFINITY;
    }
    struct device_tensor tx = upload(x, COLT5_F32, ROWS, D), tw = upload(weight, COLT5_F32, D);
    struct device_tensor tdy = upload(dy, COLT5_F32, ROWS, D);
    struct device_tensor tdx = poisoned_tensor(COLT5_F32, ROWS, D);
    double *none = zeros(D);
    struct device_tensor tdw = upload(none, COLT5_F32, D), tdb = upload(none, COLT5_F32, D);
    struct device_tensor tdl = upload(none, COLT5_F32, D);
    pretend_gpu(_i);
    ck_assert_ok(colt5_rms_norm_backward(ctx, &tx.t, &tw.t, &tdy.t, NULL, &tdx.t, &tdw.t));
    assert_close(&tdx, dx, 1e-5, 1e-5);
    assert_close(&tdw, dweight, 1e-5, 1e-5);
    ck_assert_ok(
        colt5_layer_norm_backward(ctx, &tx.t, &tw.t, &tdy.t, NULL, &tdx.t, &tdl.t, &tdb.t));
    pretend_gpu(false);
    assert_close(&tdx, y, 1e-4, 1e-5);
    assert_close(&tdl, dlayer, 1e-5, 1e-5);
    assert_close(&tdb, dbias, 1e-5, 1e-5);
    release(&tx), release(&tw), release(&tdy), release(&tdx);
    release(&tdw), release(&tdb), release(&tdl);
    free(none);
}
END_TEST

struct norm_call {
    bool layer;
    double x[21], weight[7], bias[7], y[21];
};

static void norm_of(void *call)
{
    struct norm_call *c = call;
    if (c->layer)
        reference_layer_norm_forward(c->x, c->weight, c->bias, c->y, NULL, NULL, 3, 7);
    else
        reference_rms_norm_forward(c->x, c->weight, c->y, NULL, 3, 7);
}

START_TEST(the_reference_gradient_is_the_difference_quotient)
{
    struct norm_call c = {.layer = _i};
    double dy[21], dx[21], dweight[7] = {0}, dbias[7] = {0};
    for (int i = 0; i < 21; i++) {
        c.x[i] = random_uniform() - 0.3;
        dy[i] = random_uniform() - 0.5;
        c.weight[i % 7] = 0.5 + i / 7.0;
    }
    const struct difference_check check = {norm_of, &c, c.y, dy, 21};
    if (c.layer)
        reference_layer_norm_backward(c.x, c.weight, dy, dx, dweight, dbias, 3, 7);
    else
        reference_rms_norm_backward(c.x, c.weight, dy, dx, dweight, 3, 7);
    assert_gradient(&check, c.x, dx, 21);
    assert_gradient(&check, c.weight, dweight, 7);
    if (c.layer) assert_gradient(&check, c.bias, dbias, 7);
}
END_TEST

static const struct bad_call {
    const char *what;
    colt5_type weight_type, scale_type;
    size_t y_rows, weight_width, scale_rows, D;
    bool no_x, no_weight, beside;
    colt5_status expected;
} bad_calls[] = {
    {"weight of another type", COLT5_F16, COLT5_F32, 3, 4, 3, 4, 0, 0, 0, COLT5_ERROR_TYPE},
    {"scale of 16 bits", COLT5_F32, COLT5_BF16, 3, 4, 3, 4, 0, 0, 0, COLT5_ERROR_TYPE},
    {"y of other rows", COLT5_F32, COLT5_F32, 2, 4, 3, 4, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"weight of another D", COLT5_F32, COLT5_F32, 3, 3, 3, 4, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"scale of other rows", COLT5_F32, COLT5_F32, 3, 4, 2, 4, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"rows of nothing", COLT5_F32, COLT5_F32, 3, 0, 3, 0, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"no x", COLT5_F32, COLT5_F32, 3, 4, 3, 4, 1, 0, 0, COLT5_ERROR_ARGUMENT},
    {"no weight", COLT5_F32, COLT5_F32, 3, 4, 3, 4, 0, 1, 0, COLT5_ERROR_ARGUMENT},
    {"y beside x", COLT5_F32, COLT5_F32, 3, 4, 3, 4, 0, 0, 1, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const double x[12] = {0};
    struct device_tensor dx = upload(x, COLT5_F32, 3, 4), dw = upload(x, COLT5_F32, 4);
    struct device_tensor dy = poisoned_tensor(COLT5_F32, 3, 4);
    struct device_tensor ds = poisoned_tensor(COLT5_F32, 3);
    colt5_tensor tx = dx.t, tw = dw.t, ty = dy.t, ts = ds.t;
    tx.dims[1] = ty.dims[1] = c.D;
    tw.type = c.weight_type;
    tw.dims[0] = c.weight_width;
    ts.type = c.scale_type;
    ts.dims[0] = c.scale_rows;
    ty.dims[0] = c.y_rows;
    if (c.beside) {
        ty.buffer = tx.buffer;
        ty.offset = tx.offset + 4;
    }
    const colt5_tensor *in = c.no_x ? NULL : &tx, *weight = c.no_weight ? NULL : &tw;
    ck_assert_msg(colt5_rms_norm_forward(ctx, in, weight, &ty, &ts) == c.expected, "%s", c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "rms_norm: ", 10) == 0, "%s", colt5_message(ctx));
    ck_assert_msg(colt5_layer_norm_forward(ctx, in, weight, weight, &ty, NULL, &ts) == c.expected,
                  "%s", c.what);
    ck_assert_msg(strncmp(colt5_message(ctx), "layer_norm: ", 12) == 0, "%s", colt5_message(ctx));
    assert_untouched(&dy);
    assert_untouched(&ds);
    ck_assert_ok(colt5_rms_norm_forward(ctx, &dx.t, &dw.t, &dy.t, &ds.t));
    release(&dx), release(&dw), release(&dy), release(&ds);
}
END_TEST

/* Each is a good call but for what it names. */
static const struct bad_backward {
    const char *what;
    colt5_status expected;
    bool long_dy, other_base, no_weight, int_dweight, wide_dweight, dx_on_x, base_beside;
} bad_backwards[] = {
    {"dy of other rows", COLT5_ERROR_SHAPE, .long_dy = true},
    {"base of another type", COLT5_ERROR_TYPE, .other_base = true},
    {"no weight", COLT5_ERROR_ARGUMENT, .no_weight = true},
    {"dweight of ints", COLT5_ERROR_TYPE, .int_dweight = true},
    {"dweight of another D", COLT5_ERROR_SHAPE, .wide_dweight = true},
    {"dx on x", COLT5_ERROR_ARGUMENT, .dx_on_x = true},
    {"base beside dx", COLT5_ERROR_ARGUMENT, .base_beside = true},
};

START_TEST(bad_backward_calls_are_refused)
{
    const struct bad_backward *c = &bad_backwards[_i];
    const double x[12] = {0};
    struct device_tensor tx = upload(x, COLT5_F32, 3, 4), tw = upload(x, COLT5_F32, 4);
    struct device_tensor tdy = upload(x, COLT5_F32, 3, 4), tbase = upload(x, COLT5_F32, 3, 4);
    struct device_tensor tdx = poisoned_tensor(COLT5_F32, 3, 4), tdw = upload(x, COLT5_F32, 4);
    colt5_tensor dy = tdy.t, base = tbase.t, dx = tdx.t, dw = tdw.t;
    if (c->long_dy) dy.dims[0] = 4;
    if (c->other_base) base.type = COLT5_F16;
    if (c->int_dweight) dw.type = COLT5_I32;
    if (c->wide_dweight) dw.dims[0] = 5;
    if (c->dx_on_x) dx = tx.t;
    if (c->base_beside) {
        base = dx;
        base.offset += 2;
    }
    const colt5_tensor *weight = c->no_weight ? NULL : &tw.t;
    ck_assert_msg(colt5_rms_norm_backward(ctx, &tx.t, weight, &dy, &base, &dx, &dw) == c->expected,
                  "%s: %s", c->what, colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), "rms_norm: ", 10), "%s", colt5_message(ctx));
    ck_assert_msg(colt5_layer_norm_backward(ctx, &tx.t, weight, &dy, &base, &dx, NULL, &dw) ==
                      c->expected,
                  "%s: %s", c->what, colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), "layer_norm: ", 12), "%s", colt5_message(ctx));
    assert_untouched(&tdx);
    assert_unchanged(&tdw);
    ck_assert_ok(colt5_rms_norm_backward(ctx, &tx.t, &tw.t, &tdy.t, &tbase.t, &tdx.t, &tdw.t));
    release(&tx), release(&tw), release(&tdy), release(&tbase), release(&tdx), release(&tdw);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("norm");
    TCase *tests = tcase_create("norm");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, rms_norm_is_the_formula, 0, CASES);
    tcase_add_loop_test(tests, picked_rows_are_normalised, 0, CASES);
    tcase_add_loop_test(tests, layer_norm_is_the_formula, 0, CASES);
    tcase_add_loop_test(tests, y_may_be_left_out, 0, 2);
    tcase_add_loop_test(tests, layer_norm_of_a_far_row, 0, 2);
    tcase_add_loop_test(tests, rows_do_not_touch, 0, 2);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    tcase_add_loop_test(tests, rms_norm_backward_is_the_gradient, 0, CASES);
    tcase_add_loop_test(tests, layer_norm_backward_is_the_gradient, 0, CASES);
    tcase_add_loop_test(tests, parameters_alone_and_repeatable, 0, 2);
    tcase_add_loop_test(tests, masked_rows_give_nothing, 0, 2);
    tcase_add_loop_test(tests, the_reference_gradient_is_the_difference_quotient, 0, 2);
    tcase_add_loop_test(tests, bad_backward_calls_are_refused, 0,
                        sizeof(bad_backwards) / sizeof(bad_backwards[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
