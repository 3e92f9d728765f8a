// SPDX-License-Identifier: MIT
// tiled_gemm on the matrix units of Hopper (wgmma), operands brought by the tensor memory accelerator.
//
// There are as many work-groups as compute units; each makes one work after the other: a 128×128 tile
// of C of one part of K (parts leave their bare sums below each other). A warp fetches slabs; the first eight,
// two consumers, multiply them (wgmma_slabs.cl). With ALTERNATE the consumers take turns: one finishes
// its tile while the other one multiplies. Without, each has half the rows of every tile. That is for pairs:
// the unit cuts off what lies below a sum's last digit, so their sums are added to others, as floats, every
// PROMOTE slabs, and registers hold half a tile of both.
//
// A scheduler has 16384 registers: three warps of 168 for a work-item. The last four warps, of which one
// does something, give up theirs to the consumers.
//
// Defines: those of wgmma_slabs; C_F32 as in tiled_gemm; AROUND, a bit each, what may stand around
// the product: bias, GELU, row_scale, residual, scatter; and whether 16 bytes of a row of C cannot be
// written at once. What is not there takes no registers.

#ifndef PROMOTE
    #define PROMOTE 2 // slabs: 64 of k
#endif

#define CONSUMERS 256 // work-items
#define ITEMS     (CONSUMERS + 128)
#define BLOCKS    (ALTERNATE ? 2 : 1) // of 64 rows, of a consumer

#define MAY_BE(bit) (AROUND >> bit & 1)

#define TURN 4 // the number of a barrier of several warps; each consumer waits for its turn at its own

typedef struct {
    uint tiles_m, tiles_n, slabs; // slabs of a part
    uint works;
} plan;

inlined uint2 tile_of_work(const plan *all, uint work)
{
    const uint tiles = all->tiles_m * all->tiles_n;
    return tile_of_group(work % tiles, all->tiles_m, all->tiles_n) * TILE;
}

inlined uint part_of_work(const plan *all, uint work) { return work / (all->tiles_m * all->tiles_n); }

// ---- fetching

// A's map and then B's, by a warp. Rows of op(B)ᵀ are b_length apart where it is not transposed.
inlined void make_maps(uint maps, __global const storage *a, __global const storage *b, uint M, uint N,
                       uint K, uint b_length)
{
    const uint lane = get_local_id(0) % 32;
    if (lane < 16) store_shared(maps + lane * 16, (uint4)(0));
    warp_barrier();
    if (lane == 0) {
        const uint map = maps;
        MAKE_TENSOR_MAP(map, ELEMENT, ELEMENT_BYTES, a, TRANSPOSE_A ? K : M, TRANSPOSE_A ? M : K,
                        TRANSPOSE_A ? DEPTH : TILE);
    }
    if (lane == 1) {
        const uint map = maps + 128;
        MAKE_TENSOR_MAP(map, ELEMENT, ELEMENT_BYTES, b, TRANSPOSE_B ? N : K, TRANSPOSE_B ? b_length : N,
                        TRANSPOSE_B ? TILE : DEPTH);
    }
    warp_barrier();
}

// The slab that is fetched next.
typedef struct {
    uint work, left; // slabs of the work
    uint2 tile;
    uint k;
    ring_place place;
} fetch_state;

inlined void begin_work(const plan *all, fetch_state *next, uint work)
{
    next->work = work;
    next->left = all->slabs;
    next->tile = tile_of_work(all, work);
    next->k = part_of_work(all, work) * all->slabs * DEPTH;
}

inlined void fetch_next(const plan *all, fetch_state *next, uint arena, ulong maps)
{
    if (next->work >= all->works) return;
    const uint slab = slab_at(arena, next->place.stage), arrival = full(arena, next->place.stage);
    mbarrier_wait(empty(arena, next->place.stage), next->place.parity ^ 1);
    mbarrier_arrive_expecting(arrival, 2 * OPERAND);
    fetch_operand(slab, maps, TRANSPOSE_A, next->tile.x, next->k, arrival);
    fetch_operand(slab + OPERAND, maps + 128, !TRANSPOSE_B, next->tile.y, next->k, arrival);
    step_on(&next->place);
    next->k += DEPTH;
    if (--next->left == 0) begin_work(all, next, next->work + get_num_groups(0));
}

