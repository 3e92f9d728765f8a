// SPDX-License-Identifier: MIT
// Matrix products on CPUs: C = residual + row_scale · gelu(alpha · op(A) op(B) + bias), as
// src/gemm/gemm.h has it, from operands rewritten so that the inner loop reads them straight on.
//
// pack_panels cuts an operand to panels of some rows (of A; columns of B), each [k][row] in float:
// 16-bit types, transposed operands, gathered rows and ragged edges (zeros) end there. packed_gemm
// multiplies panels of ROWS rows with panels of COLUMNS = 2·REGISTER columns: a work-item keeps the
// ROWS×COLUMNS sums in vector registers and makes `block` panels of A one after the other. No local
// memory, no barriers: work-groups are single work-items, which a CPU runs as plain functions.
//
// Defines: REGISTER floats of a vector register; ROWS; STORAGE the type of A, B and bias; C_F32 1 where
// C and residual are float whatever STORAGE.

#ifndef REGISTER
    #define REGISTER 8 // floats of a vector register: 4, 8 or 16
#endif
#ifndef ROWS
    #define ROWS 6 // rows of a panel of A: 2·ROWS sums, 2 of B and 1 of A fill the registers
#endif
#ifndef PACK_DEPTH
    #define PACK_DEPTH 64 // k packed by a work-item
#endif

#define COLUMNS       (2 * REGISTER)
#define JOIN_(a, b)   a##b
#define JOIN(a, b)    JOIN_(a, b)
#define load_floats    JOIN(vload, REGISTER)
#define store_floats   JOIN(vstore, REGISTER)

typedef JOIN(float, REGISTER) floats;

#if STORAGE == 0
inline floats load_vector(__global const float *p, size_t i) { return load_floats(0, p + i); }
inline void store_vector(__global float *p, size_t i, floats v) { store_floats(v, 0, p + i); }
#elif STORAGE == 1
inline floats load_vector(__global const half *p, size_t i)
{
    return JOIN(vload_half, REGISTER)(0, p + i);
}
inline void store_vector(__global half *p, size_t i, floats v)
{
    JOIN(JOIN(vstore_half, REGISTER), _rte)(v, 0, p + i);
}
#else
typedef JOIN(uint, REGISTER) floats_uint;
inline floats load_vector(__global const ushort *p, size_t i)
{
    return JOIN(as_float, REGISTER)(JOIN(convert_uint, REGISTER)(load_floats(0, p + i)) << 16);
}
inline void store_vector(__global ushort *p, size_t i, floats v)
{
    const floats_uint bits = JOIN(as_uint, REGISTER)(v);
    const floats_uint rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    const floats_uint kept = select(rounded, (bits >> 16) | 0x40u, isnan(v));
    store_floats(JOIN(convert_ushort, REGISTER)(kept), 0, p + i);
}
#endif

#if C_F32
    #define load_c_vector(p, i)     load_floats(0, (p) + (i))
    #define store_c_vector(p, i, v) store_floats(v, 0, (p) + (i))
#else
    #define load_c_vector           load_vector
    #define store_c_vector          store_vector
#endif

GELU_FUNCTIONS(floats, gelu, gelu_slope)

// A panel's rows, from `from` to `to` of their k: out [k][width].
typedef struct {
    uint width, from, to;
    size_t step; // from a k to the next
} piece;

// One row of it, of which k begins at x; none: zeros.
inline void pack_row(__global float *out, const piece *all, __global const storage *x, bool none)
{
    for (uint k = all->from; k < all->to; k++)
        out[(k - all->from) * all->width] = none ? 0.0f : load_storage(x, k * all->step);
}

inline float4 load_quad(__global const storage *x)
{
    return (float4)(load_storage(x, 0), load_storage(x, 1), load_storage(x, 2), load_storage(x, 3));
}

// Four rows whose k are contiguous, turned four k at a time; how many k that made.
inline uint pack_quads(__global float *out, const piece *all, __global const storage *const rows[4])
{
    uint k = all->from;
    for (; k + 4 <= all->to; k += 4, out += 4 * all->width) {
        const float4 a = load_quad(rows[0] + k), b = load_quad(rows[1] + k);
        const float4 c = load_quad(rows[2] + k), d = load_quad(rows[3] + k);
        vstore4((float4)(a.x, b.x, c.x, d.x), 0, out);
        vstore4((float4)(a.y, b.y, c.y, d.y), 0, out + all->width);
        vstore4((float4)(a.z, b.z, c.z, d.z), 0, out + 2 * all->width);
        vstore4((float4)(a.w, b.w, c.w, d.w), 0, out + 3 * all->width);
    }
    return k - all->from;
}

