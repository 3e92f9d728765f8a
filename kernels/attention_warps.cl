// SPDX-License-Identifier: MIT
// What the attention kernels for NVIDIA's matrix units share (mma, compute capability 8.0 on).
//
// A work-group of four warps has a tile of 64 rows of one head, a warp 16 of them, as left operands
// in registers. Tiles of KEYS rows pass by, two kinds of rows in each: they wait in local memory as
// they came, two tiles of them, and while one is worked on the next is on its way. Products stay in
// registers, spread over a warp as the unit left them (nvidia.cl), and go back into it from there.
//
// Rows in local memory are HEAD long, in chunks of 16 bytes, permuted by the row's number: eight rows
// that a warp reads at once lie in different banks.
//
// Defines: STORAGE, LOCAL as in attention.cl, HEAD 32|64|128: E rounded up. E and all offsets are
// multiples of 8. For floats HEAD is at most 64, KEYS 32, and EXACT says whether the unit, which takes
// them as tf32, multiplies what that leaves of them too.

#define ITEMS   (2 * OWN)
#define OWN     64 // rows of the tile that stays
#ifndef KEYS
    #define KEYS 32 // rows of a tile that waits
#endif
#define CHUNK   (16 / (int)sizeof(storage)) // elements of one
#define CHUNKS  (HEAD / CHUNK) // of a row
#define ROW_BYTES (16 * CHUNKS)
#define TILE_BYTES (2 * KEYS * ROW_BYTES) // of both kinds
#define STEPS   (CHUNKS / 2) // the unit takes two chunks of 16 rows at a time, as a left operand
#define COLUMNS (HEAD / 8) // groups of 8 columns
#define GROUPS  (KEYS / 8) // groups of 8 rows that pass by

// Of the rows that stay a lane has row and row + 8, of each group of 8 columns column and its neighbour.
INLINE int own_row(void) { return get_local_id(0) / 32 * 16 + get_local_id(0) % 32 / 4; }
INLINE uint own_column(void) { return get_local_id(0) % 4 * 2; }

// Whether it is so for one of the four lanes that share rows.
INLINE bool any_of_four(bool it_is)
{
    const float one = it_is ? 1.0f : 0.0f, two = fmax(one, from_lane(one, 1));
    return fmax(two, from_lane(two, 2)) != 0.0f;
}

INLINE void clear_sums(float sums[COLUMNS][4]) { EACH(c, COLUMNS) EACH(e, 4) sums[c][e] = 0.0f; }

// Where chunk `chunk` of a row lies in a tile, in chunks; and, in bytes, where a row begins and a
// chunk of it lies: rows are permuted by exclusive or, and so the chunk's number goes in.
INLINE uint permuted(uint row) { return CHUNKS == 4 ? row / 2 % 4 : row % 8; }
INLINE uint place(uint row, uint chunk) { return row * CHUNKS + (chunk ^ permuted(row)); }
INLINE uint row_address(uint tile, uint row) { return tile + row * ROW_BYTES + permuted(row) * 16; }
INLINE uint chunk_address(uint row, uint chunk) { return row ^ (chunk * 16); }

// What a lane says of 16 rows from number `row` on to have them as right operands, for products with
// them. 16 further rows lie 16 · ROW_BYTES further: a chunk is found first, so that the compiler sees one
// address and constants.
INLINE uint operand_address(uint tile, int row)
{
    const uint lane = get_local_id(0) % 32;
    return chunk_address(row_address(tile, row + lane / 16 * 8 + lane % 8), lane / 8 % 2);
}

// What the keys of a tile are besides their rows.
typedef struct {
    int there[KEYS];    // whether the mask and the sequence let them through
    float score[KEYS];  // what multiplies their values
} keys_of_tile;

// Rows that a work-group copies at once.
#define AT_ONCE (ITEMS / CHUNKS)

// The tile of keys from token `start` on begins to come; what is not there becomes zeros.
INLINE void fetch_keys(__local uint4 *keys, __local uint4 *values, __local keys_of_tile *tile,
                       const key_source *from, const rows_of_head *rows, int start)
{
    const int item = get_local_id(0), row = item / CHUNKS, chunk = item % CHUNKS;
    const int bytes = chunk * CHUNK < from->E ? 16 : 0, column = bytes ? chunk * CHUNK : 0;
    const uint to = place(row, chunk);
    if (!from->mask && start >= max(from->first, 0) && start + KEYS - 1 <= from->last) {
        __global const storage *key =
            from->kv + rows->key + (size_t)(start + row - rows->first) * rows->key_step + column;
        EACH(n, KEYS / AT_ONCE) {
            copy_async(keys + to + n * AT_ONCE * CHUNKS, key, bytes);
            copy_async(values + to + n * AT_ONCE * CHUNKS, key + (rows->value - rows->key), bytes);
            key += AT_ONCE * rows->key_step;
        }
    } else {
#pragma unroll 1
        for (int n = 0; n < KEYS / AT_ONCE; n++) {
            const int token = start + row + n * AT_ONCE;
            const bool there = key_is_there(from, rows, token);
            const int safe = there ? token : from->last; // of the others nothing is read
            __global const storage *tensor = tensor_of(from, safe) + (there ? column : 0);
            copy_async(keys + to + n * AT_ONCE * CHUNKS, tensor + key_of(from, rows, safe),
                       there ? bytes : 0);
            copy_async(values + to + n * AT_ONCE * CHUNKS, tensor + value_of(from, rows, safe),
                       there ? bytes : 0);
        }
    }
    if (item < KEYS) {
        const int token = start + item;
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

// Without a branch, so that many can be looked up at once: row 0 stands in for what does not exist.
INLINE bool row_is_there(const row_filter *filter, int row)
{
    const bool exists = row >= filter->begin && row < filter->end;
    const int read = exists ? row : 0;
    const bool asked = !filter->asks || filter->asks[read] != -INFINITY;
    const bool is_valid = !filter->mask || filter->mask[read];
    return exists & asked & is_valid;
}

// Which of `count` rows, `apart` from each other, are there, a bit for each: looked up before any is copied, since
// each copy would wait for its own.
INLINE uint rows_there(const row_filter *filter, int first, int apart, int count)
{
    uint there = 0;
    EACH(n, count) there |= (uint)row_is_there(filter, first + n * apart) << n;
    return there;
}

// `count` rows from number `first` on, of a tensor whose row n begins at x + n·step, begin to come;
// what is not there becomes zeros.
INLINE void fetch_rows(__local uint4 *to, int count, __global const storage *x, size_t step, int E,
                       int first, const row_filter *filter)
{
    const int item = get_local_id(0), row = item / CHUNKS, chunk = item % CHUNKS;
    const uint there = chunk * CHUNK < E ? rows_there(filter, first + row, AT_ONCE, count / AT_ONCE) : 0;
    EACH(n, count / AT_ONCE) {
        const bool is = there >> n & 1;
        const size_t from = is ? (size_t)(first + row + n * AT_ONCE) * step + chunk * CHUNK : 0;
        copy_async(to + place(row + n * AT_ONCE, chunk), x + from, is ? 16 : 0);
    }
}
