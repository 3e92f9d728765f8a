/* SPDX-License-Identifier: MIT */
#include "support/testing.h"

#include <colt5/ops/local_attention.h>

/* One call, its reference, and the tensors it ran on. */
struct run {
    struct reference_local_attention a;
    colt5_type type;
    double *qkv, *y, *lse;
    uint8_t *mask;
    struct device_tensor dqkv, dmask, dy, dlse;
};

static size_t y_count(const struct run *r)
{
    return r->a.B * r->a.Q * r->a.H * r->a.E;
}

static size_t row_width(const struct run *r)
{
    return r->a.H * r->a.E;
}

static colt5_local_attention_options options_of(const struct run *r)
{
    return (colt5_local_attention_options){r->a.window, r->a.causal, r->a.N, r->a.first_key,
                                           r->a.first_query};
}

/* A whole sequence of random numbers, share of whose tokens are real (1: no mask at all). */
static struct run make_run(size_t B, size_t N, size_t H, size_t E, size_t window, bool causal,
                           colt5_type type, double share)
{
    struct run r = {.a = {B, N, N, H, E, N, window, 0, 0, causal, NULL, NULL}, .type = type};
    const size_t count = B * N * 3 * H * E;
    r.qkv = rounded_to(type, random_normal(count), count);
    r.mask = share < 1 ? random_mask(B * N, share) : NULL;
    r.a.qkv = r.qkv;
    r.a.mask = r.mask;
    r.y = poisoned(y_count(&r));
    r.lse = poisoned(B * H * N);
    return r;
}

/* What stands in the keys and values of masked tokens must not matter. */
static void spoil_masked_keys(struct run *r)
{
    const double worst[] = {NAN, INFINITY, -INFINITY};
    for (size_t row = 0; r->mask && row < r->a.B * r->a.N; row++)
        for (size_t e = 0; !r->mask[row] && e < 2 * row_width(r); e++)
            r->qkv[(3 * row + 1) * row_width(r) + e] = worst[(row + e) % 3];
}

/* The queries too: for the backward, which does not look at them. */
static void spoil_masked_tokens(struct run *r)
{
    spoil_masked_keys(r);
    for (size_t row = 0; r->mask && row < r->a.B * r->a.N; row++)
        for (size_t e = 0; !r->mask[row] && e < row_width(r); e++)
            r->qkv[3 * row * row_width(r) + e] = NAN;
}

static void upload_run(struct run *r)
{
    const struct reference_local_attention *a = &r->a;
    r->dqkv = upload(r->qkv, r->type, a->B, a->P, 3, a->H, a->E);
    if (r->mask) r->dmask = upload_u8(r->mask, a->B, a->N);
    r->dy = poisoned_tensor(r->type, a->B, a->Q, a->H, a->E);
    r->dlse = poisoned_tensor(COLT5_F32, a->B, a->H, a->Q);
}

static void compare(struct run *r)
{
    const colt5_local_attention_options options = options_of(r);
    ck_assert_ok(colt5_local_attention_forward(ctx, &r->dqkv.t, r->mask ? &r->dmask.t : NULL,
                                               &options, &r->dy.t, &r->dlse.t));
    reference_local_attention(&r->a, r->y, r->lse);
    assert_norm(&r->dy, r->y, forward_bound(r->type));
    assert_close(&r->dlse, r->lse, 2e-6, 2e-6);
    assert_unchanged(&r->dqkv);
}

static void free_run(struct run *r)
{
    release(&r->dqkv), release(&r->dmask), release(&r->dy), release(&r->dlse);
    free(r->qkv), free(r->y), free(r->lse), free(r->mask);
}

static void check_run(struct run r)
{
    spoil_masked_keys(&r);
    upload_run(&r);
    compare(&r);
    free_run(&r);
}

static const struct shape {
    size_t B, N, H, E, window;
    double share; /* of real tokens; 1: no mask */
} shapes[] = {{1, 1, 1, 1, 1, 1},      {2, 5, 3, 3, 2, 0.7},     {1, 31, 2, 8, 4, 1},
              {2, 32, 1, 16, 7, 0.5},  {1, 33, 2, 33, 40, 0.8},  {2, 65, 2, 64, 64, 0.9},
              {1, 131, 2, 64, 31, 1},  {1, 70, 1, 128, 16, 0.6}, {1, 45, 1, 256, 50, 0.9},
              {1, 300, 1, 20, 90, 0.9}};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* A build of the GPU's kernels takes a second, one for each width of heads: not all are tested. */
