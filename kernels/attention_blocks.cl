// SPDX-License-Identifier: MIT
// What the attention kernels for GPUs share. A work-group of TX·TY work-items multiplies a tile of
// TY·RY rows (its own; along y) with tiles of TX·RX rows (that pass by; along x), all HEAD wide and
// in local memory. Work-item (ty, tx) has the rows ty, ty + TY, … of the first, tx, tx + TX, … of the
// second, and the columns 4·tx … 4·tx + 3 and those 4·TX further on.
//
// Rows in local memory are 4 floats longer than they must be: rows that neighbours read at once
// then lie in different banks.

#ifndef HEAD
    #define HEAD 64 // the width of a head: E rounded up to a multiple of 32; the rest is zeros
#endif
#ifndef TY
    #define TY 16 // 4, 8 or 16
#endif
#ifndef RY
    #define RY 4
#endif
#ifndef RX
    #define RX 4
#endif
#define TX 8 // at the least 8: a warp reads 8 rows at once

#define ITEMS   (TX * TY)
#define ROWS_Y  (TY * RY)
#define ROWS_X  (TX * RX)
#define COLUMNS (HEAD / (4 * TX)) // of four, of a work-item
#define ROW     (HEAD + 4)
#define MATRIX  (ROWS_X + 4) // a row of a matrix between the two tiles

// Arrays read as float4 must begin where one may.
#define FOURS      __attribute__((aligned(16)))
#define FOUR(p, i) (*(__local float4 *)((p) + (i)))

// Where a work-item stands: eight rows by four columns are neighbours.
#define NEAR (TY < 8 ? TY : 8)
INLINE int item_y(uint item) { return item % NEAR + NEAR * (item / (4 * NEAR) % (TY / NEAR)); }
INLINE int item_x(uint item) { return item / NEAR % 4 + 4 * (item / (4 * TY)); }

// product = y_rows · x_rowsᵀ, of this work-item.
INLINE void multiply_rows(float product[RY][RX], __local float *y_rows, __local float *x_rows, int ty,
                          int tx)
{
    EACH(i, RY)
        EACH(k, RX) product[i][k] = 0.0f;
    for (int e = 0; e < HEAD; e += 4) {
        float4 x[RX];
        EACH(k, RX) x[k] = FOUR(x_rows, (tx + TX * k) * ROW + e);
        EACH(i, RY) {
            const float4 y = FOUR(y_rows, (ty + TY * i) * ROW + e);
            EACH(k, RX) {
                product[i][k] = fma(y.x, x[k].x, product[i][k]);
                product[i][k] = fma(y.y, x[k].y, product[i][k]);
                product[i][k] = fma(y.z, x[k].z, product[i][k]);
                product[i][k] = fma(y.w, x[k].w, product[i][k]);
            }
        }
    }
}

INLINE float4 add_row(float4 sum, float weight, float4 row, bool exact)
{
    return exact && weight == 0.0f ? sum : fma(weight, row, sum);
}

// sum += matrix · x_rows, of this work-item; exact: without what has the weight 0, for it may be
// infinite.
INLINE void add_rows(float4 sum[RY][COLUMNS], __local float *matrix, __local float *x_rows, int ty,
                     int tx, bool exact)
{
    for (int j = 0; j < ROWS_X; j += 4) {
        float4 weight[RY];
        EACH(i, RY) weight[i] = FOUR(matrix, (ty + TY * i) * MATRIX + j);
        EACH(c, COLUMNS) {
            __local float *row = x_rows + j * ROW + 4 * (tx + TX * c);
            const float4 v0 = FOUR(row, 0), v1 = FOUR(row, ROW);
            const float4 v2 = FOUR(row, 2 * ROW), v3 = FOUR(row, 3 * ROW);
            EACH(i, RY) {
                sum[i][c] = add_row(sum[i][c], weight[i].x, v0, exact);
                sum[i][c] = add_row(sum[i][c], weight[i].y, v1, exact);
                sum[i][c] = add_row(sum[i][c], weight[i].z, v2, exact);
                sum[i][c] = add_row(sum[i][c], weight[i].w, v3, exact);
            }
        }
    }
}

// The sum over the work-items of a row of what each has of it; all must call it.
INLINE void sum_items(float of_row[RY], __local float *of_items, int ty, int tx)
{
    EACH(i, RY) of_items[(ty + TY * i) * TX + tx] = of_row[i];
    barrier(CLK_LOCAL_MEM_FENCE);
    EACH(i, RY) {
        of_row[i] = 0.0f;
        EACH(t, TX) of_row[i] += of_items[(ty + TY * i) * TX + t];
    }
}

// The keys and values of the tokens from start on along x; zeros for hidden ones, those before first
// and after last. there says which are not zeros, odd becomes 1 where a value is not finite.
INLINE void stage_keys(__local float *keys, __local float *values, __local int *there,
                       __local int *odd, __global const storage *kv,
                       __global const storage *null_kv, __global const uchar *mask,
                       __global const float *scores, int multiply, rows_of_head rows, int H, int E,
                       int start, int first, int last)
{
    for (int n = get_local_id(0); n < ROWS_X * HEAD / 4; n += ITEMS) {
        const int j = n / (HEAD / 4), e = 4 * n - j * HEAD, token = start + j;
        const size_t row = token - rows.first;
        const bool null = !LOCAL && token == NULL_KEY && token >= first;
        const bool seen = null || (token >= max(first, 0) && token <= last &&
                                   (!mask || mask[rows.mask + row] != 0));
        float4 key = 0.0f, value = 0.0f;
        if (seen) {
            __global const storage *from = null ? null_kv : kv;
            const size_t past = row * rows.key_step;
            key = load_four(from, null ? rows.head * E : rows.key + past, e, E);
            value = load_four(from, null ? (H + rows.head) * E : rows.value + past, e, E);
        }
        if (seen && !null && scores) {
            const float factor = scores[rows.mask + row];
            value *= factor;
            if (multiply) key *= factor;
        }
        FOUR(keys, j * ROW + e) = key;
        FOUR(values, j * ROW + e) = value;
        if (e == 0) there[j] = seen;
        if (LOCAL && !all(isfinite(value))) *odd = 1;
    }
}
