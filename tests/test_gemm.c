/* SPDX-License-Identifier: MIT */
#include "support/files.h"
#include "support/testing.h"

#include <stdio.h>

#include "config.h"

#include "gemm/backend.h"
#include "runtime/context.h"
#include "runtime/launch.h"
#include "runtime/workspace.h"

static const char *const backends[] = {"wgmma",  "mma",   "split",   "tiled",
                                       "packed", "cblas", "clblast", "small-tiles"};
#define BACKENDS ((int)(sizeof(backends) / sizeof(backends[0])))

struct sizes {
    size_t M, N, K;
};
static const struct sizes odd_sizes[] = {
    {1, 1, 1},     {1, 129, 7},   {129, 1, 16},   {31, 33, 0},    {64, 64, 64},
    {13, 127, 97}, {128, 36, 20}, {131, 129, 33}, {136, 264, 72}, {392, 136, 520}};
#define SIZES ((int)(sizeof(odd_sizes) / sizeof(odd_sizes[0])))

/* A product on the device and the same in double. */
struct problem {
    struct gemm on_device;
    struct reference_gemm on_host;
    struct device_tensor a, b, c, bias, row_scale, residual, gelu_input, index, scatter;
    double *want;
};

enum extras {
    BIAS = 1,
    GELU = 2,
    ROW_SCALE = 4,
    RESIDUAL = 8,
    INDEX = 16,
    SCATTER = 32,
    ALPHA = 64,
    SCALE_FIRST = 128, /* with ROW_SCALE */
    GELU_INPUT = 256   /* without BIAS, GELU, RESIDUAL, SCATTER */
};

static double *values_of(colt5_type type, size_t count, bool whole)
{
    double *values = random_normal(count);
    for (size_t i = 0; i < count && whole; i++) values[i] = floor(7 * random_uniform()) - 3;
    return rounded_to(type, values, count);
}

static void add_extras(struct problem *p, unsigned extras, colt5_type type, colt5_type c_type)
{
    const struct sizes s = {p->on_host.M, p->on_host.N, p->on_host.K};
    const size_t samples = s.M % 2 ? 1 : 2, per_sample = s.M / samples, rows = per_sample + 3;
    if (extras & ALPHA) p->on_device.alpha = 0.5f, p->on_host.alpha = 0.5;
    p->on_device.gelu = (extras & GELU) != 0;
    p->on_host.gelu = (extras & GELU) != 0;
    if (extras & BIAS) {
        double *bias = values_of(type, s.N, false);
        p->bias = upload(bias, type, s.N);
        p->on_host.bias = bias;
    }
    if (extras & ROW_SCALE) {
        double *scale = values_of(COLT5_F32, s.M, false);
        p->row_scale = upload(scale, COLT5_F32, s.M);
        p->on_host.row_scale = scale;
        p->on_device.scale_first = (extras & SCALE_FIRST) != 0;
        p->on_host.scale_first = p->on_device.scale_first;
    }
    if (extras & INDEX) {
        int *index = random_indices(s.M, rows);
        index[s.M / 2] = (int)rows;
        p->index = upload_i32(index, s.M);
        p->on_host.index = index;
        p->on_device.index_rows = p->on_host.index_rows = per_sample;
        p->on_device.a_rows = p->on_host.a_rows = rows;
    }
    if (extras & SCATTER) {
        int *scatter = random_routes(samples, per_sample, rows);
        scatter[s.M / 2] = -1;
        p->scatter = upload_i32(scatter, s.M);
        p->on_host.scatter = scatter;
        p->on_device.scatter_rows = p->on_host.scatter_rows = per_sample;
        p->on_device.c_rows = p->on_host.c_rows = rows;
    }
    if (extras & RESIDUAL) {
        const size_t c_rows = extras & SCATTER ? samples * rows : s.M;
        double *residual = values_of(c_type, c_rows * s.N, false);
        p->residual = upload(residual, c_type, c_rows, s.N);
        p->on_host.residual = residual;
    }
    if (extras & GELU_INPUT) {
        double *input = values_of(c_type, s.M * s.N, false);
        p->gelu_input = upload(input, c_type, s.M, s.N);
        p->on_host.gelu_input = input;
    }
}

/* At most 39 under a slow checker, by four as divisible as before. */
static size_t bearable(size_t count)
{
    return tiny() && count > 39 ? 36 + count % 4 : count;
}