static bool on_tiles(void)
{
    return getenv("COLT5_KERNELS") && !strcmp(getenv("COLT5_KERNELS"), "gpu");
}

static bool left_out(struct shape s, bool backward)
{
    return (tiny() && (s.N > 33 || (backward && s.E == 33))) ||
           (on_tiles() && (s.E == 33 || (backward && s.E == 128)));
}

START_TEST(near_tokens_are_averaged)
{
    const struct shape s = shapes[_i / 2];
    if (left_out(s, false)) return;
    check_run(make_run(s.B, s.N, s.H, s.E, s.window, _i % 2, COLT5_F32, s.share));
}
END_TEST

/* For 16 bits: heads that matrix units take and such as they do not, windows on both sides of what
 * kernels for short ones take, tiles all of whose keys are there, and ragged ones. */
static const struct shape halves[] = {{1, 75, 2, 24, 11, 0.8}, {1, 75, 2, 13, 11, 0.8},
                                      {1, 331, 1, 64, 64, 1},  {2, 140, 2, 56, 40, 0.9},
                                      {1, 270, 1, 40, 5, 1},   {1, 200, 1, 64, 65, 0.9},
                                      {1, 260, 1, 64, 100, 1}};
#define HALVES (sizeof(halves) / sizeof(halves[0]))

/* causal or not, f16 or bf16, of each shape */
static struct run half_run(int i)
{
    const struct shape s = halves[i / 4];
    return make_run(s.B, tiny() ? 20 : s.N, s.H, s.E, s.window, i % 2, storage_types[1 + i / 2 % 2],
                    s.share);
}

/* Where only the plain kernels run, one width will do for both types; under a checker one type of
 * each of two. */
static bool half_left_out(int i)
{
    if (tiny() && i / 2 % 2 != i / 4) return true;
    if (on_tiles() && i / 2 % 2) return true;
    return (tiny() || on_tiles()) && i / 4 > (on_tiles() ? 0 : 1);
}

START_TEST(sixteen_bits_are_storage)
{
    if (!half_left_out(_i)) check_run(half_run(_i));
}
END_TEST

START_TEST(no_key_gives_zeros)
{
    struct run r = make_run(2, 20, 2, 8, 3, _i, COLT5_F32, 0.5);
    memset(r.mask, 0, 20); /* the whole of the first sample */
    memset(r.mask + 28, 0, 8);
    spoil_masked_keys(&r);
    upload_run(&r);
    compare(&r);
    double *y = download(&r.dy), *lse = download(&r.dlse);
    for (size_t i = 0; i < 20 * row_width(&r); i++) ck_assert(y[i] == 0);
    for (size_t i = 0; i < 20 * r.a.H; i++) ck_assert(lse[i] == -INFINITY);
    free(y), free(lse);
    free_run(&r);
}
END_TEST

/* A token out of reach may hold anything: what a causal model must never look at, for one. */
START_TEST(tokens_out_of_reach_do_not_matter)
{
    if (tiny() && _i >= 4) return;
    const size_t N = tiny() ? 40 : 100, w = 9, bad = N / 2;
    const double worst = _i / 2 % 2 ? INFINITY : NAN;
    const bool half = _i >= 4 && !on_tiles();
    struct run r = make_run(1, N, 2, half ? 64 : 16, w, _i % 2, half ? COLT5_BF16 : COLT5_F32, 1);
    for (size_t e = 0; e < 2 * row_width(&r); e++)
        r.qkv[(3 * bad + 1) * row_width(&r) + e] = e % 2 ? worst : INFINITY;
    upload_run(&r);
    const colt5_local_attention_options options = options_of(&r);
    ck_assert_ok(colt5_local_attention_forward(ctx, &r.dqkv.t, NULL, &options, &r.dy.t, NULL));
    reference_local_attention(&r.a, r.y, r.lse);
    double *y = download(&r.dy);
    for (size_t i = 0; i < y_count(&r); i++)
        ck_assert_msg(isnan(r.y[i]) ? isnan(y[i]) : fabs(y[i] - r.y[i]) < (half ? 0.02 : 1e-5),
                      "element %zu: %g, not %g", i, y[i], r.y[i]);
    free(y);
    free_run(&r);
}
END_TEST

