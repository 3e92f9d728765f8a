// SPDX-License-Identifier: MIT
// The works of a work-group of wgmma_gemm, and how their slabs come: by one work-item for A, one for B.

#ifndef IN_PARTS
    #define IN_PARTS 0
#endif

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

// The map of A (0), of B (1), or of C and what is like it (2), by a warp of its own, for at once is sooner. Rows of
// op(B)ᵀ are b_length apart where it is not transposed.
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
