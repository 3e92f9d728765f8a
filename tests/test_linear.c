/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/linear.h>

/* B samples of N rows, K of them routed, I in, O out. */
static const struct shape {
    size_t B, N, K, I, O;
} shapes[] = {{1, 1, 1, 1, 1}, {2, 7, 3, 5, 6}, {2, 33, 31, 20, 36}, {1, 29, 11, 8, 65}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

START_TEST(maps_every_row)
{
    const struct shape s = shapes[_i / 3];
    const colt5_type type = storage_types[_i % 3];
    const size_t rows = s.B * s.N;
    double *x = rounded_to(type, random_normal(rows * s.I), rows * s.I);
    double *weight = rounded_to(type, random_normal(s.O * s.I), s.O * s.I);
    double *want = poisoned(rows * s.O);
    struct device_tensor dx = upload(x, type, s.B, s.N, s.I);
    struct device_tensor dw = upload(weight, type, s.O, s.I);
    struct device_tensor dy = poisoned_tensor(type, s.B, s.N, s.O);

    ck_assert_ok(colt5_linear_forward(ctx, &dx.t, &dw.t, NULL, &dy.t));
    reference_gemm(
        &(struct reference_gemm){
            .M = rows, .N = s.O, .K = s.I, .a = x, .b = weight, .transpose_b = 1},
        want);
    assert_norm(&dy, want, forward_bound(type));
    assert_unchanged(&dx);
    assert_unchanged(&dw);

    release(&dx), release(&dw), release(&dy);
    free(x), free(weight), free(want);
}
END_TEST

/* Everything at once: rows picked, bias, GELU, scores, and added where they belong. */
START_TEST(fuses_what_stands_around_it)
{
    const struct shape s = shapes[_i / 3];
    const colt5_type type = storage_types[_i % 3];
    const size_t rows = s.B * s.K, all = s.B * s.N;
    double *x = rounded_to(type, random_normal(all * s.I), all * s.I);
    double *weight = rounded_to(type, random_normal(s.O * s.I), s.O * s.I);
    double *bias = rounded_to(type, random_normal(s.O), s.O);
    double *scores = rounded_to(COLT5_F32, random_normal(rows), rows);
    double *base = rounded_to(type, random_normal(all * s.O), all * s.O);
    double *want = poisoned(all * s.O);
    memcpy(want, base, all * s.O * sizeof(*want));
    int *index = random_routes(s.B, s.K, s.N), *scatter = random_routes(s.B, s.K, s.N);
    index[0] = (int)s.N;
    if (rows > 1) scatter[1] = -1;

    struct device_tensor dx = upload(x, type, s.B, s.N, s.I);
    struct device_tensor dw = upload(weight, type, s.O, s.I), db = upload(bias, type, s.O);
    struct device_tensor ds = upload(scores, COLT5_F32, s.B, s.K);
    struct device_tensor di = upload_i32(index, s.B, s.K), dt = upload_i32(scatter, s.B, s.K);
    struct device_tensor dy = upload(base, type, s.B, s.N, s.O);
    const colt5_linear_options options = {.bias = &db.t,
                                          .gelu = 1,
                                          .scale = 0.75f,
                                          .index = &di.t,
                                          .row_scale = &ds.t,
                                          .residual = &dy.t,
                                          .scatter = &dt.t};
    ck_assert_ok(colt5_linear_forward(ctx, &dx.t, &dw.t, &options, &dy.t));
    reference_gemm(&(struct reference_gemm){.M = rows,
                                            .N = s.O,
                                            .K = s.I,
                                            .a = x,
                                            .b = weight,
                                            .transpose_b = 1,
                                            .bias = bias,
                                            .gelu = 1,
                                            .alpha = 0.75,
                                            .index = index,
                                            .index_rows = s.K,
                                            .a_rows = s.N,
                                            .row_scale = scores,
                                            .residual = base,
                                            .scatter = scatter,
                                            .scatter_rows = s.K,
                                            .c_rows = s.N},
                   want);
    assert_norm(&dy, want, forward_bound(type));

    release(&dx), release(&dw), release(&db), release(&ds), release(&di), release(&dt);
    release(&dy);
    free(x), free(weight), free(bias), free(scores), free(base), free(want);
    free(index), free(scatter);
}
END_TEST

/* A norm's scale of each row before the bias, its gamma in the weight: the norm need not be made.
 */
START_TEST(a_norm_may_be_its_scale)
{
    enum { ROWS = 21, I = 24, O = 40 };
    const colt5_type type = storage_types[_i];
    double *x = rounded_to(type, random_normal(ROWS * I), ROWS * I);
    double *weight = rounded_to(type, random_normal(O * I), O * I);
    double *bias = rounded_to(type, random_normal(O), O), *want = poisoned(ROWS * O);
    double *scale = rounded_to(COLT5_F32, random_normal(ROWS), ROWS), scaled[ROWS * I];
    for (size_t i = 0; i < ROWS * I; i++) scaled[i] = x[i] * scale[i / I];
    struct device_tensor dx = upload(x, type, ROWS, I), dw = upload(weight, type, O, I);
    struct device_tensor db = upload(bias, type, O), ds = upload(scale, COLT5_F32, ROWS);
    struct device_tensor dy = poisoned_tensor(type, ROWS, O);
    const colt5_linear_options options = {
        .bias = &db.t, .gelu = 1, .row_scale = &ds.t, .scale_first = 1};
    ck_assert_ok(colt5_linear_forward(ctx, &dx.t, &dw.t, &options, &dy.t));
    reference_gemm(&(struct reference_gemm){.M = ROWS,
                                            .N = O,
                                            .K = I,
                                            .a = scaled,
                                            .b = weight,
                                            .transpose_b = 1,
                                            .bias = bias,
                                            .gelu = 1},
                   want);
    assert_norm(&dy, want, forward_bound(type));
    release(&dx), release(&dw), release(&db), release(&ds), release(&dy);
    free(x), free(weight), free(bias), free(want), free(scale);
}
END_TEST

/* I and O in several dims, and no row at all. */
START_TEST(dims_may_be_split)
{
    double *x = random_normal(2 * 3 * 8), *weight = random_normal(10 * 8), want[60];
    struct device_tensor dx = upload(x, COLT5_F32, 2, 3, 2, 4),
                         dw = upload(weight, COLT5_F32, 10, 8);
    struct device_tensor dy = poisoned_tensor(COLT5_F32, 2, 3, 5, 2);
    ck_assert_ok(colt5_linear_forward(ctx, &dx.t, &dw.t, NULL, &dy.t));
    rounded_to(COLT5_F32, x, 48), rounded_to(COLT5_F32, weight, 80);
    reference_gemm(
        &(struct reference_gemm){.M = 6, .N = 10, .K = 8, .a = x, .b = weight, .transpose_b = 1},
        want);
    assert_norm(&dy, want, forward_bound(COLT5_F32));
    colt5_tensor no_x = dx.t, no_y = dy.t;
    no_x.dims[1] = no_y.dims[1] = 0;
    ck_assert_ok(colt5_linear_forward(ctx, &no_x, &dw.t, NULL, &no_y));
    release(&dx), release(&dw), release(&dy);
    free(x), free(weight);
}
END_TEST

/* Some rows of a weight are a weight; y may be float32 whatever x is; rows of no sum are the bias.
 */
START_TEST(weights_are_cut_and_sums_kept)
{
    double *x = rounded_to(COLT5_BF16, random_normal(5 * 6), 30), want[20];
    double *weight = rounded_to(COLT5_BF16, random_normal(9 * 6), 54);
    double *bias = rounded_to(COLT5_BF16, random_normal(4), 4);
    struct device_tensor dx = upload(x, COLT5_BF16, 5, 6), dw = upload(weight, COLT5_BF16, 9, 6);
    struct device_tensor db = upload(bias, COLT5_BF16, 4), dy = poisoned_tensor(COLT5_F32, 5, 4);
    const colt5_linear_options options = {.bias = &db.t};
    colt5_tensor rows = dw.t, no_x = dx.t, no_weight = dw.t;
    rows.dims[0] = 4;
    rows.offset += 3 * 6;
    ck_assert_ok(colt5_linear_forward(ctx, &dx.t, &rows, &options, &dy.t));
    reference_gemm(
        &(struct reference_gemm){
            .M = 5, .N = 4, .K = 6, .a = x, .b = weight + 18, .transpose_b = 1, .bias = bias},
        want);
    assert_norm(&dy, want, forward_bound(COLT5_F32));
    no_x.dims[1] = no_weight.dims[1] = 0;
    no_weight.dims[0] = 4;
    ck_assert_ok(colt5_linear_forward(ctx, &no_x, &no_weight, &options, &dy.t));
    for (int i = 0; i < 20; i++) want[i] = bias[i % 4];
    assert_equal(&dy, want);
    release(&dx), release(&dw), release(&db), release(&dy);
    free(x), free(weight), free(bias);
}
END_TEST

/* ---- backward ---- */

/* The reference itself: its gradients are the slopes of Σ dy·y. */
START_TEST(reference_gradients_are_slopes)
{
    enum { ROWS = 3, I = 4, O = 5 };
    const double scale = 0.7, step = 1e-4;
    double *values = random_normal(ROWS * I + O * I + O), *dy = random_normal(ROWS * O);
    double gradients[ROWS * I + O * I + O] = {0}, y[ROWS * O];
    double *x = values, *weight = values + ROWS * I, *bias = weight + O * I;
    reference_linear_backward(x, weight, dy, scale, gradients, gradients + ROWS * I,
                              gradients + ROWS * I + O * I, ROWS, I, O);
    const struct reference_gemm forward = {.M = ROWS,
                                           .N = O,
                                           .K = I,
                                           .a = x,
                                           .b = weight,
                                           .transpose_b = 1,
                                           .alpha = scale,
                                           .bias = bias};
    for (size_t i = 0; i < ROWS * I + O * I + O; i++) {
        double sums[2] = {0, 0}, before = values[i];
        for (int side = 0; side < 2; side++) {
            values[i] = before + (side ? step : -step);
            reference_gemm(&forward, y);
            for (size_t j = 0; j < ROWS * O; j++) sums[side] += dy[j] * y[j];
        }
        values[i] = before;
        ck_assert_double_eq_tol(gradients[i], (sums[1] - sums[0]) / (2 * step), 1e-8);
    }
    free(values), free(dy);
}
END_TEST

struct backward_case {
    colt5_type type, dy_type, weight_type; /* of x and dx; of dy; of dweight and dbias */
    size_t B, N, K, I, O;
    bool index;
};
static const struct backward_case backward_cases[] = {
    {COLT5_F32, COLT5_F32, COLT5_F32, 2, 9, 9, 8, 12, false},
    {COLT5_F32, COLT5_F32, COLT5_F32, 1, 700, 700, 3, 7, false},
    {COLT5_F32, COLT5_F32, COLT5_F32, 2, 33, 17, 20, 36, true},
    {COLT5_BF16, COLT5_BF16, COLT5_BF16, 2, 33, 17, 20, 36, true},
    {COLT5_BF16, COLT5_F32, COLT5_F32, 1, 35, 35, 17, 9, false},
    {COLT5_F16, COLT5_F16, COLT5_F32, 3, 5, 2, 12, 8, true},
    {COLT5_F32, COLT5_F32, COLT5_F32, 1, 5000, 5000, 1, 4, false}};
#define BACKWARD_CASES ((int)(sizeof(backward_cases) / sizeof(backward_cases[0])))

/* x as the product had it: its rows picked. */
static double *picked_rows(const double *x, const int *index, const struct backward_case *c)
{
    double *rows = zeros(c->B * c->K * c->I);
    for (size_t r = 0; r < c->B * c->K; r++)
        memcpy(rows + r * c->I, x + (r / c->K * c->N + (size_t)index[r]) * c->I, c->I * sizeof(*x));
    return rows;
}

START_TEST(gradients_follow_the_formula)
{
    const struct backward_case c = backward_cases[_i];
    const size_t rows = c.B * c.K, I = c.I, O = c.O;
    double *x = rounded_to(c.type, random_normal(c.B * c.N * I), c.B * c.N * I);
    double *weight = rounded_to(c.type, random_normal(O * I), O * I), *want_dx = poisoned(rows * I);
    double *dy = rounded_to(c.dy_type, random_normal(rows * O), rows * O);
    double *dweight = rounded_to(c.weight_type, random_normal(O * I), O * I);
    double *dbias = rounded_to(c.weight_type, random_normal(O), O);
    int *index = random_routes(c.B, c.K, c.N);
    struct device_tensor tx = upload(x, c.type, c.B, c.N, I), tw = upload(weight, c.type, O, I);
    struct device_tensor tdy = upload(dy, c.dy_type, c.B, c.K, O), ti = upload_i32(index, c.B, c.K);
    struct device_tensor tdx = poisoned_tensor(c.type, c.B, c.K, I);
    struct device_tensor tdw = upload(dweight, c.weight_type, O, I);
    struct device_tensor tdb = upload(dbias, c.weight_type, O);

    const colt5_linear_options options = {.index = c.index ? &ti.t : NULL, .scale = 0.5f};
    ck_assert_ok(colt5_linear_backward(ctx, &tx.t, &tw.t, &options, &tdy.t,
                                       &(colt5_linear_gradients){&tdx.t, &tdw.t, &tdb.t}));
    double *picked = c.index ? picked_rows(x, index, &c) : NULL;
    reference_linear_backward(picked ? picked : x, weight, dy, 0.5, want_dx, dweight, dbias, rows,
                              I, O);
    assert_norm(&tdx, want_dx, forward_bound(c.type));
    assert_norm(&tdw, dweight, forward_bound(c.type));
    assert_norm(&tdb, dbias, forward_bound(c.weight_type));
    assert_unchanged(&tx), assert_unchanged(&tw), assert_unchanged(&tdy);

    release(&tx), release(&tw), release(&tdy), release(&ti), release(&tdx), release(&tdw);
    release(&tdb);
    free(x), free(weight), free(want_dx), free(dy), free(dweight), free(dbias), free(index);
    free(picked);
}
END_TEST

/* Only what is asked for, also without x; bit for bit the same each time; no rows add nothing. */
START_TEST(gradients_come_alone_and_again_the_same)
{
    enum { ROWS = 300, I = 5, O = 6 };
    double *x = random_normal(ROWS * I), *weight = random_normal(O * I),
           *dy = random_normal(ROWS * O);
    double *none = zeros(O * I);
    struct device_tensor tx = upload(x, COLT5_F32, ROWS, I), tw = upload(weight, COLT5_F32, O, I);
    struct device_tensor tdy = upload(dy, COLT5_F32, ROWS, O),
                         dx = poisoned_tensor(COLT5_F32, ROWS, I);
    struct device_tensor once = upload(none, COLT5_F32, O, I),
                         again = upload(none, COLT5_F32, O, I);
    struct device_tensor db = upload(none, COLT5_F32, O), db_again = upload(none, COLT5_F32, O);
    ck_assert_ok(colt5_linear_backward(ctx, NULL, &tw.t, NULL, &tdy.t,
                                       &(colt5_linear_gradients){.dx = &dx.t}));
    ck_assert_ok(colt5_linear_backward(ctx, &tx.t, &tw.t, NULL, &tdy.t,
                                       &(colt5_linear_gradients){NULL, &once.t, &db.t}));
    ck_assert_ok(colt5_linear_backward(ctx, &tx.t, &tw.t, NULL, &tdy.t,
                                       &(colt5_linear_gradients){NULL, &again.t, &db_again.t}));
    double *want = download(&once), *want_db = download(&db);
    assert_equal(&again, want);
    assert_equal(&db_again, want_db);
    colt5_tensor no_x = tx.t, no_dy = tdy.t, no_dx = dx.t;
    no_x.dims[0] = no_dy.dims[0] = no_dx.dims[0] = 0;
    ck_assert_ok(colt5_linear_backward(ctx, &no_x, &tw.t, NULL, &no_dy,
                                       &(colt5_linear_gradients){&no_dx, &once.t, &db.t}));
    assert_equal(&once, want);
    assert_equal(&db, want_db);
    release(&tx), release(&tw), release(&tdy), release(&dx), release(&once), release(&again);
    release(&db), release(&db_again);
    free(x), free(weight), free(dy), free(none), free(want), free(want_db);
}
END_TEST

/* dx of what GELU was taken of, in its own place too; 0 · NaN is 0. */
START_TEST(gradients_go_through_gelu)
{
    enum { ROWS = 23, I = 20, O = 12 };
    const colt5_type type = storage_types[_i / 2];
    double *weight = rounded_to(type, random_normal(O * I), O * I), *want = poisoned(ROWS * I);
    double *dy = rounded_to(type, random_normal(ROWS * O), ROWS * O);
    double *input = rounded_to(type, random_normal(ROWS * I), ROWS * I);
    for (size_t o = 0; o < O; o++) dy[3 * O + o] = 0;
    input[3 * I + 1] = NAN;
    struct device_tensor tw = upload(weight, type, O, I), tdy = upload(dy, type, ROWS, O);
    struct device_tensor ti = upload(input, type, ROWS, I);
    struct device_tensor tdx = poisoned_tensor(type, ROWS, I);
    const struct device_tensor *to = _i % 2 ? &ti : &tdx;
    const colt5_linear_options options = {.gelu_input = &ti.t};
    ck_assert_ok(colt5_linear_backward(ctx, NULL, &tw.t, &options, &tdy.t,
                                       &(colt5_linear_gradients){.dx = &to->t}));
    reference_gemm(
        &(struct reference_gemm){
            .M = ROWS, .N = I, .K = O, .a = dy, .b = weight, .gelu_input = input},
        want);
    for (size_t i = 0; i < I; i++) want[3 * I + i] = 0;
    assert_norm(to, want, forward_bound(type));
    release(&tw), release(&tdy), release(&ti), release(&tdx);
    free(weight), free(want), free(dy), free(input);
}
END_TEST

/* ---- bad calls: the status, y untouched, and the next call works ---- */

enum spoiled { X, WEIGHT, Y, BIAS, INDEX, SCATTER, ROW_SCALE, RESIDUAL, TENSORS };

static const struct bad_call {
    const char *what;
    enum spoiled which;
    int dim; /* one more of this dim; -1: the type below; -2: on y; -3: absent */
    colt5_type type;
    colt5_status expected;
} bad_calls[] = {
    {"x of another width", X, 2, COLT5_F32, COLT5_ERROR_SHAPE},
    {"x of more samples", X, 0, COLT5_F32, COLT5_ERROR_SHAPE},
    {"no x", X, -3, COLT5_F32, COLT5_ERROR_ARGUMENT},
    {"x of integers", X, -1, COLT5_I32, COLT5_ERROR_TYPE},
    {"weight of another width", WEIGHT, 1, COLT5_F32, COLT5_ERROR_SHAPE},
    {"weight of another type", WEIGHT, -1, COLT5_BF16, COLT5_ERROR_TYPE},
    {"weight on y", WEIGHT, -2, COLT5_F32, COLT5_ERROR_ARGUMENT},
    {"y of another width", Y, 2, COLT5_F32, COLT5_ERROR_SHAPE},
    {"y of more samples", Y, 0, COLT5_F32, COLT5_ERROR_SHAPE},
    {"y of another type", Y, -1, COLT5_F16, COLT5_ERROR_TYPE},
    {"no y", Y, -3, COLT5_F32, COLT5_ERROR_ARGUMENT},
    {"bias of another width", BIAS, 0, COLT5_F32, COLT5_ERROR_SHAPE},
    {"bias of another type", BIAS, -1, COLT5_F16, COLT5_ERROR_TYPE},
    {"index of other samples", INDEX, 0, COLT5_F32, COLT5_ERROR_SHAPE},
    {"index of other rows", INDEX, 1, COLT5_F32, COLT5_ERROR_SHAPE},
    {"index of floats", INDEX, -1, COLT5_F32, COLT5_ERROR_TYPE},
    {"scatter of other rows", SCATTER, 1, COLT5_F32, COLT5_ERROR_SHAPE},
    {"scatter of floats", SCATTER, -1, COLT5_F32, COLT5_ERROR_TYPE},
    {"row_scale of other rows", ROW_SCALE, 1, COLT5_F32, COLT5_ERROR_SHAPE},
    {"row_scale of another type", ROW_SCALE, -1, COLT5_F16, COLT5_ERROR_TYPE},
    {"residual of another shape", RESIDUAL, 1, COLT5_F32, COLT5_ERROR_SHAPE},
    {"residual of another type", RESIDUAL, -1, COLT5_F16, COLT5_ERROR_TYPE},
};
#define BAD_CALLS ((int)(sizeof(bad_calls) / sizeof(bad_calls[0])))

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const double values[64] = {0};
    const int numbers[] = {0, 2, 1};
    struct device_tensor all[TENSORS] = {[X] = upload(values, COLT5_F32, 1, 3, 4),
                                         [WEIGHT] = upload(values, COLT5_F32, 5, 4),
                                         [Y] = poisoned_tensor(COLT5_F32, 1, 3, 5),
                                         [BIAS] = upload(values, COLT5_F32, 5),
                                         [INDEX] = upload_i32(numbers, 1, 3),
                                         [SCATTER] = upload_i32(numbers, 1, 3),
                                         [ROW_SCALE] = upload(values, COLT5_F32, 1, 3),
                                         [RESIDUAL] = upload(values, COLT5_F32, 1, 3, 5)};
    for (int good = 0; good < 2; good++) {
        colt5_tensor t[TENSORS];
        for (int i = 0; i < TENSORS; i++) t[i] = all[i].t;
        if (!good && c.dim >= 0) t[c.which].dims[c.dim]++;
        if (!good && c.dim == -1) t[c.which].type = c.type;
        if (!good && c.dim == -2) t[c.which].buffer = t[Y].buffer;
        const colt5_linear_options options = {.bias = &t[BIAS],
                                              .index = &t[INDEX],
                                              .row_scale = &t[ROW_SCALE],
                                              .residual = &t[RESIDUAL],
                                              .scatter = &t[SCATTER]};
        const bool absent = !good && c.dim == -3;
        const colt5_status status =
            colt5_linear_forward(ctx, absent && c.which == X ? NULL : &t[X], &t[WEIGHT], &options,
                                 absent && c.which == Y ? NULL : &t[Y]);
        ck_assert_msg(status == (good ? COLT5_OK : c.expected), "%s: %s", c.what,
                      colt5_message(ctx));
        if (good) continue;
        ck_assert_msg(strncmp(colt5_message(ctx), "linear: ", 8) == 0, "%s", colt5_message(ctx));
        assert_untouched(&all[Y]);
    }
    for (int i = 0; i < TENSORS; i++) release(&all[i]);
}
END_TEST