static void release_run(struct run *r)
{
    release(&r->dqkv), release(&r->dmask), release(&r->dy), release(&r->dlse);
}

/* The tokens from … to - 1 as a piece of their own, with just the keys they may see; its values and
 * its mask are the whole's. */
static struct run piece_of(const struct run *whole, size_t from, size_t to)
{
    const struct reference_local_attention *a = &whole->a;
    const size_t w = a->window, start = a->causal ? from / w * w : from;
    const size_t first = start > w ? start - w : 0;
    const size_t end = a->causal ? to : to + w < a->N ? to + w : a->N;
    struct run r = {.a = *a, .type = whole->type, .mask = whole->mask};
    r.a.first_key = first, r.a.first_query = from;
    r.a.P = end - first, r.a.Q = to - from;
    r.qkv = whole->qkv + first * 3 * row_width(whole);
    return r;
}

static void run_piece(const struct run *whole, size_t from, size_t to)
{
    struct run r = piece_of(whole, from, to);
    upload_run(&r);
    const colt5_local_attention_options options = options_of(&r);
    ck_assert_ok(colt5_local_attention_forward(ctx, &r.dqkv.t, r.mask ? &r.dmask.t : NULL, &options,
                                               &r.dy.t, &r.dlse.t));
    double *all = download(&whole->dy);
    assert_equal(&r.dy, all + from * row_width(whole));
    free(all);
    release_run(&r);
}

START_TEST(a_piece_gives_the_bits_of_the_whole)
{
    const size_t N = tiny() ? 20 : 270, E = _i < 4 ? 24 : 64;
    const colt5_type type = _i < 2 ? COLT5_F32 : COLT5_BF16;
    if ((tiny() || on_tiles()) && E == 64) return;
    struct run r = make_run(1, N, 2, E,
                            tiny()   ? 5
                            : _i < 6 ? 37
                                     : 64,
                            _i % 2, type, _i < 6 ? 0.9 : 1);
    upload_run(&r);
    compare(&r);
    const size_t cuts[] = {0, 1, N / 3, N / 3 + 7, N - 1, N};
    for (size_t i = 0; i + 1 < sizeof(cuts) / sizeof(cuts[0]); i++)
        run_piece(&r, cuts[i], cuts[i + 1]);
    free_run(&r);
}
END_TEST

START_TEST(equal_calls_give_equal_bits)
{
    struct run r = make_run(1, tiny() ? 20 : 90, 2, tiny() ? 8 : 40, 8, false, COLT5_F32, 0.9);
    upload_run(&r);
    compare(&r);
    double *first = download(&r.dy);
    compare(&r);
    assert_equal(&r.dy, first);
    free(first);
    free_run(&r);
}
END_TEST

START_TEST(work_is_counted)
{
    for (size_t w = 1; w < 9; w++)
        for (int causal = 0; causal < 2; causal++) {
            struct run r = make_run(1, 7, 1, 1, w, causal, COLT5_F32, 1);
            upload_run(&r);
            colt5_context_reset_statistics(ctx);
            const colt5_local_attention_options options = options_of(&r);
            ck_assert_ok(
                colt5_local_attention_forward(ctx, &r.dqkv.t, NULL, &options, &r.dy.t, NULL));
            colt5_statistics statistics = {.struct_size = sizeof(statistics)};
            ck_assert_ok(colt5_context_statistics(ctx, &statistics));
            size_t pairs = 0;
            for (size_t i = 0; i < 7; i++)
                for (size_t j = 0; j < 7; j++)
                    pairs += causal ? j <= i && i / w <= j / w + 1 : j <= i + w && i <= j + w;
            ck_assert_uint_eq(statistics.flop, 4 * pairs);
            free_run(&r);
        }
}
END_TEST

/* ---- backward ---- */

