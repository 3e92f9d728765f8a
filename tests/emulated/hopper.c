/* SPDX-License-Identifier: MIT */
/* Instructions of NVIDIA's Hopper GPUs: mbarriers, the tensor memory accelerator, wgmma. */
#include "lanes.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* ---- mbarriers ---- */

struct mbarrier { /* in the 8 bytes that it has in local memory */
    int16_t arrivals, left;
    int32_t bytes_and_phase; /* bytes still to come, times 2, and the phase's parity */
};

static struct mbarrier *mbarrier_at(uint32_t address)
{
    return (struct mbarrier *)(uintptr_t)address;
}

void mbarrier_init(uint32_t address, unsigned arrivals)
{
    *mbarrier_at(address) = (struct mbarrier){(int16_t)arrivals, (int16_t)arrivals, 0};
}

static void end_phase_if_all_came(struct mbarrier *m)
{
    if (m->left < 0) lanes_fail("one arrival at an mbarrier too many");
    if (m->left > 0 || m->bytes_and_phase >> 1 != 0) return;
    m->left = m->arrivals;
    m->bytes_and_phase ^= 1;
    lanes_progress();
}

void mbarrier_arrive(uint32_t address)
{
    struct mbarrier *m = mbarrier_at(address);
    m->left--;
    end_phase_if_all_came(m);
}

void mbarrier_arrive_expecting(uint32_t address, unsigned bytes)
{
    mbarrier_at(address)->bytes_and_phase += 2 * (int32_t)bytes;
    mbarrier_arrive(address);
}

void mbarrier_wait(uint32_t address, unsigned parity)
{
    while ((mbarrier_at(address)->bytes_and_phase & 1) == (int32_t)parity) lanes_yield();
}

/* ---- barriers of several warps ---- */

static struct {
    size_t arrived, rounds;
} barriers[16];

static void arrive(unsigned number, size_t items)
{
    if (++barriers[number].arrived < items) return;
    barriers[number].arrived = 0;
    barriers[number].rounds++;
    lanes_progress();
}

void named_barrier_arrive(unsigned number, unsigned items)
{
    arrive(number, items);
}

void named_barrier_sync(unsigned number, unsigned items)
{
    const size_t round = barriers[number].rounds;
    arrive(number, items);
    while (barriers[number].rounds == round) lanes_yield();
}

/* ---- the tensor memory accelerator ---- */

struct tensor_map {
    const char *matrix;
    uint32_t element, bytes, lines, length, box_lines;
};

void make_tensor_map(uint32_t map, unsigned element, unsigned bytes, const void *matrix,
                     unsigned lines, unsigned length, unsigned box_lines)
{
    if ((uintptr_t)matrix % 16 || length * bytes % 16) lanes_fail("a tensor is not aligned");
    *(struct tensor_map *)(uintptr_t)map =
        (struct tensor_map){matrix, element, bytes, lines, length, box_lines};
}

/* One element, which tf32 rounds to nearest even. */
static void copy_element(const struct tensor_map *m, char *to, const char *from)
{
    enum { TF32 = 11 };
    uint32_t bits;
    memcpy(to, from, m->bytes);
    if (m->element != TF32) return;
    memcpy(&bits, from, sizeof(bits));
    if (isfinite(float_of(bits))) bits = (bits + 0xFFF + (bits >> 13 & 1)) & 0xFFFFE000u;
    memcpy(to, &bits, sizeof(bits));
}

void publish_tensor_map(uint64_t to, uint32_t map)
{
    memcpy((void *)(uintptr_t)to, (void *)(uintptr_t)map, sizeof(struct tensor_map));
}

/* Chunks of 16 bytes are permuted by the number of their line of 128, modulo 8. */
static char *permuted(uint32_t address)
{
    return (char *)(uintptr_t)(address ^ (address >> 7 & 7) << 4);
}

void tma_load(uint32_t to, uint64_t map, unsigned x, unsigned y, uint32_t mbarrier)
{
    const struct tensor_map *m = (const struct tensor_map *)(uintptr_t)map;
    const uint32_t width = 128 / m->bytes;
    for (uint32_t line = 0; line < m->box_lines; line++)
        for (uint32_t i = 0; i < width; i++) {
            char *at = permuted(to + line * 128 + i * m->bytes);
            const size_t from = ((size_t)(y + line) * m->length + x + i) * m->bytes;
            memset(at, 0, m->bytes);
            if (y + line < m->lines && x + i < m->length) copy_element(m, at, m->matrix + from);
        }
    mbarrier_at(mbarrier)->bytes_and_phase -= 2 * (int32_t)m->box_lines * 128;
    end_phase_if_all_came(mbarrier_at(mbarrier));
}

/* Boxes that go out are read as late as they may be: others put there too early would be seen. */
static struct store {
    const struct tensor_map *map;
    uint32_t x, y, from, group;
} stores[ITEMS][8];
static struct {
    uint32_t count, group;
} outgoing[ITEMS];

void hopper_begin_group(void)
{
    memset(barriers, 0, sizeof(barriers));
    memset(outgoing, 0, sizeof(outgoing));
}

