/* SPDX-License-Identifier: MIT */
/* The logits of a masked language model: of all tokens, and of those that positions name. */
#include <stdio.h>

#include <colt5/layer.h>

#include "support/testing.h"

#define B 2
#define N 9 /* more than two windows, and than heavy tokens */
#define D 16
#define V 261 /* no multiple of a tile */

static colt5_config small(colt5_layer_kind kind)
{
    colt5_config c = colt5_config_default(kind);
    c.dim = D;
    c.num_heavy_tokens_ff = c.num_heavy_tokens_q = 4;
    c.num_heavy_tokens_kv = 5;
    c.light_heads = c.heavy_heads = 2;
    c.light_dim_head = c.heavy_dim_head = 8;
    c.light_window_size = 4;
    c.depth = 1;
    c.vocab_size = V;
    return c;
}

static colt5_tensor parameter(const colt5_layer *layer, const char *name)
{
    colt5_parameter found = {.name = ""};
    for (size_t i = 0; strcmp(found.name, name); i++)
        ck_assert_ok(colt5_layer_parameter(layer, i, &found));
    return found.tensor;
}

static double *values_of(const colt5_tensor *tensor)
{
    return download(&(struct device_tensor){.t = *tensor, .count = colt5_tensor_count(tensor)});
}

/* A model with initial weights, but a bias that is not 0. */
static colt5_layer *make(colt5_type type)
{
    const colt5_config config = small(COLT5_MASKED_LANGUAGE_MODEL);
    colt5_layer *layer;
    ck_assert_ok(colt5_layer_create(ctx, &config, type, &layer));
    ck_assert_ok(colt5_layer_initialise(layer, 5));
    double *bias = random_normal(V);
    float values[V];
    for (size_t v = 0; v < V; v++) values[v] = (float)bias[v];
    const colt5_tensor tensor = parameter(layer, "to_logits.bias");
    colt5_convert(COLT5_F32, values, type, values, V);
    ck_assert_ok(colt5_tensor_write(ctx, &tensor, values));
    free(bias);
    return layer;
}

static struct device_tensor make_ids(void)
{
    int *values = random_indices(B * N, V);
    struct device_tensor ids = upload_i32(values, B, N);
    free(values);
    return ids;
}

static colt5_status run(const colt5_layer *layer, const struct device_tensor *ids,
                        const colt5_tensor *positions, const colt5_tensor *y)
{
    const colt5_forward forward = {.struct_size = sizeof(colt5_forward),
                                   .x = &ids->t,
                                   .y = y,
                                   .positions = positions,
                                   .seed = 3};
    return colt5_layer_forward(ctx, layer, &forward);
}

/* What the text encoder with the same weights gives, [B][N][D]. */
static double *encoded(const colt5_layer *model, const struct device_tensor *ids)
{
    const colt5_config config = small(COLT5_TEXT_ENCODER);
    const colt5_type type = colt5_layer_type(model);
    colt5_layer *encoder;
    char bytes[4 * V * D];
    ck_assert_ok(colt5_layer_create(ctx, &config, type, &encoder));
    ck_assert_uint_eq(colt5_layer_parameter_count(encoder) + 1, colt5_layer_parameter_count(model));
    for (size_t i = 0; i < colt5_layer_parameter_count(encoder); i++) {
        colt5_parameter to;
        ck_assert_ok(colt5_layer_parameter(encoder, i, &to));
        const colt5_tensor from = parameter(model, to.name);
        ck_assert_ok(colt5_tensor_read(ctx, &from, bytes));
        ck_assert_ok(colt5_tensor_write(ctx, &to.tensor, bytes));
    }
    struct device_tensor y = poisoned_tensor(type, B, N, D);
    ck_assert_ok(run(encoder, ids, NULL, &y.t));
    double *x = download(&y);
    release(&y);
    colt5_layer_destroy(encoder);
    return x;
}

