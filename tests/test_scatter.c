/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include "ops/scatter.h"

static const struct shape {
    size_t B, N, K, D;
} shapes[] = {{1, 1, 1, 1}, {2, 7, 3, 5}, {3, 17, 17, 16}, {1, 31, 8, 33}, {2, 40, 70, 24}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))
#define CASES  (3 * SHAPES)

struct values {
    struct shape s;
    colt5_type type;
    double *y, *scores, *base, *row, *want;
    int *index;
    struct device_tensor dy, dindex, dscores, dbase, drow, dx;
};

/* Small whole numbers, so that every sum is exact in every type; one slot in seven lies outside. */
static double *random_whole(size_t count)
{
    double *values = zeros(count);
    for (size_t i = 0; i < count; i++) values[i] = floor(9 * random_uniform()) - 4;
    return values;
}

static struct values make_values(int test_case, bool repeated)
{
    struct values v = {.s = shapes[test_case / 3], .type = storage_types[test_case % 3]};
    if (!repeated && v.s.K > v.s.N) v.s.K = v.s.N;
    const size_t B = v.s.B, N = v.s.N, K = v.s.K, D = v.s.D;
    v.index = repeated ? random_indices(B * K, N) : random_routes(B, K, N);
    for (size_t i = 6; i < B * K; i += 7) v.index[i] = i % 2 ? -1 : (int)N;
    v.y = random_whole(B * K * D);
    v.scores = random_whole(B * K);
    v.base = random_whole(B * N * D);
    v.row = random_whole(D);
    v.want = poisoned(B * N * D);
    v.dy = upload(v.y, v.type, B, K, D);
    v.dindex = upload_i32(v.index, B, K);
    v.dscores = upload(v.scores, COLT5_F32, B, K);
    v.dbase = upload(v.base, v.type, B, N, D);
    v.drow = upload(v.row, v.type, D);
    v.dx = poisoned_tensor(v.type, B, N, D);
    return v;
}

static void free_values(struct values *v)
{
    release(&v->dy), release(&v->dindex), release(&v->dscores);
    release(&v->dbase), release(&v->drow), release(&v->dx);
    free(v->y), free(v->scores), free(v->base), free(v->row), free(v->want), free(v->index);
}

static void want_scatter(struct values *v, const double *scores, bool mean, const double *base)
{
    reference_scatter(v->y, v->index, scores, mean, base, v->want, v->s.B, v->s.N, v->s.K, v->s.D);
    rounded_to(v->type, v->want, v->dx.count);
}

static void want_fill(struct values *v, const double *scores, bool mean, const double *row,
                      const double *base)
{
    reference_scatter_fill(v->y, v->index, scores, mean, row, base, v->want, v->s.B, v->s.N, v->s.K,
                           v->s.D);
    rounded_to(v->type, v->want, v->dx.count);
}

START_TEST(scatter_writes_routed_rows_alone)
{
    struct values v = make_values(_i, false);
    want_scatter(&v, v.scores, false, NULL); /* the rest stays poisoned */
    ck_assert_ok(colt5_scatter(ctx, &v.dy.t, &v.dindex.t, &v.dscores.t, NULL, &v.dx.t));
    assert_equal(&v.dx, v.want);
    assert_unchanged(&v.dy);
    assert_unchanged(&v.dindex);
    assert_unchanged(&v.dscores);
    free_values(&v);
}
END_TEST

START_TEST(scatter_over_a_base)
{
    struct values v = make_values(_i, false);
    want_fill(&v, v.scores, false, NULL, v.base);
    ck_assert_ok(colt5_scatter(ctx, &v.dy.t, &v.dindex.t, &v.dscores.t, &v.dbase.t, &v.dx.t));
    assert_equal(&v.dx, v.want);
    assert_unchanged(&v.dbase);
    ck_assert_ok(colt5_scatter(ctx, &v.dy.t, &v.dindex.t, &v.dscores.t, &v.dbase.t, &v.dbase.t));
    assert_equal(&v.dbase, v.want);
    free_values(&v);
}
END_TEST

