// SPDX-License-Identifier: MIT
// Slabs of the operands of wgmma_gemm: how they come to local memory, and to the matrix unit.
//
// A slab is 128 bytes of k of TILE rows of op(A), and of COLUMNS of op(B)ᵀ. They wait in a ring of
// IN_RING stages, each with two mbarriers: that it is `full`, and that it is `empty` again.
//
// f16 and bf16 are multiplied as they lie, and floats, which the tensor memory accelerator rounds to tf32 on
// their way. Floats whose k is not contiguous are turned: B's before, by a kernel of their own
// (convert_operand.cl), A's on their way through registers, from where the unit takes them too. So it is
// with pairs (tf32_pairs.cl), in either layout.
//
// Defines: STORAGE, TRANSPOSE_A, TRANSPOSE_B as in tiled_gemm (floats: TRANSPOSE_B 1); PAIRS as in
// tf32_pairs; COLUMNS 128|256 of C in a work-group, of pairs 128; ALTERNATE 1 where two consumers have a
// tile each, in turn, of 128 columns, and no pairs; else they share one; AROUND, a bit each, what may stand around
// the product: bias, GELU, row_scale, residual, scatter; and whether 16 bytes of a row of C cannot be written at
// once. What is not there takes no registers.

#ifndef COLUMNS
    #define COLUMNS 128
#endif
#ifndef STAGES
    #define STAGES (COLUMNS == 128 ? 6 : 4) // as many as there is room for
#endif
// C goes by boxes (wgmma_boxes.cl), and a residual comes by them.
#define MAY_BE(bit) (AROUND >> bit & 1)
#define BY_BOXES    (!MAY_BE(4) && !MAY_BE(5))
#define BESIDE      (BY_BOXES && MAY_BE(3))
// Boxes of a consumer's warp: where residuals come to them, four of a narrow tile, which is all
// of its 16-bit C; the sixth stage makes room for them.
#define WARP_BOXES (BESIDE && COLUMNS == 128 ? 4 : 2)
#define IN_RING    (WARP_BOXES == 4 && STAGES > 5 ? 5 : STAGES)

#define TILE      128 // rows of C in a work-group
#define WARP_TILE 64  // columns that a warp finishes at once (mma_epilogue)
#define LINE      128 // bytes
#define OF_A      (TILE * LINE) // bytes of a slab
#define SLAB      (OF_A + COLUMNS * LINE)
#define FLOATS    (STORAGE == 0)
#define A_IN_REGISTERS (PAIRS || (FLOATS && TRANSPOSE_A))
#define DEPTH     (FLOATS ? 32 : 64)
#define BOX_BYTES (16 * LINE)
#define BOXES     (8 * WARP_BOXES) // of all warps
#define RING      (BOXES * BOX_BYTES) // where it begins
#define MBARRIERS (RING + IN_RING * SLAB)
#define CAME      (MBARRIERS + IN_RING * 2 * 8) // mbarriers too, one for each box
#define MAPS      ((CAME + BOXES * 8 + 127) / 128 * 128)
#define ALL_BYTES (MAPS + 4 * 128)
#define DECLARED  32768 // bytes, until the program is retargeted

// PTX's number of the types of the operands and of C, and their bytes.
#if STORAGE == 1
    #define SHORT_ELEMENT "6"
#else
    #define SHORT_ELEMENT "10"
#endif
#if PAIRS
    #define ELEMENT "7"
    #define ELEMENT_BYTES 4
#elif FLOATS
    #define ELEMENT "11" // tf32: rounded to nearest
    #define ELEMENT_BYTES 4
#else
    #define ELEMENT SHORT_ELEMENT
    #define ELEMENT_BYTES 2
#endif
#if C_F32
    #define C_ELEMENT "7"
    #define C_BYTES 4
#else
    #define C_ELEMENT SHORT_ELEMENT
    #define C_BYTES 2
#endif

typedef struct {
    uint stage, parity;
} ring_place;

inlined void step_on(ring_place *place)
{
    const bool wraps = place->stage + 1 == IN_RING;
    place->parity ^= wraps;
    place->stage = wraps ? 0 : place->stage + 1;
}