// All rows, which are contiguous, in vectors. The last vector ends with the row; where a row is shorter than
// one, what it writes beyond belongs to later k, and those for which there are too few of them are not made.
inline uint pack_vectors(__global float *out, const piece *all, __global const storage *x)
{
    const uint beyond = (REGISTER - 1) / all->width, end = max(all->from + beyond, all->to) - beyond;
    for (uint k = all->from; k < end; k++, out += all->width) {
        __global const storage *line = x + k * all->step;
        for (uint i = 0; i + REGISTER <= all->width; i += REGISTER)
            store_floats(load_vector(line, i), 0, out + i);
        if (all->width % REGISTER) {
            const uint last = max(all->width, (uint)REGISTER) - REGISTER;
            store_floats(load_vector(line, last), 0, out + last);
        }
    }
    return end - all->from;
}

// Rows first … of an operand with R rows and K columns, of these k_begin to k_end, as panels of
// `width` rows. Its k are contiguous (by_lines 0) or its rows are. Work-group ids: blocks of
// PACK_DEPTH k, panels.
__kernel void pack_panels(IN(x), OUT_F32(panels), IN_I32(index), const uint R, const uint K,
                          const uint first, const uint width, const uint k_begin, const uint k_end,
                          const int by_lines, const uint index_rows, const uint index_of)
{
    const uint panel = get_group_id(1), depth = k_end - k_begin, row = first + panel * width;
    const uint from = k_begin + get_group_id(0) * PACK_DEPTH, to = min(from + PACK_DEPTH, k_end);
    __global float *out = panels_buffer + panels_offset + ((size_t)panel * depth + from - k_begin) * width;
    __global const storage *start = x_buffer + x_offset;
    piece all = {width, from, to, by_lines ? R : 1};
    if (by_lines && !present(index) && row + max(width, (uint)REGISTER) <= R) {
        const uint made = pack_vectors(out, &all, start + row);
        all.from += made;
        out += made * width;
    }
    for (uint i = 0; i < width; i += 4) {
        const uint four = min(i, width - 4); // the last four may be some of those before
        __global const storage *rows[4];
        bool none[4];
        for (uint j = 0; j < 4; j++) {
            const uint r = row + four + j;
            long of_x = r < R ? (long)r : -1;
            if (present(index) && r < R) of_x = picked(index_buffer + index_offset, r, index_rows, index_of);
            none[j] = of_x < 0;
            rows[j] = start + (none[j] ? 0 : by_lines ? of_x : of_x * K);
        }
        piece rest = all;
        if (!by_lines && !(none[0] || none[1] || none[2] || none[3]))
            rest.from += pack_quads(out + four, &all, rows);
        for (uint j = 0; j < 4; j++)
            pack_row(out + (rest.from - all.from) * width + four + j, &rest, rows[j], none[j]);
    }
}

// REGISTER biases from element i on, of which have exist.
inline floats load_biases(__global const storage *bias, size_t i, uint have)
{
    if (have >= REGISTER) return load_vector(bias, i);
    float values[REGISTER];
    for (uint j = 0; j < REGISTER; j++) values[j] = j < have ? load_storage(bias, i + j) : 0.0f;
    return load_floats(0, values);
}

// REGISTER columns of C from element i on, of which have exist.
inline floats load_some(__global const c_storage *c, size_t i, uint have)
{
    if (have >= REGISTER) return load_c_vector(c, i);
    float values[REGISTER];
    for (uint j = 0; j < REGISTER; j++) values[j] = j < have ? load_c_storage(c, i + j) : 0.0f;
    return load_floats(0, values);
}

inline void store_some(__global c_storage *c, size_t i, uint have, floats value)
{
    float values[REGISTER];
    store_floats(value, 0, values);
    if (have >= REGISTER)
        store_c_vector(c, i, value);
    else
        for (uint j = 0; j < have; j++) store_c_storage(c, i + j, values[j]);
}

// What stands around a product, but for the residual.
inline floats around_sums(floats value, float alpha, bool biased, floats bias, int extras, float scale)
{
    value *= extras & SCALE_FIRST ? alpha * scale : alpha;
    if (biased) value += bias;
    if (extras & GELU_AFTER) value = gelu(value);
    return extras & SCALE_FIRST ? value : value * scale;
}

RESIDUAL_FUNCTION(floats, with_residual, gelu_slope)

