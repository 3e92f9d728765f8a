// SPDX-License-Identifier: MIT
// In the place of kernels/hopper.cl: the instructions are functions of tests/emulated/hopper.c.

#define RETARGET(local_bytes, registers)

void mbarrier_init(uint mbarrier, uint arrivals);
inlined void mbarriers_are_ready(void) {}
void mbarrier_arrive(uint mbarrier);
void mbarrier_arrive_expecting(uint mbarrier, uint bytes);
void mbarrier_wait(uint mbarrier, uint parity);

void named_barrier_sync(uint number, uint items);
void named_barrier_arrive(uint number, uint items);

#define GIVE_UP_REGISTERS(left)
#define TAKE_REGISTERS(count)

void make_tensor_map(uint map, uint element, uint bytes, __global const void *matrix, uint lines, uint length,
                     uint box_lines);
#define NUMBER_OF(text) ((text)[1] ? ((text)[0] - '0') * 10 + (text)[1] - '0' : (text)[0] - '0')
#define MAKE_TENSOR_MAP(map, element, bytes, matrix, lines, length, box_lines)                      \
    make_tensor_map(map, NUMBER_OF(element), bytes, matrix, lines, length, box_lines)
void publish_tensor_map(ulong to, uint map);
inlined void acquire_tensor_map(ulong map) {}
inlined void fence_async(void) {}
inlined void fence_device(void) {}
void tma_store(ulong map, uint x, uint y, uint from);
void tma_commit(void);
void tma_wait(uint groups);
#define TMA_WAIT_READ(groups) tma_wait(groups)
inlined void tma_wait_written(void) { tma_wait(0); }
void tma_load(uint to, ulong map, uint x, uint y, uint mbarrier);

inlined void store_shared(uint address, uint4 x) { *(__local uint4 *)(size_t)address = x; }
