// SPDX-License-Identifier: MIT
// Slabs of the operands of wgmma_gemm: how they come to local memory, are converted and multiplied.
//
// A slab is 128 bytes of k of TILE rows of op(A), and the same of op(B)ᵀ. They wait in a ring of
// STAGES. Of each three things are waited for, an mbarrier each: that it has `landed`, that it is
// `full` (landed, and converted where STORAGE is 0), and that it is `empty` again.
//
// f16 and bf16 are multiplied as they lie. Floats are converted (tf32_pairs.cl), B's before, by a kernel
// of their own, A's here, each row by one work-item.
//
// Defines: STORAGE, TRANSPOSE_A, TRANSPOSE_B as in tiled_gemm (floats: TRANSPOSE_B 1); PAIRS as in
// tf32_pairs.

#ifndef STAGES
    #define STAGES 6 // as many as there is room for
#endif

#define TILE      128 // rows and columns of C in a work-group
#define WARP_TILE 64  // columns that a warp finishes at once (mma_epilogue)
#define LINE      128 // bytes
#define OPERAND   (TILE * LINE)
#define CONVERT   (STORAGE == 0)
#define DEPTH     (CONVERT ? 32 : 64)
#define ALTERNATE (!PAIRS) // two consumers have a tile each; else they share one
#define RING      32768    // where it begins: before it is the declared arena
#define MBARRIERS (RING + STAGES * 2 * OPERAND)
#define MAPS      ((MBARRIERS + STAGES * 3 * 8 + 127) / 128 * 128)
#define ALL_BYTES (MAPS + 2 * 128)

// PTX's number of the operands' type, and its bytes.
#if CONVERT
    #define ELEMENT "7"
    #define ELEMENT_BYTES 4
#elif STORAGE == 1
    #define ELEMENT "6"
    #define ELEMENT_BYTES 2
#else
    #define ELEMENT "10"
    #define ELEMENT_BYTES 2
#endif

typedef struct {
    uint stage, parity;
} ring_place;

inlined void step_on(ring_place *place)
{
    const bool wraps = place->stage + 1 == STAGES;
    place->parity ^= wraps;
    place->stage = wraps ? 0 : place->stage + 1;
}

inlined void advance(ring_place *place, uint slabs)
{
    const uint stage = place->stage + slabs;
    place->parity ^= stage / STAGES & 1;
    place->stage = stage % STAGES;
}

inlined uint slab_at(uint arena, uint stage) { return arena + RING + stage * 2 * OPERAND; }
inlined uint landed(uint arena, uint stage) { return arena + MBARRIERS + stage * 8; }
inlined uint empty(uint arena, uint stage) { return arena + MBARRIERS + (STAGES + stage) * 8; }
inlined uint full(uint arena, uint stage)
{
    return CONVERT ? arena + MBARRIERS + (2 * STAGES + stage) * 8 : landed(arena, stage);
}

// An operand's rows from r on begin to come, DEPTH of their k: each row a line, or, where k is not
// what is contiguous, boxes in which a line is DEPTH rows' values of one k. What is outside is zeros.
inlined void fetch_operand(uint to, ulong map, const bool transposed, uint r, uint k, uint mbarrier)
{
    if (!transposed)
        tma_load(to, map, k, r, mbarrier);
    else
#pragma unroll
        for (uint box = 0; box < TILE / DEPTH; box++)
            tma_load(to + box * DEPTH * LINE, map, r + box * DEPTH, k, mbarrier);
}

// ---- floats

inlined uint chunk_at(uint line, uint number, uint chunk) { return line + ((chunk ^ number % 8) << 4); }

// Row r of an operand that has landed, 32 k of it.
inlined void load_row(float *x, uint operand, const bool transposed, uint r)
{
    if (transposed) {
        const uint box = operand + r / 32 * 32 * LINE + r % 4 * 4;
#pragma unroll
        for (uint k = 0; k < 32; k++)
            x[k] = as_float(load_shared_word(chunk_at(box + k * LINE, k, r % 32 / 4)));
    } else
#pragma unroll
        for (uint chunk = 0; chunk < 8; chunk++) {
            const float4 four = as_float4(load_shared(chunk_at(operand + r * LINE, r, chunk)));
            x[4 * chunk] = four.x, x[4 * chunk + 1] = four.y;
            x[4 * chunk + 2] = four.z, x[4 * chunk + 3] = four.w;
        }
}