/* logits = x · token_embᵀ / √D + bias, [rows][V]; a row outside x counts as zeros. */
static double *reference(const colt5_layer *model, const double *x, const int *rows, size_t count)
{
    const colt5_tensor weight = parameter(model, "token_emb.weight");
    const colt5_tensor bias = parameter(model, "to_logits.bias");
    double *w = values_of(&weight), *y = values_of(&bias);
    y = realloc(y, (count + 1) * V * sizeof(*y));
    for (size_t m = count; m-- > 0;)
        for (size_t v = 0; v < V; v++) {
            double sum = 0;
            for (size_t d = 0; d < D && rows[m] >= 0 && rows[m] < B * N; d++)
                sum += x[(size_t)rows[m] * D + d] * w[v * D + d];
            y[m * V + v] = sum / sqrt(D) + y[v];
        }
    free(w);
    return y;
}

static void assert_logits(const struct device_tensor *y, const double *want)
{
    double *have = download(y);
    ck_assert_double_le(relative_error(have, want, y->count), forward_bound(y->t.type));
    free(have);
}

/* Every storage type, and float32 logits of 16-bit models. */
START_TEST(logits_are_the_tied_product)
{
    const colt5_type type = storage_types[_i % 3], y_type = _i / 3 ? COLT5_F32 : type;
    colt5_layer *layer = make(type);
    struct device_tensor ids = make_ids(), y = poisoned_tensor(y_type, B, N, V);
    int rows[B * N];
    for (int i = 0; i < B * N; i++) rows[i] = i;
    double *x = encoded(layer, &ids), *want = reference(layer, x, rows, B * N);
    ck_assert_ok(run(layer, &ids, NULL, &y.t));
    assert_logits(&y, want);
    assert_unchanged(&ids);
    free(x), free(want);
    release(&ids), release(&y);
    colt5_layer_destroy(layer);
}
END_TEST

/* In any order, twice, and outside of what there is. */
START_TEST(positions_pick_rows)
{
    const int rows[] = {B * N - 1, 0, N + 1, N + 1, -1, B * N, N - 1, N};
    const size_t M = sizeof(rows) / sizeof(rows[0]);
    const colt5_type type = storage_types[_i % 3], y_type = _i / 3 ? COLT5_F32 : type;
    colt5_layer *layer = make(type);
    struct device_tensor ids = make_ids(), y = poisoned_tensor(y_type, M, V);
    struct device_tensor positions = upload_i32(rows, M);
    double *x = encoded(layer, &ids), *want = reference(layer, x, rows, M);
    ck_assert_ok(run(layer, &ids, &positions.t, &y.t));
    assert_logits(&y, want);
    assert_unchanged(&positions);
    free(x), free(want);
    release(&ids), release(&y), release(&positions);
    colt5_layer_destroy(layer);
}
END_TEST

/* Gradients of one call; the caller destroys them. */
static colt5_gradients *gradients_of(const colt5_layer *layer, const struct device_tensor *ids,
                                     const colt5_tensor *positions, const struct device_tensor *dy)
{
    colt5_saved *saved;
    colt5_gradients *gradients;
    struct device_tensor y = upload_raw(NULL, dy->t.type, dy->t.rank, dy->t.dims);
    ck_assert_ok(colt5_saved_create(ctx, &saved));
    ck_assert_ok(colt5_gradients_create(ctx, layer, &gradients));
    const colt5_forward forward = {.struct_size = sizeof(forward),
                                   .x = &ids->t,
                                   .y = &y.t,
                                   .positions = positions,
                                   .saved = saved};
    ck_assert_ok(colt5_layer_forward(ctx, layer, &forward));
    const colt5_backward backward = {
        .struct_size = sizeof(backward), .dy = &dy->t, .gradients = gradients};
    ck_assert_ok(colt5_layer_backward(ctx, layer, &forward, &backward));
    assert_unchanged(dy);
    colt5_saved_destroy(saved);
    release(&y);
    return gradients;
}