START_TEST(scatter_add_adds)
{
    for (int kind = COLT5_INDEX_UNIQUE; kind <= COLT5_INDEX_REPEATED; kind++) {
        struct values v = make_values(_i, kind == COLT5_INDEX_REPEATED);
        want_fill(&v, NULL, false, NULL, v.base);
        ck_assert_ok(
            colt5_scatter_add(ctx, &v.dy.t, &v.dindex.t, NULL, (colt5_index_kind)kind, &v.dbase.t));
        assert_equal(&v.dbase, v.want);
        free_values(&v);
    }
}
END_TEST

/* The mean of whole numbers over up to ten slots is rounded, twice in 16 bits. */
START_TEST(scatter_mean_is_the_mean)
{
    struct values v = make_values(_i, true);
    want_scatter(&v, v.scores, true, NULL);
    ck_assert_ok(colt5_scatter_mean(ctx, &v.dy.t, &v.dindex.t, &v.dscores.t, NULL, &v.dx.t));
    assert_close(&v.dx, v.want, 1e-6, 2 * rounding(v.type));

    want_fill(&v, NULL, true, NULL, v.base);
    ck_assert_ok(colt5_scatter_mean(ctx, &v.dy.t, &v.dindex.t, NULL, &v.dbase.t, &v.dx.t));
    assert_close(&v.dx, v.want, 1e-6, 2 * rounding(v.type));
    assert_unchanged(&v.dbase);
    ck_assert_ok(colt5_scatter_mean(ctx, &v.dy.t, &v.dindex.t, NULL, &v.dbase.t, &v.dbase.t));
    assert_close(&v.dbase, v.want, 1e-6, 2 * rounding(v.type));
    free_values(&v);
}
END_TEST

START_TEST(scatter_fill_writes_every_row)
{
    struct values v = make_values(_i, false);
    want_fill(&v, v.scores, false, v.row, v.base);
    ck_assert_ok(colt5_scatter_fill(ctx, &v.dy.t, &v.dindex.t, &v.dscores.t, COLT5_INDEX_UNIQUE,
                                    &v.drow.t, &v.dbase.t, &v.dx.t));
    assert_equal(&v.dx, v.want);
    want_fill(&v, NULL, false, NULL, NULL);
    ck_assert_ok(colt5_scatter_fill(ctx, &v.dy.t, &v.dindex.t, NULL, COLT5_INDEX_UNIQUE, NULL, NULL,
                                    &v.dx.t));
    assert_equal(&v.dx, v.want);
    free_values(&v);

    v = make_values(_i, true);
    want_fill(&v, v.scores, true, v.row, v.base);
    ck_assert_ok(colt5_scatter_fill(ctx, &v.dy.t, &v.dindex.t, &v.dscores.t, COLT5_INDEX_REPEATED,
                                    &v.drow.t, &v.dbase.t, &v.dbase.t));
    assert_close(&v.dbase, v.want, 1e-6, 2 * rounding(v.type));
    free_values(&v);
}
END_TEST

/* As the fill, from rows that have all but the slots. */
START_TEST(slots_take_the_place_of_the_row)
{
    struct values v = make_values(_i, false);
    want_fill(&v, v.scores, false, v.row, v.base);
    ck_assert_ok(colt5_broadcast_row(ctx, &v.drow.t, &v.dbase.t, &v.dbase.t));
    ck_assert_ok(scatter_instead(ctx, &v.dy.t, &v.dindex.t, &v.dscores.t, COLT5_INDEX_UNIQUE,
                                 &v.drow.t, &v.dbase.t));
    assert_equal(&v.dbase, v.want);
    free_values(&v);

    v = make_values(_i, true);
    want_fill(&v, NULL, true, NULL, v.base);
    ck_assert_ok(
        scatter_instead(ctx, &v.dy.t, &v.dindex.t, NULL, COLT5_INDEX_REPEATED, NULL, &v.dbase.t));
    assert_close(&v.dbase, v.want, 1e-6, 2 * rounding(v.type));
    free_values(&v);
}
END_TEST

START_TEST(broadcast_row_adds_a_row)
{
    struct values v = make_values(_i, false);
    for (size_t i = 0; i < v.dx.count; i++) v.want[i] = v.base[i] + v.row[i % v.s.D];
    ck_assert_ok(colt5_broadcast_row(ctx, &v.drow.t, &v.dbase.t, &v.dx.t));
    assert_equal(&v.dx, v.want);
    ck_assert_ok(colt5_broadcast_row(ctx, &v.drow.t, &v.dbase.t, &v.dbase.t));
    assert_equal(&v.dbase, v.want);
    for (size_t i = 0; i < v.dx.count; i++) v.want[i] = v.row[i % v.s.D];
    ck_assert_ok(colt5_broadcast_row(ctx, &v.drow.t, NULL, &v.dx.t));
    assert_equal(&v.dx, v.want);
    for (size_t i = 0; i < v.dx.count; i++) v.want[i] = 0;
    ck_assert_ok(colt5_broadcast_row(ctx, NULL, NULL, &v.dx.t));
    assert_equal(&v.dx, v.want);
    free_values(&v);
}
END_TEST

