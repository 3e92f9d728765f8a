/* SPDX-License-Identifier: MIT */
#include "support/round.h"

colt5_config round_config(colt5_layer_kind kind, int variant)
{
    colt5_config c = colt5_config_default(kind);
    c.dim = 16;
    c.num_heavy_tokens_ff = c.num_heavy_tokens_q = 5;
    c.num_heavy_tokens_kv = 7;
    c.heavy_ff_mult = 2;
    c.light_heads = c.heavy_heads = 2;
    c.light_dim_head = c.heavy_dim_head = 8;
    c.light_window_size = tiny() ? 6 : 12;
    c.depth = tiny() ? 1 : 2;
    c.vocab_size = 23;
    c.rotary_emb = c.light_rotary_emb = variant & 1;
    c.num_routed_kv = variant & 2 ? 2 : 1;
    c.router.straight_through = !(variant & 1);
    c.router.type = variant & 4 ? COLT5_ROUTER_SINKHORN : COLT5_ROUTER_COOR_DESCENT;
    c.router.eps = 1; /* far from saturation */
    c.router.n_iters = 4;
    return c;
}

static bool takes_ids(const colt5_config *config)
{
    return config->kind >= COLT5_TEXT_ENCODER;
}

static struct device_tensor values_like(colt5_type type, size_t batch, size_t length, size_t width)
{
    double *values = random_normal(batch * length * width);
    struct device_tensor tensor = upload(values, type, batch, length, width);
    free(values);
    return tensor;
}

static struct device_tensor ids_below(size_t vocab, size_t batch, size_t length)
{
    int *ids = random_indices(batch * length, vocab);
    struct device_tensor tensor = upload_i32(ids, batch, length);
    free(ids);
    return tensor;
}

void round_open(const colt5_config *config, colt5_type type, size_t batch, size_t length,
                uint64_t seed, struct round *round)
{
    const bool logits = config->kind == COLT5_MASKED_LANGUAGE_MODEL;
    const size_t width = logits ? config->vocab_size : config->dim;
    *round = (struct round){.rows = batch * length};
    seed_random(seed);
    ck_assert_ok(colt5_layer_create(ctx, config, type, &round->layer));
    ck_assert_ok(colt5_layer_initialise(round->layer, seed));
    round->x = takes_ids(config) ? ids_below(config->vocab_size, batch, length)
                                 : values_like(type, batch, length, config->dim);
    if (!takes_ids(config)) round->dx = poisoned_tensor(type, batch, length, config->dim);
    round->y = poisoned_tensor(type, batch, length, width);
    round->dy = values_like(type, batch, length, width);
    ck_assert_ok(colt5_saved_create(ctx, &round->saved));
    ck_assert_ok(colt5_gradients_create(ctx, round->layer, &round->gradients));
    round->forward = (colt5_forward){.struct_size = sizeof(colt5_forward),
                                     .x = &round->x.t,
                                     .y = &round->y.t,
                                     .seed = seed,
                                     .saved = round->saved};
    round->backward = (colt5_backward){.struct_size = sizeof(colt5_backward),
                                       .dy = &round->dy.t,
                                       .dx = round->dx.count ? &round->dx.t : NULL,
                                       .gradients = round->gradients};
}

void round_mask(struct round *round)
{
    const size_t batch = round->x.t.dims[0], length = round->x.t.dims[1];
    uint8_t *real = random_mask(round->rows, 0.6);
    real[0] = 1;
    if (batch > 1) memset(real + (batch - 1) * length, 0, length);
    round->mask = upload_u8(real, batch, length);
    round->forward.mask = &round->mask.t;
    free(real);
}

void round_close(struct round *round)
{
    assert_unchanged(&round->x);
    assert_unchanged(&round->dy);
    if (round->mask.count) assert_unchanged(&round->mask);
    release(&round->x), release(&round->y), release(&round->dy), release(&round->dx);
    release(&round->mask);
    colt5_gradients_destroy(round->gradients);
    colt5_saved_destroy(round->saved);
    colt5_layer_destroy(round->layer);
}

void round_forward(struct round *round)
{
    ck_assert_ok(colt5_layer_forward(ctx, round->layer, &round->forward));
}

void round_backward(struct round *round)
{
    ck_assert_ok(colt5_layer_backward(ctx, round->layer, &round->forward, &round->backward));
}

void round_run(struct round *round)
{
    ck_assert_ok(colt5_gradients_clear(round->gradients));
    round_forward(round);
    round_backward(round);
}

static void zero_masked_rows(const struct round *round, double *dx)
{
    if (!round->mask.count) return;
    double *mask = download(&round->mask);
    const size_t width = round->dx.count / round->rows;
    for (size_t i = 0; i < round->dx.count; i++)
        if (mask[i / width] == 0) dx[i] = 0;
    free(mask);
}

double *round_results(const struct round *round, size_t *count)
{
    const size_t parameters = colt5_layer_parameter_count(round->layer);
    double *all = NULL;
    *count = 0;
    for (size_t i = 0; i <= parameters; i++) {
        colt5_parameter gradient = {.tensor = round->dx.t};
        if (i == parameters && !round->dx.count) break;
        if (i < parameters) ck_assert_ok(colt5_gradients_get(round->gradients, i, &gradient));
        const size_t more = colt5_tensor_count(&gradient.tensor);
        double *values = download(&(struct device_tensor){.t = gradient.tensor, .count = more});
        if (i == parameters) zero_masked_rows(round, values);
        all = realloc(all, (*count + more + 1) * sizeof(*all));
        memcpy(all + *count, values, more * sizeof(*all));
        *count += more;
        free(values);
    }
    return all;
}

void assert_same_bits(const double *a, const double *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(!memcmp(&a[i], &b[i], sizeof(*a)), "result %zu of %zu: %.9g and %.9g", i,
                      count, a[i], b[i]);
}