void tma_store(uint64_t map, unsigned x, unsigned y, uint32_t from)
{
    const size_t item = lanes_item();
    if (outgoing[item].count == 8) lanes_fail("too many boxes on their way out");
    if (from % 1024) lanes_fail("a box is not aligned");
    stores[item][outgoing[item].count++] =
        (struct store){(const struct tensor_map *)(uintptr_t)map, x, y, from, outgoing[item].group};
}

void tma_commit(void)
{
    outgoing[lanes_item()].group++;
}

static void write_out(const struct store *s)
{
    const struct tensor_map *m = s->map;
    for (uint32_t line = 0; line < m->box_lines && s->y + line < m->lines; line++)
        for (uint32_t i = 0; i < 128 / m->bytes && s->x + i < m->length; i++)
            memcpy((char *)(uintptr_t)m->matrix +
                       ((size_t)(s->y + line) * m->length + s->x + i) * m->bytes,
                   permuted(s->from + line * 128 + i * m->bytes), m->bytes);
}

void tma_wait(unsigned groups)
{
    const size_t item = lanes_item();
    uint32_t left = 0;
    for (uint32_t i = 0; i < outgoing[item].count; i++) {
        struct store *s = &stores[item][i];
        if (s->group + groups < outgoing[item].group)
            write_out(s);
        else
            stores[item][left++] = *s;
    }
    outgoing[item].count = left;
}

/* ---- wgmma: 16 rows of each of four warps, 128 columns ---- */

/* What a lane gives behind its 64 sums. */
struct step {
    uint32_t left[4]; /* words of A, or: */
    uint64_t a, b;
    uint32_t add, type, in_words, a_by_rows, b_by_rows, warp;
};

static double value_of(uint32_t word, size_t half, uint32_t type)
{
    const uint32_t low = half ? word >> 16 : word & 0xFFFF;
    return type == 0   ? float_of(word & 0xFFFFE000u)
           : type == 1 ? float_of_f16(low)
                       : float_of(low << 16);
}

/* Number k of a row of an operand in local memory. */
static double number_in(uint64_t operand, bool by_rows, size_t row, size_t k, uint32_t type)
{
    const uint32_t address = (uint32_t)operand, to_next = (uint32_t)(operand >> 32);
    const size_t bytes = type ? 2 : 4;
    const size_t place =
        by_rows ? row / 64 * to_next + k * 128 + row % 64 * bytes : row * 128 + k * bytes;
    uint32_t word = 0;
    memcpy(&word, permuted(address + (uint32_t)place), bytes);
    return value_of(word, 0, type);
}

/* Number k of a row, 0 to 15, of a warp's A in words. */
static double number_of_words(uint32_t in[LANES][GIVES], size_t row, size_t k, uint32_t type)
{
    const size_t word = type ? k / 2 : k, lane = row % 8 * 4 + word % 4;
    return value_of(in[lane][64 + row / 8 + word / 4 * 2], type ? k % 2 : 0, type);
}

static void multiply(uint32_t in[LANES][GIVES], uint32_t out[LANES][TAKES])
{
    struct step s;
    memcpy(&s, &in[0][64], sizeof(s));
    const size_t ks = s.type ? 16 : 8;
    double a[16][16], b[128][16];
    for (size_t row = 0; row < 16; row++)
        for (size_t k = 0; k < ks; k++)
            a[row][k] = s.in_words ? number_of_words(in, row, k, s.type)
                                   : number_in(s.a, s.a_by_rows, s.warp * 16 + row, k, s.type);
    for (size_t column = 0; column < 128; column++)
        for (size_t k = 0; k < ks; k++)
            b[column][k] = number_in(s.b, s.b_by_rows, column, k, s.type);
    for (size_t lane = 0; lane < LANES; lane++)
        for (size_t i = 0; i < 64; i++) {
            const size_t row = lane / 4 + i / 2 % 2 * 8, column = i / 4 * 8 + lane % 4 * 2 + i % 2;
            double sum = s.add ? (double)float_of(in[lane][i]) : 0;
            for (size_t k = 0; k < ks; k++) sum += a[row][k] * b[column][k];
            out[lane][i] = bits_of(cut_off(sum));
        }
}

static void multiply_step(float *sums, struct step s)
{
    uint32_t words[GIVES] = {0};
    _Static_assert(64 * 4 + sizeof(s) <= sizeof(words), "a lane gives more");
    s.warp = (uint32_t)(lanes_item() / LANES % 4);
    memcpy(words, sums, 64 * sizeof(*sums));
    memcpy(words + 64, &s, sizeof(s));
    memcpy(sums, with_warp(multiply, words, GIVES), 64 * sizeof(*sums));
}

void wgmma_of_words(float *sums, const uint32_t *left, uint64_t b, unsigned add, int type)
{
    struct step s = {.b = b, .add = add, .type = (uint32_t)type, .in_words = 1};
    memcpy(s.left, left, sizeof(s.left));
    multiply_step(sums, s);
}

void wgmma_of_lines(float *sums, uint64_t a, uint64_t b, unsigned add, int type, int a_by_rows,
                    int b_by_rows)
{
    multiply_step(sums, (struct step){.a = a,
                                      .b = b,
                                      .add = add,
                                      .type = (uint32_t)type,
                                      .a_by_rows = (uint32_t)a_by_rows,
                                      .b_by_rows = (uint32_t)b_by_rows});
}
