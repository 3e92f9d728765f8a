// SPDX-License-Identifier: MIT
// tiled_gemm on the matrix units of Hopper (wgmma), operands brought by the tensor memory accelerator.
//
// There are as many work-groups as compute units; each makes one work after the other: a tile of C of
// one part of K (wgmma_parts.cl). One warp fetches slabs of A, one those of B (wgmma_fetch.cl); the first
// eight, two consumers, multiply them (wgmma_multiply.cl). With ALTERNATE the consumers take turns: one
// finishes its tile while the other one multiplies. Without, each has half the rows of every tile, and may be
// as many slabs ahead as there are. Of pairs the sums are added to others, as floats, every 64 k, for the unit
// cuts off what lies below a sum's last digit.
//
// A scheduler has 16384 registers, for a fourth of the warps. The last four warps, the fourth of which has
// something to do only where there is a residual, give up theirs to the consumers.
//
// Defines: those of wgmma_slabs; C_F32 as in tiled_gemm; IN_PARTS 1 where K may be cut.

#define ITEMS     (CONSUMERS + 128)
#define REGISTERS 168 // of a work-item, at first,
#define LEFT      24  // then of one of the last four warps
#define TAKEN     240 // and of a consumer
#if (ITEMS / 32 + 3) / 4 * 32 * REGISTERS > 16384
    #error "a scheduler has no room for its warps"
#endif
#if 2 * (TAKEN - REGISTERS) > REGISTERS - LEFT
    #error "the consumers would wait for registers that nobody gives up"
#endif

// GELU's slope takes the bits of GELU and of a residual.
#define EXTRAS                                                                                      \
    ((MAY_BE(1) ? GELU_AFTER : 0) | (MAY_BE(1) && MAY_BE(3) ? GELU_SLOPE : 0) |                     \
     (MAY_BE(2) ? SCALE_FIRST : 0))
#define MAPS_READY  6 // number of a barrier: the maps of C and of the residual are
#define MAKE_MAPS   (BESIDE ? 64 : 32) // work-items of the warps that make these

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
#define STEPS_ALONG_N (COLUMNS / STEP_COLUMNS)
#define STEPS_OF_WORK (SUMS / STEP_SUMS)

// The first row and column of a step of a consumer's warp.
inlined uint2 place_of_step(uint step, uint tile_m, uint tile_n)
{
    return (uint2)(tile_m + step / STEPS_ALONG_N * 64 + this_warp() % 4 * 16,
                   tile_n + step % STEPS_ALONG_N * STEP_COLUMNS);
}

// What a work's sums will meet begins to come: the extras of the first box, and the residuals of the first boxes.
inlined void begin_boxes(const struct around *around, const outbox *boxes, __global const storage *bias,
                         box_extras *extras, uint tile_m, uint tile_n)
{
    const uint2 first = place_of_step(0, tile_m, tile_n);
    if (BY_BOXES) load_extras(extras, around, bias, first.x, first.y);
    if (!BESIDE || !around->add || this_lane() != 0) return;
#pragma unroll
    for (uint step = 0; step < STEPS_OF_WORK && step < WARP_BOXES; step++) {
        const uint2 place = place_of_step(step, tile_m, tile_n);
        fetch_box(boxes, step, place.x, place.y);
    }
}

// extras: those of the first step's box.
inlined void finish_work(struct around *around, outbox *boxes, float *sums, __global const storage *bias,
                         box_extras *extras, uint tile_m, uint tile_n)
{
    LOOP for (uint step = 0; step < STEPS_OF_WORK; step++) {
        const uint2 place = place_of_step(step, tile_m, tile_n);
#if BY_BOXES
        box_extras next_extras = *extras;
        if (step + 1 < STEPS_OF_WORK) {
            const uint2 next = place_of_step(step + 1, tile_m, tile_n);
            load_extras(&next_extras, around, bias, next.x, next.y);
        }
        write_box(boxes, step, around, sums, bias != 0, extras, place.x, place.y);
        *extras = next_extras;
        if (BESIDE && around->add && this_lane() == 0 && step + WARP_BOXES < STEPS_OF_WORK) {
            const uint2 next = place_of_step(step + WARP_BOXES, tile_m, tile_n);
            fetch_box(boxes, step, next.x, next.y);
        }
#else
        __local float *stage = (__local float *)boxes->memory;
        const uint own = place.y + get_local_id(0) % LANES_C * 8;
        EACH_HALF around->bias[h] = bias ? four_of(bias, own + 4 * h, around->N) : (float4)(0.0f);
        put_sums(stage, sums);
        warp_barrier();
        finish_rows(around, stage, place.x, own);
        warp_barrier();
#endif
#pragma unroll
        for (uint i = 0; i + STEP_SUMS < SUMS; i++) sums[i] = sums[i + STEP_SUMS];
    }
    boxes->turn ^= (STEPS_OF_WORK + WARP_BOXES - 1) / WARP_BOXES & 1;
}

