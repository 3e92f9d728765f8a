// SPDX-License-Identifier: MIT
// What the attention kernels for CPUs share. A work-item is a core. Of two things to be multiplied,
// queries and keys, one lies in lanes, [E][ROWS] floats, and the other in rows, [count][width]
// floats; a matrix between them is [count][ROWS]. Sums then never cross lanes.

#define LANES 16
#define ROWS  (2 * LANES)

// Rows of a tile: their matrices (ROW_COUNT·ROWS floats) should stay in the first cache, the rows
// themselves (FLOATS of a kind) in the second. FLOATS is at least 8 rows of the widest head.
#ifndef ROW_COUNT
    #define ROW_COUNT 160
#endif
#ifndef FLOATS
    #define FLOATS (ROW_COUNT * 64)
#endif
#ifndef ABREAST
    #define ABREAST 8 // rows that are multiplied side by side; 2, 4 or 8
#endif
#ifndef WIDEST
    #define WIDEST 256 // E at most
#endif
#define COLUMNS ABREAST // of a row, summed side by side in registers; width is a multiple of it
#define WIDTH_OF(E) (((E) + ROWS - 1) / ROWS * ROWS) // of a row of the backward

// Where the device's compiler says that fma is one instruction; mad may be two.
#if defined(FP_FAST_FMAF) || defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    #define multiply_add fma
#else
    #define multiply_add mad
#endif

#define LINE __attribute__((aligned(64))) // a cache line: vectors that cross two take twice the time

// A tile of rows: keys and values, or queries and the gradients of their results.
typedef struct {
    float first[FLOATS] LINE, second[FLOATS] LINE;
    int tokens[ROW_COUNT]; // where each comes from
    int count;
    bool odd; // the second kind is not finite
} row_tile;

// Rows that fit in a tile.
INLINE int rows_of_a_tile(size_t width)
{
    return min(ROW_COUNT, (int)(FLOATS / width)) / ABREAST * ABREAST;
}

// 2^x for x <= 0, within 1e-7; 0 below 2^-126, NaN for NaN.
INLINE float16 power_of_two(float16 x)
{
    const float shift = 12582912.0f; // 3·2^22: adding it rounds to an integer, found in the low bits
    const int16 tiny = x < -126.0f;
    const float16 shifted = select(x, -126.0f, tiny) + shift, f = x - (shifted - shift);
    float16 p = multiply_add((float16)(0.00015353362f), f, 0.0013398875f);
    p = multiply_add(p, f, 0.00961843692f);
    p = multiply_add(p, f, 0.0555033237f);
    p = multiply_add(p, f, 0.240226477f);
    p = multiply_add(p, f, 0.693147182f);
    p = multiply_add(p, f, 1.0f);
    return select(p * as_float16((as_int16(shifted) + 127) << 23), 0.0f, tiny);
}

// Sixteen floats from anywhere on. (PoCL's vstore16 stores four by four.)
typedef float16 loose_vector __attribute__((aligned(4)));
INLINE void store16(float16 x, size_t i, float *p) { *(loose_vector *)(p + LANES * i) = x; }

#if STORAGE == 0
INLINE float16 load_vector(__global const float *p, size_t i) { return vload16(0, p + i); }
INLINE void store_vector(__global float *p, size_t i, float16 x) 
{
    *(__global loose_vector *)(p + i) = x;
}
#elif STORAGE == 1
INLINE float16 load_vector(__global const half *p, size_t i) { return vload_half16(0, p + i); }
INLINE void store_vector(__global half *p, size_t i, float16 x) { vstore_half16_rte(x, 0, p + i); }
#else
INLINE float16 load_vector(__global const ushort *p, size_t i)
{
    return as_float16(convert_uint16(vload16(0, p + i)) << 16);
}
INLINE void store_vector(__global ushort *p, size_t i, float16 x)
{
    const uint16 bits = as_uint16(x), rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    vstore16(convert_ushort16(select(rounded, (bits >> 16) | 0x40u, isnan(x))), 0, p + i);
}
#endif

// Sixteen rows become sixteen columns: each round deals the first eight and the last eight rows like
// cards.
INLINE void transpose(float16 *rows)
{
    const uint16 first = {0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}, last = first + 8u;
    for (int round = 0; round < 4; round++) {
        float16 dealt[16];
        EACH(i, 8) {
            dealt[2 * i] = shuffle2(rows[i], rows[i + 8], first);
            dealt[2 * i + 1] = shuffle2(rows[i], rows[i + 8], last);
        }
        EACH(i, 16) rows[i] = dealt[i];
    }
}

// Rows of E numbers, step apart, into lanes, times a factor each; zeros for those not there.
INLINE void stage_lanes(float *lanes, __global const storage *from, size_t start, size_t step,
                        size_t E, const int *there, const float *factor)
{
    const size_t whole = E / 16 * 16;
    for (int v = 0; v < 2; v++)
        for (size_t e = 0; e < whole; e += 16) {
            float16 block[16];
            for (int i = 0; i < 16; i++) {
                const int row = v * LANES + i;
                block[i] = there[row] ? load_vector(from, start + row * step + e) : (float16)(0.0f);
            }
            transpose(block);
            EACH(i, 16) store16(block[i] * vload16(v, factor), 2 * (e + i) + v, lanes);
        }
    for (int row = 0; row < ROWS; row++)
        for (size_t e = whole; e < E; e++)
            lanes[e * ROWS + row] =
                there[row] ? load_storage(from, start + row * step + e) * factor[row] : 0.0f;
}