/* ---- gradients ---- */

/* Products and sums of small whole numbers: exact, but for the mean's division. */
START_TEST(scatter_backward_is_the_gradient)
{
    for (int mean = 0; mean < 2; mean++) {
        struct values v = make_values(_i, mean);
        const size_t B = v.s.B, N = v.s.N, K = v.s.K, D = v.s.D;
        double *dy = zeros(B * K * D), *dscores = zeros(B * K);
        struct device_tensor ddy = poisoned_tensor(v.type, B, K, D);
        struct device_tensor dds = poisoned_tensor(COLT5_F32, B, K);
        colt5_status (*call)(colt5_context *, const colt5_tensor *, const colt5_tensor *,
                             const colt5_tensor *, const colt5_tensor *, const colt5_tensor *,
                             const colt5_tensor *) =
            mean ? colt5_scatter_mean_backward : colt5_scatter_backward;
        const double loose = mean ? 2 * rounding(v.type) : 0;
        pretend_gpu(_i % 2);
        reference_scatter_backward(v.base, v.index, v.scores, mean, v.y, dy, dscores, B, N, K, D);
        ck_assert_ok(call(ctx, &v.dbase.t, &v.dindex.t, &v.dscores.t, &v.dy.t, &ddy.t, &dds.t));
        assert_close(&ddy, dy, 0, loose);
        assert_close(&dds, dscores, mean * 1e-5, 0);
        assert_unchanged(&v.dbase);
        assert_unchanged(&v.dy);
        reference_scatter_backward(v.base, v.index, NULL, mean, v.y, dy, dscores, B, N, K, D);
        ck_assert_ok(call(ctx, &v.dbase.t, &v.dindex.t, NULL, &v.dy.t, &v.dy.t, &dds.t));
        assert_close(&v.dy, dy, 0, loose); /* in place */
        assert_close(&dds, dscores, mean * 1e-5, 0);
        ck_assert_ok(call(ctx, &v.dbase.t, &v.dindex.t, NULL, NULL, &ddy.t, NULL));
        assert_close(&ddy, dy, 0, loose);
        pretend_gpu(false);
        release(&ddy), release(&dds);
        free(dy), free(dscores);
        free_values(&v);
    }
}
END_TEST

struct scatter_call {
    bool mean;
    int index[5];
    double y[5 * 2], scores[5], x[4 * 2];
};

static void scatter_of(void *call)
{
    struct scatter_call *c = call;
    reference_scatter_fill(c->y, c->index, c->scores, c->mean, NULL, NULL, c->x, 1, 4, 5, 2);
}

START_TEST(the_reference_gradient_is_the_difference_quotient)
{
    struct scatter_call c = {.mean = _i, .index = {2, 0, 2, -1, 2}};
    double dx[8], dy[10], dscores[5];
    for (int i = 0; i < 10; i++) c.y[i] = random_uniform() - 0.5;
    for (int i = 0; i < 8; i++) dx[i] = random_uniform() - 0.5;
    for (int i = 0; i < 5; i++) c.scores[i] = random_uniform();
    const struct difference_check check = {scatter_of, &c, c.x, dx, 8};
    reference_scatter_backward(dx, c.index, c.scores, c.mean, c.y, dy, dscores, 1, 4, 5, 2);
    assert_gradient(&check, c.y, dy, 10);
    assert_gradient(&check, c.scores, dscores, 5);
}
END_TEST

