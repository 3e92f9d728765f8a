// SPDX-License-Identifier: MIT
// tiled_gemm on the matrix units of Hopper (wgmma), operands brought by the tensor memory accelerator.
//
// There are as many work-groups as compute units; each makes one work after the other: a tile of C of
// one part of K (wgmma_parts.cl). One warp fetches slabs of A, one those of B; the first eight, two consumers,
// multiply them (wgmma_slabs.cl). With ALTERNATE the consumers take turns: one finishes its tile while the
// other one multiplies. Without, each has half the rows of every tile, and may be as many slabs ahead as
// there are. Of pairs the sums are added to others, as floats, every 64 k, for the unit cuts off what lies
// below a sum's last digit.
//
// A scheduler has 16384 registers, for a fourth of the warps. The last four warps, of which three do
// something, give up theirs to the consumers.
//
// Defines: those of wgmma_slabs; C_F32 as in tiled_gemm; IN_PARTS 1 where K may be cut; AROUND, a bit each,
// what may stand around the product: bias, GELU, row_scale, residual, scatter; and whether 16 bytes of a row
// of C cannot be written at once. What is not there takes no registers.

#ifndef IN_PARTS
    #define IN_PARTS 0
#endif

#define CONSUMERS 256 // work-items
#define ITEMS     (CONSUMERS + 128)
#define REGISTERS 168 // of a work-item, at first
#if (ITEMS / 32 + 3) / 4 * 32 * REGISTERS > 16384
    #error "a scheduler has no room for its warps"
#endif

#define MAY_BE(bit) (AROUND >> bit & 1)
#define BY_BOXES    (!MAY_BE(3) && !MAY_BE(4) && !MAY_BE(5))

// Numbers of barriers of several warps; each consumer waits for its turn at its own.
#define TURN        4
#define C_MAP_READY 6

typedef struct {
    uint tiles_m, tiles_n, slabs; // slabs of a part
    uint works;
} plan;

inlined uint2 tile_of_work(const plan *all, uint work)
{
    const uint tiles = all->tiles_m * all->tiles_n;
    return tile_of_group(work % tiles, all->tiles_m, all->tiles_n) * (uint2)(TILE, COLUMNS);
}

inlined uint part_of_work(const plan *all, uint work) { return work / (all->tiles_m * all->tiles_n); }

// ---- fetching

// The map of A (0), of B (1) or of C (2), by a warp of its own, for at once is sooner. Rows of op(B)ᵀ are
// b_length apart where it is not transposed.
inlined void make_map(const uint which, uint map, __global const void *matrix, uint M, uint N, uint K, uint b_length)
{
    const uint lane = this_lane();
    if (lane < 8) store_shared(map + lane * 16, (uint4)(0));
    warp_barrier();
    if (lane == 0 && which == 0)
        MAKE_TENSOR_MAP(map, ELEMENT, ELEMENT_BYTES, matrix, TRANSPOSE_A ? K : M, TRANSPOSE_A ? M : K,
                        TRANSPOSE_A ? DEPTH : TILE);
    if (lane == 0 && which == 1)
        MAKE_TENSOR_MAP(map, ELEMENT, ELEMENT_BYTES, matrix, TRANSPOSE_B ? N : K, TRANSPOSE_B ? b_length : N,
                        TRANSPOSE_B ? COLUMNS : DEPTH);
    if (lane == 0 && which == 2) MAKE_TENSOR_MAP(map, C_ELEMENT, C_BYTES, matrix, M, N, 16);
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
    next->k = IN_PARTS ? part_of_work(all, work) * all->slabs * DEPTH : 0;
}

// A's part of it, or B's.
inlined void fetch_next(const plan *all, fetch_state *next, uint arena, ulong map, const bool of_a)
{
    const uint slab = slab_at(arena, next->place.stage), arrival = full(arena, next->place.stage);
    mbarrier_wait(empty(arena, next->place.stage), next->place.parity ^ 1);
    mbarrier_arrive_expecting(arrival, of_a ? OF_A : SLAB - OF_A);
    if (of_a) fetch_operand(slab, map, TRANSPOSE_A, TILE, next->tile.x, next->k, arrival);
    else fetch_operand(slab + OF_A, map, !TRANSPOSE_B, COLUMNS, next->tile.y, next->k, arrival);
    step_on(&next->place);
    next->k += DEPTH;
    if (--next->left == 0) begin_work(all, next, next->work + get_num_groups(0));
}

