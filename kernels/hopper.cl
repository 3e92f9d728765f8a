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

// What was written to global memory before is seen by those of any work-group that then learn of it.
inlined void fence_device(void) { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }

// ---- registers of four neighbouring warps, a multiple of 8: those that one role gives up another takes

#define GIVE_UP_REGISTERS(left) asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(left))
#define TAKE_REGISTERS(count)   asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(count))

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

// A whole warp brings a tensor map from local to global memory, where it may give it to the accelerator
// from here on; others, after a barrier, when they have acquired it.
inlined void publish_tensor_map(ulong to, uint map)
{
    asm volatile("tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release.gpu.sync.aligned "
                 "[%0], [%1], 128;\n"
                 "fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(to),
                 "r"(map)
                 : "memory");
}

inlined void acquire_tensor_map(ulong map)
{
    asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" ::"l"(map) : "memory");
}

// Begins to copy the box at (x, y) of a tensor to local memory; its bytes arrive at the mbarrier.
inlined void tma_load(uint to, ulong map, uint x, uint y, uint mbarrier)
{
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3}], [%4];" ::"r"(to),
                 "l"(map), "r"(x), "r"(y), "r"(mbarrier)
                 : "memory");
}

// What was written to local memory is what the accelerator will find there.
inlined void fence_async(void) { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// Begins to copy a box from local memory to (x, y) of a tensor, what lies outside left out. A work-item
// commits those it began, as a group, and waits until at most so many of its groups are still to be read
// (after which others may be put there), or until all are written.
inlined void tma_store(ulong map, uint x, uint y, uint from)
{
    asm volatile("cp.async.bulk.tensor.2d.global.shared::cta.tile.bulk_group [%0, {%1, %2}], [%3];" ::"l"(map),
                 "r"(x), "r"(y), "r"(from)
                 : "memory");
}

inlined void tma_commit(void) { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }

#define TMA_WAIT_READ(groups) asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(groups) : "memory")

inlined void tma_wait_written(void) { asm volatile("cp.async.bulk.wait_group 0;" ::: "memory"); }

inlined void store_shared(uint address, uint4 x)
{
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(address), "r"(x.x), "r"(x.y), "r"(x.z),
                 "r"(x.w)
                 : "memory");
}