/* A forward, its gradient and the reference's; spoiled: what stands in masked tokens is NaN. */
static void check_backward(struct run r)
{
    const struct reference_local_attention *a = &r.a;
    const colt5_local_attention_options options = options_of(&r);
    const size_t count = a->B * a->P * 3 * row_width(&r);
    double *dy = rounded_to(r.type, random_normal(y_count(&r)), y_count(&r));
    double *want = poisoned(count);
    spoil_masked_tokens(&r);
    upload_run(&r);
    struct device_tensor ddy = upload(dy, r.type, a->B, a->Q, a->H, a->E);
    struct device_tensor dqkv = poisoned_tensor(r.type, a->B, a->P, 3, a->H, a->E);
    const colt5_tensor *mask = r.mask ? &r.dmask.t : NULL;
    ck_assert_ok(colt5_local_attention_forward(ctx, &r.dqkv.t, mask, &options, &r.dy.t, &r.dlse.t));
    ck_assert_ok(colt5_local_attention_backward(ctx, &r.dqkv.t, mask, &options, &r.dy.t, &r.dlse.t,
                                                &ddy.t, &dqkv.t));
    reference_local_attention_backward(a, dy, want);
    assert_norm(&dqkv, want, r.type == COLT5_F32 ? 1e-5 : 1e-2);
    assert_unchanged(&r.dqkv);
    double *first = download(&dqkv);
    ck_assert_ok(colt5_local_attention_backward(ctx, &r.dqkv.t, mask, &options, &r.dy.t, &r.dlse.t,
                                                &ddy.t, &dqkv.t));
    assert_equal(&dqkv, first);
    release(&ddy), release(&dqkv);
    free(dy), free(want), free(first);
    free_run(&r);
}

START_TEST(the_gradient_is_that_of_the_average)
{
    const struct shape s = shapes[_i / 2];
    /* Under a checker causal or not, each with a mask and without. */
    if (left_out(s, true) || (tiny() && _i % 2 != (_i / 2 + 1) / 2 % 2)) return;
    check_backward(make_run(s.B, s.N, s.H, s.E, s.window, _i % 2, COLT5_F32, s.share));
}
END_TEST

START_TEST(gradients_of_sixteen_bits)
{
    if (half_left_out(_i)) return;
    check_backward(half_run(_i));
}
END_TEST

/* The pieces' gradients of a token add up to its gradient. */
START_TEST(gradients_of_pieces_add_up)
{
    const size_t N = tiny() ? 30 : 110, w = tiny() ? 4 : 13, cuts[] = {0, N / 3, N - 2, N};
    struct run r = make_run(1, N, 2, 16, w, _i, COLT5_F32, 0.9);
    const size_t width = row_width(&r);
    double *dy = random_normal(N * width), *want = poisoned(3 * N * width);
    double *sum = zeros(3 * N * width);
    rounded_to(COLT5_F32, dy, N * width);
    reference_local_attention_backward(&r.a, dy, want);
    for (size_t i = 0; i < 3; i++) {
        struct run p = piece_of(&r, cuts[i], cuts[i + 1]);
        const colt5_local_attention_options options = options_of(&p);
        struct device_tensor ddy = upload(dy + cuts[i] * width, COLT5_F32, 1, p.a.Q, 2, 16);
        struct device_tensor dqkv = poisoned_tensor(COLT5_F32, 1, p.a.P, 3, 2, 16);
        upload_run(&p);
        ck_assert_ok(colt5_local_attention_forward(ctx, &p.dqkv.t, &p.dmask.t, &options, &p.dy.t,
                                                   &p.dlse.t));
        ck_assert_ok(colt5_local_attention_backward(ctx, &p.dqkv.t, &p.dmask.t, &options, &p.dy.t,
                                                    &p.dlse.t, &ddy.t, &dqkv.t));
        double *part = download(&dqkv);
        for (size_t n = 0; n < 3 * p.a.P * width; n++)
            sum[3 * p.a.first_key * width + n] += part[n];
        free(part);
        release(&ddy), release(&dqkv);
        release_run(&p);
    }
    ck_assert(relative_error(sum, want, 3 * N * width) < 1e-5);
    free(dy), free(want), free(sum);
    free_run(&r);
}
END_TEST

static void forward_again(void *data)
{
    struct run *r = data;
    reference_local_attention(&r->a, r->y, r->lse);
}