// Of all of this work-group's slabs, by one work-item.
inlined void fetch_all(const plan *all, uint arena, ulong map, const bool of_a)
{
    fetch_state next = {.place = {0, 0}};
    begin_work(all, &next, get_group_id(0));
    while (next.work < all->works) fetch_next(all, &next, arena, map, of_a);
}

// ---- multiplying

// A consumer's part of the slabs.
typedef struct {
    uint arena, rows; // the first of the tile's that are its own
} consumer;

inlined void leave_stage(uint arena, uint stage)
{
    if (this_lane() == 0) mbarrier_arrive(empty(arena, stage));
}

// All of a work is under way: the other consumer's turn.
inlined void give_turn(void)
{
    if (ALTERNATE) named_barrier_arrive(TURN + 1 - get_local_id(0) / 128, CONSUMERS);
}

// A consumer's sums of a work whose first slab is at place.
#if PAIRS

// The next two slabs, when they are here: a warp's rows of A, and where B begins.
inlined void load_run(pair_run *run, ulong *b, const consumer *own, ring_place *place)
{
#pragma unroll
    for (uint i = 0; i < 2; i++) {
        const uint slab = slab_at(own->arena, place->stage);
        mbarrier_wait(full(own->arena, place->stage), place->parity);
#pragma unroll
        for (uint j = 0; j < 4; j++) load_eight_k(run->x[i][j], slab, own->rows + this_warp() % 4 * 16, 8 * j);
        b[i] = descriptor(B_FORM, slab + OF_A);
        step_on(place);
    }
    scale_run(run);
}

inlined void leave_run(uint arena, uint stage)
{
    leave_stage(arena, stage);
    leave_stage(arena, stage + 1 == STAGES ? 0 : stage + 1);
}

// Two slabs at a time, of which there is an even number. While the unit has one of them the other one is made
// pairs, and the next two are loaded.
inlined void multiply_work(float *sums, const consumer *own, uint slabs, ring_place *place)
{
    pair_run run;
    uint left[2][16], stage = place->stage;
    ulong b[2];
    float some[SUMS];
#pragma unroll
    for (uint i = 0; i < SUMS; i++) sums[i] = some[i] = 0.0f;
    load_run(&run, b, own, place);
    pair_slab(left[0], run.x[0], run.scale);
    for (uint s = 2; s <= slabs; s += 2) {
        const float unscale[2] = {run.unscale[0], run.unscale[1]};
        const uint next = place->stage;
        multiply_rows(some, left[0], b[0], 0);
        pair_slab(left[1], run.x[1], run.scale);
        multiply_rows(some, left[1], b[1], 1);
        if (s < slabs) load_run(&run, b, own, place);
        wait_for_rows_before(left[0]);
        if (s < slabs) pair_slab(left[0], run.x[0], run.scale);
        wait_for_rows(some, left[1]);
        leave_run(own->arena, stage);
        stage = next;
#pragma unroll
        for (uint i = 0; i < SUMS; i++) sums[i] = fma(some[i], unscale[i / 2 % 2], sums[i]);
    }
}

#elif A_IN_REGISTERS

// The next slab's products begin when it is here, those of the one before under way: a warp's rows of A are
// in registers of its own. Where it waits in the ring.
inlined uint begin_slab(float *sums, uint *left, const consumer *own, ring_place *place, uint add)
{
    const uint stage = place->stage, slab = slab_at(own->arena, stage);
    mbarrier_wait(full(own->arena, stage), place->parity);
#pragma unroll
    for (uint i = 0; i < LEFT_WORDS / 16; i++)
        load_left(left + 16 * i, slab, own->rows + 64 * i + this_warp() % 4 * 16);
    multiply_rows(sums, left, descriptor(B_FORM, slab + OF_A), add);
    step_on(place);
    return stage;
}