static struct problem make_problem(struct sizes wished, colt5_type type, colt5_type c_type,
                                   unsigned transposes, unsigned extras, bool whole)
{
    const struct sizes s = {bearable(wished.M), bearable(wished.N), bearable(wished.K)};
    const size_t samples = s.M % 2 ? 1 : 2, rows = samples * (s.M / samples + 3);
    const size_t a_rows = extras & INDEX ? rows : s.M, c_rows = extras & SCATTER ? rows : s.M;
    double *a = values_of(type, a_rows * s.K, whole), *b = values_of(type, s.K * s.N, whole);
    struct problem p = {.a = upload(a, type, a_rows, s.K),
                        .b = upload(b, type, s.K, s.N),
                        .c = poisoned_tensor(c_type, c_rows, s.N),
                        .want = poisoned(c_rows * s.N),
                        .on_host = {.M = s.M,
                                    .N = s.N,
                                    .K = s.K,
                                    .transpose_a = transposes & 1,
                                    .transpose_b = transposes >> 1,
                                    .a = a,
                                    .b = b}};
    p.on_device = (struct gemm){.op = "test",
                                .M = s.M,
                                .N = s.N,
                                .K = s.K,
                                .transpose_a = transposes & 1,
                                .transpose_b = transposes >> 1};
    if (extras & SCATTER) { /* rows that no entry names keep what they hold */
        free(p.want);
        release(&p.c);
        p.want = values_of(c_type, c_rows * s.N, false);
        p.c = upload(p.want, c_type, c_rows, s.N);
    }
    add_extras(&p, extras, type, c_type);
    return p;
}

/* CLBlast builds for many seconds, and no CPU is ever given it: there only on demand. It reads what
 * it has not written, which a checker would tell us of. */
static bool worth_a_test(const char *backend)
{
    if (tiny()) return !strcmp(backend, "tiled") || !strcmp(backend, "packed");
    const char *full = getenv("COLT5_TEST_FULL");
    return strcmp(backend, "clblast") != 0 || (full && !strcmp(full, "1")) ||
           ctx->info.kind != COLT5_DEVICE_CPU;
}

static void attach(struct problem *p)
{
    p->on_device.a = &p->a.t, p->on_device.b = &p->b.t, p->on_device.c = &p->c.t;
    if (p->bias.t.buffer) p->on_device.bias = &p->bias.t;
    if (p->row_scale.t.buffer) p->on_device.row_scale = &p->row_scale.t;
    if (p->residual.t.buffer) p->on_device.residual = &p->residual.t;
    if (p->gelu_input.t.buffer) p->on_device.gelu_input = &p->gelu_input.t;
    if (p->index.t.buffer) p->on_device.index = &p->index.t;
    if (p->scatter.t.buffer) p->on_device.scatter = &p->scatter.t;
}

/* By this backend, if it is one for the product; false where another would run. */
static bool solve(struct problem *p, const char *backend)
{
    if (!worth_a_test(backend)) return false;
    attach(p);
    const bool known = gemm_prefer(ctx, backend) == COLT5_OK;
    if (!known || strcmp(gemm_backend_name(ctx, &p->on_device), backend) != 0) return false;
    ck_assert_ok(gemm(ctx, &p->on_device));
    ck_assert_str_eq(gemm_backend_name(ctx, &p->on_device), backend); /* its self-test passed */
    reference_gemm(&p->on_host, p->want);
    return true;
}

static void free_problem(struct problem *p)
{
    assert_unchanged(&p->a), assert_unchanged(&p->b);
    release(&p->a), release(&p->b), release(&p->c), release(&p->bias), release(&p->row_scale);
    release(&p->residual), release(&p->gelu_input), release(&p->index), release(&p->scatter);
    free((void *)p->on_host.a), free((void *)p->on_host.b), free((void *)p->on_host.bias);
    free((void *)p->on_host.row_scale), free((void *)p->on_host.residual);
    free((void *)p->on_host.gelu_input), free((void *)p->on_host.index);
    free((void *)p->on_host.scatter), free(p->want);
    gemm_prefer(ctx, NULL);
}