START_TEST(row_dot_is_the_dot)
{
    struct values v = make_values(_i, false);
    const size_t B = v.s.B, K = v.s.K, D = v.s.D;
    double *a = random_whole(B * K * D), *want = zeros(B * K);
    struct device_tensor da = upload(a, v.type, B, K, D);
    struct device_tensor dots = poisoned_tensor(COLT5_F32, B, K);
    for (size_t i = 0; i < B * K * D; i++) want[i / D] += a[i] * v.y[i];
    pretend_gpu(_i % 2 == 0);
    ck_assert_ok(colt5_row_dot(ctx, &da.t, &v.dy.t, &dots.t));
    pretend_gpu(false);
    assert_equal(&dots, want);
    release(&da), release(&dots);
    free(a), free(want);
    free_values(&v);
}
END_TEST

START_TEST(broadcast_row_backward_sums_rows)
{
    struct values v = make_values(_i, false);
    const size_t B = v.s.B, N = v.s.N, D = v.s.D;
    uint8_t *mask = random_mask(B * N, 0.8);
    double *marks = zeros(B * N), *all = zeros(D), *some = zeros(D);
    for (size_t d = 0; d < D; d++) all[d] = some[d] = 1;
    for (size_t n = 0; n < B * N; n++) marks[n] = mask[n] = mask[n] ? 1 : 0;
    for (size_t i = 0; i < B * v.s.K; i++)
        if (v.index[i] >= 0 && (size_t)v.index[i] < N)
            marks[i / v.s.K * N + (size_t)v.index[i]] = 0;
    for (size_t i = 0; i < B * N * D; i++) {
        all[i % D] += v.base[i];
        some[i % D] += marks[i / D] != 0 ? v.base[i] : 0;
    }
    struct device_tensor dmask = upload_u8(mask, B, N), dmarks = poisoned_tensor(COLT5_U8, B, N);
    double *one = zeros(D);
    for (size_t d = 0; d < D; d++) one[d] = 1;
    struct device_tensor drow = upload(one, COLT5_F32, D), dsome = upload(one, COLT5_F16, D);
    ck_assert_ok(colt5_broadcast_row_backward(ctx, &v.dbase.t, NULL, &drow.t));
    assert_equal(&drow, all);
    ck_assert_ok(colt5_unrouted_rows(ctx, &v.dindex.t, &dmask.t, &dmarks.t));
    assert_equal(&dmarks, marks);
    ck_assert_ok(colt5_broadcast_row_backward(ctx, &v.dbase.t, &dmarks.t, &dsome.t));
    assert_equal(&dsome, some);
    assert_unchanged(&v.dbase);
    assert_unchanged(&dmask);
    release(&dmask), release(&dmarks), release(&drow), release(&dsome);
    free(mask), free(marks), free(all), free(some), free(one);
    free_values(&v);
}
END_TEST

/* dx is 0 in masked rows, where y may be NaN; a row that does not count may hold NaN. */
START_TEST(gradients_pass_nan_by)
{
    const double dx[] = {0, 0, 3, 4}, y[] = {NAN, INFINITY, 1, 2}, zeros_in[] = {1, 1};
    const double dy[] = {0, 0, 6, 8}, dscores[] = {0, 11}, nan_row[] = {NAN, NAN, 3, 4};
    const double scores[] = {0.5, 2}, sums[] = {4, 5};
    const int index[] = {0, 1};
    const uint8_t rows[] = {0, 1};
    struct device_tensor tdx = upload(dx, COLT5_F32, 1, 2, 2), ty = upload(y, COLT5_F32, 1, 2, 2);
    struct device_tensor ti = upload_i32(index, 1, 2), ts = upload(scores, COLT5_F32, 1, 2);
    struct device_tensor tdy = poisoned_tensor(COLT5_F32, 1, 2, 2);
    struct device_tensor tds = poisoned_tensor(COLT5_F32, 1, 2), tr = upload_u8(rows, 1, 2);
    struct device_tensor tn = upload(nan_row, COLT5_F32, 1, 2, 2);
    struct device_tensor tsum = upload(zeros_in, COLT5_F32, 2);
    ck_assert_ok(colt5_scatter_backward(ctx, &tdx.t, &ti.t, &ts.t, &ty.t, &tdy.t, &tds.t));
    assert_equal(&tdy, dy);
    assert_equal(&tds, dscores);
    ck_assert_ok(colt5_broadcast_row_backward(ctx, &tn.t, &tr.t, &tsum.t));
    assert_equal(&tsum, sums);
    release(&tdx), release(&ty), release(&ti), release(&ts), release(&tdy), release(&tds);
    release(&tr), release(&tn), release(&tsum);
}
END_TEST