// All of this work-group's slabs, by one work-item.
inlined void fetch_all(const plan *all, uint arena, ulong maps)
{
    fetch_state next = {.place = {0, 0}};
    begin_work(all, &next, get_group_id(0));
    while (next.work < all->works) fetch_next(all, &next, arena, maps);
}

// ---- multiplying

// A consumer's part of the slabs.
typedef struct {
    uint arena, rows; // the first of the tile's that are its own
    float scale;      // of A's floats
} consumer;

// The slab at a: its product is begun. When the first of its instructions are, those of the one before are
// done: that is empty again.
inlined void multiply_next(float *sums, const consumer *own, uint a, uint add, uint before)
{
    const ulong b = descriptor(B_FORM, a + OPERAND);
#if FLOATS
    const uint row = own->rows + this_warp() % 4 * 16;
    #pragma unroll
    for (uint block = 0; block < BLOCKS; block++) {
        uint left[16];
        load_left(left, a, row + block * 64, own->scale);
        multiply_rows(sums + block * 64, left, b, add);
        if (block == 0 && add && this_lane() == 0) mbarrier_arrive(before);
    }
#else
    multiply_slab(sums, descriptor(A_FORM, a + own->rows * LINE), b, add);
    if (add && this_lane() == 0) mbarrier_arrive(before);
#endif
}

// sums = the product of so many slabs from place on. All but the last become empty on the way; its
// product may still be under way.
inlined void multiply_slabs(float *sums, const consumer *own, uint count, ring_place *place)
{
    uint before = 0;
    for (uint s = 0; s < count; s++) {
        mbarrier_wait(full(own->arena, place->stage), place->parity);
        multiply_next(sums, own, slab_at(own->arena, place->stage), s, empty(own->arena, before));
        before = place->stage;
        step_on(place);
    }
}

inlined void empty_last(uint arena, const ring_place *place)
{
    if (this_lane() == 0)
        mbarrier_arrive(empty(arena, (place->stage == 0 ? STAGES : place->stage) - 1));
}

// A consumer's sums of a work whose first slab is at place.
#if ALTERNATE
inlined void multiply_work(float *sums, const consumer *own, uint slabs, ring_place *place)
{
    multiply_slabs(sums, own, slabs, place);
    named_barrier_arrive(TURN + 1 - get_local_id(0) / 128, CONSUMERS); // the other one's turn
    wait_for_products(sums);
    empty_last(own->arena, place);
    advance(place, slabs); // the other one's
}
#else
inlined void multiply_work(float *sums, const consumer *own, uint slabs, ring_place *place)
{
    float some[64];
    #pragma unroll
    for (uint i = 0; i < 64; i++) sums[i] = some[i] = 0.0f;
    for (uint s = 0; s < slabs; s += PROMOTE) {
        multiply_slabs(some, own, min(slabs - s, (uint)PROMOTE), place);
        wait_for_products(some);
        empty_last(own->arena, place);
    #pragma unroll
        for (uint i = 0; i < 64; i++) sums[i] += some[i];
    }
}
#endif

