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

int main(void)
{
    Suite *suite = suite_create("linear");
    TCase *tests = tcase_create("linear");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, maps_every_row, 0, 3 * SHAPES);
    tcase_add_loop_test(tests, fuses_what_stands_around_it, 0, 3 * SHAPES);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
