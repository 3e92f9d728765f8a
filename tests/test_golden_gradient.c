/* SPDX-License-Identifier: MIT */
/* Every gradient of whole layers against PyTorch in float64: routes chosen and injected. */
#include <stdio.h>

#include <colt5/safetensors.h>

#include "support/golden.h"

static char (*cases)[GOLDEN_NAME];
static size_t case_count;

struct gradient_case {
    const char *name;
    struct golden_call call;
    struct device_tensor dy, dx; /* dx: count 0 in text models */
    colt5_saved *saved;
    colt5_gradients *gradients;
    colt5_safetensors *want;
    double largest; /* norm of the largest gradient of a parameter */
};

static bool ends_with(const char *text, const char *end)
{
    const size_t length = strlen(text), tail = strlen(end);
    return length >= tail && !strcmp(text + length - tail, end);
}

static bool is_routing_token(const char *tensor)
{
    return ends_with(tensor, "routing_token");
}

static double norm_of(const double *values, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++) sum += values[i] * values[i];
    return sqrt(sum);
}

/*
 * What passes a solver's scores has the oracle's own error in float32 as its bound; for the rest
 * that error lies far below 1e-5. Weights and inputs rounded to bf16, and nothing else, put a
 * gradient off by up to 1.3e-2: small sums of large terms.
 */
static double bound_of(const struct gradient_case *c, const char *tensor)
{
    if (c->call.y.t.type == COLT5_F16) return 1e-2;
    if (c->call.y.t.type == COLT5_BF16) return 2e-2;
    const double solver = 1.5 * golden_number(c->name, "gradients/tolerance.json", tensor, 0);
    return solver > 1e-5 ? solver : 1e-5;
}

/* ---- a case, run forward and backward ---- */

static double *read_want(const struct gradient_case *c, const char *tensor, size_t count)
{
    const colt5_safetensors_entry *entry = colt5_safetensors_find(c->want, tensor);
    ck_assert_msg(entry && entry->count == count, "%s: no gradient of %s", c->name, tensor);
    float *single = malloc(count * sizeof(*single) + 1);
    double *want = malloc((count + 1) * sizeof(*want));
    ck_assert_ok(colt5_safetensors_read(c->want, entry, COLT5_F32, 0, count, single));
    for (size_t i = 0; i < count; i++) want[i] = single[i];
    free(single);
    return want;
}

static void open_wanted(struct gradient_case *c)
{
    ck_assert_ok(
        colt5_safetensors_open(golden_path(c->name, "gradients/gradients.safetensors"), &c->want));
    for (size_t i = 0; i < colt5_safetensors_count(c->want); i++) {
        const colt5_safetensors_entry *entry = colt5_safetensors_at(c->want, i);
        double *want = read_want(c, entry->name, entry->count);
        if (norm_of(want, entry->count) > c->largest) c->largest = norm_of(want, entry->count);
        free(want);
    }
}

static void run(const char *name, colt5_type type, bool inject, bool recompute,
                struct gradient_case *c)
{
    *c = (struct gradient_case){.name = name};
    open_wanted(c);
    golden_open(name, type, inject, &c->call);
    c->dy = golden_tensor(name, "dy.npy", type);
    if (golden_has(name, "gradients/dx.npy"))
        c->dx = upload_raw(NULL, type, c->call.x.t.rank, c->call.x.t.dims);
    ck_assert_ok(colt5_saved_create(ctx, &c->saved));
    ck_assert_ok(colt5_gradients_create(ctx, c->call.layer, &c->gradients));
    c->call.forward.saved = c->saved;
    c->call.forward.recompute = recompute;
    const colt5_backward backward = {.struct_size = sizeof(backward),
                                     .dy = &c->dy.t,
                                     .dx = c->dx.count ? &c->dx.t : NULL,
                                     .gradients = c->gradients};
    colt5_status status = colt5_layer_forward(ctx, c->call.layer, &c->call.forward);
    ck_assert_msg(status == COLT5_OK, "%s: forward: %s", name, colt5_message(ctx));
    status = colt5_layer_backward(ctx, c->call.layer, &c->call.forward, &backward);
    ck_assert_msg(status == COLT5_OK, "%s: backward: %s", name, colt5_message(ctx));
}