// Of slabs there is an even number.
inlined void multiply_work(float *sums, const consumer *own, uint slabs, ring_place *place)
{
    uint left[2][LEFT_WORDS], second = 0;
    for (uint s = 0; s < slabs; s += 2) {
        const uint first = begin_slab(sums, left[0], own, place, s);
        if (s > 0) {
            wait_for_rows_before(left[1]);
            leave_stage(own->arena, second);
        }
        second = begin_slab(sums, left[1], own, place, 1);
        wait_for_rows_before(left[0]);
        leave_stage(own->arena, first);
    }
    give_turn();
    wait_for_rows(sums, left[1]);
    leave_stage(own->arena, second);
    if (ALTERNATE) advance(place, slabs); // the other one's
}

#else

// When the first instructions for a slab are begun those for the one before are done.
inlined void multiply_work(float *sums, const consumer *own, uint slabs, ring_place *place)
{
    uint before = 0;
    for (uint s = 0; s < slabs; s++) {
        const uint stage = place->stage, a = slab_at(own->arena, stage);
        mbarrier_wait(full(own->arena, stage), place->parity);
        multiply_slab(sums, descriptor(A_FORM, a + own->rows * LINE), descriptor(B_FORM, a + OF_A), s);
        if (s > 0) leave_stage(own->arena, before);
        before = stage;
        step_on(place);
    }
    give_turn();
    wait_for_products(sums);
    leave_stage(own->arena, before);
    if (ALTERNATE) advance(place, slabs); // the other one's
}

#endif

// A consumer's warp goes through its rows, 16 by 16, and some columns at a time. Where there is much to do
// it is a loop, the sums moving on to where it takes them from: code that runs once would be fetched for
// one use.
#if BY_BOXES
    #define STEP_COLUMNS BOX_COLUMNS
#else
    #define STEP_COLUMNS WARP_TILE
#endif
#define STEP_SUMS (STEP_COLUMNS / 2)
#if BY_BOXES && !MAY_BE(1)
    #define LOOP _Pragma("unroll")
#else
    #define LOOP _Pragma("unroll 1")
