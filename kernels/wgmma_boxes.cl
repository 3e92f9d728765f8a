// SPDX-License-Identifier: MIT
// What becomes of wgmma_gemm's sums where rows stay in their order: a warp puts boxes of 16 rows and 128 bytes
// of C to local memory, and the tensor memory accelerator writes them. Of a warp's boxes, WARP_BOXES, one is filled
// while another one is read. A residual comes to the box first, the same way, while the products are made; each
// number of it is replaced by one of C.

#define BOX_COLUMNS (LINE / C_BYTES)

// Two neighbours of C, in one word or two.
#if C_F32
typedef float2 c_pair;
inlined c_pair pair_of_c(float left, float right) { return (float2)(left, right); }
inlined float2 floats_of_pair(c_pair pair) { return pair; }
#else
typedef uint c_pair;
inlined c_pair pair_of_c(float left, float right) { return pack_pair(left, right); }
inlined float2 floats_of_pair(c_pair pair) { return unpack_pair(pair); }
#endif

// Two neighbours of the bias, likewise.
#if FLOATS
typedef float2 bias_pair;
inlined bias_pair pair_of_bias(__global const float *bias) { return (float2)(bias[0], bias[1]); }
inlined float2 floats_of_bias(bias_pair pair) { return pair; }
#else
typedef uint bias_pair;
inlined bias_pair pair_of_bias(__global const storage *bias)
{
    __global const ushort *bits = (__global const ushort *)bias;
    return bits[0] | (uint)bits[1] << 16;
}
inlined float2 floats_of_bias(bias_pair pair) { return unpack_pair(pair); }
#endif

// A warp's boxes, and the maps of C and of the residual; an mbarrier of each box tells that the residual is in
// it, and turn is the parity of the phase that they are in.
typedef struct {
    __local uchar *memory;
    ulong c_map, residual_map;
    uint came, turn;
} outbox;

#define EACH_GROUP _Pragma("unroll") for (uint j = 0; j < BOX_COLUMNS / 8; j++) // of eight columns

// Where a lane's two neighbours of a group of columns lie in a box, of row lane / 4; those of the row eight
// further lie FURTHER. Lines are permuted as for the unit (wgmma.cl).
inlined __local c_pair *pair_in_box(__local uchar *box, uint group)
{
    const uint lane = this_lane(), row = lane / 4, byte = (group * 8 + lane % 4 * 2) * C_BYTES;
    return (__local c_pair *)(box + row * LINE + ((byte / 16 ^ row) * 16 + byte % 16));
}

#define FURTHER (8 * LINE / sizeof(c_pair))

// What a lane's sums of a box meet that lies in global memory, loaded before it is needed.
typedef struct {
    bias_pair bias[BOX_COLUMNS / 8];
    float scale[2];
} box_extras;

inlined void load_extras(box_extras *extras, const struct around *to, __global const storage *bias, uint m, uint n)
{
    const uint row = m + this_lane() / 4;
    if (bias) EACH_GROUP {
        const uint column = n + j * 8 + this_lane() % 4 * 2;
        extras->bias[j] = pair_of_bias(bias + (column < to->N ? column : 0));
    }
#pragma unroll
    for (uint i = 0; i < 2; i++)
        extras->scale[i] = to->scaled && row + 8 * i < to->M ? to->row_scale[row + 8 * i] : 1.0f;
}

// Sums as they are in C: a lane has two columns of each group, of row lane / 4 and of the one eight further.
// Step by step for all groups, so that none waits for another.
inlined void fill_box(__local uchar *box, const struct around *to, const float *sums, const bool biased,
                      const box_extras *extras)
{
    float4 values[BOX_COLUMNS / 8];
    const float *scale = extras->scale;
    const float4 scales = (float4)(scale[0], scale[0], scale[1], scale[1]);
    EACH_GROUP values[j] = to->alpha * (float4)(sums[4 * j], sums[4 * j + 1], sums[4 * j + 2], sums[4 * j + 3]);
    if (to->scaled && to->extras & SCALE_FIRST) EACH_GROUP values[j] *= scales;
    if (biased) EACH_GROUP values[j] += floats_of_bias(extras->bias[j]).xyxy;
    if (to->extras & GELU_AFTER) EACH_GROUP values[j] = gelu_of(values[j]);
    if (to->scaled && !(to->extras & SCALE_FIRST)) EACH_GROUP values[j] *= scales;
    if (to->add) EACH_GROUP {
        __local const c_pair *pair = pair_in_box(box, j);
        const float4 residual = (float4)(floats_of_pair(pair[0]), floats_of_pair(pair[FURTHER]));
        values[j] = quick_with_residual(values[j], residual, to->extras);
    }
    EACH_GROUP {
        __local c_pair *pair = pair_in_box(box, j);
        pair[0] = pair_of_c(values[j].x, values[j].y);
        pair[FURTHER] = pair_of_c(values[j].z, values[j].w);
    }
}

inlined __local uchar *box_of(const outbox *boxes, uint step)
{
    return boxes->memory + step % WARP_BOXES * BOX_BYTES;
}

// The residual of a step's box begins to come, when what is in it has been read. By one lane.
inlined void fetch_box(const outbox *boxes, uint step, uint m, uint n)
{
    const uint came = boxes->came + step % WARP_BOXES * 8;
    TMA_WAIT_READ(0);
    mbarrier_arrive_expecting(came, BOX_BYTES);
    tma_load(shared_address(box_of(boxes, step)), boxes->residual_map, n, m, came);
}

// A warp's box of 16 rows from m on and BOX_COLUMNS columns from n on, the step-th of its tile.
inlined void write_box(const outbox *boxes, uint step, const struct around *to, const float *sums,
                       const bool biased, const box_extras *extras, uint m, uint n)
{
    const uint lane = this_lane();
    __local uchar *box = box_of(boxes, step);
    if (to->add) mbarrier_wait(boxes->came + step % WARP_BOXES * 8, boxes->turn ^ (step / WARP_BOXES & 1));
    else if (lane == 0) TMA_WAIT_READ(1);
    warp_barrier();
    fill_box(box, to, sums, biased, extras);
    fence_async();
    warp_barrier();
    if (lane == 0 && m < to->M && n < to->N) tma_store(boxes->c_map, n, m, shared_address(box));
    if (lane == 0) tma_commit();
}