START_TEST(the_reference_is_its_difference_quotient)
{
    struct run r = make_run(2, 9, 2, 3, 2, _i, COLT5_F32, 0.8);
    const size_t count = 2 * 9 * 3 * 2 * 3;
    double *dy = random_normal(y_count(&r)), *dqkv = poisoned(count);
    for (size_t i = 0; i < 18; i++)
        for (size_t e = 0; !r.mask[i] && e < 6; e++) dy[6 * i + e] = 0;
    reference_local_attention_backward(&r.a, dy, dqkv);
    assert_gradient(&(struct difference_check){forward_again, &r, r.y, dy, y_count(&r)}, r.qkv,
                    dqkv, count);
    free(dy), free(dqkv);
    free_run(&r);
}
END_TEST

static const struct bad_gradient {
    const char *what;
    int argument;
    colt5_status expected;
} bad_gradients[] = {
    {"no lse", 0, COLT5_ERROR_ARGUMENT},
    {"lse of 16 bits", 1, COLT5_ERROR_TYPE},
    {"no dy", 2, COLT5_ERROR_ARGUMENT},
    {"dy of another type", 3, COLT5_ERROR_TYPE},
    {"dqkv of other tokens", 4, COLT5_ERROR_SHAPE},
    {"no dqkv", 5, COLT5_ERROR_ARGUMENT},
    {"dqkv on qkv", 6, COLT5_ERROR_ARGUMENT},
    {"dy of other queries", 7, COLT5_ERROR_SHAPE},
    {"dqkv of another type", 8, COLT5_ERROR_TYPE},
};

START_TEST(bad_gradients_are_refused)
{
    const struct bad_gradient bad = bad_gradients[_i];
    struct run r = make_run(1, 10, 2, 4, 3, false, COLT5_F32, 1);
    upload_run(&r);
    compare(&r);
    const colt5_local_attention_options options = options_of(&r);
    double *ones = zeros(80);
    struct device_tensor ddy = upload(ones, COLT5_F32, 1, 10, 2, 4);
    struct device_tensor dqkv = poisoned_tensor(COLT5_F32, 1, 10, 3, 2, 4);
    colt5_tensor lse = r.dlse.t, dy = ddy.t, out = dqkv.t;
    if (bad.argument == 1) lse.type = COLT5_F16;
    if (bad.argument == 3) dy.type = COLT5_F16;
    if (bad.argument == 4) out.dims[1] = 9;
    if (bad.argument == 6) out = r.dqkv.t;
    if (bad.argument == 7) dy.dims[1] = 9;
    if (bad.argument == 8) out.type = COLT5_BF16;
    const colt5_status status = colt5_local_attention_backward(
        ctx, &r.dqkv.t, NULL, &options, &r.dy.t, bad.argument == 0 ? NULL : &lse,
        bad.argument == 2 ? NULL : &dy, bad.argument == 5 ? NULL : &out);
    ck_assert_msg(status == bad.expected, "%s: %s", bad.what, colt5_status_text(status));
    ck_assert_msg(strncmp(colt5_message(ctx), "local_attention: ", 17) == 0, "%s",
                  colt5_message(ctx));
    assert_untouched(&dqkv);
    release(&ddy), release(&dqkv);
    free(ones);
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
    {"qkv of rank 4", 0, 4, COLT5_ERROR_SHAPE},
    {"two parts instead of three", 1, 2, COLT5_ERROR_SHAPE},
    {"a head of width 257", 2, 257, COLT5_ERROR_SHAPE},
    {"qkv of integers", 3, COLT5_I32, COLT5_ERROR_TYPE},
    {"y of another type", 4, COLT5_F16, COLT5_ERROR_TYPE},
    {"y of other heads", 5, 1, COLT5_ERROR_SHAPE},
    {"a mask of another length", 6, 9, COLT5_ERROR_SHAPE},
    {"a mask of floats", 7, COLT5_F32, COLT5_ERROR_TYPE},
    {"lse of 16 bits", 8, COLT5_F16, COLT5_ERROR_TYPE},
    {"lse of other queries", 9, 3, COLT5_ERROR_SHAPE},
    {"no window", 10, 0, COLT5_ERROR_ARGUMENT},
    {"a sequence shorter than qkv", 11, 9, COLT5_ERROR_ARGUMENT},
    {"queries after the end", 12, 1, COLT5_ERROR_ARGUMENT},
    {"keys after the end", 13, 1, COLT5_ERROR_ARGUMENT},
    {"a key missing at the end", 11, 11, COLT5_ERROR_ARGUMENT},
    {"an endless sequence", 11, (size_t)1 << 30, COLT5_ERROR_ARGUMENT},
    {"no options", 14, 0, COLT5_ERROR_ARGUMENT},
    {"no qkv", 15, 0, COLT5_ERROR_ARGUMENT},
    {"no y", 16, 0, COLT5_ERROR_ARGUMENT},
    {"y on qkv", 17, 0, COLT5_ERROR_ARGUMENT},
};