START_TEST(bad_gradient_calls_are_refused)
{
    const double x[24] = {0};
    const int index[] = {0, 1, 2};
    struct device_tensor tdx = upload(x, COLT5_F32, 1, 6, 4), ti = upload_i32(index, 1, 3);
    struct device_tensor ty = upload(x, COLT5_F32, 1, 3, 4), th = upload(x, COLT5_F16, 1, 3, 4);
    struct device_tensor tdy = poisoned_tensor(COLT5_F32, 1, 3, 4);
    struct device_tensor tds = poisoned_tensor(COLT5_F32, 1, 3), trow = upload(x, COLT5_F32, 5);
    struct device_tensor tm = poisoned_tensor(COLT5_U8, 1, 5);
    const colt5_tensor *dx = &tdx.t, *i = &ti.t, *y = &ty.t, *dy = &tdy.t, *ds = &tds.t;
    ck_assert_status(colt5_scatter_backward(ctx, NULL, i, NULL, y, dy, ds), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_scatter_backward(ctx, dx, i, NULL, NULL, dy, ds), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_scatter_backward(ctx, dx, i, NULL, y, &th.t, ds), COLT5_ERROR_TYPE);
    ck_assert_status(colt5_scatter_backward(ctx, dx, i, y, y, dy, ds), COLT5_ERROR_SHAPE);
    ck_assert_status(colt5_scatter_mean_backward(ctx, dx, ds, NULL, y, dy, ds), COLT5_ERROR_TYPE);
    ck_assert_status(colt5_scatter_mean_backward(ctx, y, i, NULL, y, y, ds), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_row_dot(ctx, y, dx, ds), COLT5_ERROR_SHAPE);
    ck_assert_status(colt5_row_dot(ctx, y, y, dy), COLT5_ERROR_SHAPE);
    ck_assert_status(colt5_row_dot(ctx, y, NULL, ds), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_broadcast_row_backward(ctx, dx, NULL, &trow.t), COLT5_ERROR_SHAPE);
    trow.t.dims[0] = 4;
    ck_assert_status(colt5_broadcast_row_backward(ctx, dx, &tm.t, &trow.t), COLT5_ERROR_SHAPE);
    ck_assert_status(colt5_broadcast_row_backward(ctx, dx, ds, &trow.t), COLT5_ERROR_TYPE);
    ck_assert_status(colt5_unrouted_rows(ctx, ds, NULL, &tm.t), COLT5_ERROR_TYPE);
    ck_assert_status(colt5_unrouted_rows(ctx, i, &tm.t, &tm.t), COLT5_ERROR_ARGUMENT);
    assert_untouched(&tdy);
    assert_untouched(&tds);
    assert_untouched(&tm);
    trow.t.dims[0] = 5;
    assert_unchanged(&trow);
    ck_assert_ok(colt5_scatter_backward(ctx, dx, i, NULL, y, dy, ds));
    release(&tdx), release(&ti), release(&ty), release(&th), release(&tdy), release(&tds);
    release(&trow), release(&tm);
}
END_TEST

/* More rows than a device takes along one dimension. */
START_TEST(broadcast_row_to_many_rows)
{
    const size_t rows = tiny() ? 31 : 70001, D = 3;
    const double row[] = {1, 2, 3};
    double *want = zeros(rows * D);
    for (size_t i = 0; i < rows * D; i++) want[i] = row[i % D];
    struct device_tensor drow = upload(row, COLT5_F32, D);
    struct device_tensor dx = poisoned_tensor(COLT5_F32, rows, D);
    ck_assert_ok(colt5_broadcast_row(ctx, &drow.t, NULL, &dx.t));
    assert_equal(&dx, want);
    release(&drow), release(&dx);
    free(want);
}
END_TEST

