// SPDX-License-Identifier: MIT
// How a consumer of wgmma_gemm multiplies the slabs of a work.

#define CONSUMERS 256 // work-items, of both
#define TURN      4   // and 5: numbers of barriers, at which each waits for its turn

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
    leave_stage(arena, stage + 1 == IN_RING ? 0 : stage + 1);
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