#endif
inlined void finish_work(struct around *around, __local uchar *stage, ulong map, float *sums,
                         __global const storage *bias, uint tile_m, uint tile_n)
{
    const uint warp = this_warp() % 4, steps = COLUMNS / STEP_COLUMNS;
    LOOP for (uint step = 0; step < SUMS / STEP_SUMS; step++) {
        const uint m = tile_m + step / steps * 64 + warp * 16, n = tile_n + step % steps * STEP_COLUMNS;
#if BY_BOXES
        write_box(stage, step, map, around, sums, bias, m, n);
#else
        const uint own = n + get_local_id(0) % LANES_C * 8;
        EACH_HALF around->bias[h] = bias ? four_of(bias, own + 4 * h, around->N) : (float4)(0.0f);
        put_sums((__local float *)stage, sums);
        warp_barrier();
        finish_rows(around, (__local float *)stage, m, own);
        warp_barrier();
#endif
#pragma unroll
        for (uint i = 0; i + STEP_SUMS < SUMS; i++) sums[i] = sums[i + STEP_SUMS];
    }
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
wgmma_gemm(IN(a), IN(b), IN(plain_b), OUT_I32(maps), C_INOUT(c), IN(bias), IN_F32(row_scale), C_IN(residual),
           IN_I32(scatter), IN_I32(ranges), INOUT_F32(waiting), OUT_I32(arrived), const uint M, const uint N,
           const uint K, const uint b_length, const uint slabs, const uint parts, const uint scatter_rows,
           const uint c_rows, const float alpha, const int gelu_after, const int plain_b_transposed)
{
    __local uchar arena[RING] __attribute__((aligned(1024)));
    RETARGET(ALL_BYTES, REGISTERS);
    const uint item = get_local_id(0), base = shared_address(arena);
    if (item == 0) {
        for (uint stage = 0; stage < STAGES; stage++) {
            mbarrier_init(full(base, stage), 2); // those who fetch
            mbarrier_init(empty(base, stage), ALTERNATE ? 4 : 8); // warps
        }
        mbarriers_are_ready();
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    plan all = {(M + TILE - 1) / TILE, (N + COLUMNS - 1) / COLUMNS, slabs, 0};
    const uint tiles = all.tiles_m * all.tiles_n;
    all.works = IN_PARTS ? tiles * parts : tiles;
    const ulong where = (ulong)(maps_buffer + maps_offset + get_group_id(0) * 96);
    if (item >= CONSUMERS) {
        GIVE_UP_REGISTERS(24);
        const uint warp = (item - CONSUMERS) / 32, map = base + MAPS + warp * 128;
        const ulong published = where + warp * 128;
        if (warp == 0) {
            make_map(0, map, a_buffer + a_offset, M, N, K, b_length);
            publish_tensor_map(published, map);
            if (this_lane() == 0) fetch_all(&all, base, published, true);
        } else if (warp == 1) {
            make_map(1, map, b_buffer + b_offset, M, N, K, b_length);
            publish_tensor_map(published, map);
            if (this_lane() == 0) fetch_all(&all, base, published, false);
        } else if (warp == 2 && BY_BOXES) {
            make_map(2, map, c_buffer + c_offset, M, N, K, b_length);
            publish_tensor_map(published, map);
            named_barrier_arrive(C_MAP_READY, CONSUMERS + 32);
        }
        return;
    }

    TAKE_REGISTERS(240);
    const uint number = item / 128; // of the consumer
    const uint step = get_num_groups(0) * (ALTERNATE ? 2 : 1);
    __local uchar *stage = arena + item / 32 * STAGED * sizeof(float);
    struct around around = {
        c_buffer + c_offset, residual_buffer + residual_offset,
        row_scale_buffer + row_scale_offset, scatter_buffer + scatter_offset,
        MAY_BE(3) && present(residual), MAY_BE(2) && present(row_scale),
        MAY_BE(4) && present(scatter), MAY_BE(1) && gelu_after != 0,
        !MAY_BE(5),
        M, N, scatter_rows, c_rows, 0, alpha, 1.0f, {0.0f, 0.0f}};
    const consumer own = {base, ALTERNATE ? 0 : number * 64};
#if PAIRS
    const plain_product plain = {a_buffer + a_offset, plain_b_buffer + plain_b_offset,
                                 (__global const int2 *)(ranges_buffer + ranges_offset), M, N, K, plain_b_transposed ? 1 : N, plain_b_transposed ? K : 1};
#endif
    if (BY_BOXES) {
        named_barrier_sync(C_MAP_READY, CONSUMERS + 32);
        acquire_tensor_map(where + 256);
    }
    ring_place place = {0, 0};
    float sums[SUMS];
#pragma unroll
    for (uint i = 0; i < SUMS; i++) sums[i] = 0.0f;
    if (ALTERNATE && number == 1) {
        advance(&place, slabs);
        named_barrier_arrive(TURN, CONSUMERS); // the first turn is the other one's
    }
    for (uint work = get_group_id(0) + (ALTERNATE ? number * get_num_groups(0) : 0);
         work < all.works; work += step) {
        const uint2 tile = tile_of_work(&all, work);
        if (ALTERNATE) named_barrier_sync(TURN + number, CONSUMERS);
        multiply_work(sums, &own, slabs, &place);
#if PAIRS
        const uint first = (IN_PARTS ? part_of_work(&all, work) : 0) * slabs * DEPTH;
        settle_pairs(sums, &plain, tile.x + own.rows, tile.y, first, first + slabs * DEPTH);
#endif
#if IN_PARTS
        if (!add_parts(sums, (__global float4 *)(waiting_buffer + waiting_offset), arrived_buffer + arrived_offset,
                       tiles, work % tiles, part_of_work(&all, work), parts))
            continue;
#endif
        finish_work(&around, stage, where + 256, sums, MAY_BE(0) && present(bias) ? bias_buffer + bias_offset : 0,
                    tile.x + own.rows, tile.y);
    }
    if (BY_BOXES && this_lane() == 0) tma_wait_written();
}
