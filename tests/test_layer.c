/* SPDX-License-Identifier: MIT */
/* What holds for layers whatever their numbers: chunks, masks, NaN, routes, refusals, files. */
#include <stdio.h>
#include <unistd.h>

#include <colt5/layer.h>

#include "support/testing.h"

#define B 2
#define N ((size_t)(tiny() ? 19 : 61))
#define D 16

/* A small layer of a kind, every option that changes the way through it on or off by `variant`. */
static colt5_config small(colt5_layer_kind kind, int variant)
{
    colt5_config c = colt5_config_default(kind);
    c.dim = D;
    c.num_heavy_tokens_ff = c.num_heavy_tokens_q = 7;
    c.num_heavy_tokens_kv = 9;
    c.light_heads = c.heavy_heads = 2;
    c.light_dim_head = c.heavy_dim_head = 8;
    c.light_window_size = 12;
    c.depth = 2;
    c.rotary_emb = c.light_rotary_emb = variant & 1;
    c.num_routed_kv = variant & 2 ? 2 : 1;
    c.router.type = variant & 4 ? COLT5_ROUTER_SINKHORN : COLT5_ROUTER_COOR_DESCENT;
    c.router.straight_through = !(variant & 1);
    return c;
}

static colt5_layer *make(const colt5_config *config, colt5_type type)
{
    colt5_layer *layer;
    ck_assert_ok(colt5_layer_create(ctx, config, type, &layer));
    ck_assert_ok(colt5_layer_initialise(layer, 5));
    return layer;
}

static struct device_tensor input(const colt5_config *config, colt5_type type)
{
    if (config->kind == COLT5_TEXT_ENCODER) {
        int *ids = random_indices(B * N, 256);
        struct device_tensor x = upload_i32(ids, B, N);
        free(ids);
        return x;
    }
    double *values = random_normal(B * N * D);
    struct device_tensor x = upload(values, type, B, N, D);
    free(values);
    return x;
}

static colt5_forward call(const struct device_tensor *x, const struct device_tensor *mask,
                          const struct device_tensor *y)
{
    return (colt5_forward){.struct_size = sizeof(colt5_forward),
                           .x = &x->t,
                           .mask = mask && mask->t.buffer ? &mask->t : NULL,
                           .y = &y->t,
                           .seed = 3};
}

/* Runs a layer; the result is the caller's to free. */
static double *run(const colt5_layer *layer, const struct device_tensor *x,
                   const struct device_tensor *mask, const colt5_routes *routes,
                   colt5_routes *chosen)
{
    struct device_tensor y =
        poisoned_tensor(colt5_layer_type(layer), x->t.dims[0], x->t.dims[1], D);
    colt5_forward forward = call(x, mask, &y);
    forward.routes = routes;
    forward.chosen = chosen;
    ck_assert_ok(colt5_layer_forward(ctx, layer, &forward));
    double *values = download(&y);
    release(&y);
    return values;
}

static void assert_same_rows(const double *a, const double *b, const uint8_t *rows, size_t count)
{
    for (size_t i = 0; i < count * D; i++)
        if (!rows || rows[i / D])
            ck_assert_msg(a[i] == b[i], "row %zu: %.9g and %.9g", i / D, a[i], b[i]);
}

/* Every kind, in every variant, gives the same bits twice, and the same numbers in chunks. */
START_TEST(runs_and_chunks_agree)
{
    const colt5_config config = small((colt5_layer_kind)(_i % 5), _i / 5);
    colt5_layer *layer = make(&config, COLT5_F32);
    struct device_tensor x = input(&config, COLT5_F32);
    double *whole = run(layer, &x, NULL, NULL, NULL), *again = run(layer, &x, NULL, NULL, NULL);
    assert_same_rows(whole, again, NULL, B * N);
    setenv("COLT5_CHUNK", "8", 1);
    double *pieces = run(layer, &x, NULL, NULL, NULL);
    unsetenv("COLT5_CHUNK");
    ck_assert_double_le(relative_error(pieces, whole, B * N * D), 1e-6);
    free(whole), free(again), free(pieces);
    release(&x);
    colt5_layer_destroy(layer);
}
END_TEST