// A consumer's warp goes through its rows, 16 by 16, in two halves of the tile's columns. A loop, the
// sums moving on to where it takes them from: code that runs once would be fetched for one use.
inlined void finish_work(struct around *around, __local float *stage, float *sums,
                         __global const storage *bias, uint tile_m, uint tile_n)
{
    const uint warp = get_local_id(0) / 32 % 4;
#pragma unroll 1
    for (uint step = 0; step < 2 * BLOCKS; step++) {
        const uint m = tile_m + step / 2 * 64 + warp * 16, n = tile_n + step % 2 * WARP_TILE;
#if !C_F32 && !MAY_BE(3) && !MAY_BE(4) && !MAY_BE(5)
        finish_sums(around, (__local uint *)stage, sums, bias, m, n);
#else
        const uint own = n + get_local_id(0) % LANES_C * 8;
        EACH_HALF around->bias[h] = bias ? four_of(bias, own + 4 * h, around->N) : (float4)(0.0f);
        put_sums(stage, sums);
        warp_barrier();
        finish_rows(around, stage, m, own);
        warp_barrier();
#endif
#pragma unroll
        for (uint i = 0; i + 32 < 64 * BLOCKS; i++) sums[i] = sums[i + 32];
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
wgmma_gemm(IN(a), IN(b), OUT_I32(maps), C_INOUT(c), IN(bias), IN_F32(row_scale), C_IN(residual), IN_I32(scatter),
           IN_I32(ranges), const uint M, const uint N, const uint K, const uint b_length,
           const uint slabs, const uint parts,
           const uint scatter_rows, const uint c_rows, const float alpha, const int gelu_after)
{
    __local uchar arena[RING] __attribute__((aligned(1024)));
    RETARGET(ALL_BYTES, 168);
    const uint item = get_local_id(0), base = shared_address(arena);
    if (item == 0) {
        for (uint stage = 0; stage < STAGES; stage++) {
            mbarrier_init(full(base, stage), 1);
            mbarrier_init(empty(base, stage), ALTERNATE ? 4 : 8); // warps
        }
        mbarriers_are_ready();
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    plan all = {(M + TILE - 1) / TILE, (N + TILE - 1) / TILE, slabs, 0};
    // Where tiled_gemm makes the product nothing is left here.
    const bool idle = present(ranges) && !pairs_hold(ranges_buffer + ranges_offset);
    all.works = idle ? 0 : all.tiles_m * all.tiles_n * parts;
    if (item >= CONSUMERS) {
        GIVE_UP_REGISTERS(24);
        if (item >= CONSUMERS + 32) return;
        const ulong where = (ulong)(maps_buffer + maps_offset + get_group_id(0) * 64);
        make_maps(base + MAPS, a_buffer + a_offset, b_buffer + b_offset, M, N, K, b_length);
        publish_tensor_map(where, base + MAPS);
        publish_tensor_map(where + 128, base + MAPS + 128);
        if (item == CONSUMERS) fetch_all(&all, base, where);
        return;
    }

    TAKE_REGISTERS(240);
    const uint number = item / 128; // of the consumer
    const uint step = get_num_groups(0) * (ALTERNATE ? 2 : 1);
    __local float *stage = (__local float *)arena + item / 32 * STAGED;
    struct around around = {
        c_buffer + c_offset, residual_buffer + residual_offset,
        row_scale_buffer + row_scale_offset, scatter_buffer + scatter_offset,
        MAY_BE(3) && present(residual), MAY_BE(2) && present(row_scale),
        MAY_BE(4) && present(scatter), MAY_BE(1) && gelu_after != 0,
        !MAY_BE(5),
        M, N, scatter_rows, c_rows, 0, alpha, 1.0f, {0.0f, 0.0f}};
    consumer own = {base, ALTERNATE ? 0 : number * 64, 1.0f};
    if (present(ranges)) {
        own.scale = pair_scale(ranges_buffer + ranges_offset, 0, 1);
        around.alpha *= pair_scale(ranges_buffer + ranges_offset, 0, -1);
        around.unscale = pair_scale(ranges_buffer + ranges_offset, 1, -1);
    }
    ring_place place = {0, 0};
    float sums[64 * BLOCKS];
#pragma unroll
    for (uint i = 0; i < 64 * BLOCKS; i++) sums[i] = 0.0f;
    if (ALTERNATE && number == 1) {
        advance(&place, slabs);
        named_barrier_arrive(TURN, CONSUMERS); // the first turn is the other one's
    }
    for (uint work = get_group_id(0) + (ALTERNATE ? number * get_num_groups(0) : 0);
         work < all.works; work += step) {
        const uint2 tile = tile_of_work(&all, work);
        if (ALTERNATE) named_barrier_sync(TURN + number, CONSUMERS);
        multiply_work(sums, &own, slabs, &place);
        around.first_row = part_of_work(&all, work) * M;
        finish_work(&around, stage, sums, MAY_BE(0) && present(bias) ? bias_buffer + bias_offset : 0,
                    tile.x + own.rows, tile.y);
    }
}
