// SPDX-License-Identifier: MIT
// Local attention on NVIDIA's matrix units where windows are short, at most REACH: what its kernels
// share.
//
// A work-group of four warps has a tile of OWN rows of one head, a warp 16 of them, as left operands in
// registers. The rows around them, PASSING and two kinds of each, come to local memory all at once:
// they fill 48 KB to the byte. Then each warp goes along the NEAR rows that its own can have to do with,
// 16 at a time, and waits for no other. Who is near is cut by token number, so that a piece of a
// sequence gives the same bits as the whole.
//
// HEAD is 64, and rows are of 16-bit types.

#define REACH   64
#define PASSING (OWN + 2 * REACH)
#define NEAR    (16 + 2 * REACH)
#define KIND    (PASSING * ROW_BYTES) // from a row to the one of the other kind

// Work-groups side by side have the heads of the same tokens: what they read lies side by side too.
INLINE int tile_of_group(uint H) { return (uint)get_group_id(0) / H; }
INLINE uint head_of_group(uint H) { return (uint)get_group_id(0) % H; }

// Of the PASSING rows from number `first` on those that are there, a bit for each that a work-item fetches.
INLINE uint passing_there(int first, const row_filter *filter)
{
    const int row = get_local_id(0) / CHUNKS;
    if (first >= filter->begin && first + PASSING <= filter->end && !filter->asks && !filter->mask)
        return (1u << PASSING / AT_ONCE) - 1;
    return rows_there(filter, first + row, AT_ONCE, PASSING / AT_ONCE);
}

// Those rows of a tensor whose row n begins at x + n·step begin to come; what is not there becomes zeros.
INLINE void fetch_passing(uint tile, __global const storage *x, size_t step, int E, int first, uint there)
{
    const int item = get_local_id(0), row = item / CHUNKS, chunk = item % CHUNKS;
    const uint to = chunk_address(row_address(tile, row), chunk);
    const int bytes = chunk * 8 < E ? 16 : 0, column = bytes ? chunk * 8 : 0;
    if (there == (1u << PASSING / AT_ONCE) - 1) {
        __global const storage *from = x + (size_t)(first + row) * step + column;
        EACH(n, PASSING / AT_ONCE) {
            copy_async_at(to + n * AT_ONCE * ROW_BYTES, from, bytes);
            from += AT_ONCE * step;
        }
        return;
    }
    EACH(n, PASSING / AT_ONCE) {
        const bool is = there >> n & 1;
        const size_t from = is ? (size_t)(first + row + n * AT_ONCE) * step + column : 0;
        copy_async_at(to + n * AT_ONCE * ROW_BYTES, x + from, is ? bytes : 0);
    }
}

// Where row n of a tensor begins, n being before its first perhaps.
INLINE ptrdiff_t row_start(size_t first, int n, size_t step)
{
    return (ptrdiff_t)first + (ptrdiff_t)n * (ptrdiff_t)step;
}

// Rows row and row + 8 of a warp's, as left operands; `x` is where the first begins.
INLINE void load_staying(uint own[STEPS][4], __global const storage *x, size_t step, int E,
                         const bool there[2])
{
    EACH(k, STEPS) EACH(part, 4) {
        const int row = part % 2, column = k * 16 + part / 2 * 8;
        own[k][part] = there[row] && column < E ? *(__global const uint *)(x + row * 8 * step + column +
                                                                           own_column())
                                                : 0;
    }
}

// The first of the near rows, by its place in the tile: the row of the token that the warp's first may
// see first, or be seen by, the tile's first being of token `first`.
INLINE int near_row(int token, int first) { return min(token - first, PASSING - NEAR); }

// Of the near rows a warp takes 16 at a time, the group `group`. A chunk is found before the group, so
// that the compiler sees one address and a constant.

// product [16][16] of a warp = own [16][HEAD] · rowsᵀ
INLINE void multiply_near(float product[2][4], uint own[STEPS][4], uint rows, uint group)
{
    EACH(j, 2) EACH(e, 4) product[j][e] = 0.0f;
    EACH(step, STEPS) {
        uint right[4];
        load_matrices_at(right, chunk_address(rows, step * 2) + group * 16 * ROW_BYTES);
        multiply_add(product[0], own[step], right);
        multiply_add(product[1], own[step], right + 2);
    }
}

// sums [16][HEAD] of a warp += weights [16][16] · rows
INLINE void add_near(float sums[COLUMNS][4], float weights[2][4], uint lines, uint group)
{
    // Sums lie as the unit wants its left operand, two groups of 8 columns for 16 k.
    const uint left[4] = {pack_pair(weights[0][0], weights[0][1]), pack_pair(weights[0][2], weights[0][3]),
                          pack_pair(weights[1][0], weights[1][1]), pack_pair(weights[1][2], weights[1][3])};
    EACH(pair, COLUMNS / 2) {
        uint right[4];
        load_transposed_at(right, chunk_address(lines, pair * 2) + group * 16 * ROW_BYTES);
        multiply_add(sums[2 * pair], left, right);
        multiply_add(sums[2 * pair + 1], left, right + 2);
    }
}

// A warp's sums, times its rows' factors, go to rows first … end - 1 of those at `to`, in 16 bytes an
// item, by way of its own 16 rows of local memory. `row` is the number of the warp's first.
INLINE void store_staying(__local uint4 *tile, float sums[COLUMNS][4], const float factor[2],
                          __global storage *to, size_t step, int E, int row, int first, int end)
{
    const uint lane = get_local_id(0) % 32;
    __local uint4 *own = tile + get_local_id(0) / 32 * 16 * CHUNKS;
    EACH(c, COLUMNS) EACH(n, 2)
        ((__local uint *)(own + place(lane / 4 + n * 8, c)))[lane % 4] =
            pack_pair(sums[c][2 * n] * factor[n], sums[c][2 * n + 1] * factor[n]);
    warp_barrier();
    EACH(n, 4) {
        const int i = n * 4 + lane / 8, chunk = lane % 8;
        if (row + i >= first && row + i < end && chunk * 8 < E)
            *(__global uint4 *)(to + (size_t)(row + i) * step + chunk * 8) =
                own[place(i, chunk)];
    }
    warp_barrier();
}
