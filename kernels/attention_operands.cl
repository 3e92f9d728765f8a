// SPDX-License-Identifier: MIT
// What the matrix unit multiplies of a warp's rows, in registers, and of those that pass by, in local
// memory; attention_warps.cl says where they lie.

#if STORAGE == 0

    #if EXACT

// What tf32 holds of four numbers, and what it leaves.
        #define LEFT_WORDS 8
INLINE void left_operand(uint left[8], const uint x[4])
{
    EACH(i, 4) {
        const float whole = as_float(x[i]), high = high_of(whole);
        left[i] = as_uint(high);
        left[4 + i] = as_uint(whole - high);
    }
}

INLINE void round_own(uint own[STEPS][4]) {}

// Registers hold the numbers that stay, not their parts.
INLINE void own_operand(uint left[8], const uint own[4])
{
    uint x[4];
    EACH(i, 4) x[i] = anew(own[i]);
    left_operand(left, x);
}

// sums [16][8] += left [16][8 k] · right [8 k][8]; the product of what tf32 leaves of both is left out,
// 2^-22 of the whole. The unit's sums are cut off, not rounded: it makes short ones.
INLINE void multiply_add(float *sums, const uint *left, const uint *right)
{
    const float x[2] = {as_float(right[0]), as_float(right[1])};
    const uint high[2] = {as_uint(high_of(x[0])), as_uint(high_of(x[1]))};
    const uint rest[2] = {as_uint(x[0] - high_of(x[0])), as_uint(x[1] - high_of(x[1]))};
    float part[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    multiply_add_tf32(part, left + 4, high);
    multiply_add_tf32(part, left, rest);
    multiply_add_tf32(part, left, high);
    EACH(e, 4) sums[e] += part[e];
}

    #else

        #define LEFT_WORDS 4
INLINE void left_operand(uint left[4], const uint x[4]) { EACH(i, 4) left[i] = tf32_of(as_float(x[i])); }

INLINE void round_own(uint own[STEPS][4])
{
    EACH(step, STEPS) EACH(i, 4) own[step][i] = tf32_of(as_float(own[step][i])) & TF32_BITS;
}

INLINE void own_operand(uint left[4], const uint own[4]) { EACH(i, 4) left[i] = own[i]; }

INLINE void multiply_add(float *sums, const uint *left, const uint *right)
{
    const uint rounded[2] = {tf32_of(as_float(right[0])), tf32_of(as_float(right[1]))};
    multiply_add_tf32(sums, left, rounded);
}

    #endif

INLINE void store_two(__global storage *to, float left, float right)
{
    *(__global float2 *)to = (float2)(left, right);
}

// What a lane says of rows from number `row` on to have them as right operands for sums of them: where
// its number of the first column is.
INLINE uint lines_address(uint tile, int row)
{
    const uint lane = get_local_id(0) % 32;
    return chunk_address(row_address(tile, row + lane % 4 * 2), lane / 16) + lane / 4 % 4 * 4;
}

// sums [16][HEAD] of a warp += weights [16][KEYS] · rows; `lines` is their lines_address.
//
// A lane has two neighbours among the weights of a row; of a left operand it gives the k-th number and the
// one four further. In which order they are summed does not matter: the neighbours become these two, and
// of the rows as well.
INLINE void add_rows(float sums[COLUMNS][4], float weights[GROUPS][4], uint lines)
{
    uint left[GROUPS][LEFT_WORDS];
    EACH(j, GROUPS) {
        const uint x[4] = {as_uint(weights[j][0]), as_uint(weights[j][2]), as_uint(weights[j][1]),
                           as_uint(weights[j][3])};
        left_operand(left[j], x);
    }
    EACH(c, COLUMNS) {
        const uint even = chunk_address(lines, c * 2), odd = chunk_address(even + ROW_BYTES, 1);
        EACH(j, GROUPS) {
            const uint right[2] = {load_word_at(even + j * 8 * ROW_BYTES),
                                   load_word_at(odd + j * 8 * ROW_BYTES)};
            multiply_add(sums[c], left[j], right);
        }
    }
}

// The part of a row's dot product with its sums that columns c·8 … c·8 + 7 have in a lane; the sums of
// the lane's columns are those of others.
INLINE float dot_columns(uint own[STEPS][4], float sums[COLUMNS][4], int c, int row)
{
    const uint lane = get_local_id(0) % 32, from = lane / 4 * 4 + lane % 4 / 2;
    float dot = 0.0f;
    EACH(side, 2) {
        const float even = of_lane(sums[c][2 * row], from + 2 * side);
        const float odd = of_lane(sums[c][2 * row + 1], from + 2 * side);
        dot = fma(as_float(own[c][2 * side + row]), lane % 2 ? odd : even, dot);
    }
    return dot;
}

#else

    #if STORAGE == 1
        #define multiply_add multiply_add_f16
        #define pack_pair    pack_pair_f16
        #define unpack_pair  unpack_pair_f16
    #else
        #define multiply_add multiply_add_bf16
        #define pack_pair    pack_pair_bf16
        #define unpack_pair  unpack_pair_bf16
    #endif

    #define LEFT_WORDS 4
INLINE void round_own(uint own[STEPS][4]) {}
INLINE void own_operand(uint left[4], const uint own[4]) { EACH(i, 4) left[i] = own[i]; }

INLINE void store_two(__global storage *to, float left, float right)
{
    *(__global uint *)to = pack_pair(left, right);
}

// What a lane says of 16 rows from number `row` on to have them as right operands for sums of them.
INLINE uint lines_address(uint tile, int row)
{
    const uint lane = get_local_id(0) % 32;
    return chunk_address(row_address(tile, row + lane / 8 % 2 * 8 + lane % 8), lane / 16);
}

// sums [16][HEAD] of a warp += weights [16][KEYS] · rows; `lines` is their lines_address.
INLINE void add_rows(float sums[COLUMNS][4], float weights[GROUPS][4], uint lines)
{
    EACH(step, KEYS / 16) {
        // Sums lie as the unit wants its left operand, two groups of 8 columns for 16 k.
        const uint left[4] = {pack_pair(weights[2 * step][0], weights[2 * step][1]),
                              pack_pair(weights[2 * step][2], weights[2 * step][3]),
                              pack_pair(weights[2 * step + 1][0], weights[2 * step + 1][1]),
                              pack_pair(weights[2 * step + 1][2], weights[2 * step + 1][3])};
        EACH(pair, COLUMNS / 2) {
            uint right[4];
            load_transposed_at(right, chunk_address(lines, pair * 2) + step * 16 * ROW_BYTES);
            multiply_add(sums[2 * pair], left, right);
            multiply_add(sums[2 * pair + 1], left, right + 2);
        }
    }
}

// The part of a row's dot product with its sums that columns c·8 … c·8 + 7 have in a lane.
INLINE float dot_columns(uint own[STEPS][4], float sums[COLUMNS][4], int c, int row)
{
    const float2 pair = unpack_pair(own[c / 2][c % 2 * 2 + row]);
    return fma(pair.x, sums[c][2 * row], pair.y * sums[c][2 * row + 1]);
}

#endif

// A warp's 16 rows of the tile that stays, as left operands.
INLINE void load_own(uint own[STEPS][4], __local const uint4 *tile)
{
    const uint item = get_local_id(0), lane = item % 32;
    EACH(step, STEPS)
        load_matrices(own[step], tile + place(item / 32 * 16 + lane % 16, step * 2 + lane / 16));
    round_own(own);
}

// product [16][KEYS] of a warp = own [16][HEAD] · rowsᵀ; `rows` is their operand_address.
INLINE void multiply_rows(float product[GROUPS][4], uint own[STEPS][4], uint rows)
{
    EACH(j, GROUPS) EACH(e, 4) product[j][e] = 0.0f;
    EACH(step, STEPS) {
        uint left[LEFT_WORDS];
        own_operand(left, own[step]);
        EACH(pair, GROUPS / 2) {
            uint right[4];
            load_matrices_at(right, chunk_address(rows, step * 2) + pair * 16 * ROW_BYTES);
            multiply_add(product[2 * pair], left, right);
            multiply_add(product[2 * pair + 1], left, right + 2);
        }
    }
}

// The dot products of a warp's own rows with what was summed for them.
INLINE void dot_own(float dots[2], uint own[STEPS][4], float sums[COLUMNS][4])
{
    EACH(row, 2) {
        float dot = 0.0f;
        EACH(c, COLUMNS) dot += dot_columns(own, sums, c, row);
        dot += from_lane(dot, 1);
        dots[row] = dot + from_lane(dot, 2);
    }
}

// One row of a warp's sums, times factor, to a row of the device's.
INLINE void store_sums(__global storage *to, float sums[COLUMNS][4], int row, float factor, int E)
{
    EACH(c, COLUMNS)
        if (c * 8 + (int)own_column() < E)
            store_two(to + c * 8 + own_column(), sums[c][2 * row] * factor, sums[c][2 * row + 1] * factor);
}