/* Whole numbers are exact in every order: the tolerance is zero. */
START_TEST(whole_numbers_multiply_exactly)
{
    const char *backend = backends[_i / 8];
    const colt5_type type = _i % 8 < 4 ? COLT5_F32 : COLT5_BF16;
    /* Two layouts of each type where all would be slow, and on a CPU of what is made for GPUs. */
    const bool foreign = !strcmp(backend, "tiled") && !has_gpu_kernels();
    if ((tiny() || foreign) && _i / 4 % 2 != _i % 2) return;
    for (int i = 0; i < SIZES; i++) {
        struct problem p = make_problem(odd_sizes[i], type, COLT5_F32, (unsigned)_i % 4, 0, true);
        if (solve(&p, backend)) assert_equal(&p.c, p.want);
        free_problem(&p);
    }
}
END_TEST

/* No worse than plain float32 summing, and the rounding of what C is stored in. */
static void assert_within_bound(const struct problem *p, colt5_type c_type)
{
    const size_t M = p->on_host.M, N = p->on_host.N, K = p->on_host.K;
    double *a = zeros(M * K), *b = zeros(K * N), *size = zeros(M * N), *have = download(&p->c);
    for (size_t i = 0; i < M * K; i++) a[i] = fabs(p->on_host.a[i]);
    for (size_t i = 0; i < K * N; i++) b[i] = fabs(p->on_host.b[i]);
    struct reference_gemm sizes = p->on_host;
    sizes.a = a, sizes.b = b;
    reference_gemm(&sizes, size);
    const double stored = c_type == COLT5_BF16 ? 0x1p-8 : c_type == COLT5_F16 ? 0x1p-11 : 0x1p-24;
    for (size_t i = 0; i < M * N; i++) {
        const double bound = (double)(K + 2) * 0x1p-24 * size[i] + stored * fabs(p->want[i]) + 1e-7;
        ck_assert_msg(fabs(have[i] - p->want[i]) <= bound, "row %zu, column %zu: %.9g, not %.9g",
                      i / N, i % N, have[i], p->want[i]);
    }
    free(a), free(b), free(size), free(have);
}

/* Every backend, the types of A and of C, and each layout once. */
START_TEST(every_type_is_multiplied_as_float)
{
    const char *backend = backends[_i / 6];
    const colt5_type type = storage_types[_i % 3], c_type = _i % 6 < 3 ? type : COLT5_F32;
    const unsigned transposes = (unsigned)_i % 4;
    struct problem p =
        make_problem((struct sizes){136, 132, 52}, type, c_type, transposes, 0, false);
    if (solve(&p, backend)) assert_within_bound(&p, c_type);
    free_problem(&p);
}
END_TEST

/* Whatever stands around a product, alone and with everything else. */
static const unsigned mixtures[] = {BIAS,
                                    GELU,
                                    ROW_SCALE,
                                    RESIDUAL,
                                    INDEX,
                                    SCATTER,
                                    ALPHA,
                                    BIAS | GELU,
                                    INDEX | SCATTER | RESIDUAL,
                                    127 - BIAS,
                                    127 - RESIDUAL,
                                    127,
                                    255,
                                    GELU_INPUT,
                                    SCALE_FIRST | ROW_SCALE | BIAS | GELU,
                                    GELU_INPUT | ALPHA | ROW_SCALE | INDEX};
#define MIXTURES ((int)(sizeof(mixtures) / sizeof(mixtures[0])))

START_TEST(what_stands_around_it_is_fused_or_done)
{
    const char *backend = backends[_i / 2];
    const colt5_type type = _i % 2 ? COLT5_BF16 : COLT5_F32;
    for (int i = 0; i < MIXTURES; i++)
        for (size_t odd = 0; odd < 2; odd++) {
            struct problem p = make_problem((struct sizes){34 + odd, 28 + odd, 20 + odd}, type,
                                            type, 2, mixtures[i], false);
            if (solve(&p, backend)) assert_norm(&p.c, p.want, forward_bound(type));
            free_problem(&p);
        }
}
END_TEST