static void spoil(const struct bad_call *bad, colt5_tensor *qkv, colt5_tensor *mask,
                  colt5_local_attention_options *options, colt5_tensor *y, colt5_tensor *lse)
{
    const colt5_type type = (colt5_type)bad->value;
    switch (bad->argument) {
    case 0:
        qkv->rank = (int)bad->value;
        break;
    case 1:
        qkv->dims[2] = bad->value;
        break;
    case 2:
        qkv->dims[4] = bad->value;
        break;
    case 3:
        qkv->type = type;
        break;
    case 4:
        y->type = type;
        break;
    case 5:
        y->dims[2] = bad->value;
        break;
    case 6:
        mask->dims[1] = bad->value;
        break;
    case 7:
        mask->buffer = qkv->buffer, mask->offset = 0, mask->type = type;
        break;
    case 8:
        lse->type = type;
        break;
    case 9:
        lse->dims[2] = bad->value;
        break;
    case 10:
        options->window = bad->value;
        break;
    case 11:
        options->length = mask->dims[1] = bad->value;
        break;
    case 12:
        options->first_query = bad->value;
        break;
    case 13:
        options->first_key = bad->value;
        break;
    case 17:
        y->buffer = qkv->buffer, y->offset = qkv->offset;
        break;
    }
}

START_TEST(bad_calls_are_refused)
{
    const struct bad_call bad = bad_calls[_i];
    struct run r = make_run(1, 10, 2, 4, 3, false, COLT5_F32, 0.9);
    upload_run(&r);
    colt5_local_attention_options options = options_of(&r);
    colt5_tensor qkv = r.dqkv.t, mask = r.dmask.t, y = r.dy.t, lse = r.dlse.t;
    spoil(&bad, &qkv, &mask, &options, &y, &lse);
    const colt5_status status = colt5_local_attention_forward(
        ctx, bad.argument == 15 ? NULL : &qkv, bad.argument == 11 ? NULL : &mask,
        bad.argument == 14 ? NULL : &options, bad.argument == 16 ? NULL : &y, &lse);
    ck_assert_msg(status == bad.expected, "%s: %s", bad.what, colt5_status_text(status));
    ck_assert_msg(strncmp(colt5_message(ctx), "local_attention: ", 17) == 0, "%s",
                  colt5_message(ctx));
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
    tcase_add_loop_test(tests, near_tokens_are_averaged, 0, 2 * SHAPES);
    tcase_add_loop_test(tests, sixteen_bits_are_storage, 0, 4 * HALVES);
    tcase_add_loop_test(tests, no_key_gives_zeros, 0, 2);
    tcase_add_loop_test(tests, tokens_out_of_reach_do_not_matter, 0, 8);
    tcase_add_loop_test(tests, a_piece_gives_the_bits_of_the_whole, 0, 8);
    tcase_add_test(tests, equal_calls_give_equal_bits);
    tcase_add_test(tests, work_is_counted);
    tcase_add_loop_test(tests, the_gradient_is_that_of_the_average, 0, 2 * SHAPES);
    tcase_add_loop_test(tests, gradients_of_sixteen_bits, 0, 4 * HALVES);
    tcase_add_loop_test(tests, gradients_of_pieces_add_up, 0, 2);
    tcase_add_loop_test(tests, the_reference_is_its_difference_quotient, 0, 2);
    return tests;
}

int main(void)
{
    Suite *suite = suite_create("local_attention");
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