inlined void advance(ring_place *place, uint slabs)
{
    const uint stage = place->stage + slabs;
    place->parity ^= stage / IN_RING & 1;
    place->stage = stage % IN_RING;
}

inlined uint slab_at(uint arena, uint stage) { return arena + RING + stage * SLAB; }
inlined uint full(uint arena, uint stage) { return arena + MBARRIERS + stage * 8; }
inlined uint empty(uint arena, uint stage) { return arena + MBARRIERS + (IN_RING + stage) * 8; }

// So many rows of an operand from r on begin to come, DEPTH of their k: each row a line, or, where k is not
// what is contiguous, boxes in which a line is DEPTH rows' values of one k. What is outside is zeros.
inlined void fetch_operand(uint to, ulong map, const bool transposed, const uint rows, uint r, uint k,
                           uint mbarrier)
{
    if (!transposed)
        tma_load(to, map, k, r, mbarrier);
    else
#pragma unroll
        for (uint box = 0; box < rows / DEPTH; box++)
            tma_load(to + box * DEPTH * LINE, map, r + box * DEPTH, k, mbarrier);
}

#if A_IN_REGISTERS

// Number (row, k) of a slab's A whose lines are k: where it lies. Chunks are permuted by the line.
inlined uint word_of_lines(uint operand, uint row, uint k)
{
    return operand + row / 32 * 32 * LINE + k * LINE + ((row % 32 / 4 ^ k % 8) << 4) + row % 4 * 4;
}

// Eight k, from k on, of 16 rows from `row` on: lane l has k + l % 4 of row l / 4 and the one eight
// rows further, and then the same of k + 4.
inlined void load_eight_k(float *x, uint operand, uint row, uint k)
{
    const uint lane = this_lane();
    uint words[4];
    if (TRANSPOSE_A) {
#pragma unroll
        for (uint i = 0; i < 4; i++)
            words[i] = load_word_at(word_of_lines(operand, row + lane / 4 + i % 2 * 8, k + lane % 4 + i / 2 * 4));
    } else {
        const uint line = row + lane % 16;
        load_matrices_at(words, operand + line * LINE + ((k / 4 + lane / 16 ^ line % 8) << 4));
    }
#pragma unroll
    for (uint i = 0; i < 4; i++) x[i] = as_float(words[i]);
}

#if PAIRS

// Floats of a warp's 16 rows of A, of the 64 k of two slabs. Each row is brought to 2^14 by its largest among
// these k, so that pairs hold any row; unscale brings its sums back, and leaves them in units of B's largest.
typedef struct {
    float x[2][4][4], scale[2], unscale[2];
} pair_run;

inlined void scale_run(pair_run *run)
{
#pragma unroll
    for (uint r = 0; r < 2; r++) {
        float largest = 0.0f;
#pragma unroll
        for (uint i = 0; i < 8; i++)
            largest = fmax(largest, fmax(fabs(run->x[i / 4][i % 4][r]), fabs(run->x[i / 4][i % 4][r + 2])));
        largest = fmax(largest, from_lane(largest, 1));
        largest = fmax(largest, from_lane(largest, 2));
        const uint exponent = max(as_uint(largest) >> 23, 14u);
        run->scale[r] = as_float((268u - exponent) << 23);
        run->unscale[r] = as_float(exponent << 23) * 0x1p-28f;
    }
}

// One slab's, as the unit takes them: the high parts of 32 k, and then their low parts.
inlined void pair_slab(uint *left, const float x[4][4], const float *scale)
{
#pragma unroll
    for (uint i = 0; i < 8; i++) // what lies together in a word is four k apart: so it is in B's lines
        pair_two(&left[i], &left[8 + i], x[i / 2][i % 2], x[i / 2][i % 2 + 2], scale[i % 2]);
}

#else

// A warp's 16 rows of a slab's A from `row` on, as the unit takes them: four words for each step of k.
inlined void load_left(uint *left, uint operand, uint row)
{
    float x[4][4];
#pragma unroll
    for (uint i = 0; i < 4; i++) load_eight_k(x[i], operand, row, 8 * i);
#pragma unroll
    for (uint i = 0; i < 16; i++) left[i] = as_uint(x[i / 4][i % 4]);
}

#endif
#endif