/* A product whose large k of A meet small k of B, `bits` apart. */
static struct problem make_spread_problem(unsigned transposes, double bits)
{
    struct problem p =
        make_problem((struct sizes){40, 48, 1100}, COLT5_F32, COLT5_F32, transposes, 0, false);
    const struct sizes s = {p.on_host.M, p.on_host.N, p.on_host.K};
    double *a = (double *)p.on_host.a, *b = (double *)p.on_host.b;
    for (size_t k = 0; k < s.K; k++) {
        const double factor = exp2(floor(bits * (double)k / (double)s.K) - bits / 2);
        for (size_t m = 0; m < s.M; m++) a[transposes & 1 ? k * s.M + m : m * s.K + k] *= factor;
        for (size_t n = 0; n < s.N; n++) b[transposes & 2 ? n * s.K + k : k * s.N + n] /= factor;
    }
    release(&p.a), release(&p.b);
    p.a = upload(a, COLT5_F32, s.M, s.K), p.b = upload(b, COLT5_F32, s.K, s.N);
    return p;
}

/* Pairs of f16 are as exact as float32; where values differ too much for them others take over, and
 * are as exact as they are. */
START_TEST(float32_is_multiplied_exactly_whatever_its_range)
{
    struct problem p = make_spread_problem((unsigned)_i % 4, _i % 8 < 4 ? 0 : 40);
    if (solve(&p, _i < 8 ? "split" : "wgmma")) assert_norm(&p.c, p.want, _i % 8 < 4 ? 5e-7 : 8e-7);
    free_problem(&p);
}
END_TEST

/* To the 11 bits that tf32 holds. */
static void round_all(double *values, size_t count)
{
    int power;
    for (size_t i = 0; i < count; i++) {
        const double fraction = frexp(values[i], &power);
        values[i] = ldexp(rint(ldexp(fraction, 11)), power - 11);
    }
}

/* Fast math makes the product of A and B rounded; of pairs, where f16 does not hold their values,
 * that of A and B as they are. */
START_TEST(fast_math_rounds_as_tf32_does)
{
    static const double apart[] = {0, 14, 40};
    const bool by_pairs = _i < 4;
    colt5_context_set_math(ctx, COLT5_MATH_FAST);
    for (size_t i = 0; i < sizeof(apart) / sizeof(apart[0]); i++) {
        const bool rounded = !by_pairs || apart[i] < 16;
        struct problem p = make_spread_problem((unsigned)_i % 4, apart[i]);
        if (rounded) {
            round_all((double *)p.on_host.a, p.on_host.M * p.on_host.K);
            round_all((double *)p.on_host.b, p.on_host.K * p.on_host.N);
        }
        if (solve(&p, by_pairs ? "split" : "wgmma"))
            assert_norm(&p.c, p.want, rounded ? 5e-5 : 8e-7);
        free_problem(&p);
    }
    colt5_context_set_math(ctx, COLT5_MATH_STRICT);
}
END_TEST

/* K in parts, rows in chunks: more than a backend keeps in its caches at once. */
START_TEST(large_products_come_in_parts)
{
    struct problem p = make_problem((struct sizes){14, 65, 3001}, COLT5_BF16, COLT5_BF16, 2,
                                    BIAS | GELU | RESIDUAL, false);
    if (solve(&p, backends[_i])) assert_norm(&p.c, p.want, 1e-2);
    free_problem(&p);
    p = make_problem((struct sizes){1500, 31, 1700}, COLT5_F32, COLT5_F32, 1, 0, true);
    if (solve(&p, backends[_i])) assert_equal(&p.c, p.want);
    free_problem(&p);
}
END_TEST

/* Those of NVIDIA that the library knows; what has wgmma has mma. */
static bool has_matrix_units(const char *backend)
{
    const char *units = colt5_context_device_info(ctx)->matrix_units;
    const char *retarget = getenv("COLT5_RETARGET");
    if (tiny()) return false;
    if (!strcmp(units, "wgmma"))
        return strcmp(backend, "wgmma") != 0 || !retarget || strcmp(retarget, "0") != 0;
    return !strcmp(units, strcmp(backend, "split") ? backend : "mma");
}

/* More tiles than the device has compute units, more slabs than wait at once, ragged edges; a K
 * that is long enough for wide tiles of every type. */
START_TEST(work_groups_that_stay_make_every_tile)
{
    const struct sizes sizes = {2056, 1160, _i / 4 % 2 ? 1096 : 584};
    if (!has_matrix_units("wgmma")) return;
    struct problem p =
        make_problem(sizes, storage_types[_i / 8], COLT5_F32, (unsigned)_i % 4, 0, true);
    if (solve(&p, "wgmma")) assert_equal(&p.c, p.want);
    free_problem(&p);
}
END_TEST