// The way back.
INLINE void store_lanes(const float *lanes, __global storage *to, size_t start, size_t step, size_t E,
                        const int *there, const float *factor)
{
    const size_t whole = E / 16 * 16;
    for (int v = 0; v < 2; v++)
        for (size_t e = 0; e < whole; e += 16) {
            float16 block[16];
            EACH(i, 16) block[i] = vload16(2 * (e + i) + v, lanes) * vload16(v, factor);
            transpose(block);
            for (int i = 0; i < 16; i++) {
                const int row = v * LANES + i;
                if (there[row]) store_vector(to, start + row * step + e, block[i]);
            }
        }
    for (int row = 0; row < ROWS; row++)
        for (size_t e = whole; e < E; e++)
            if (there[row])
                store_storage(to, start + row * step + e,
                              lanes[e * ROWS + row] * factor[row]);
}

INLINE void clear_lanes(float *lanes, size_t width)
{
    for (size_t e = 0; e < 2 * width; e++) store16(0.0f, e, lanes);
}

#define SIZE_BITS 0x7FFFFFFF // of a float: as integers, larger numbers are larger, NaN the largest
#define ODD_BITS  0x7F800000 // infinity

// A row times a factor; the columns E … width - 1 are 0. most: the bits of the largest numbers.
INLINE void stage_row(float *row, __global const storage *from, size_t start, size_t E, size_t width,
                      float factor, int16 *most)
{
    size_t e = 0;
    for (; e + 16 <= E; e += 16) {
        const float16 x = load_vector(from, start + e) * factor;
        store16(x, 0, row + e);
        *most = max(*most, as_int16(x) & SIZE_BITS);
    }
    for (; e < width; e++) {
        row[e] = e < E ? load_storage(from, start + e) * factor : 0.0f;
        *most = max(*most, (int16)(as_int(row[e]) & SIZE_BITS));
    }
}

// matrix = rows · lanes, so many rows at a time; zeros fill the last ones.
INLINE void multiply_rows(float16 *matrix, float *rows, int count, const float *lanes, size_t E,
                          size_t width)
{
    const size_t used = count * width, filled = (count + ABREAST - 1) / ABREAST * ABREAST * width;
    for (size_t n = used; n < filled; n++) rows[n] = 0.0f;
    for (int j = 0; j < count; j += ABREAST) {
        const float *row = rows + j * width;
        float16 s[2 * ABREAST];
        EACH(i, 2 * ABREAST) s[i] = 0.0f;
        for (size_t e = 0; e < E; e++) {
            const float16 a = vload16(2 * e, lanes), b = vload16(2 * e + 1, lanes);
            EACH(i, ABREAST) {
                s[2 * i] = multiply_add(a, row[i * width + e], s[2 * i]);
                s[2 * i + 1] = multiply_add(b, row[i * width + e], s[2 * i + 1]);
            }
        }
        EACH(i, 2 * ABREAST) matrix[2 * j + i] = s[i];
    }
}

// lanes = lanes · factor + matrixᵀ · rows. exact, -1 or 0: leave out what has the weight 0, for what
// is not seen may be infinite.
INLINE void add_rows(float *lanes, const float16 *factor, const float16 *matrix, const float *rows,
                     int count, size_t width, int exact)
{
    for (size_t e = 0; e < width; e += COLUMNS) {
        float16 sum[2 * COLUMNS];
        EACH(c, 2 * COLUMNS) sum[c] = vload16(2 * e + c, lanes) * factor[c & 1];
        for (int j = 0; j < count; j++) {
            const float *row = rows + j * width + e;
            const float16 a = matrix[2 * j], b = matrix[2 * j + 1];
            const int16 skip_a = exact & (a == 0.0f), skip_b = exact & (b == 0.0f);
            EACH(c, COLUMNS) {
                sum[2 * c] = select(multiply_add(a, row[c], sum[2 * c]), sum[2 * c], skip_a);
                sum[2 * c + 1] = select(multiply_add(b, row[c], sum[2 * c + 1]), sum[2 * c + 1], skip_b);
            }
        }
        EACH(c, 2 * COLUMNS) store16(sum[c], 2 * e + c, lanes);
    }
}

// Adds the keys and values of the tokens from … to, scores multiplied in, without hidden ones.
INLINE void stage_keys(row_tile *tile, __global const storage *kv, __global const storage *null_kv,
                       __global const uchar *mask, __global const float *scores, int multiply,
                       rows_of_head rows, size_t H, size_t E, size_t width, int from, int to)
{
    int16 most = 0, unused = 0;
    tile->count = 0;
    for (int j = from; j <= to; j++) {
        const bool null = j == NULL_KEY; // never where LOCAL is 1: its tokens are not below 0
        const size_t row = j - rows.first, at = tile->count * width;
        if (!null && mask && !mask[rows.mask + row]) continue;
        const float factor = scores && !null ? scores[rows.mask + row] : 1.0f;
        __global const storage *source = null ? null_kv : kv;
        stage_row(tile->first + at, source, null ? rows.head * E : rows.key + row * rows.key_step, E,
                  width, multiply ? factor : 1.0f, &unused);
        stage_row(tile->second + at, source,
                  null ? (H + rows.head) * E : rows.value + row * rows.key_step, E, width, factor,
                  &most);
        tile->tokens[tile->count++] = j;
    }
    tile->odd = any(most >= ODD_BITS);
}
