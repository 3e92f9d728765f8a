// SPDX-License-Identifier: MIT
// Instructions of NVIDIA's Hopper GPUs (compute capability 9.0), by the names PTX has for them. Only
// for files that src/runtime/retarget.c rewrites: OpenCL's compiler knows none of these.
//
// Addresses in local memory are numbers (shared_address), because what a file asks for by RETARGET
// exceeds what it may declare: the declared array is only the beginning of the memory there is.

// What the rewritten kernel gets: so many bytes in place of the 32768 it declares as `arena`, and at
// most so many registers for a work-item. The comment is all there is of this in the PTX.
#define RETARGET(local_bytes, registers)                                                            \
    asm volatile("// retarget %0 bytes, %1 registers" ::"n"(local_bytes), "n"(registers))

// ---- mbarriers: 8 bytes of local memory that count arrivals, and bytes of copies, phase by phase

inlined void mbarrier_init(uint mbarrier, uint arrivals)
{
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(mbarrier), "r"(arrivals) : "memory");
}

// After those: copies may arrive there too.
inlined void mbarriers_are_ready(void)
{
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async;" ::: "memory");
}

inlined void mbarrier_arrive(uint mbarrier)
{
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(mbarrier) : "memory");
}

// Arrives, and says how many bytes the phase waits for besides.
inlined void mbarrier_arrive_expecting(uint mbarrier, uint bytes)
{
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(mbarrier), "r"(bytes)
                 : "memory");
}

// Until the phase of this parity has ended; the phase before the first has parity 1.
inlined void mbarrier_wait(uint mbarrier, uint parity)
{
    asm volatile("{\n.reg .pred done;\n"
                 "again:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
                 "@!done bra again;\n}" ::"r"(mbarrier),
                 "r"(parity)
                 : "memory");
}

// ---- work-items of several warps, by the number of a barrier that is not OpenCL's own (0)

inlined void named_barrier_sync(uint number, uint items)
{
    asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(items) : "memory");
}

inlined void named_barrier_arrive(uint number, uint items)
{
    asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(items) : "memory");
}

// ---- the tensor memory accelerator

#define REPLACE(field, constraint, value)                                                           \
    asm volatile("tensormap.replace.tile." field ", %1;" ::"r"(map), constraint(value) : "memory")
#define REPLACE_NUMBER(field, place, value) REPLACE(field ".shared::cta.b1024.b32 [%0]" place, "r", value)
#define REPLACE_LONG(field, place, value) REPLACE(field ".shared::cta.b1024.b64 [%0]" place, "l", value)
#define REPLACE_CONSTANT(field, value)                                                              \
    asm volatile("tensormap.replace.tile." field ".shared::cta.b1024.b32 [%0], " value ";" ::"r"(map) \
                 : "memory")

// Makes, in local memory, a tensor map: how boxes of a matrix [lines][length] are found. A box is 128
// bytes of so many lines; in local memory its chunks of 16 bytes are permuted (see DESCRIPTOR). What
// lies outside the matrix is zeros. element is PTX's number of the type, of `bytes` bytes.
#define MAKE_TENSOR_MAP(map, element, bytes, matrix, lines, length, box_lines)                      \
    do {                                                                                            \
        REPLACE_LONG("global_address", "", (ulong)(matrix));                                        \
        REPLACE_CONSTANT("rank", "1"); /* of two dimensions */                                      \
        REPLACE_NUMBER("box_dim", ", 0", 128 / (bytes));                                            \
        REPLACE_NUMBER("box_dim", ", 1", box_lines);                                                \
        REPLACE_NUMBER("global_dim", ", 0", length);                                                \
        REPLACE_NUMBER("global_dim", ", 1", lines);                                                 \
        REPLACE_LONG("global_stride", ", 0", (ulong)(length) * (bytes));                            \
        REPLACE_NUMBER("element_stride", ", 0", 1);                                                 \
        REPLACE_NUMBER("element_stride", ", 1", 1);                                                 \
        REPLACE_CONSTANT("elemtype", element);                                                      \
        REPLACE_CONSTANT("interleave_layout", "0");                                                 \
        REPLACE_CONSTANT("swizzle_mode", "3"); /* of 128 bytes */                                   \
        REPLACE_CONSTANT("fill_mode", "0");                                                         \
    } while (0)

// A whole warp brings a tensor map from local to global memory, where the accelerator may use it from
// here on.
inlined void publish_tensor_map(ulong to, uint map)
{
    asm volatile("tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned "
                 "[%0], [%1], 128;\n"
                 "fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(to),
                 "r"(map)
                 : "memory");
}

// Begins to copy the box at (x, y) of a tensor to local memory; its bytes arrive at the mbarrier.
inlined void tma_load(uint to, ulong map, uint x, uint y, uint mbarrier)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(to),
                 "l"(map), "r"(x), "r"(y), "r"(mbarrier)
                 : "memory");
}

// What this work-item wrote to local memory, matrix units and copies may read.
inlined void fence_async(void) { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

inlined uint4 load_shared(uint address)
{
    uint4 x;
    asm volatile("ld.shared.v4.b32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(x.x), "=r"(x.y), "=r"(x.z), "=r"(x.w)
                 : "r"(address)
                 : "memory");
    return x;
}

inlined uint load_shared_word(uint address)
{
    uint x;
    asm volatile("ld.shared.b32 %0, [%1];" : "=r"(x) : "r"(address) : "memory");
    return x;
}

inlined void store_shared(uint address, uint4 x)
{
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(x.x), "r"(x.y), "r"(x.z),
                 "r"(x.w)
                 : "memory");
}

// ---- wgmma: four neighbouring warps multiply operands that lie in local memory

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

#define TEXT(x)  TEXT_(x)
#define TEXT_(x) #x
