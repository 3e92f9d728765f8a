// SPDX-License-Identifier: MIT
// In the place of kernels/wgmma.cl: the steps of k are functions of tests/emulated/hopper.c. A descriptor
// is an address and, 32 bits further, how far it is to the next 64 rows.

#define A_BY_ROWS                   (TRANSPOSE_A && !FLOATS)
#define B_BY_ROWS                   (!TRANSPOSE_B && !FLOATS)
#define A_FORM                      0ul
#define B_FORM                      ((ulong)(B_BY_ROWS ? DEPTH * LINE : 0) << 32)
#define descriptor(form, address)   ((form) | (address))
#define UNIT_TYPE                   (PAIRS ? 1 : STORAGE) // 0: tf32, 1: f16, 2: bf16

#define SUMS       (COLUMNS == 128 && !ALTERNATE ? 64 : 128)
#define LEFT_WORDS (ALTERNATE ? 32 : 16)

// An instruction for 128 columns; from half of 256 to the other it is
#define TO_HALF ((B_BY_ROWS ? 2 * DEPTH : 128) * LINE)

void wgmma_of_words(float *sums, const uint *left, ulong b, uint add, int type);
void wgmma_of_lines(float *sums, ulong a, ulong b, uint add, int type, int a_by_rows, int b_by_rows);

#if A_IN_REGISTERS

inlined void multiply_step(float *sums, const uint *left, ulong b, uint of_a, uint of_b, uint add)
{
    for (uint i = 0; i < SUMS / 64; i++) // two blocks of 64 rows, or two halves of the columns of one
        wgmma_of_words(sums + i * 64, left + (ALTERNATE ? 16 * i : 0) + 4 * of_a,
                       b + (ALTERNATE ? 0 : i * TO_HALF) + of_b * 32, add, UNIT_TYPE);
}

inlined void multiply_rows(float *sums, const uint *left, ulong b, uint add)
{
    #if PAIRS
    const uint steps[6][2] = {{0, 2}, {1, 3}, {2, 0}, {3, 1}, {0, 0}, {1, 1}};
    #else
    const uint steps[4][2] = {{0, 0}, {1, 1}, {2, 2}, {3, 3}};
    #endif
    for (uint i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
        multiply_step(sums, left, b, steps[i][0], steps[i][1], i > 0 || add);
}

inlined void wait_for_rows(float *sums, const uint *left) {}
inlined void wait_for_rows_before(const uint *left) {}

#else

// Two blocks of 64 rows, or two halves of the columns of one.
inlined void multiply_slab(float *sums, ulong a, ulong b, uint add)
{
    for (uint step = 0; step < 4; step++)
        for (uint i = 0; i < SUMS / 64; i++)
            wgmma_of_lines(sums + i * 64,
                           a + (ALTERNATE ? i * 64 * LINE : 0) + step * (A_BY_ROWS ? 16 * LINE : 32),
                           b + (ALTERNATE ? 0 : i * TO_HALF) + step * (B_BY_ROWS ? 16 * LINE : 32),
                           step > 0 || add, UNIT_TYPE, A_BY_ROWS, B_BY_ROWS);
}

inlined void wait_for_products(float *sums) {}

#endif