/* A slot's NaN stays in its row, and a skipped slot's nowhere, whatever the scores. */
START_TEST(nan_stays_in_its_row)
{
    const double y[] = {NAN, NAN, 1, 2, NAN, NAN}, base[] = {1, 1, 2, 2, 3, 3};
    const double scores[] = {0, 1, 0}, want[] = {2, 3, 2, 2, NAN, NAN};
    const int index[] = {2, 0, -5};
    struct device_tensor dy = upload(y, COLT5_F32, 1, 3, 2), di = upload_i32(index, 1, 3);
    struct device_tensor ds = upload(scores, COLT5_F32, 1, 3);
    struct device_tensor dbase = upload(base, COLT5_F32, 1, 3, 2);
    struct device_tensor dx = poisoned_tensor(COLT5_F32, 1, 3, 2);
    ck_assert_ok(colt5_scatter(ctx, &dy.t, &di.t, &ds.t, &dbase.t, &dx.t));
    assert_equal(&dx, want);
    ck_assert_ok(colt5_scatter_mean(ctx, &dy.t, &di.t, &ds.t, &dbase.t, &dx.t));
    assert_equal(&dx, want);
    ck_assert_ok(colt5_scatter_add(ctx, &dy.t, &di.t, &ds.t, COLT5_INDEX_REPEATED, &dbase.t));
    assert_equal(&dbase, want);
    release(&dy), release(&di), release(&ds), release(&dbase), release(&dx);
}
END_TEST

/* Sums that depend on their order come out the same every time: ascending slots, float32. */
START_TEST(repeated_sums_are_repeatable)
{
    enum { K = 300 };
    double y[K];
    int index[K];
    float want = 0;
    for (int k = 0; k < K; k++) {
        y[k] = (float)(random_uniform() * exp(8 * random_uniform()));
        index[k] = 1;
        want += (float)y[k];
    }
    const double base[] = {0, 0, 0}, wanted[] = {0, want, 0};
    struct device_tensor dy = upload(y, COLT5_F32, 1, K, 1), di = upload_i32(index, 1, K);
    struct device_tensor dx = upload(base, COLT5_F32, 1, 3, 1);
    ck_assert_ok(colt5_scatter_add(ctx, &dy.t, &di.t, NULL, COLT5_INDEX_REPEATED, &dx.t));
    assert_equal(&dx, wanted);
    release(&dy), release(&di), release(&dx);
}
END_TEST

static const struct bad_call {
    const char *what;
    int y_rank;
    colt5_type index_type, scores_type, base_type;
    size_t K, D, base_rows;
    bool no_index, on_y, beside;
    colt5_status expected;
} bad_calls[] = {
    {"y of rank 2", 2, COLT5_I32, COLT5_F32, COLT5_F32, 3, 4, 6, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"float indices", 3, COLT5_F32, COLT5_F32, COLT5_F32, 3, 4, 6, 0, 0, 0, COLT5_ERROR_TYPE},
    {"scores of 16 bits", 3, COLT5_I32, COLT5_F16, COLT5_F32, 3, 4, 6, 0, 0, 0, COLT5_ERROR_TYPE},
    {"base of 16 bits", 3, COLT5_I32, COLT5_F32, COLT5_BF16, 3, 4, 6, 0, 0, 0, COLT5_ERROR_TYPE},
    {"other slots", 3, COLT5_I32, COLT5_F32, COLT5_F32, 2, 4, 6, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"y of another D", 3, COLT5_I32, COLT5_F32, COLT5_F32, 3, 3, 6, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"base of other rows", 3, COLT5_I32, COLT5_F32, COLT5_F32, 3, 4, 5, 0, 0, 0, COLT5_ERROR_SHAPE},
    {"no index", 3, COLT5_I32, COLT5_F32, COLT5_F32, 3, 4, 6, 1, 0, 0, COLT5_ERROR_ARGUMENT},
    {"y in x", 3, COLT5_I32, COLT5_F32, COLT5_F32, 3, 4, 6, 0, 1, 0, COLT5_ERROR_ARGUMENT},
    {"base beside x", 3, COLT5_I32, COLT5_F32, COLT5_F32, 3, 4, 6, 0, 0, 1, COLT5_ERROR_ARGUMENT},
};

static void ck_assert_refused(const char *op, colt5_status got, const struct bad_call *c)
{
    ck_assert_msg(got == c->expected, "%s: %s: %s", op, c->what, colt5_message(ctx));
    ck_assert_msg(!strncmp(colt5_message(ctx), op, strlen(op)), "%s", colt5_message(ctx));
}