// The row as the unit gets it.
inlined void store_row(uint operand, uint r, const float *x, float scale)
{
#pragma unroll
    for (uint eight = 0; eight < 4; eight++) {
        uint4 chunks[2];
        convert_eight(chunks, x + 8 * eight, scale);
        store_shared(chunk_at(operand + r * LINE, r, FIRST_CHUNK(eight)), chunks[0]);
        store_shared(chunk_at(operand + r * LINE, r, SECOND_CHUNK(eight)), chunks[1]);
    }
}

// ---- multiplying

// What the instruction is called, and whether an operand's rows (not k) are contiguous, which only
// 16-bit ones may be.
#if STORAGE == 2
    #define SHAPE "m64n128k16.f32.bf16.bf16"
#elif STORAGE == 1 || PAIRS
    #define SHAPE "m64n128k16.f32.f16.f16"
#else
    #define SHAPE "m64n128k8.f32.tf32.tf32"
#endif
#define A_BY_ROWS (TRANSPOSE_A && !CONVERT)
#define B_BY_ROWS (!TRANSPOSE_B && !CONVERT)
#if CONVERT && !PAIRS
    #define MAJORS ""
#elif A_BY_ROWS && B_BY_ROWS
    #define MAJORS ", 1, 1"
#elif A_BY_ROWS
    #define MAJORS ", 1, 0"
#elif B_BY_ROWS
    #define MAJORS ", 0, 1"
#else
    #define MAJORS ", 0, 0"
#endif

// How far it is to the next k of the instruction, in 16 bytes: 32 bytes of each line, or 16 lines.
#if A_BY_ROWS
    #define A_STEP "128"
#else
    #define A_STEP "2"
#endif
#if B_BY_ROWS
    #define B_STEP "128"
#else
    #define B_STEP "2"
#endif

// One k step: a consumer's first 64 rows, and its second ones, 64 lines further. The descriptors and
// `add` stand behind the sums among the operands.
#if ALTERNATE
    #define ALL_SUMS(x) SIXTY_FOUR(x), SIXTY_FOUR((x) + 64)
    #define ALL_PLACES(first, second) first second
    #define A_PLACE "%128"
    #define B_PLACE "%129"
    #define ADD_PLACE "%130"
#else
    #define ALL_SUMS(x) SIXTY_FOUR(x)
    #define ALL_PLACES(first, second) first
    #define A_PLACE "%64"
    #define B_PLACE "%65"
    #define ADD_PLACE "%66"
#endif
#define K_STEP(scale, of_a, of_b)                                                                   \
    "add.s64 a, " A_PLACE ", " A_STEP " * " #of_a ";\n"                                             \
    "add.s64 b, " B_PLACE ", " B_STEP " * " #of_b ";\n"                                             \
    ALL_PLACES("wgmma.mma_async.sync.aligned." SHAPE " {" PLACES_0 "}, a, b, " scale ", 1, 1" MAJORS ";\n", \
               "add.s64 a, a, 512;\n"                                                               \
               "wgmma.mma_async.sync.aligned." SHAPE " {" PLACES_64 "}, a, b, " scale ", 1, 1" MAJORS ";\n")
#if PAIRS // high parts are steps 0 and 1 of a line, low ones 2 and 3; small products first
    #define K_STEPS                                                                                 \
        K_STEP("add", 0, 2) K_STEP("always", 1, 3) K_STEP("always", 2, 0) K_STEP("always", 3, 1)    \
        K_STEP("always", 0, 0) K_STEP("always", 1, 1)
#else
    #define K_STEPS                                                                                 \
        K_STEP("add", 0, 0) K_STEP("always", 1, 1) K_STEP("always", 2, 2) K_STEP("always", 3, 3)
#endif

#define A_FORM DESCRIPTOR(16) // 64 rows are all there are side by side
#define B_FORM DESCRIPTOR(B_BY_ROWS ? DEPTH * LINE : 16)

// sums = product of a slab, or += where add; the product before it is done. All in one statement,
// lest the compiler move a sum between.
inlined void multiply_slab(float *sums, ulong a, ulong b, uint add)
{
    asm volatile("{\n.reg .pred add, always;\n.reg .b64 a, b;\n"
                 "setp.ne.b32 add, " ADD_PLACE ", 0;\nsetp.eq.b32 always, " ADD_PLACE ", " ADD_PLACE ";\n"
                 "wgmma.fence.sync.aligned;\n" K_STEPS
                 "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 1;\n}"
                 : ALL_SUMS(sums)
                 : "l"(a), "l"(b), "r"(add)
                 : "memory");
}

inlined void wait_for_products(float *sums)
{
    asm volatile("wgmma.wait_group.sync.aligned 0;" : ALL_SUMS(sums)::"memory");
}
