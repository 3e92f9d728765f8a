/* SPDX-License-Identifier: MIT */
/* Whole layers against PyTorch in float64, in every storage type, routes chosen and injected. */
#include <stdio.h>

#include "support/golden.h"

static char (*cases)[GOLDEN_NAME];
static size_t case_count;

static double bound_of(const char *name, const colt5_config *config, colt5_type type)
{
    const double solver = golden_number(name, "gradients/tolerance.json", "y", 0);
    double bound = forward_bound(type);
    if (!config->router.straight_through && 1.5 * solver > bound) bound = 1.5 * solver;
    return bound;
}

static void run_case(const char *name, colt5_type type, bool inject, colt5_routes *chosen)
{
    struct golden_call call;
    golden_open(name, type, inject, &call);
    call.forward.chosen = chosen;
    const colt5_status status = colt5_layer_forward(ctx, call.layer, &call.forward);
    ck_assert_msg(status == COLT5_OK, "%s: %s", name, colt5_message(ctx));
    const double bound = bound_of(name, colt5_layer_config(call.layer), type);
    const double error = golden_row_error(name, "y.npy", &call, &call.y);
    ck_assert_msg(error <= bound, "%s: relative error %.3g > %.3g", name, error, bound);
    golden_close(&call);
}

START_TEST(routes_injected)
{
    if (tiny() && _i / 3 % 3 != _i % 3) return; /* the types take turns */
    run_case(cases[_i / 3], storage_types[_i % 3], true, NULL);
}
END_TEST

/* The index sets of a chosen route and of the golden file agree where scores are not 0. */
static void compare_routes(const char *name, colt5_routes *chosen)
{
    colt5_routes *want;
    ck_assert_ok(colt5_routes_create(ctx, &want));
    if (golden_has(name, "routes.safetensors"))
        ck_assert_ok(colt5_routes_load(want, golden_path(name, "routes.safetensors")));
    ck_assert_msg(colt5_routes_count(want) == colt5_routes_count(chosen),
                  "%s: %zu routers, not %zu", name, colt5_routes_count(chosen),
                  colt5_routes_count(want));
    for (size_t i = 0; i < colt5_routes_count(want); i++) {
        colt5_route a, b = {.router = ""};
        ck_assert_ok(colt5_routes_get(want, i, &a));
        for (size_t j = 0; j < colt5_routes_count(chosen) && strcmp(a.router, b.router); j++)
            ck_assert_ok(colt5_routes_get(chosen, j, &b));
        ck_assert_str_eq(a.router, b.router);
        const size_t count = colt5_tensor_count(&a.index);
        ck_assert_uint_eq(count, colt5_tensor_count(&b.index));
        int32_t *ia = malloc(count * 4), *ib = malloc(count * 4);
        float *sa = malloc(count * 4);
        ck_assert_ok(colt5_tensor_read(ctx, &a.index, ia));
        ck_assert_ok(colt5_tensor_read(ctx, &a.scores, sa));
        ck_assert_ok(colt5_tensor_read(ctx, &b.index, ib));
        for (size_t k = 0; k < count; k++)
            ck_assert_msg(sa[k] == 0 || ia[k] == ib[k], "%s: %s: slot %zu is %d, not %d", name,
                          a.router, k, ib[k], ia[k]);
        free(ia), free(ib), free(sa);
    }
    colt5_routes_destroy(want);
}

START_TEST(routes_chosen)
{
    const char *name = cases[_i];
    if (!strcmp(golden_word(name, "routes"), "injected")) return;
    colt5_routes *chosen;
    ck_assert_ok(colt5_routes_create(ctx, &chosen));
    run_case(name, COLT5_F32, false, chosen);
    compare_routes(name, chosen);
    colt5_routes_destroy(chosen);
}
END_TEST

int main(void)
{
    cases = golden_cases(&case_count);
    if (tiny() && case_count > 8) case_count = 8;
    printf("%zu golden cases\n", case_count);
    Suite *suite = suite_create("golden");
    TCase *tests = tcase_create("golden");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, routes_injected, 0, 3 * (int)case_count);
    tcase_add_loop_test(tests, routes_chosen, 0, (int)case_count);
    suite_add_tcase(suite, tests);
    const int result = run_device_suite(suite);
    free(cases);
    return result;
}