START_TEST(bad_calls_are_refused)
{
    const struct bad_call *c = &bad_calls[_i];
    const double x[24] = {0};
    const int index[] = {0, 1, 2};
    struct device_tensor dy = upload(x, COLT5_F32, 1, 3, 4), di = upload_i32(index, 1, 3);
    struct device_tensor ds = upload(x, COLT5_F32, 1, 3), db = upload(x, COLT5_F32, 1, 6, 4);
    struct device_tensor dx = poisoned_tensor(COLT5_F32, 1, 6, 4);
    colt5_tensor ty = dy.t, ti = di.t, ts = ds.t, tb = db.t;
    ty.rank = c->y_rank;
    ty.dims[1] = c->K;
    ty.dims[2] = c->D;
    ti.type = c->index_type;
    ts.type = c->scores_type;
    tb.type = c->base_type;
    tb.dims[1] = c->base_rows;
    if (c->on_y) ty.buffer = dx.t.buffer;
    if (c->beside) {
        tb.buffer = dx.t.buffer;
        tb.offset = dx.t.offset + 4;
    }
    const colt5_tensor *i = c->no_index ? NULL : &ti;
    ck_assert_refused("scatter: ", colt5_scatter(ctx, &ty, i, &ts, &tb, &dx.t), c);
    ck_assert_refused("scatter_mean: ", colt5_scatter_mean(ctx, &ty, i, &ts, &tb, &dx.t), c);
    ck_assert_refused("scatter_fill: ",
                      colt5_scatter_fill(ctx, &ty, i, &ts, COLT5_INDEX_UNIQUE, NULL, &tb, &dx.t),
                      c);
    assert_untouched(&dx);
    ck_assert_ok(colt5_scatter(ctx, &dy.t, &di.t, &ds.t, &db.t, &dx.t));
    release(&dy), release(&di), release(&ds), release(&db), release(&dx);
}
END_TEST

START_TEST(a_bad_kind_or_row_is_refused)
{
    const double x[24] = {0};
    const int index[] = {0, 1, 2};
    struct device_tensor dy = upload(x, COLT5_F32, 1, 3, 4), di = upload_i32(index, 1, 3);
    struct device_tensor drow = upload(x, COLT5_F32, 3);
    struct device_tensor dx = poisoned_tensor(COLT5_F32, 1, 6, 4);
    ck_assert_status(colt5_scatter_add(ctx, &dy.t, &di.t, NULL, (colt5_index_kind)7, &dx.t),
                     COLT5_ERROR_ARGUMENT);
    ck_assert_status(
        colt5_scatter_fill(ctx, &dy.t, &di.t, NULL, COLT5_INDEX_UNIQUE, &drow.t, NULL, &dx.t),
        COLT5_ERROR_SHAPE);
    ck_assert_status(colt5_broadcast_row(ctx, &drow.t, NULL, &dx.t), COLT5_ERROR_SHAPE);
    ck_assert_status(colt5_broadcast_row(ctx, NULL, NULL, NULL), COLT5_ERROR_ARGUMENT);
    ck_assert_status(colt5_broadcast_row(ctx, NULL, &dy.t, &dx.t), COLT5_ERROR_SHAPE);
    assert_untouched(&dx);
    release(&dy), release(&di), release(&drow), release(&dx);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("scatter");
    TCase *tests = tcase_create("scatter");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, scatter_writes_routed_rows_alone, 0, CASES);
    tcase_add_loop_test(tests, scatter_over_a_base, 0, CASES);
    tcase_add_loop_test(tests, scatter_add_adds, 0, CASES);
    tcase_add_loop_test(tests, scatter_mean_is_the_mean, 0, CASES);
    tcase_add_loop_test(tests, scatter_fill_writes_every_row, 0, CASES);
    tcase_add_loop_test(tests, slots_take_the_place_of_the_row, 0, CASES);
    tcase_add_loop_test(tests, broadcast_row_adds_a_row, 0, CASES);
    tcase_add_loop_test(tests, scatter_backward_is_the_gradient, 0, CASES);
    tcase_add_loop_test(tests, the_reference_gradient_is_the_difference_quotient, 0, 2);
    tcase_add_loop_test(tests, row_dot_is_the_dot, 0, CASES);
    tcase_add_loop_test(tests, broadcast_row_backward_sums_rows, 0, CASES);
    tcase_add_test(tests, gradients_pass_nan_by);
    tcase_add_test(tests, bad_gradient_calls_are_refused);
    tcase_add_test(tests, broadcast_row_to_many_rows);
    tcase_add_test(tests, nan_stays_in_its_row);
    tcase_add_test(tests, repeated_sums_are_repeatable);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    tcase_add_test(tests, a_bad_kind_or_row_is_refused);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