static void done(struct gradient_case *c)
{
    assert_unchanged(&c->dy);
    release(&c->dy), release(&c->dx);
    colt5_safetensors_close(c->want);
    colt5_gradients_destroy(c->gradients);
    colt5_saved_destroy(c->saved);
    golden_close(&c->call);
}

/* ---- comparing ---- */

static const char *name_of(const struct gradient_case *c, size_t i)
{
    colt5_parameter parameter;
    ck_assert_ok(colt5_layer_parameter(c->call.layer, i, &parameter));
    return parameter.name;
}

static double *gradient_of(const struct gradient_case *c, size_t i, size_t *count)
{
    colt5_parameter weight, gradient;
    ck_assert_ok(colt5_layer_parameter(c->call.layer, i, &weight));
    ck_assert_ok(colt5_gradients_get(c->gradients, i, &gradient));
    ck_assert_str_eq(weight.name, gradient.name);
    ck_assert_int_eq(gradient.tensor.type, COLT5_F32);
    ck_assert_int_eq(gradient.tensor.rank, weight.tensor.rank);
    for (int d = 0; d < weight.tensor.rank; d++)
        ck_assert_uint_eq(gradient.tensor.dims[d], weight.tensor.dims[d]);
    *count = colt5_tensor_count(&gradient.tensor);
    return download(&(struct device_tensor){.t = gradient.tensor, .count = *count});
}

/* False, after a line that says so, where a tensor's error is above its bound. */
static bool within(const struct gradient_case *c, const char *tensor, double error, double bound)
{
    if (error <= bound) return true;
    printf("%s: %s: error %.3g > %.3g\n", c->name, tensor, error, bound);
    return false;
}

static bool compare_parameter(const struct gradient_case *c, size_t i)
{
    size_t count;
    double *have = gradient_of(c, i, &count), *want = read_want(c, name_of(c, i), count);
    const bool zero = norm_of(want, count) == 0;
    const double bound = zero ? 1e-6 * c->largest : bound_of(c, name_of(c, i));
    const bool fine = within(c, name_of(c, i), relative_error(have, want, count), bound);
    free(have), free(want);
    return fine;
}

static bool compare_dx(const struct gradient_case *c)
{
    if (!c->dx.count) return true;
    return within(c, "dx", golden_row_error(c->name, "gradients/dx.npy", &c->call, &c->dx),
                  bound_of(c, "dx"));
}

static void assert_none_off(const struct gradient_case *c, size_t off)
{
    ck_assert_msg(off == 0, "%s: %zu gradients differ, listed above", c->name, off);
}

static void compare_all(const struct gradient_case *c)
{
    size_t off = !compare_dx(c);
    for (size_t i = 0; i < colt5_layer_parameter_count(c->call.layer); i++)
        off += !compare_parameter(c, i);
    assert_none_off(c, off);
}

/* ---- tests ---- */

static bool routes_are_inputs(const char *name)
{
    return !strcmp(golden_word(name, "routes"), "injected");
}

/* Either exactly 0 or more than 1e-4 of the largest gradient, as the case says. */
static void assert_routing_gradients(const struct gradient_case *c)
{
    const bool nonzero = !strcmp(golden_word(c->name, "routing_gradient"), "nonzero");
    const bool zero = !strcmp(golden_word(c->name, "routing_gradient"), "zero");
    double largest = 0;
    for (size_t i = 0; i < colt5_layer_parameter_count(c->call.layer); i++) {
        size_t count;
        double *values = gradient_of(c, i, &count);
        if (is_routing_token(name_of(c, i)) && norm_of(values, count) > largest)
            largest = norm_of(values, count);
        free(values);
    }
    ck_assert_msg(!nonzero || largest > 0.5e-4 * c->largest, "%s: no routing gradient", c->name);
    ck_assert_msg(!zero || largest == 0, "%s: a routing gradient", c->name);
}

