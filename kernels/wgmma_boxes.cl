// SPDX-License-Identifier: MIT
// What becomes of wgmma_gemm's sums where nothing is added to them and rows stay in their order: a warp puts
// boxes of 16 rows and 128 bytes of C to local memory, and the tensor memory accelerator writes them. Two
// boxes of a warp: one is filled while the other one is read.

#define BOX_COLUMNS (LINE / C_BYTES)
#define BOX_BYTES   (16 * LINE)

// Two neighbours of C.
#if C_F32
typedef float2 c_pair;
inlined c_pair pair_of_c(float left, float right) { return (float2)(left, right); }
#else
typedef uint c_pair;
inlined c_pair pair_of_c(float left, float right) { return pack_pair(left, right); }
#endif

// Sums as they are in C, whose columns from n on they are. Lines are permuted as for the unit (wgmma.cl); a
// lane has two columns of each eight, of row lane / 4 and of the one eight further.
inlined void fill_box(__local uchar *box, const struct around *to, const float *sums,
                      __global const storage *bias, const float *scale, uint n)
{
    const uint lane = this_lane(), row = lane / 4;
#pragma unroll
    for (uint j = 0; j < BOX_COLUMNS / 8; j++) {
        const uint column = j * 8 + lane % 4 * 2, byte = column * C_BYTES;
        float4 values = to->alpha * (float4)(sums[4 * j], sums[4 * j + 1], sums[4 * j + 2], sums[4 * j + 3]);
        const float4 scales = (float4)(scale[0], scale[0], scale[1], scale[1]);
        if (to->scaled && to->extras & SCALE_FIRST) values *= scales;
        if (bias && n + column < to->N) {
            const float left = load_storage(bias, n + column), right = load_storage(bias, n + column + 1);
            values += (float4)(left, right, left, right);
        }
        if (to->extras & GELU_AFTER) values = gelu_of(values);
        if (to->scaled && !(to->extras & SCALE_FIRST)) values *= scales;
        __local c_pair *pair = (__local c_pair *)(box + row * LINE + ((byte / 16 ^ row) * 16 + byte % 16));
        pair[0] = pair_of_c(values.x, values.y);
        pair[8 * LINE / sizeof(c_pair)] = pair_of_c(values.z, values.w);
    }
}

// A warp's box of the tile's step-th 16 rows and BOX_COLUMNS columns.
inlined void write_box(__local uchar *boxes, uint step, ulong map, const struct around *to, const float *sums,
                       __global const storage *bias, uint m, uint n)
{
    const uint lane = this_lane();
    __local uchar *box = boxes + step % 2 * BOX_BYTES;
    float scale[2] = {1.0f, 1.0f};
    if (to->scaled)
#pragma unroll
        for (uint i = 0; i < 2; i++)
            if (m + lane / 4 + 8 * i < to->M) scale[i] = to->row_scale[m + lane / 4 + 8 * i];
    if (lane == 0) TMA_WAIT_READ(1);
    warp_barrier();
    fill_box(box, to, sums, bias, scale, n);
    fence_async();
    warp_barrier();
    if (lane == 0 && m < to->M && n < to->N) tma_store(map, n, m, shared_address(box));
    if (lane == 0) tma_commit();
}