static void assert_same_gradients(const colt5_layer *layer, const colt5_gradients *a,
                                  const colt5_gradients *b, double bound)
{
    for (size_t i = 0; i < colt5_layer_parameter_count(layer); i++) {
        colt5_parameter have, want;
        ck_assert_ok(colt5_gradients_get(a, i, &have));
        ck_assert_ok(colt5_gradients_get(b, i, &want));
        double *h = values_of(&have.tensor), *w = values_of(&want.tensor);
        const double error = relative_error(h, w, colt5_tensor_count(&have.tensor));
        ck_assert_msg(error <= bound, "%s: %.3g", have.name, error);
        free(h), free(w);
    }
}

/* The gradients of picked rows are those of all rows where the others' dy is 0; what stands in dy
 * at padding is not looked at. */
START_TEST(positions_pick_gradients)
{
    const int rows[] = {B * N - 1, 0, N + 1, N + 1, 3, N - 1, N};
    const size_t M = sizeof(rows) / sizeof(rows[0]);
    const colt5_type type = storage_types[_i];
    colt5_layer *layer = make(type);
    int *values = random_indices(B * N, 256);
    values[5] = values[N + 7] = 256; /* padding */
    struct device_tensor ids = upload_i32(values, B, N), positions = upload_i32(rows, M);
    double *some = random_normal(M * V), *all = zeros(B * N * V);
    for (size_t i = 0; i < M * V; i++) {
        some[i] = floor(some[i] * 16) / 16; /* so that every type keeps a sum of two */
        all[(size_t)rows[i / V] * V + i % V] += some[i];
    }
    for (size_t v = 0; v < V; v++) all[5 * V + v] = all[(N + 7) * V + v] = NAN;
    struct device_tensor dsome = upload(some, COLT5_F32, M, V), dall = upload(all, type, B, N, V);
    colt5_gradients *have = gradients_of(layer, &ids, &positions.t, &dsome);
    colt5_gradients *want = gradients_of(layer, &ids, NULL, &dall);
    assert_same_gradients(layer, have, want, type == COLT5_F32 ? 1e-5 : 5e-2);
    free(values), free(some), free(all);
    colt5_gradients_destroy(have);
    colt5_gradients_destroy(want);
    release(&ids), release(&positions), release(&dsome), release(&dall);
    colt5_layer_destroy(layer);
}
END_TEST

START_TEST(no_positions_leave_y_alone)
{
    colt5_layer *layer = make(COLT5_F32);
    struct device_tensor ids = make_ids(), y = poisoned_tensor(COLT5_F32, 1, V);
    struct device_tensor positions = poisoned_tensor(COLT5_I32, 1);
    positions.t.dims[0] = y.t.dims[0] = 0;
    ck_assert_ok(run(layer, &ids, &positions.t, &y.t));
    positions.t.dims[0] = y.t.dims[0] = 1;
    assert_untouched(&y);
    release(&ids), release(&y), release(&positions);
    colt5_layer_destroy(layer);
}
END_TEST

/* The bias is 0 at first, whatever the seed; positions make the plan smaller. */
START_TEST(initial_bias_and_plan)
{
    const colt5_config config = small(COLT5_MASKED_LANGUAGE_MODEL);
    colt5_layer *layer;
    ck_assert_ok(colt5_layer_create(ctx, &config, COLT5_F32, &layer));
    ck_assert_ok(colt5_layer_initialise(layer, 7));
    const colt5_tensor bias = parameter(layer, "to_logits.bias");
    double *values = values_of(&bias);
    for (size_t v = 0; v < V; v++) ck_assert(values[v] == 0);
    free(values);
    const size_t M = 3;
    const colt5_tensor ids = colt5_tensor_wrap(NULL, 0, COLT5_I32, 2, (size_t[]){B, N});
    const colt5_tensor y = colt5_tensor_wrap(NULL, 0, COLT5_F32, 3, (size_t[]){B, N, V});
    const colt5_tensor positions = colt5_tensor_wrap(NULL, 0, COLT5_I32, 1, &M);
    const colt5_tensor some_y = colt5_tensor_wrap(NULL, 0, COLT5_F32, 2, (size_t[]){M, V});
    colt5_forward forward = {.struct_size = sizeof(forward), .x = &ids, .y = &y};
    colt5_plan all, some;
    ck_assert_ok(colt5_layer_plan(ctx, layer, &forward, &all));
    forward.y = &some_y;
    forward.positions = &positions;
    ck_assert_ok(colt5_layer_plan(ctx, layer, &forward, &some));
    ck_assert_uint_eq(all.flop - some.flop, 2 * (B * N - M) * D * V);
    colt5_layer_destroy(layer);
}
END_TEST

