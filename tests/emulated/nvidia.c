/* SPDX-License-Identifier: MIT */
/* Instructions of NVIDIA's GPUs: kernels/nvidia.cl. */
#include "lanes.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* The unit adds exactly, and cuts the sum off. */
float cut_off(double sum)
{
    const float nearest = (float)sum;
    const bool farther = fabs((double)nearest) > fabs(sum) && isfinite(nearest);
    return farther ? nextafterf(nearest, 0) : nearest;
}

float quick_exp2(float x)
{
    return exp2f(x);
}

float quick_recip(float x)
{
    return 1.0f / x;
}

float float_of_f16(uint32_t bits)
{
    const uint16_t low = (uint16_t)bits;
    _Float16 x;
    memcpy(&x, &low, sizeof(x));
    return (float)x;
}

/* ---- copies: they come when they are waited for, not before ---- */

#define COPIES 512

static struct copies {
    struct copy {
        char *to;
        const void *from;
        unsigned bytes;
        size_t batch;
    } waiting[COPIES];
    size_t count, batch;
} copies[ITEMS];

void nvidia_begin_group(void)
{
    memset(copies, 0, sizeof(copies));
}

void copy_async_at(uint32_t to, const void *from, unsigned bytes)
{
    struct copies *mine = &copies[lanes_item()];
    if (mine->count == COPIES) lanes_fail("too many copies are under way");
    if (to % 16 || (bytes && (uintptr_t)from % 16)) lanes_fail("a copy is not aligned");
    mine->waiting[mine->count++] = (struct copy){(char *)(uintptr_t)to, from, bytes, mine->batch};
}

void end_batch(void)
{
    copies[lanes_item()].batch++;
}

void wait_batches(int left)
{
    struct copies *mine = &copies[lanes_item()];
    size_t kept = 0;
    for (size_t i = 0; i < mine->count; i++) {
        const struct copy c = mine->waiting[i];
        if (c.batch + (size_t)left >= mine->batch) {
            mine->waiting[kept++] = c;
            continue;
        }
        memset(c.to, 0, 16);
        memcpy(c.to, c.from, c.bytes);
    }
    mine->count = kept;
}

uint32_t load_word_at(uint32_t from)
{
    return *(const uint32_t *)(uintptr_t)from;
}

/* ---- lanes ---- */

static void barrier_of_lanes(uint32_t in[LANES][GIVES], uint32_t out[LANES][TAKES])
{
    (void)in, (void)out;
}

void warp_barrier(void)
{
    with_warp(barrier_of_lanes, &(uint32_t){0}, 1);
}

static void read_lanes(uint32_t in[LANES][GIVES], uint32_t out[LANES][TAKES])
{
    for (size_t lane = 0; lane < LANES; lane++) out[lane][0] = in[in[lane][1] % LANES][0];
}

float of_lane(float x, uint32_t lane)
{
    return float_of(*with_warp(read_lanes, (uint32_t[]){bits_of(x), lane}, 2));
}

float from_lane(float x, uint32_t bits)
{
    return of_lane(x, lanes_item() % LANES ^ bits);
}

/* ---- ldmatrix: lane l says where row l % 8 of matrix l / 8 lies ---- */

static void load_rows(uint32_t in[LANES][GIVES], uint32_t out[LANES][TAKES])
{
    for (size_t lane = 0; lane < LANES; lane++)
        for (size_t m = 0; m < 4; m++)
            out[lane][m] = load_word_at(in[m * 8 + lane / 4][0] + (uint32_t)(lane % 4 * 4));
}

static uint32_t half_at(uint32_t from)
{
    return *(const uint16_t *)(uintptr_t)from;
}

static void load_lines(uint32_t in[LANES][GIVES], uint32_t out[LANES][TAKES])
{
    for (size_t lane = 0; lane < LANES; lane++)
        for (size_t m = 0; m < 4; m++) {
            const uint32_t *lines = &in[m * 8 + lane % 4 * 2][0];
            const uint32_t at = (uint32_t)(lane / 4 * 2);
            out[lane][m] = half_at(lines[0] + at) | half_at(lines[GIVES] + at) << 16;
        }
}