/* Larger tiles and K in parts, which small products, and a CPU, are never given of themselves. */
START_TEST(large_tiles_and_parts_multiply_as_well)
{
    const struct {
        const char *backend;
        struct sizes sizes;
        colt5_type type;
        unsigned tile, parts, transposes, extras;
    } cases[] = {
        {"tiled", {140, 132, 36}, COLT5_F32, 1, 1, 2, 127},
        {"tiled", {67, 66, 17}, COLT5_BF16, 2, 1, 1, 127 - INDEX},
        {"tiled", {33, 31, 100}, COLT5_BF16, 3, 3, 2, 127},
        {"tiled", {36, 28, 65}, COLT5_F32, 3, 5, 1, 0},
        {"mma", {140, 264, 200}, COLT5_BF16, 1, 1, 2, 127},
        {"mma", {136, 129, 100}, COLT5_F16, 1, 2, 0, 127},
        {"mma", {136, 72, 328}, COLT5_BF16, 1, 3, 1, 127 - INDEX},
        {"mma", {67, 66, 97}, COLT5_F16, 2, 1, 3, 127 - INDEX},
        {"mma", {72, 80, 264}, COLT5_F16, 2, 5, 3, 0},
        {"split", {140, 264, 200}, COLT5_F32, 1, 1, 2, 127},
        {"split", {136, 129, 328}, COLT5_F32, 1, 3, 1, 127 - INDEX},
        {"wgmma", {136, 264, 200}, COLT5_BF16, 0, 1, 2, 127},
        {"wgmma", {136, 72, 328}, COLT5_F16, 0, 3, 1, 127 - INDEX},
        {"wgmma", {72, 80, 520}, COLT5_F32, 0, 4, 3, 127 - INDEX},
        {"wgmma", {264, 136, 264}, COLT5_F32, 0, 1, 0, 127},
        {"wgmma", {264, 136, 264}, COLT5_BF16, 0, 1, 2, RESIDUAL | BIAS},
        {"wgmma", {2200, 1160, 264}, COLT5_F16, 0, 1, 2, RESIDUAL},
        {"wgmma", {264, 136, 264}, COLT5_F32, 0, 1, 2, RESIDUAL},
        {"wgmma", {136, 136, 2120}, COLT5_BF16, 0, 2, 0, RESIDUAL | ROW_SCALE},
        {"tiled", {33, 31, 100}, COLT5_F32, 3, 3, 0, GELU_INPUT},
        {"mma", {136, 264, 200}, COLT5_BF16, 1, 1, 0, GELU_INPUT},
        {"mma", {67, 66, 97}, COLT5_F16, 2, 2, 0, GELU_INPUT},
        {"mma", {140, 264, 200}, COLT5_BF16, 1, 1, 2, 255 - SCATTER},
        {"wgmma", {264, 136, 264}, COLT5_BF16, 0, 1, 0, GELU_INPUT},
        {"wgmma", {136, 136, 520}, COLT5_F32, 0, 3, 0, GELU_INPUT},
        {"wgmma", {264, 134, 264}, COLT5_F16, 0, 1, 2, GELU_INPUT},
        {"wgmma", {136, 264, 200}, COLT5_BF16, 0, 1, 2, ROW_SCALE | SCALE_FIRST | BIAS | GELU},
        {"wgmma", {264, 136, 264}, COLT5_F32, 0, 1, 2, ROW_SCALE | SCALE_FIRST | BIAS | GELU},
        {"wgmma", {136, 264, 200}, COLT5_F16, 0, 1, 2, 255}};
    const char *backend = cases[_i].backend;
    /* The largest tile needs 33 KiB of local memory; the library does not choose it elsewhere. */
    if (cases[_i].tile == 1 && colt5_context_device_info(ctx)->local_memory < 33792) return;
    const bool there = !strcmp(backend, "tiled") || has_matrix_units(backend);
    struct problem p = make_problem(cases[_i].sizes, cases[_i].type, cases[_i].type,
                                    cases[_i].transposes, cases[_i].extras, false);
    p.on_device.tile = cases[_i].tile;
    p.on_device.parts = cases[_i].parts;
    ck_assert(solve(&p, backend) == there);
    if (there) assert_norm(&p.c, p.want, forward_bound(cases[_i].type));
    free_problem(&p);
}
END_TEST

