// SPDX-License-Identifier: MIT
// wgmma: four neighbouring warps multiply a slab, 64 rows of A at a time, by 128 or 256 columns. B lies in
// local memory, A too, or, of floats, in registers.

// Operands lie in lines of 128 bytes, whose 16-byte chunks are permuted by the line's number (mod 8),
// eight lines after each other. A descriptor says where an operand begins; what does not change:
#define DESCRIPTOR(leading_bytes)                                                                   \
    (1ul << 62 | (ulong)(1024 / 16) << 32 | (ulong)((leading_bytes) / 16) << 16)

inlined ulong descriptor(ulong form, uint address) { return form | (address >> 4 & 0x3FFF); }

// 64 sums as operands of an instruction: "+f" so that the compiler leaves them in their registers.
#define EIGHT(x)                                                                                    \
    "+f"((x)[0]), "+f"((x)[1]), "+f"((x)[2]), "+f"((x)[3]), "+f"((x)[4]), "+f"((x)[5]), "+f"((x)[6]), \
        "+f"((x)[7])
#define SIXTY_FOUR(x)                                                                               \
    EIGHT(x), EIGHT((x) + 8), EIGHT((x) + 16), EIGHT((x) + 24), EIGHT((x) + 32), EIGHT((x) + 40),   \
        EIGHT((x) + 48), EIGHT((x) + 56)

// Their places among the operands: 0 to 63, 64 to 127.
#define PLACES_0                                                                                    \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, " \
    "%21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, " \
    "%40, %41, %42, %43, %44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, " \
    "%59, %60, %61, %62, %63"
#define PLACES_64                                                                                   \
    "%64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, " \
    "%83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, "   \
    "%101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, "    \
    "%116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

// What the instruction is called, and whether an operand's rows (not k) are contiguous, which only
// 16-bit ones may be.
#if COLUMNS == 256
    #define N_OF "n256"
#else
    #define N_OF "n128"
#endif
#if STORAGE == 2
    #define SHAPE "m64" N_OF "k16.f32.bf16.bf16"
#elif STORAGE == 1 || PAIRS
    #define SHAPE "m64" N_OF "k16.f32.f16.f16"
#else
    #define SHAPE "m64" N_OF "k8.f32.tf32.tf32"
#endif
#define A_BY_ROWS (TRANSPOSE_A && !FLOATS)
#define B_BY_ROWS (!TRANSPOSE_B && !FLOATS)
#if PAIRS
    #define MAJORS ", 0" // of B alone
#elif FLOATS
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

// The steps of k of a slab; `add` says whether the first adds to the sums. High parts of pairs are steps
// 0 and 1 of a line, low ones 2 and 3; small products first.
#if PAIRS
    #define K_STEPS                                                                                 \
        K_STEP("add", 0, 2) K_STEP("always", 1, 3) K_STEP("always", 2, 0) K_STEP("always", 3, 1)    \
        K_STEP("always", 0, 0) K_STEP("always", 1, 1)
#else
    #define K_STEPS                                                                                 \
        K_STEP("add", 0, 0) K_STEP("always", 1, 1) K_STEP("always", 2, 2) K_STEP("always", 3, 3)
#endif
#define WGMMA(places, a, scale)                                                                     \
    "wgmma.mma_async.sync.aligned." SHAPE " {" places "}, " a ", b, " scale ", 1, 1" MAJORS ";\n"

// All steps are begun, and what follows.
#define MULTIPLY(add_place, then)                                                                   \
    "{\n.reg .pred add, always;\n.reg .b64 a, b;\n"                                                 \
    "setp.ne.b32 add, " add_place ", 0;\nsetp.eq.b32 always, " add_place ", " add_place ";\n"       \
    "wgmma.fence.sync.aligned;\n" K_STEPS "wgmma.commit_group.sync.aligned;\n" then "}"

#define A_FORM DESCRIPTOR(16) // 64 rows are all there are side by side
#define B_FORM DESCRIPTOR(B_BY_ROWS ? DEPTH * LINE : 16)

// Of a work-item.
#if COLUMNS == 128 && !ALTERNATE
    #define SUMS        64
    #define ALL_SUMS(x) SIXTY_FOUR(x)
#else
    #define SUMS        128
    #define ALL_SUMS(x) SIXTY_FOUR(x), SIXTY_FOUR((x) + 64)
#endif

// sums = product of a slab, or += where add. It is under way when this returns: until it is waited for
// sums, and registers it takes A from, may not be written.
#if A_IN_REGISTERS