START_TEST(every_gradient)
{
    struct gradient_case c;
    run(cases[_i], COLT5_F32, routes_are_inputs(cases[_i]), false, &c);
    compare_all(&c);
    assert_routing_gradients(&c);
    done(&c);
}
END_TEST

/* The kinds with blocks to compute again; every third of the others, but under a checker. */
START_TEST(every_gradient_recomputed)
{
    struct gradient_case c;
    colt5_config config;
    ck_assert_ok(colt5_config_read(golden_path(cases[_i], ""), &config));
    if (config.kind < COLT5_ENCODER && (tiny() || _i % 3 != 0)) return;
    run(cases[_i], COLT5_F32, routes_are_inputs(cases[_i]), true, &c);
    compare_all(&c);
    done(&c);
}
END_TEST

/*
 * Routes that are given are constants: no gradient reaches a router through them. So of a case
 * whose routes were chosen, only what lies behind the last router can be compared.
 */
static bool before_a_router(const struct gradient_case *c, const char *tensor)
{
    const colt5_config *config = colt5_layer_config(c->call.layer);
    char last[64] = "conditional_ff.";
    if (routes_are_inputs(c->name) || !golden_has(c->name, "routes.safetensors")) return false;
    if (config->kind <= COLT5_ATTENTION) return !strcmp(tensor, "dx");
    if (config->kind >= COLT5_ENCODER)
        snprintf(last, sizeof(last), "layers.%zu.conditional_ff.", config->depth - 1);
    return strncmp(tensor, last, strlen(last)) && strcmp(tensor, "norm.gamma") &&
           strcmp(tensor, "to_logits.bias");
}

START_TEST(stored_in_16_bits)
{
    struct gradient_case c;
    size_t off = 0, count;
    if (!tiny() && _i / 2 % 3 != 0 && !routes_are_inputs(cases[_i / 2])) return;
    if (tiny() && _i / 2 % 2 != _i % 2) return; /* the types take turns */
    run(cases[_i / 2], storage_types[1 + _i % 2], true, false, &c);
    if (!before_a_router(&c, "dx")) off += !compare_dx(&c);
    for (size_t i = 0; i < colt5_layer_parameter_count(c.call.layer); i++) {
        const char *tensor = name_of(&c, i);
        if (is_routing_token(tensor)) {
            double *values = gradient_of(&c, i, &count);
            off += !within(&c, tensor, norm_of(values, count), 0);
            free(values);
        } else if (!before_a_router(&c, tensor))
            off += !compare_parameter(&c, i);
    }
    assert_none_off(&c, off);
    done(&c);
}
END_TEST

/* A suite in which every router is saturated would show nothing of their gradients. */
START_TEST(there_are_cases_enough)
{
    size_t nonzero = 0;
    for (size_t i = 0; i < case_count; i++)
        nonzero += !strcmp(golden_word(cases[i], "routing_gradient"), "nonzero");
    ck_assert_uint_ge(nonzero, tiny() ? 1 : 20);
    ck_assert_uint_ge(case_count, tiny() ? 1 : 30);
}
END_TEST

int main(void)
{
    cases = golden_cases(&case_count);
    if (tiny() && case_count > 3) case_count = 3;
    Suite *suite = suite_create("golden_gradient");
    TCase *tests = tcase_create("golden_gradient");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, every_gradient, 0, (int)case_count);
    tcase_add_loop_test(tests, every_gradient_recomputed, 0, (int)case_count);
    tcase_add_loop_test(tests, stored_in_16_bits, 0, 2 * (int)case_count);
    tcase_add_test(tests, there_are_cases_enough);
    suite_add_tcase(suite, tests);
    const int result = run_device_suite(suite);
    free(cases);
    return result;
}