/* C += A·B, which is a residual that is C itself, twice. */
static void accumulate(const char *backend, struct sizes sizes, unsigned parts, colt5_type type,
                       colt5_type c_type)
{
    struct problem p = make_problem(sizes, type, c_type, 1, 0, true);
    const size_t M = p.on_host.M, N = p.on_host.N;
    double *before = values_of(c_type, M * N, true);
    release(&p.c);
    p.c = upload(before, c_type, M, N);
    p.on_device.residual = &p.c.t;
    p.on_device.parts = parts;
    p.on_host.residual = before;
    if (solve(&p, backend)) {
        ck_assert_ok(gemm(ctx, &p.on_device));
        for (size_t i = 0; i < M * N; i++) {
            const double sum = p.want[i] - before[i];
            rounded_to(c_type, &p.want[i], 1);
            p.want[i] += sum;
        }
        assert_equal(&p.c, rounded_to(c_type, p.want, M * N));
    }
    free_problem(&p);
}

/* Also in sizes that every backend takes, whole tiles and ragged ones, and in parts of K. */
START_TEST(products_accumulate)
{
    const char *backend = backends[_i / 6];
    const colt5_type type = storage_types[_i % 3], c_type = _i % 6 < 3 ? type : COLT5_F32;
    accumulate(backend, (struct sizes){33, 35, 37}, 0, type, c_type);
    accumulate(backend, (struct sizes){136, 264, 72}, 1, type, c_type);
    accumulate(backend, (struct sizes){72, 136, 520}, 3, type, c_type);
}
END_TEST

/* The rows of A and the columns of B stay among themselves, whatever they hold. */
START_TEST(a_bad_row_spoils_only_itself)
{
    struct problem p = make_problem((struct sizes){19, 21, 23}, COLT5_F32, COLT5_F32, 2, 0, true);
    double *a = (double *)p.on_host.a;
    a[7 * 23] = NAN, a[7 * 23 + 1] = INFINITY, a[7 * 23 + 2] = -INFINITY;
    release(&p.a);
    p.a = upload(a, COLT5_F32, 19, 23);
    if (solve(&p, backends[_i])) assert_equal(&p.c, p.want);
    free_problem(&p);
}
END_TEST

START_TEST(nothing_to_make_is_nothing_to_do)
{
    colt5_tensor none = {.type = COLT5_F32};
    const struct gemm products[] = {{.op = "test", .M = 0, .N = 3, .K = 4},
                                    {.op = "test", .M = 3, .N = 0, .K = 4}};
    for (int i = 0; i < 2; i++) {
        struct gemm product = products[i];
        product.a = product.b = product.c = &none;
        ck_assert_ok(gemm(ctx, &product));
    }
    const size_t beyond = (size_t)1 << 31;
    struct gemm product = {.op = "test", .M = beyond, .N = 1, .K = 1};
    product.a = product.b = product.c = &none;
    ck_assert_status(gemm(ctx, &product), COLT5_ERROR_SHAPE);
}
END_TEST

/* ---- the self-test ---- */

static bool always(const colt5_context *c, const struct gemm *product)
{
    (void)c, (void)product;
    return true;
}

static unsigned one_kernel(const colt5_context *c, const struct gemm *product)
{
    (void)c, (void)product;
    return 0;
}

static colt5_status make_nothing(colt5_context *c, const struct gemm *product)
{
    (void)c, (void)product;
    return COLT5_OK;
}

static colt5_status raise_an_error(colt5_context *c, const struct gemm *product)
{
    (void)product;
    return fail(c, COLT5_ERROR_BUILD, "it does not build");
}

static colt5_status off_by_one_row(colt5_context *c, const struct gemm *product)
{
    struct gemm wrong = *product;
    wrong.M--;
    return gemm_tiled.run(c, &wrong);
}

struct trial {
    struct gemm_backend backend;
    struct gemm like;
    bool works;
};

static colt5_status run_trial(colt5_context *c, void *call)
{
    struct trial *trial = call;
    if (c->planning) return COLT5_OK;
    return gemm_self_test(c, &trial->backend, &trial->like, &trial->works);
}