__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
wgmma_gemm(IN(a), IN(b), IN(plain_b), OUT_I32(maps), C_INOUT(c), IN(bias), IN_F32(row_scale), C_IN(residual),
           IN_I32(scatter), IN_I32(ranges), INOUT_F32(waiting), OUT_I32(arrived), const uint M, const uint N,
           const uint K, const uint b_length, const uint slabs, const uint parts, const uint scatter_rows,
           const uint c_rows, const float alpha, const int extras, const int plain_b_transposed)
{
    __local uchar arena[DECLARED] __attribute__((aligned(1024)));
    RETARGET(ALL_BYTES, REGISTERS);
    const uint item = get_local_id(0), base = shared_address(arena);
    if (item == 0) {
        for (uint stage = 0; stage < IN_RING; stage++) {
            mbarrier_init(full(base, stage), 2); // those who fetch
            mbarrier_init(empty(base, stage), ALTERNATE ? 4 : 8); // warps
        }
        for (uint box = 0; box < BOXES; box++) mbarrier_init(base + CAME + box * 8, 1);
        mbarriers_are_ready();
    }
    barrier(CLK_LOCAL_MEM_FENCE);

    plan all = {(M + TILE - 1) / TILE, (N + COLUMNS - 1) / COLUMNS, slabs, 0};
    const uint tiles = all.tiles_m * all.tiles_n;
    all.works = IN_PARTS ? tiles * parts : tiles;
    const ulong where = (ulong)(maps_buffer + maps_offset + get_group_id(0) * 128);
    if (item >= CONSUMERS) {
        GIVE_UP_REGISTERS(LEFT);
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
        } else if (BY_BOXES && (warp == 2 || present(residual))) {
            make_map(2, map, warp == 2 ? c_buffer + c_offset : residual_buffer + residual_offset, M, N, K, b_length);
            publish_tensor_map(published, map);
            named_barrier_arrive(MAPS_READY, CONSUMERS + MAKE_MAPS);
        } else if (BESIDE) named_barrier_arrive(MAPS_READY, CONSUMERS + MAKE_MAPS);
        return;
    }

    TAKE_REGISTERS(TAKEN);
    const uint number = item / 128; // of the consumer
    const uint step = get_num_groups(0) * (ALTERNATE ? 2 : 1);
    outbox boxes = {arena + item / 32 * WARP_BOXES * BOX_BYTES, where + 256, where + 384,
                    base + CAME + item / 32 * WARP_BOXES * 8, 0};
    struct around around = {
        c_buffer + c_offset, residual_buffer + residual_offset,
        row_scale_buffer + row_scale_offset, scatter_buffer + scatter_offset,
        MAY_BE(3) && present(residual), MAY_BE(2) && present(row_scale),
        MAY_BE(4) && present(scatter), extras & EXTRAS,
        !MAY_BE(5),
        M, N, scatter_rows, c_rows, 0, alpha, 1.0f, {0.0f, 0.0f}};
    const consumer own = {base, ALTERNATE ? 0 : number * 64};
#if PAIRS
    const plain_product plain = {a_buffer + a_offset, plain_b_buffer + plain_b_offset,
                                 (__global const int2 *)(ranges_buffer + ranges_offset), M, N, K,
                                 plain_b_transposed ? 1 : N, plain_b_transposed ? K : 1};
#endif
    if (BY_BOXES) {
        named_barrier_sync(MAPS_READY, CONSUMERS + MAKE_MAPS);
        acquire_tensor_map(boxes.c_map);
        if (BESIDE) acquire_tensor_map(boxes.residual_map);
    }
    __global const storage *bias = MAY_BE(0) && present(bias) ? bias_buffer + bias_offset : 0;
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
        box_extras extras;
        if (!IN_PARTS) begin_boxes(&around, &boxes, bias, &extras, tile.x + own.rows, tile.y);
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
        begin_boxes(&around, &boxes, bias, &extras, tile.x + own.rows, tile.y);
#endif
        finish_work(&around, &boxes, sums, bias, &extras, tile.x + own.rows, tile.y);
    }
    if (BY_BOXES && this_lane() == 0) tma_wait_written();
}
