// SPDX-License-Identifier: MIT
// What the attention kernels for NVIDIA's matrix units share (mma, compute capability 8.0 on).
//
// A work-group of four warps has a tile of 64 rows of one head, a warp 16 of them, as left operands
// in registers. Tiles of KEYS rows pass by, two kinds of rows in each: they wait in local memory as
// they came, two tiles of them, and while one is worked on the next is on its way. Products stay in
// registers, spread over a warp as the unit left them (nvidia.cl), and go back into it from there.
//
// Rows in local memory are HEAD long, in chunks of 8 elements, permuted by the row's number: eight
// rows that a warp reads at once lie in different banks.
//
// Defines: STORAGE 1|2, LOCAL as in attention.cl, HEAD 32|64|128: E rounded up. E and all offsets
// are multiples of 8.

#define ITEMS   128
#define OWN     64 // rows of the tile that stays
#ifndef KEYS
    #define KEYS 32 // rows of a tile that waits
#endif
#define CHUNKS  (HEAD / 8) // of a row
#define STEPS   (HEAD / 16)
#define COLUMNS (HEAD / 8) // groups of 8 columns
#define GROUPS  (KEYS / 8) // groups of 8 rows that pass by

#if STORAGE == 1
    #define multiply_add multiply_add_f16
    #define pack_pair    pack_pair_f16
    #define unpack_pair  unpack_pair_f16
#else
    #define multiply_add multiply_add_bf16
    #define pack_pair    pack_pair_bf16
    #define unpack_pair  unpack_pair_bf16
#endif

// Where chunk `chunk` of a row lies in a tile.
INLINE uint place(uint row, uint chunk)
{
    return row * HEAD + (chunk ^ (HEAD == 32 ? row / 2 % 4 : row % 8)) * 8;
}

// What the keys of a tile are besides their rows.
typedef struct {
    int there[KEYS];    // whether the mask and the sequence let them through
    float score[KEYS];  // what multiplies their values
} keys_of_tile;

// The tile of keys from token `start` on begins to come; what is not there becomes zeros.
INLINE void fetch_keys(__local ushort *keys, __local ushort *values, __local keys_of_tile *tile,
                       const key_source *from, const rows_of_head *rows, int start)
{
    const uint item = get_local_id(0);
#pragma unroll 1
    for (uint n = item; n < KEYS * CHUNKS; n += ITEMS) {
        const uint row = n / CHUNKS, chunk = n % CHUNKS;
        const int token = start + (int)row;
        const bool there = (int)chunk * 8 < from->E && key_is_there(from, rows, token);
        const int safe = there ? token : from->last; // of the others nothing is read
        const size_t column = there ? chunk * 8 : 0;
        __global const storage *tensor = tensor_of(from, safe);
        copy_async(keys + place(row, chunk), tensor + key_of(from, rows, safe) + column,
                   there ? 16 : 0);
        copy_async(values + place(row, chunk), tensor + value_of(from, rows, safe) + column,
                   there ? 16 : 0);
    }
    if (item < KEYS) {
        const int token = start + (int)item;
        const bool there = key_is_there(from, rows, token);
        tile->there[item] = there;
        tile->score[item] = there ? worth_of(from, rows, token) : 1.0f;
    }
}

// Rows that may be left out, by their numbers: those of which none is asked, or that are masked.
typedef struct {
    int begin, end;              // row numbers that exist
    __global const float *asks;  // -infinity: left out; NULL: none is
    __global const uchar *mask;  // 0: left out; NULL: none is
} row_filter;

INLINE bool row_is_there(const row_filter *filter, int row)
{
    return row >= filter->begin && row < filter->end &&
           (!filter->asks || filter->asks[row] != -INFINITY) && (!filter->mask || filter->mask[row]);
}

// `count` rows from number `first` on, of a tensor whose row n begins at x + n·step, begin to come;
// what is not there becomes zeros.
INLINE void fetch_rows(__local ushort *to, int count, __global const storage *x, size_t step, int E,
                       int first, const row_filter *filter)
{
#pragma unroll 1
    for (uint n = get_local_id(0); n < count * CHUNKS; n += ITEMS) {
        const uint row = n / CHUNKS, chunk = n % CHUNKS;
        const bool there = (int)chunk * 8 < E && row_is_there(filter, first + (int)row);
        const size_t from = there ? (size_t)(first + (int)row) * step + chunk * 8 : 0;
        copy_async(to + place(row, chunk), x + from, there ? 16 : 0);
    }
}

// A warp's 16 rows of the tile that stays, as left operands.
INLINE void load_own(uint own[STEPS][4], __local const ushort *tile)
{
    const uint item = get_local_id(0), lane = item % 32;
    EACH(step, STEPS)
        load_matrices(own[step], tile + place(item / 32 * 16 + lane % 16, step * 2 + lane / 16));
}

// product [16][KEYS] of a warp = own [16][HEAD] · rowsᵀ
INLINE void multiply_rows(float product[GROUPS][4], uint own[STEPS][4], __local const ushort *rows)
{
    const uint lane = get_local_id(0) % 8, low = get_local_id(0) / 8 % 2,
               high = get_local_id(0) / 16 % 2;
    EACH(j, GROUPS) EACH(e, 4) product[j][e] = 0.0f;
    EACH(step, STEPS) {
        EACH(pair, GROUPS / 2) {
            uint right[4];
            load_matrices(right, rows + place(pair * 16 + high * 8 + lane, step * 2 + low));
            multiply_add(product[2 * pair], own[step], right);
            multiply_add(product[2 * pair + 1], own[step], right + 2);
        }
    }
}

// sums [16][HEAD] of a warp += weights [16][KEYS] · rows
INLINE void add_rows(float sums[COLUMNS][4], float weights[GROUPS][4], __local const ushort *rows)
{
    const uint lane = get_local_id(0) % 8, low = get_local_id(0) / 8 % 2,
               high = get_local_id(0) / 16 % 2;
    EACH(step, KEYS / 16) {
        // Sums lie as the unit wants its left operand, two groups of 8 columns for 16 k.
        const uint left[4] = {pack_pair(weights[2 * step][0], weights[2 * step][1]),
                              pack_pair(weights[2 * step][2], weights[2 * step][3]),
                              pack_pair(weights[2 * step + 1][0], weights[2 * step + 1][1]),
                              pack_pair(weights[2 * step + 1][2], weights[2 * step + 1][3])};
        EACH(pair, COLUMNS / 2) {
            uint right[4];
            load_transposed(right, rows + place(step * 16 + low * 8 + lane, pair * 2 + high));
            multiply_add(sums[2 * pair], left, right);
            multiply_add(sums[2 * pair + 1], left, right + 2);
        }
    }
}