START_TEST(a_backend_that_does_not_multiply_is_found_out)
{
    const struct {
        colt5_status (*run)(colt5_context *, const struct gemm *);
        bool works;
    } cases[] = {{gemm_tiled.run, true},
                 {make_nothing, false},
                 {raise_an_error, false},
                 {off_by_one_row, false}};
    colt5_tensor f32 = {.type = COLT5_F32};
    struct trial trial = {
        .backend = {.name = "test", .can = always, .variant = one_kernel, .fuses = true},
        .like = {.op = "test",
                 .M = 8,
                 .N = 8,
                 .K = 8,
                 .transpose_b = true,
                 .a = &f32,
                 .b = &f32,
                 .c = &f32}};
    trial.backend.run = cases[_i].run;
    ck_assert_ok(workspace_call(ctx, "test", run_trial, &trial, NULL, 0));
    ck_assert(trial.works == cases[_i].works);
}
END_TEST

/* ---- a kernel that does not build, or makes wrong sums ---- */

static int said;

static void hear(void *user, const char *text)
{
    (void)user;
    ck_assert_msg(strstr(text, "packed") && !strchr(text, '\n'), "%s", text);
    said++;
}

/* The embedded text of a kernel file, as a file in the test's folder, with `words` (NULL: none)
 * overwritten by others of their length. */
static void put_kernel(enum kernel_file file, const char *words, const char *others)
{
    char name[64], *text = calloc(1, 1 << 20);
    ck_assert_ptr_nonnull(text);
    snprintf(name, sizeof(name), "%s.cl", kernel_sources[file].name);
    for (const char *const *line = kernel_sources[file].lines; *line; line++) strcat(text, *line);
    char *at = words ? strstr(text, words) : NULL;
    ck_assert(at || !words);
    if (at) memcpy(at, others, strlen(others));
    put_file(name, text, strlen(text));
    free(text);
}

static const struct {
    const char *words, *others; /* of packed_gemm.cl */
} faults[] = {{"right = load_floats(1, b)", "right = no_such_thing(b) "},
              {"right = load_floats(1, b)", "right = load_floats(0, b)"},
              {"value = gelu(value)", "value = (value)    "},
              {"with_residual, gelu_slope)", "with_residual, fabs)      "}};
#define FAULTS ((int)(sizeof(faults) / sizeof(faults[0])))

/* In the middle of a call that was planned for the first backend the next takes over, for every
 * type, and that is said once. */
START_TEST(the_next_backend_takes_over)
{
    colt5_context *usual = ctx;
    if (!device_is_cpu(ctx)) return; /* whose first backend shares no kernel with the others */
    make_folder();
    const enum kernel_file right[] = {KERNEL_FILE_common, KERNEL_FILE_gather,
                                      KERNEL_FILE_gemm_epilogue, KERNEL_FILE_gemm_tiles,
                                      KERNEL_FILE_tiled_gemm};
    for (size_t i = 0; i < sizeof(right) / sizeof(right[0]); i++) put_kernel(right[i], NULL, NULL);
    put_kernel(KERNEL_FILE_packed_gemm, faults[_i].words, faults[_i].others);
    setenv("COLT5_KERNEL_DIR", in_folder(""), 1);
    ck_assert_ok(colt5_context_create(NULL, &ctx));
    colt5_context_set_callbacks(ctx, &(colt5_callbacks){.log = hear});
    ck_assert_ok(gemm_prefer(ctx, "packed")); /* whatever COLT5_GEMM says */
    said = 0;
    struct problem problems[3];
    for (int i = 0; i < 3; i++) {
        struct problem *p = &problems[i];
        *p = make_problem((struct sizes){36, 28, 20}, storage_types[i], storage_types[i], 2, 127,
                          false);
        attach(p);
        ck_assert(!strcmp(gemm_backend_name(ctx, &p->on_device), "packed") == (i == 0));
        for (int run = 0; run < 2; run++) ck_assert_ok(gemm(ctx, &p->on_device));
        reference_gemm(&p->on_host, p->want);
        assert_norm(&p->c, p->want, forward_bound(storage_types[i]));
    }
    for (int i = 0; i < 3; i++) free_problem(&problems[i]);
    colt5_context_destroy(ctx);
    unsetenv("COLT5_KERNEL_DIR");
    remove_folder();
    ctx = usual;
    ck_assert_int_eq(said, 1);
}
END_TEST

