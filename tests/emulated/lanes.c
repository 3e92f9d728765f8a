/* SPDX-License-Identifier: MIT */
#include "lanes.h"

#include <math.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define STACK (1 << 18)

/* ---- work-items ---- */

static struct item {
    jmp_buf state;
    bool begun, ended;
    char stack[STACK];
} items[ITEMS];
static jmp_buf scheduler;
static size_t item_count, current, group[3], group_counts[3];
static size_t grid[3], grid_id[3];
static size_t idle; /* turns since something happened */
static void (*kernel_called)(const void *);
static const void *kernel_arguments;

void lanes_fail(const char *why)
{
    fprintf(stderr, "lanes: %s (work-item %zu)\n", why, current);
    exit(1);
}

static void begin_item(void)
{
    kernel_called(kernel_arguments);
    items[current].ended = true;
    idle = 0;
    _longjmp(scheduler, 1);
}

static void start(struct item *item)
{
    ucontext_t context;
    getcontext(&context);
    context.uc_stack.ss_sp = item->stack;
    context.uc_stack.ss_size = STACK;
    context.uc_link = NULL;
    makecontext(&context, begin_item, 0);
    item->begun = true;
    setcontext(&context);
}

size_t lanes_item(void)
{
    return current;
}

void lanes_progress(void)
{
    idle = 0;
}

void lanes_yield(void)
{
    if (idle++ > 4 * item_count) lanes_fail("waits for others that never come");
    if (!_setjmp(items[current].state)) _longjmp(scheduler, 1);
}

static void run_group(void)
{
    static volatile size_t next, left; /* a jump comes back to them */
    hopper_begin_group();
    for (size_t i = 0; i < item_count; i++) items[i].begun = items[i].ended = false;
    for (next = 0, left = 1;; next = (next + 1) % item_count) {
        if (next == 0 && left == 0) return;
        if (next == 0) left = 0;
        if (items[next].ended) continue;
        left++;
        current = next;
        if (_setjmp(scheduler)) continue;
        if (items[current].begun) _longjmp(items[current].state, 1);
        start(&items[current]);
    }
}

void run_groups(void (*kernel)(const void *arguments), const void *arguments, size_t count,
                const size_t groups[3])
{
    kernel_called = kernel;
    kernel_arguments = arguments;
    item_count = count;
    memcpy(group_counts, groups, sizeof(group_counts));
    for (size_t i = 0; i < groups[0] * groups[1] * groups[2]; i++) {
        group[0] = i % groups[0];
        group[1] = i / groups[0] % groups[1];
        group[2] = i / groups[0] / groups[1];
        idle = 0;
        run_group();
    }
}

void run_grid(void (*kernel)(const void *arguments), const void *arguments, const size_t count[3])
{
    const size_t all = count[0] * count[1] * count[2];
    memcpy(grid, count, sizeof(grid));
    for (size_t i = 0; i < all; i++) {
        grid_id[0] = i % count[0];
        grid_id[1] = i / count[0] % count[1];
        grid_id[2] = i / count[0] / count[1];
        kernel(arguments);
    }
}

/* ---- what they do together ---- */

static struct meeting {
    size_t arrived, rounds;
    together *what;
    uint32_t in[LANES][GIVES], out[LANES][TAKES];
} warps[WARPS], whole_group;

/* Comes back when all have come here. The last does it for all. */
static void meet(struct meeting *m, size_t count, together *what)
{
    if (m->arrived && m->what != what) lanes_fail("lanes of a warp do different things together");
    m->what = what;
    const size_t round = m->rounds;
    if (++m->arrived < count) {
        while (m->rounds == round) lanes_yield();
        return;
    }
    if (what) what(m->in, m->out);
    m->arrived = 0;
    m->rounds++;
    idle = 0;
}

uint32_t *with_warp(together *what, const void *words, size_t count)
{
    struct meeting *m = &warps[current / LANES];
    memcpy(m->in[current % LANES], words, count * sizeof(uint32_t));
    meet(m, LANES, what);
    return m->out[current % LANES];
}

uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof(bits));
    return bits;
}

float float_of(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* ---- OpenCL ---- */

size_t _Z12get_local_idj(unsigned dimension)
{
    return dimension ? 0 : current;
}

size_t _Z13get_global_idj(unsigned dimension)
{
    return grid_id[dimension];
}

size_t _Z15get_global_sizej(unsigned dimension)
{
    return grid[dimension];
}

size_t _Z12get_group_idj(unsigned dimension)
{
    return group[dimension];
}

size_t _Z14get_num_groupsj(unsigned dimension)
{
    return group_counts[dimension];
}

void _Z7barrierj(unsigned flags)
{
    (void)flags;
    meet(&whole_group, item_count, NULL);
}

float _Z11native_exp2f(float x)
{
    return exp2f(x);
}

float _Z4exp2f(float x)
{
    return exp2f(x);
}

float _Z4log2f(float x)
{
    return log2f(x);
}

float _Z4sqrtf(float x)
{
    return sqrtf(x);
}

float _Z3fmafff(float a, float b, float c)
{
    return fmaf(a, b, c);
}

float _Z4fmaxff(float a, float b)
{
    return fmaxf(a, b);
}

float _Z10vload_halfmPU8CLglobalKDh(size_t i, const _Float16 *p)
{
    return (float)p[i];
}

void _Z15vstore_half_rtefmPU8CLglobalDh(float x, size_t i, _Float16 *p)
{
    p[i] = (_Float16)x;
}

int _Z8isfinitef(float x)
{
    return isfinite(x);
}

int _Z5isnanf(float x)
{
    return isnan(x);
}

int _Z3maxii(int a, int b)
{
    return a > b ? a : b;
}

unsigned _Z3minjj(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

unsigned _Z3maxjj(unsigned a, unsigned b)
{
    return a > b ? a : b;
}

typedef uint32_t uint4 __attribute__((vector_size(16)));

uint4 _Z3maxDv4_jS_(uint4 a, uint4 b)
{
    for (int i = 0; i < 4; i++) a[i] = a[i] > b[i] ? a[i] : b[i];
    return a;
}

void _Z7vstore4Dv4_jmPU7CLlocalj(uint4 x, size_t i, uint32_t *p)
{
    memcpy(p + 4 * i, &x, sizeof(x));
}

static uint32_t set_max(volatile uint32_t *p, uint32_t x)
{
    const uint32_t before = *p;
    *p = before > x ? before : x;
    return before;
}

uint32_t _Z10atomic_maxPU7CLlocalVjj(volatile uint32_t *p, uint32_t x)
{
    return set_max(p, x);
}

uint32_t _Z10atomic_maxPU8CLglobalVjj(volatile uint32_t *p, uint32_t x)
{
    return set_max(p, x);
}

int _Z3minii(int a, int b)
{
    return a < b ? a : b;
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

void copy_async_at(uint32_t to, const void *from, unsigned bytes)
{
    struct copies *mine = &copies[current];
    if (mine->count == COPIES) lanes_fail("too many copies are under way");
    if (to % 16 || (bytes && (uintptr_t)from % 16)) lanes_fail("a copy is not aligned");
    mine->waiting[mine->count++] = (struct copy){(char *)(uintptr_t)to, from, bytes, mine->batch};
}

void end_batch(void)
{
    copies[current].batch++;
}

void wait_batches(int left)
{
    struct copies *mine = &copies[current];
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
    return of_lane(x, current % LANES ^ bits);
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

/* The unit adds exactly, and cuts the sum off. */
float cut_off(double sum)
{
    const float nearest = (float)sum;
    const bool farther = fabs((double)nearest) > fabs(sum) && isfinite(nearest);
    return farther ? nextafterf(nearest, 0) : nearest;
}

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

float float_of_f16(uint32_t bits)
{
    const uint16_t low = (uint16_t)bits;
    _Float16 x;
    memcpy(&x, &low, sizeof(x));
    return (float)x;
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