static void load_four(together *how, uint32_t *x, uint32_t row)
{
    if (row % 16) lanes_fail("a row of a matrix is not aligned");
    memcpy(x, with_warp(how, &row, 1), 4 * sizeof(*x));
}

void load_matrices_at(uint32_t *x, uint32_t row)
{
    load_four(load_rows, x, row);
}

void load_transposed_at(uint32_t *x, uint32_t line)
{
    load_four(load_lines, x, line);
}

/* ---- mma: a lane gives its four sums, four words of a, two of b ---- */

/* Element (row, k) of a, 16 rows of `words` words, and word (k, column) of b: which lane has it,
 * and as which of its words. */
static uint32_t word_of_a(uint32_t in[LANES][GIVES], size_t row, size_t word)
{
    return in[row % 8 * 4 + word % 4][4 + row / 8 + word / 4 * 2];
}

static uint32_t word_of_b(uint32_t in[LANES][GIVES], size_t word, size_t column)
{
    return in[column * 4 + word % 4][8 + word / 4];
}

typedef double product_of_words(uint32_t a, uint32_t b);

static void multiply(uint32_t in[LANES][GIVES], uint32_t out[LANES][TAKES],
                     product_of_words *product)
{
    for (size_t lane = 0; lane < LANES; lane++)
        for (size_t e = 0; e < 4; e++) {
            const size_t row = lane / 4 + e / 2 * 8, column = lane % 4 * 2 + e % 2;
            double sum = float_of(in[lane][e]);
            for (size_t word = 0; word < 8; word++)
                sum += product(word_of_a(in, row, word), word_of_b(in, word, column));
            out[lane][e] = bits_of(cut_off(sum));
        }
}

static double product_of_tf32(uint32_t a, uint32_t b)
{
    return (double)float_of(a & 0xFFFFE000u) * float_of(b & 0xFFFFE000u);
}

static double product_of_bf16(uint32_t a, uint32_t b)
{
    return (double)float_of(a << 16) * float_of(b << 16) +
           (double)float_of(a & 0xFFFF0000u) * float_of(b & 0xFFFF0000u);
}

static double product_of_f16(uint32_t a, uint32_t b)
{
    return (double)float_of_f16(a) * float_of_f16(b) +
           (double)float_of_f16(a >> 16) * float_of_f16(b >> 16);
}

#define MULTIPLY_ADD(type)                                                                         \
    static void multiply_##type(uint32_t in[LANES][GIVES], uint32_t out[LANES][TAKES])             \
    {                                                                                              \
        multiply(in, out, product_of_##type);                                                      \
    }                                                                                              \
    void multiply_add_##type(float *sums, const uint32_t *a, const uint32_t *b)                    \
    {                                                                                              \
        uint32_t words[10];                                                                        \
        memcpy(words, sums, 4 * sizeof(*words));                                                   \
        memcpy(words + 4, a, 4 * sizeof(*words));                                                  \
        memcpy(words + 8, b, 2 * sizeof(*words));                                                  \
        memcpy(sums, with_warp(multiply_##type, words, 10), 4 * sizeof(*sums));                    \
    }
MULTIPLY_ADD(f16)
MULTIPLY_ADD(bf16)
MULTIPLY_ADD(tf32)

/* ---- two numbers in a word ---- */

static uint32_t bf16_bits(float x)
{
    const uint32_t bits = bits_of(x);
    return isnan(x) ? 0x7FC0 : (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
}

static uint32_t f16_bits(float x)
{
    const _Float16 half = (_Float16)x;
    uint16_t bits;
    memcpy(&bits, &half, sizeof(bits));
    return bits;
}

uint32_t pack_pair_f16(float low, float high)
{
    return f16_bits(low) | f16_bits(high) << 16;
}

uint32_t pack_pair_bf16(float low, float high)
{
    return bf16_bits(low) | bf16_bits(high) << 16;
}