/* By a context whose device is taken for one of NVIDIA's before Hopper. */
START_TEST(units_of_f16_are_given_large_products_of_fast_math)
{
    static const struct {
        struct sizes sizes;
        colt5_type type;
        const char *strict, *fast;
    } cases[] = {{{1024, 1024, 1024}, COLT5_F32, "tiled", "split"},
                 {{1024, 1024, 1023}, COLT5_F32, "tiled", "tiled"},
                 {{65536, 128, 128}, COLT5_F32, "tiled", "split"},
                 {{65536, 127, 512}, COLT5_F32, "tiled", "tiled"},
                 {{127, 65536, 512}, COLT5_F32, "tiled", "tiled"},
                 {{1024, 1024, 1024}, COLT5_F16, "mma", "mma"}};
    colt5_context *usual = ctx;
    ck_assert_ok(colt5_context_create(NULL, &ctx));
    ctx->info.kind = COLT5_DEVICE_DISCRETE_GPU;
    strcpy(ctx->info.vendor, "NVIDIA Corporation");
    strcpy(ctx->info.matrix_units, "mma");
    ctx->info.largest_group = 1024, ctx->info.local_memory = 49152;
    ck_assert_ok(gemm_prefer(ctx, NULL));
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct sizes s = cases[i].sizes;
        const colt5_tensor tensor = {.type = cases[i].type};
        const struct gemm product = {
            .op = "test", .M = s.M, .N = s.N, .K = s.K, .a = &tensor, .b = &tensor, .c = &tensor};
        ck_assert_str_eq(gemm_backend_name(ctx, &product), cases[i].strict);
        colt5_context_set_math(ctx, COLT5_MATH_FAST);
        ck_assert_str_eq(gemm_backend_name(ctx, &product), cases[i].fast);
        colt5_context_set_math(ctx, COLT5_MATH_STRICT);
    }
    colt5_context_destroy(ctx);
    ctx = usual;
}
END_TEST

START_TEST(unknown_backends_are_refused)
{
    ck_assert_status(gemm_prefer(ctx, "abacus"), COLT5_ERROR_ARGUMENT);
    ck_assert_ok(gemm_prefer(ctx, NULL));
}
END_TEST

/* The statistics know the work; a plan knows the scratch before it is taken. */
START_TEST(work_is_counted)
{
    struct problem p = make_problem((struct sizes){10, 12, 14}, COLT5_F32, COLT5_F32, 2, 0, true);
    ck_assert(solve(&p, "tiled"));
    colt5_context_reset_statistics(ctx);
    ck_assert_ok(gemm(ctx, &p.on_device));
    colt5_statistics statistics = {.struct_size = sizeof(statistics)};
    ck_assert_ok(colt5_context_statistics(ctx, &statistics));
    ck_assert_uint_eq(statistics.flop, 2 * 10 * 12 * 14);
    ck_assert_uint_eq(statistics.launches, 1);
    free_problem(&p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gemm");
    TCase *tests = tcase_create("gemm");
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, whole_numbers_multiply_exactly, 0, 8 * BACKENDS);
    tcase_add_loop_test(tests, every_type_is_multiplied_as_float, 0, 6 * BACKENDS);
    tcase_add_loop_test(tests, what_stands_around_it_is_fused_or_done, 0, 2 * BACKENDS);
    tcase_add_loop_test(tests, float32_is_multiplied_exactly_whatever_its_range, 0, 16);
    tcase_add_loop_test(tests, fast_math_rounds_as_tf32_does, 0, 8);
    tcase_add_loop_test(tests, large_products_come_in_parts, 0, BACKENDS);
    tcase_add_loop_test(tests, large_tiles_and_parts_multiply_as_well, 0, 29);
    tcase_add_loop_test(tests, work_groups_that_stay_make_every_tile, 0, 24);
    tcase_add_loop_test(tests, products_accumulate, 0, 6 * BACKENDS);
    tcase_add_loop_test(tests, a_bad_row_spoils_only_itself, 0, BACKENDS);
    tcase_add_test(tests, nothing_to_make_is_nothing_to_do);
    tcase_add_loop_test(tests, a_backend_that_does_not_multiply_is_found_out, 0, 4);
    tcase_add_loop_test(tests, the_next_backend_takes_over, 0, FAULTS);
    tcase_add_test(tests, units_of_f16_are_given_large_products_of_fast_math);
    tcase_add_test(tests, unknown_backends_are_refused);
    tcase_add_test(tests, work_is_counted);
    suite_add_tcase(suite, tests);
    return run_device_suite(suite);
}