static const struct bad_call {
    const char *what;
    colt5_layer_kind kind;
    bool positions;
    colt5_tensor y, position;
    size_t tokens;
    colt5_status expected;
} bad_calls[] = {
#define MLM COLT5_MASKED_LANGUAGE_MODEL
#define T(type, ...)                                                                               \
    {                                                                                              \
        NULL, 0, type, sizeof((int[]){__VA_ARGS__}) / sizeof(int),                                 \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define I32(...) T(COLT5_I32, __VA_ARGS__)
#define F32(...) T(COLT5_F32, __VA_ARGS__)
    {"y as wide as the model", MLM, false, F32(B, N, D), I32(3), N, COLT5_ERROR_SHAPE},
    {"y of some rows", MLM, false, F32(3, V), I32(3), N, COLT5_ERROR_SHAPE},
    {"y of all rows", MLM, true, F32(B, N, V), I32(3), N, COLT5_ERROR_SHAPE},
    {"y of too few rows", MLM, true, F32(2, V), I32(3), N, COLT5_ERROR_SHAPE},
    {"positions of rank 2", MLM, true, F32(3, V), I32(1, 3), N, COLT5_ERROR_SHAPE},
    {"positions of u8", MLM, true, F32(3, V), T(COLT5_U8, 3), N, COLT5_ERROR_TYPE},
    {"y of f16", MLM, true, T(COLT5_F16, 3, V), I32(3), N, COLT5_ERROR_TYPE},
    {"y of i32", MLM, true, I32(3, V), I32(3), N, COLT5_ERROR_TYPE},
    {"positions of no tokens", MLM, true, F32(3, V), I32(3), 0, COLT5_ERROR_SHAPE},
    {"positions for an encoder", COLT5_TEXT_ENCODER, true, F32(B, N, D), I32(3), N,
     COLT5_ERROR_ARGUMENT},
};

START_TEST(bad_calls_are_refused)
{
    const struct bad_call *c = &bad_calls[_i];
    const colt5_config config = small(c->kind);
    colt5_layer *layer;
    ck_assert_ok(colt5_layer_create(ctx, &config, COLT5_F32, &layer));
    ck_assert_ok(colt5_layer_initialise(layer, 5));
    struct device_tensor ids = make_ids(), out = poisoned_tensor(COLT5_F32, B * N * V);
    struct device_tensor some = poisoned_tensor(COLT5_I32, 8);
    colt5_tensor y = c->y, positions = c->position;
    y.buffer = out.t.buffer;
    positions.buffer = some.t.buffer;
    ids.t.dims[1] = c->tokens;
    ck_assert_msg(run(layer, &ids, c->positions ? &positions : NULL, &y) == c->expected, "%s: %s",
                  c->what, colt5_message(ctx));
    ids.t.dims[1] = N;
    assert_untouched(&out);
    y = out.t;
    y.rank = 3;
    y.dims[0] = B, y.dims[1] = N, y.dims[2] = c->kind == MLM ? V : D;
    if (!tiny() || _i == 0) ck_assert_ok(run(layer, &ids, NULL, &y));
    release(&ids), release(&out), release(&some);
    colt5_layer_destroy(layer);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("masked_language_model");
    TCase *tests = tcase_create("masked_language_model");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, logits_are_the_tied_product, 0, tiny() ? 1 : 6);
    tcase_add_loop_test(tests, positions_pick_rows, 0, tiny() ? 1 : 6);
    tcase_add_loop_test(tests, positions_pick_gradients, 0, tiny() ? 1 : 3);
    tcase_add_test(tests, no_positions_leave_y_alone);
    tcase_add_test(tests, initial_bias_and_plan);
    tcase_add_loop_test(tests, bad_calls_are_refused, 0, sizeof(bad_calls) / sizeof(bad_calls[0]));
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