START_TEST(bad_backward_calls_are_refused)
{
    const double values[20] = {0};
    struct device_tensor x = upload(values, COLT5_F32, 3, 4), w = upload(values, COLT5_F32, 5, 4);
    struct device_tensor dy = upload(values, COLT5_F32, 3, 5),
                         dx = poisoned_tensor(COLT5_F32, 3, 4);
    struct device_tensor dw = upload(values, COLT5_F32, 5, 4), db = upload(values, COLT5_F32, 5);
    colt5_tensor narrow = dx.t, integers = dw.t, short_bias = db.t, few = dy.t;
    narrow.dims[1] = 3;
    integers.type = COLT5_I32;
    short_bias.dims[0] = 4;
    few.dims[0] = 2;
    const colt5_linear_options with_gelu = {.gelu = 1}, wide_input = {.gelu_input = &dy.t};
    const colt5_linear_options input = {.gelu_input = &x.t};
    const struct {
        const colt5_tensor *x, *dy;
        const colt5_linear_options *options;
        colt5_linear_gradients gradients;
        colt5_status expected;
    } cases[] = {
        {&x.t, &dy.t, NULL, {NULL, NULL, NULL}, COLT5_ERROR_ARGUMENT},
        {NULL, &dy.t, NULL, {NULL, &dw.t, NULL}, COLT5_ERROR_ARGUMENT},
        {&x.t, &dy.t, &with_gelu, {&dx.t, NULL, NULL}, COLT5_ERROR_ARGUMENT},
        {&x.t, &dy.t, &wide_input, {&dx.t, NULL, NULL}, COLT5_ERROR_SHAPE},
        {&x.t, &dy.t, &input, {NULL, &dw.t, NULL}, COLT5_ERROR_ARGUMENT},
        {&x.t, &few, NULL, {&dx.t, NULL, NULL}, COLT5_ERROR_SHAPE},
        {&x.t, &dy.t, NULL, {&narrow, NULL, NULL}, COLT5_ERROR_SHAPE},
        {NULL, &dy.t, NULL, {&narrow, NULL, NULL}, COLT5_ERROR_SHAPE},
        {&x.t, &dy.t, NULL, {NULL, &integers, NULL}, COLT5_ERROR_TYPE},
        {&x.t, &dy.t, NULL, {NULL, NULL, &short_bias}, COLT5_ERROR_SHAPE},
        {&x.t, &dy.t, NULL, {&x.t, NULL, NULL}, COLT5_ERROR_ARGUMENT},
        {&x.t, &dy.t, NULL, {NULL, &w.t, NULL}, COLT5_ERROR_ARGUMENT},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        ck_assert_msg(colt5_linear_backward(ctx, cases[i].x, &w.t, cases[i].options, cases[i].dy,
                                            &cases[i].gradients) == cases[i].expected,
                      "case %zu: %s", i, colt5_message(ctx));
    ck_assert_status(colt5_linear_backward(ctx, &x.t, &w.t, NULL, &dy.t, NULL),
                     COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_linear_forward(ctx, &x.t, &w.t, &input, &dy.t), COLT5_ERROR_ARGUMENT);
    ck_assert_status(
        colt5_linear_forward(ctx, &x.t, &w.t, &(colt5_linear_options){.scale_first = 1}, &dy.t),
        COLT5_ERROR_ARGUMENT);
    assert_untouched(&dx), assert_unchanged(&dw), assert_unchanged(&db);
    ck_assert_ok(colt5_linear_backward(ctx, &x.t, &w.t, NULL, &dy.t,
                                       &(colt5_linear_gradients){&dx.t, &dw.t, &db.t}));
    release(&x), release(&w), release(&dy), release(&dx), release(&dw), release(&db);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("linear");
    TCase *tests = tcase_create("linear");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, maps_every_row, 0, 3 * SHAPES);
    tcase_add_loop_test(tests, fuses_what_stands_around_it, 0, 3 * SHAPES);
    tcase_add_loop_test(tests, a_norm_may_be_its_scale, 0, 3);
    tcase_add_test(tests, dims_may_be_split);
    tcase_add_test(tests, weights_are_cut_and_sums_kept);
    tcase_add_test(tests, reference_gradients_are_slopes);
    tcase_add_loop_test(tests, gradients_follow_the_formula, 0, BACKWARD_CASES);
    tcase_add_loop_test(tests, gradients_go_through_gelu, 0, 6);
    tcase_add_test(tests, gradients_come_alone_and_again_the_same);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, BAD_CALLS);
    tcase_add_test(tests, bad_backward_calls_are_refused);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
