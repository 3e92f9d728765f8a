// SPDX-License-Identifier: MIT
// The works of a work-group of wgmma_gemm, and how their slabs come: by one work-item for A, one for B; of
// an A whose rows are gathered by a warp, each row a box of its own.
//
// Defines: GATHERED 1 there.

#ifndef IN_PARTS
    #define IN_PARTS 0
#endif
#ifndef GATHERED
    #define GATHERED 0
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

// The map of A (0), of B (1) or of C (2), by a warp of its own, for at once is sooner. Rows of op(B)ᵀ are
// b_length apart where it is not transposed; A has all_rows, M where none are gathered.
inlined void make_map(const uint which, uint map, __global const void *matrix, uint all_rows, uint N, uint K,
                      uint b_length)
{
    const uint lane = this_lane();
    if (lane < 8) store_shared(map + lane * 16, (uint4)(0));
    warp_barrier();
    if (lane == 0 && which == 0)
        MAKE_TENSOR_MAP(map, ELEMENT, ELEMENT_BYTES, matrix, TRANSPOSE_A ? K : all_rows,
                        TRANSPOSE_A ? all_rows : K, TRANSPOSE_A ? DEPTH : GATHERED ? 1 : TILE);
    if (lane == 0 && which == 1)
        MAKE_TENSOR_MAP(map, ELEMENT, ELEMENT_BYTES, matrix, TRANSPOSE_B ? N : K, TRANSPOSE_B ? b_length : N,
                        TRANSPOSE_B ? COLUMNS : DEPTH);
    if (lane == 0 && which == 2) MAKE_TENSOR_MAP(map, C_ELEMENT, C_BYTES, matrix, all_rows, N, 16);
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

inlined void go_on(const plan *all, fetch_state *next)
{
    step_on(&next->place);
    next->k += DEPTH;
    if (--next->left == 0) begin_work(all, next, next->work + get_num_groups(0));
}

// A's part of it, or B's.
inlined void fetch_next(const plan *all, fetch_state *next, uint arena, ulong map, const bool of_a)
{
    const uint slab = slab_at(arena, next->place.stage), arrival = full(arena, next->place.stage);
    mbarrier_wait(empty(arena, next->place.stage), next->place.parity ^ 1);
    mbarrier_arrive_expecting(arrival, of_a ? OF_A : SLAB - OF_A);
    if (of_a) fetch_operand(slab, map, TRANSPOSE_A, TILE, next->tile.x, next->k, arrival);
    else fetch_operand(slab + OF_A, map, !TRANSPOSE_B, COLUMNS, next->tile.y, next->k, arrival);
    go_on(all, next);
}

// Of all of this work-group's slabs, by one work-item.
inlined void fetch_all(const plan *all, uint arena, ulong map, const bool of_a)
{
    fetch_state next = {.place = {0, 0}};
    begin_work(all, &next, get_group_id(0));
    while (next.work < all->works) fetch_next(all, &next, arena, map, of_a);
}

#if GATHERED

// The rows of A: row m is index[m] of its sample, of a_rows. Row all_rows is not there: zeros.
typedef struct {
    __global const int *index;
    uint M, index_rows, a_rows, all_rows;
} gathered;

// Those that this lane brings of a tile: every WARP_LANES-th.
inlined void pick_rows(uint *rows, const gathered *from, uint tile_m)
{
#pragma unroll
    for (uint i = 0; i < TILE / WARP_LANES; i++) {
        const uint m = tile_m + i * WARP_LANES + this_lane();
        const long row = m < from->M ? picked(from->index, m, from->index_rows, from->a_rows) : -1;
        rows[i] = row < 0 ? from->all_rows : (uint)row;
    }
}

// A's part of all slabs, by a whole warp.
inlined void fetch_gathered(const plan *all, uint arena, ulong map, const gathered *from)
{
    fetch_state next = {.place = {0, 0}};
    uint rows[TILE / WARP_LANES];
    begin_work(all, &next, get_group_id(0));
    while (next.work < all->works) {
        const uint slab = slab_at(arena, next.place.stage), arrival = full(arena, next.place.stage);
        if (next.left == all->slabs) pick_rows(rows, from, next.tile.x);
        mbarrier_wait(empty(arena, next.place.stage), next.place.parity ^ 1);
        if (this_lane() == 0) mbarrier_arrive_expecting(arrival, OF_A);
        warp_barrier();
#pragma unroll
        for (uint i = 0; i < TILE / WARP_LANES; i++)
            tma_load(slab + (i * WARP_LANES + this_lane()) * LINE, map, next.k, rows[i], arrival);
        go_on(all, &next);
    }
}

#endif