// Of 64 rows, or with ALTERNATE of 128: A's are words of this work-item's, four for each step and 64 rows.
// Behind the sums of an instruction come these, B, and `add`.
    #if SUMS == 64
        #define PLACES PLACES_0
        #define LEFT_0 "{%64, %65, %66, %67}"
        #define LEFT_1 "{%68, %69, %70, %71}"
        #define LEFT_2 "{%72, %73, %74, %75}"
        #define LEFT_3 "{%76, %77, %78, %79}"
    #else
        #define PLACES PLACES_0 ", " PLACES_64
        #define LEFT_0 "{%128, %129, %130, %131}"
        #define LEFT_1 "{%132, %133, %134, %135}"
        #define LEFT_2 "{%136, %137, %138, %139}"
        #define LEFT_3 "{%140, %141, %142, %143}"
        #define BELOW_0 "{%144, %145, %146, %147}"
        #define BELOW_1 "{%148, %149, %150, %151}"
        #define BELOW_2 "{%152, %153, %154, %155}"
        #define BELOW_3 "{%156, %157, %158, %159}"
    #endif
    #define FOUR(x)    "r"((x)[0]), "r"((x)[1]), "r"((x)[2]), "r"((x)[3])
    #define SIXTEEN(x) FOUR(x), FOUR((x) + 4), FOUR((x) + 8), FOUR((x) + 12)
    #define B_AT(step) "add.s64 b, " RIGHT ", 2 * " #step ";\n"
    #if ALTERNATE
        #define LEFT_WORDS  32
        #define ALL_LEFT(x) SIXTEEN(x), SIXTEEN((x) + 16)
        #define RIGHT       "%160"
        #define ADD         "%161"
        #define K_STEP(scale, of_a, of_b)                                                           \
            B_AT(of_b) WGMMA(PLACES_0, LEFT_##of_a, scale) WGMMA(PLACES_64, BELOW_##of_a, scale)
    #else
        #define LEFT_WORDS                16
        #define ALL_LEFT(x)               SIXTEEN(x)
        #define K_STEP(scale, of_a, of_b) B_AT(of_b) WGMMA(PLACES, LEFT_##of_a, scale)
    #endif
    #if SUMS == 64
        #define RIGHT "%80"
        #define ADD   "%81"
    #elif !ALTERNATE
        #define RIGHT "%144"
        #define ADD   "%145"
    #endif
inlined void multiply_rows(float *sums, const uint *left, ulong b, uint add)
{
    asm volatile(MULTIPLY(ADD, "") : ALL_SUMS(sums) : ALL_LEFT(left), "l"(b), "r"(add) : "memory");
}

// The words of A are read until here: nothing else may be put into their registers. All are waited for; or
// all slabs but the last that was begun, whose words these are not.
inlined void wait_for_rows(float *sums, const uint *left)
{
    asm volatile("wgmma.wait_group.sync.aligned 0;" : ALL_SUMS(sums) : ALL_LEFT(left) : "memory");
}
inlined void wait_for_rows_before(const uint *left)
{
    asm volatile("wgmma.wait_group.sync.aligned 1;" ::ALL_LEFT(left) : "memory");
}

#else

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

    #if SUMS == 64
        #define PLACES PLACES_0
        #define A      "%64"
        #define B      "%65"
        #define ADD    "%66"
    #else
        #define PLACES PLACES_0 ", " PLACES_64
        #define A      "%128"
        #define B      "%129"
        #define ADD    "%130"
    #endif
    #define OPERANDS(of_a, of_b)                                                                    \
        "add.s64 a, " A ", " A_STEP " * " #of_a ";\nadd.s64 b, " B ", " B_STEP " * " #of_b ";\n"

// Of a consumer's 64 rows; or of its first ones, and its second ones, 64 lines further.
    #if ALTERNATE
        #define K_STEP(scale, of_a, of_b)                                                           \
            OPERANDS(of_a, of_b)                                                                    \
            WGMMA(PLACES_0, "a", scale) "add.s64 a, a, 512;\n" WGMMA(PLACES_64, "a", scale)
    #else
        #define K_STEP(scale, of_a, of_b) OPERANDS(of_a, of_b) WGMMA(PLACES, "a", scale)
    #endif

// Those before it are done; in the same statement, lest the compiler move a sum between.
inlined void multiply_slab(float *sums, ulong a, ulong b, uint add)
{
    asm volatile(MULTIPLY(ADD, "wgmma.wait_group.sync.aligned 1;\n")
                 : ALL_SUMS(sums)
                 : "l"(a), "l"(b), "r"(add)
                 : "memory");
}

inlined void wait_for_products(float *sums)
{
    asm volatile("wgmma.wait_group.sync.aligned 0;" : ALL_SUMS(sums)::"memory");
}

#endif