// Panels of A (rows first_m to end_m) by panels of B (columns first_n to end_n), `depth` k of each.
// Before the last part of K the sums wait in partial, a row of which is as wide as the panels of B
// together; after it they are finished. Work-group ids: panels of B, blocks of panels of A.
__kernel void packed_gemm(IN_F32(a), IN_F32(b), C_INOUT(c),
                          IN(bias), IN_F32(row_scale), C_IN(residual), IN_I32(scatter), INOUT_F32(partial),
                          const uint N, const uint first_m, const uint end_m, const uint first_n,
                          const uint end_n, const uint depth, const uint block,
                          const uint scatter_rows, const uint c_rows, const float alpha,
                          const int extras, const int first_part, const int last_part)
{
    const uint column = get_group_id(0) * COLUMNS, first = get_group_id(1) * block * ROWS;
    const uint rows = end_m - first_m, columns = end_n - first_n;
    const uint partial_columns = get_num_groups(0) * COLUMNS;
    const bool plain =
        !present(scatter) && !(extras & (GELU_AFTER | GELU_SLOPE)) && column + COLUMNS <= columns;
    for (uint row = first; row < min(rows, first + block * ROWS); row += ROWS) {
        __global const float *a = a_buffer + a_offset + (size_t)row * depth;
        __global const float *b = b_buffer + b_offset + (size_t)column * depth;
        floats sums[ROWS][2];
#pragma unroll
        for (uint i = 0; i < ROWS; i++) sums[i][0] = sums[i][1] = (floats)(0.0f);
        for (uint k = 0; k < depth; k++, a += ROWS, b += COLUMNS) {
            const floats left = load_floats(0, b), right = load_floats(1, b);
#pragma unroll
            for (uint i = 0; i < ROWS; i++) {
                sums[i][0] = fma((floats)(a[i]), left, sums[i][0]);
                sums[i][1] = fma((floats)(a[i]), right, sums[i][1]);
            }
        }
        // A whole tile is finished from the registers.
        if (plain && row + ROWS <= rows) {
            const size_t from = (first_m + row) * (size_t)N + first_n + column;
            const size_t wait = partial_offset + row * (size_t)partial_columns + column;
#pragma unroll
            for (uint i = 0; i < 2 * ROWS; i++) {
                const size_t at_wait = wait + i / 2 * partial_columns + i % 2 * REGISTER;
                const size_t at_c = from + i / 2 * (size_t)N + i % 2 * REGISTER;
                floats value = sums[i / 2][i % 2];
                if (!first_part) value += load_floats(0, partial_buffer + at_wait);
                if (!last_part) {
                    store_floats(value, 0, partial_buffer + at_wait);
                    continue;
                }
                const size_t n = bias_offset + first_n + column + i % 2 * REGISTER;
                const bool biased = present(bias);
                value = around_sums(value, alpha, biased, biased ? load_vector(bias_buffer, n) : (floats)(0.0f),
                                    extras & SCALE_FIRST,
                                    present(row_scale) ? at(row_scale, first_m + row + i / 2) : 1.0f);
                if (present(residual)) value += load_c_vector(residual_buffer, residual_offset + at_c);
                store_c_vector(c_buffer, c_offset + at_c, value);
            }
            continue;
        }
        floats done[ROWS][2]; // addressed by number, which would take sums out of the registers
#pragma unroll
        for (uint i = 0; i < ROWS; i++) {
            done[i][0] = sums[i][0];
            done[i][1] = sums[i][1];
        }
        for (uint i = 0; i < min((uint)ROWS, rows - row); i++) {
            const uint m = first_m + row + i;
            const long to = present(scatter) ? picked(scatter_buffer + scatter_offset, m,
                                                      scatter_rows, c_rows)
                                             : (long)m;
            const float scale = present(row_scale) ? at(row_scale, m) : 1.0f;
            for (uint h = 0; h < 2; h++) {
                const uint from = column + h * REGISTER;
                const uint have = from < columns ? min(columns - from, (uint)REGISTER) : 0;
                const size_t wait = partial_offset + (row + i) * (size_t)partial_columns + from;
                const size_t i_c = (size_t)to * N + first_n + from;
                floats value = done[i][h];
                if (!first_part) value += load_floats(0, partial_buffer + wait);
                if (!last_part) {
                    store_floats(value, 0, partial_buffer + wait);
                    continue;
                }
                if (to < 0 || have == 0) continue;
                const bool biased = present(bias);
                const size_t n = bias_offset + first_n + from;
                value = around_sums(value, alpha, biased,
                                    biased ? load_biases(bias_buffer, n, have) : (floats)(0.0f), extras, scale);
                if (present(residual))
                    value = with_residual(value, load_some(residual_buffer, residual_offset + i_c, have), extras);
                store_some(c_buffer, c_offset + i_c, have, value);
            }
        }
    }
}