/* What stands in masked rows, NaN and infinity too, reaches no valid row. */
START_TEST(masked_rows_reach_nothing)
{
    const colt5_config config = small((colt5_layer_kind)(_i % 4), _i / 4);
    colt5_layer *layer = make(&config, COLT5_F32);
    double *values = random_normal(B * N * D);
    uint8_t *mask = random_mask(B * N, 0.6);
    struct device_tensor dm = upload_u8(mask, B, N);
    struct device_tensor x = upload(values, COLT5_F32, B, N, D);
    double *want = run(layer, &x, &dm, NULL, NULL);
    release(&x);
    for (size_t i = 0; i < B * N * D; i++)
        if (!mask[i / D]) values[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? INFINITY : 1e30;
    x = upload(values, COLT5_F32, B, N, D);
    double *have = run(layer, &x, &dm, NULL, NULL);
    for (size_t i = 0; i < B * N * D; i++)
        if (mask[i / D]) ck_assert_msg(isfinite(have[i]), "row %zu is not finite", i / D);
    assert_same_rows(have, want, mask, B * N);
    free(values), free(mask), free(want), free(have);
    release(&x), release(&dm);
    colt5_layer_destroy(layer);
}
END_TEST

/* A NaN in one sample stays in it. */
START_TEST(nan_stays_in_its_sample)
{
    const colt5_config config = small((colt5_layer_kind)(_i % 4), _i / 4);
    colt5_layer *layer = make(&config, COLT5_F32);
    double *values = random_normal(B * N * D);
    struct device_tensor x = upload(values, COLT5_F32, B, N, D);
    double *want = run(layer, &x, NULL, NULL, NULL);
    release(&x);
    values[17 * D + 3] = NAN;
    x = upload(values, COLT5_F32, B, N, D);
    double *have = run(layer, &x, NULL, NULL, NULL);
    for (size_t i = N * D; i < B * N * D; i++)
        ck_assert_msg(have[i] == want[i], "row %zu changed", i / D);
    free(values), free(want), free(have);
    release(&x);
    colt5_layer_destroy(layer);
}
END_TEST

/* N <= K on either side, both, and per-call counts that make it so. */
START_TEST(nothing_is_routed_below_k)
{
    colt5_config config = small(COLT5_ATTENTION, _i & 2);
    config.num_heavy_tokens_q = _i & 1 ? N : 7;
    config.num_heavy_tokens_kv = _i & 4 ? N + 5 : 9;
    colt5_layer *layer = make(&config, COLT5_F32);
    struct device_tensor x = input(&config, COLT5_F32);
    colt5_routes *chosen;
    ck_assert_ok(colt5_routes_create(ctx, &chosen));
    double *y = run(layer, &x, NULL, NULL, chosen);
    ck_assert_uint_eq(colt5_routes_count(chosen), (size_t) !(_i & 1) + !(_i & 4));
    for (size_t i = 0; i < B * N * D; i++) ck_assert(isfinite(y[i]));
    free(y);
    colt5_routes_destroy(chosen);
    release(&x);
    colt5_layer_destroy(layer);
}
END_TEST

/* Counts of one call equal those of a layer made with them. */
START_TEST(counts_can_be_overridden)
{
    colt5_config config = small(COLT5_TRANSFORMER_BLOCK, 0);
    colt5_layer *layer = make(&config, COLT5_F32);
    struct device_tensor x = input(&config, COLT5_F32);
    struct device_tensor y = poisoned_tensor(COLT5_F32, B, N, D);
    colt5_forward forward = call(&x, NULL, &y);
    forward.num_heavy_tokens = (colt5_token_counts){.ff = 3, .q = 11, .kv = N};
    ck_assert_ok(colt5_layer_forward(ctx, layer, &forward));
    double *have = download(&y);
    colt5_layer_destroy(layer);
    config.num_heavy_tokens_ff = 3;
    config.num_heavy_tokens_q = 11;
    config.num_heavy_tokens_kv = N;
    layer = make(&config, COLT5_F32);
    double *want = run(layer, &x, NULL, NULL, NULL);
    assert_same_rows(have, want, NULL, B * N);
    free(have), free(want);
    release(&x), release(&y);
    colt5_layer_destroy(layer);
}
END_TEST

/* Routes that were chosen, written, read and injected give the same bits as choosing them. */
START_TEST(chosen_routes_can_be_injected)
{
    const colt5_config config = small((colt5_layer_kind)(_i % 4), _i / 4);
    colt5_layer *layer = make(&config, COLT5_F32);
    struct device_tensor x = input(&config, COLT5_F32);
    colt5_routes *chosen, *read;
    char path[] = "/tmp/colt5-routes-XXXXXX";
    close(mkstemp(path));
    ck_assert_ok(colt5_routes_create(ctx, &chosen));
    ck_assert_ok(colt5_routes_create(ctx, &read));
    double *want = run(layer, &x, NULL, NULL, chosen);
    ck_assert_uint_gt(colt5_routes_count(chosen), 0);
    ck_assert_ok(colt5_routes_save(chosen, path));
    ck_assert_ok(colt5_routes_load(read, path));
    ck_assert_uint_eq(colt5_routes_count(read), colt5_routes_count(chosen));
    double *have = run(layer, &x, NULL, read, NULL);
    assert_same_rows(have, want, NULL, B * N);
    remove(path);
    free(have), free(want);
    colt5_routes_destroy(chosen);
    colt5_routes_destroy(read);
    release(&x);
    colt5_layer_destroy(layer);
}
END_TEST

START_TEST(wrong_routes_are_refused)
{
    const colt5_config config = small(COLT5_FEED_FORWARD, 0);
    colt5_layer *layer = make(&config, COLT5_F32);
    struct device_tensor x = input(&config, COLT5_F32), y = poisoned_tensor(COLT5_F32, B, N, D);
    const int32_t fine[2 * B] = {1, 2, 3, 4}, twice[2 * B] = {1, 2, 5, 5},
                           far[2 * B] = {0, 1, 2, (int32_t)N};
    const int32_t negative[2 * B] = {0, -1, 2, 3};
    colt5_routes *routes;
    ck_assert_ok(colt5_routes_create(ctx, &routes));
    colt5_forward forward = call(&x, NULL, &y);
    forward.routes = routes;
    ck_assert_ok(colt5_routes_put(routes, "router", B, 1, 2, twice, NULL));
    ck_assert_status(colt5_layer_forward(ctx, layer, &forward), COLT5_ERROR_ARGUMENT);
    ck_assert_ok(colt5_routes_put(routes, "router", B, 1, 2, far, NULL));
    ck_assert_status(colt5_layer_forward(ctx, layer, &forward), COLT5_ERROR_SHAPE);
    ck_assert_ok(colt5_routes_put(routes, "router", 1, 1, 4, fine, NULL));
    ck_assert_status(colt5_layer_forward(ctx, layer, &forward), COLT5_ERROR_SHAPE);
    ck_assert_status(colt5_routes_put(routes, "router", B, 1, 2, negative, NULL),
                     COLT5_ERROR_ARGUMENT);
    assert_untouched(&y);
    ck_assert_uint_eq(colt5_routes_count(routes), 0);
    ck_assert_ok(colt5_routes_put(routes, "router", B, 1, 2, fine, NULL));
    ck_assert_ok(colt5_layer_forward(ctx, layer, &forward));
    colt5_routes_destroy(routes);
    release(&x), release(&y);
    colt5_layer_destroy(layer);
}
END_TEST

/* Too little memory: refused with both numbers before anything runs; the next call works. */
START_TEST(a_small_device_is_refused_early)
{
    const colt5_config config = small(COLT5_TRANSFORMER_BLOCK, 0);
    colt5_layer *layer = make(&config, COLT5_F32);
    struct device_tensor x = input(&config, COLT5_F32), y = poisoned_tensor(COLT5_F32, B, N, D);
    const colt5_forward forward = call(&x, NULL, &y);
    colt5_context_limit_workspace(ctx, 4096);
    ck_assert_status(colt5_layer_forward(ctx, layer, &forward), COLT5_ERROR_MEMORY);
    ck_assert_msg(strstr(colt5_message(ctx), "4096") != NULL, "%s", colt5_message(ctx));
    assert_untouched(&y);
    colt5_context_limit_workspace(ctx, 0);
    ck_assert_ok(colt5_layer_forward(ctx, layer, &forward));
    release(&x), release(&y);
    colt5_layer_destroy(layer);
}
END_TEST

/* A plan's numbers are those of the run. */
START_TEST(a_plan_is_what_happens)
{
    const colt5_config config = small((colt5_layer_kind)(_i % 5), _i / 5);
    colt5_layer *layer = make(&config, COLT5_F32);
    struct device_tensor x = input(&config, COLT5_F32), y = poisoned_tensor(COLT5_F32, B, N, D);
    colt5_forward forward = call(&x, NULL, &y);
    colt5_tensor x_shape = x.t, y_shape = y.t;
    x_shape.buffer = y_shape.buffer = NULL;
    colt5_forward planned = forward;
    planned.x = &x_shape;
    planned.y = &y_shape;
    /* Once products have been tried and tables are made, the plan is the run to the launch. */
    ck_assert_ok(colt5_layer_forward(ctx, layer, &forward));
    colt5_plan plan;
    ck_assert_ok(colt5_layer_plan(ctx, layer, &planned, &plan));
    ck_assert_uint_gt(plan.scratch, 0);
    colt5_context_reset_statistics(ctx);
    ck_assert_ok(colt5_layer_forward(ctx, layer, &forward));
    colt5_statistics statistics = {.struct_size = sizeof(statistics)};
    ck_assert_ok(colt5_context_statistics(ctx, &statistics));
    ck_assert_uint_eq(statistics.flop, plan.flop);
    /* A plan does not know what a kernel's registers allow: a checker's device may need less. */
    ck_assert_uint_le(statistics.launches, plan.launches);
    ck_assert_uint_le(statistics.workspace_peak, plan.scratch);
    if (!tiny()) {
        ck_assert_uint_eq(statistics.launches, plan.launches);
        ck_assert_uint_eq(statistics.workspace_peak, plan.scratch);
    }
    release(&x), release(&y);
    colt5_layer_destroy(layer);
}
END_TEST

/* Saved and loaded, in each type, a layer gives the same bits. */
START_TEST(a_saved_layer_is_the_same)
{
    const colt5_type type = storage_types[_i % 3];
    const colt5_config config = small((colt5_layer_kind)(_i / 3), 1);
    colt5_layer *layer = make(&config, type), *loaded;
    struct device_tensor x = input(&config, type);
    char folder[] = "/tmp/colt5-layer-XXXXXX", path[64];
    ck_assert_ptr_nonnull(mkdtemp(folder));
    double *want = run(layer, &x, NULL, NULL, NULL);
    ck_assert_ok(colt5_layer_save(layer, folder));
    ck_assert_ok(colt5_layer_load(ctx, folder, type, &loaded));
    double *have = run(loaded, &x, NULL, NULL, NULL);
    assert_same_rows(have, want, NULL, B * N);
    snprintf(path, sizeof(path), "%s/config.json", folder);
    remove(path);
    snprintf(path, sizeof(path), "%s/model.safetensors", folder);
    remove(path);
    rmdir(folder);
    free(have), free(want);
    colt5_layer_destroy(layer);
    colt5_layer_destroy(loaded);
    release(&x);
}
END_TEST

static const struct bad_call {
    const char *what;
    int x_rank;
    size_t x_less, y_less, mask_less; /* channels, rows, tokens */
    colt5_type x_type, y_type, mask_type;
    size_t struct_size;
    colt5_status expected;
} bad_calls[] = {
    {"x of rank 2", 2, 0, 0, 0, COLT5_F32, COLT5_F32, COLT5_U8, sizeof(colt5_forward),
     COLT5_ERROR_SHAPE},
    {"x too narrow", 3, 1, 0, 0, COLT5_F32, COLT5_F32, COLT5_U8, sizeof(colt5_forward),
     COLT5_ERROR_SHAPE},
    {"y too short", 3, 0, 1, 0, COLT5_F32, COLT5_F32, COLT5_U8, sizeof(colt5_forward),
     COLT5_ERROR_SHAPE},
    {"mask too short", 3, 0, 0, 1, COLT5_F32, COLT5_F32, COLT5_U8, sizeof(colt5_forward),
     COLT5_ERROR_SHAPE},
    {"x of f16", 3, 0, 0, 0, COLT5_F16, COLT5_F32, COLT5_U8, sizeof(colt5_forward),
     COLT5_ERROR_TYPE},
    {"y of bf16", 3, 0, 0, 0, COLT5_F32, COLT5_BF16, COLT5_U8, sizeof(colt5_forward),
     COLT5_ERROR_TYPE},
    {"mask of i32", 3, 0, 0, 0, COLT5_F32, COLT5_F32, COLT5_I32, sizeof(colt5_forward),
     COLT5_ERROR_TYPE},
    {"no struct_size", 3, 0, 0, 0, COLT5_F32, COLT5_F32, COLT5_U8, 0, COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call c = bad_calls[_i];
    const colt5_config config = small(COLT5_FEED_FORWARD, 0);
    colt5_layer *layer = make(&config, COLT5_F32);
    struct device_tensor x = input(&config, COLT5_F32), y = poisoned_tensor(COLT5_F32, B, N, D);
    uint8_t *ones = random_mask(8 * B * N, 2);
    struct device_tensor mask = upload_u8(ones, 8, B, N);
    colt5_tensor tx = x.t, ty = y.t;
    const size_t mask_dims[] = {B, N - c.mask_less};
    const colt5_tensor tm = colt5_tensor_wrap(mask.t.buffer, 32, c.mask_type, 2, mask_dims);
    tx.rank = c.x_rank;
    tx.type = c.x_type;
    tx.dims[2] -= c.x_less;
    ty.type = c.y_type;
    ty.dims[1] -= c.y_less;
    const colt5_forward bad = {.struct_size = c.struct_size, .x = &tx, .mask = &tm, .y = &ty};
    ck_assert_msg(colt5_layer_forward(ctx, layer, &bad) == c.expected, "%s: %s", c.what,
                  colt5_message(ctx));
    assert_untouched(&y);
    const colt5_forward good = call(&x, NULL, &y);
    ck_assert_ok(colt5_layer_forward(ctx, layer, &good));
    free(ones);
    release(&x), release(&y), release(&mask);
    colt5_layer_destroy(layer);
}
END_TEST

/* The block that docs/performance.md is about, on a GPU: what it may come to in launches and
 * memory. */
START_TEST(a_large_block_is_planned_small)
{
    const size_t dims[] = {2, 32768, 512}, bytes = dims[0] * dims[1] * dims[2] * 2, mib = 1 << 20;
    colt5_config config = colt5_config_default(COLT5_TRANSFORMER_BLOCK);
    config.dim = dims[2];
    config.num_heavy_tokens_ff = config.num_heavy_tokens_q = config.num_heavy_tokens_kv = 1024;
    colt5_layer *layer = make(&config, COLT5_BF16);
    colt5_saved *saved;
    colt5_plan plan, training, back;
    colt5_tensor shapes[4];
    for (size_t i = 0; i < 4; i++)
        shapes[i] = colt5_tensor_wrap(NULL, i * bytes / 2, COLT5_BF16, 3, dims);
    colt5_forward forward = {.struct_size = sizeof(forward), .x = &shapes[0], .y = &shapes[1]};
    const colt5_backward backward = {
        .struct_size = sizeof(backward), .dy = &shapes[2], .dx = &shapes[3]};

    ck_assert_ok(colt5_layer_plan(ctx, layer, &forward, &plan));
    ck_assert_uint_le(plan.launches, 35);
    ck_assert_uint_le(plan.scratch + bytes, 200 * mib);
    ck_assert_ok(colt5_saved_create(ctx, &saved));
    forward.saved = saved;
    ck_assert_ok(colt5_layer_plan(ctx, layer, &forward, &training));
    ck_assert_ok(colt5_layer_plan_backward(ctx, layer, &forward, &backward, &back));
    const size_t most = training.scratch > back.scratch ? training.scratch : back.scratch;
    ck_assert_uint_le(training.launches + back.launches, 150);
    ck_assert_uint_le(training.saved + most + 2 * bytes, 800 * mib);
    colt5_saved_destroy(saved);
    colt5_layer_destroy(layer);
}
END_TEST

int main(void)
{
    /* For a simulator a block, which has the smaller layers in it, once. */
    const int first = tiny() ? COLT5_TRANSFORMER_BLOCK : 0, one = first + 1;
    Suite *suite = suite_create("layer");
    TCase *tests = tcase_create("layer");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, runs_and_chunks_agree, first, tiny() ? one : 40);
    tcase_add_loop_test(tests, masked_rows_reach_nothing, first, tiny() ? one : 32);
    tcase_add_loop_test(tests, nan_stays_in_its_sample, first, tiny() ? one : 32);
    tcase_add_loop_test(tests, nothing_is_routed_below_k, 0, tiny() ? 1 : 8);
    tcase_add_test(tests, counts_can_be_overridden);
    tcase_add_loop_test(tests, chosen_routes_can_be_injected, first, tiny() ? one : 32);
    tcase_add_test(tests, wrong_routes_are_refused);
    tcase_add_test(tests, a_small_device_is_refused_early);
    tcase_add_loop_test(tests, a_plan_is_what_happens, first, tiny() ? one : 5);
    tcase_add_loop_test(tests, a_saved_layer_is_the_same, 0, tiny() ? 1 : 15);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    TCase *large = tcase_create("large");
    use_gpu_kernels(large);
    if (!tiny()) tcase_add_test(large, a_large_block_is_planned_small);
    suite_add_tcase(suite, large);
    return run_device_suite(suite);
}
