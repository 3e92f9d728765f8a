// SPDX-License-Identifier: MIT
// Normalised rows: RMSNorm and LayerNorm.
//
// x, y [rows][D] storage, y may be x, or with an index [B][per_sample] rows of y are picked from samples of
// of_rows rows of x, as gather.cl; gamma, weight, bias [D] storage; mean, scale [rows] float.
// LANES neighbouring work-items take a row, the work-group several, and then the next ones; x is read
// once and kept in STEPS vectors a work-item, as are the parameters. STEPS 0 reads them again from the
// cache instead: for rows too long for registers, and on CPUs, where LANES is 1. Bound by memory:
// 2·rows·D·sizeof(storage) bytes.
//
// Backward: a work-group takes rows_each rows and sums what they give to the parameters' gradients
// in a row of partials [groups][D] (columns.cl adds these up), in registers where STEPS is not 0;
// where it is, a row takes the whole work-group. 0 · NaN is 0 where the 0 comes from dy.
//
// Defines: STORAGE, WIDTH, LANES, STEPS; WHOLE 1 where a row has LANES · STEPS vectors; WARPS (warps.cl).

// Vector s of this work-item in its row, and where it is kept.
#define COLUMN(s)  (((size_t)(s) * LANES + lane) * WIDTH)
#define SLOTS      (STEPS ? STEPS : 1)
#define SLOT(s)    (STEPS ? (s) : 0)
#define KEPT(x, s) (STEPS ? kept_##x[SLOT(s)] : get_wide(x, start + COLUMN(s)))

// For every vector s of a row of `end` elements, if any; unrolled, so that what is kept is in registers.
#if STEPS
    #define EACH_VECTOR_BELOW(end, s)                                                               \
        if (!WHOLE || (end))                                                                        \
            _Pragma("unroll") for (uint s = 0; s < STEPS; s++) if (WHOLE || COLUMN(s) < (end))
#else
    #define EACH_VECTOR_BELOW(end, s) for (size_t s = 0; COLUMN(s) < end; s++)
#endif
#define EACH_VECTOR(s) EACH_VECTOR_BELOW(end, s)

// A parameter [D], kept once for all rows; it may be absent where y is.
#define KEEP_PARAMETER(gamma)                                                                       \
    wide kept_##gamma[SLOTS];                                                                       \
    if (STEPS && present(gamma))                                                                    \
        EACH_VECTOR_BELOW(D, s) kept_##gamma[SLOT(s)] = get_wide(gamma, COLUMN(s));
#define PARAMETER(gamma, s) (STEPS ? kept_##gamma[SLOT(s)] : get_wide(gamma, COLUMN(s)))

// For all rows of this work-group: side by side, then the next ones. All of a work-group go through
// the body, with end 0 where there is no row, on to the sums.
#define EACH_SIDE                                                                                   \
    for (size_t side = get_group_id(0) * tiles; side < rows; side += get_num_groups(0) * tiles)
#define TILES                                                                                       \
    const size_t lane = get_local_id(0) % LANES, tile = get_local_id(0) / LANES,                    \
                 tiles = get_local_size(0) / LANES
#define ROW const size_t row = side + tile, start = row * D, end = row < rows ? D : 0

inline float norm_scale(float squares, ulong D)
{
    const float norm = sqrt(squares);
    return sqrt((float)D) / (norm < 1e-12f ? 1e-12f : norm); // so that NaN stays
}

__kernel void rms_norm_forward(INOUT(x), IN_I32(index), IN(gamma), INOUT(y), OUT_F32(scale), ulong rows,
                               uint per_sample, uint of_rows, ulong D, __local float *scratch)
{
    TILES;
    KEEP_PARAMETER(gamma);
    EACH_SIDE {
        const size_t row = side + tile, end = row < rows ? D : 0;
        const long from = end && present(index) ? picked(&at(index, 0), row, per_sample, of_rows) : (long)row;
        const size_t start = (size_t)max(from, 0L) * D;
        wide kept_x[SLOTS], squares = 0.0f;
        EACH_VECTOR(s) {
            const wide v = kept_x[SLOT(s)] = get_wide(x, start + COLUMN(s));
            squares += v * v;
        }
        const float r = norm_scale(row_sum(sum_wide(squares), scratch), D);

        if (present(scale) && lane == 0 && end) at(scale, row) = r;
        if (present(y))
            EACH_VECTOR(s)
                put_wide(y, row * D + COLUMN(s),
                         from < 0 ? (wide)0.0f : KEPT(x, s) * r * PARAMETER(gamma, s));
    }
}

__kernel void layer_norm_forward(INOUT(x), IN(weight), IN(bias), INOUT(y), OUT_F32(mean),
                                 OUT_F32(scale), ulong rows, ulong D, __local float *scratch)
{
    TILES;
    KEEP_PARAMETER(weight);
    KEEP_PARAMETER(bias);
    EACH_SIDE {
        ROW;
        wide kept_x[SLOTS], sum = 0.0f, squares = 0.0f;
        EACH_VECTOR(s) sum += kept_x[SLOT(s)] = get_wide(x, start + COLUMN(s));
        const float m = row_sum(sum_wide(sum), scratch) / D;

        EACH_VECTOR(s) {
            const wide off = KEPT(x, s) - m;
            squares += off * off;
        }
        const float r = 1.0f / sqrt(row_sum(sum_wide(squares), scratch) / D + 1e-5f);

        if (present(mean) && lane == 0 && end) at(mean, row) = m;
        if (present(scale) && lane == 0 && end) at(scale, row) = r;
        if (present(y))
            EACH_VECTOR(s)
                put_wide(y, start + COLUMN(s),
                         (KEPT(x, s) - m) * r * PARAMETER(weight, s) + PARAMETER(bias, s));
    }
}

// 0 wherever g is.
inline wide guarded(wide g, wide v)
{
    return g == 0.0f ? (wide)0.0f : v;
}

// Adds a row's vector s to the group's sums: in registers, or in partials themselves.
#define ADD_COLUMN(partials, s, first, v)                                                           \
    if (STEPS)                                                                                      \
        sums_##partials[SLOT(s)] += v;                                                              \
    else if (present(partials)) {                                                                   \
        const size_t to = get_group_id(0) * D + COLUMN(s);                                          \
        at_wide(partials, to) = (first) ? v : at_wide(partials, to) + v;                            \
    }

// Sums the registers of the rows side by side in a group, and writes them to partials. All that is
// conditional is the write: PoCL 3.1 goes astray at a barrier under a condition, uniform or not.
#define WRITE_COLUMNS(partials)                                                                     \
    if (STEPS)                                                                                      \
        _Pragma("unroll") for (uint s = 0; s < SLOTS; s++) {                                        \
            barrier(CLK_LOCAL_MEM_FENCE);                                                           \
            scratch[get_local_id(0)] = sums_##partials[SLOT(s)];                                    \
            barrier(CLK_LOCAL_MEM_FENCE);                                                           \
            wide total = 0.0f;                                                                      \
            for (size_t i = lane; i < get_local_size(0); i += LANES) total += scratch[i];           \
            if (present(partials) && get_local_id(0) < LANES && COLUMN(s) < D)                      \
                at_wide(partials, get_group_id(0) * D + COLUMN(s)) = total;                         \
        }

// What dx begins with, kept from early on: loads wait for each other where arithmetic is between them.
#define KEEP_BASE                                                                                   \
    raw kept_base[SLOTS];                                                                           \
    for (uint s = 0; s < SLOTS; s++) kept_base[s] = 0;                                              \
    if (STEPS && present(base))                                                                     \
        EACH_VECTOR(s) kept_base[SLOT(s)] = get_raw(base, start + COLUMN(s));
#define BASE(s)                                                                                     \
    (STEPS             ? widened(kept_base[SLOT(s)])                                                \
     : present(base)   ? get_wide(base, start + COLUMN(s))                                          \
                       : (wide)0.0f)

// y = x · r · gamma, r = √D / max(‖x‖, 1e-12):
// dx = base + r · (gamma · dy - x · r²/D · Σ gamma · dy · x), dgamma += dy · x · r
__kernel void rms_norm_backward(INOUT(x), IN(gamma), INOUT(dy), INOUT(base), INOUT(dx),
                                OUT_F32(dgamma), ulong rows, ulong D, ulong rows_each,
                                __local wide *scratch)
{
    TILES;
    const size_t from = get_group_id(0) * rows_each, to = min((ulong)(from + rows_each), rows);
    wide kept_x[SLOTS], kept_dy[SLOTS], sums_dgamma[SLOTS];
    for (uint s = 0; s < SLOTS; s++) sums_dgamma[s] = 0.0f;
    KEEP_PARAMETER(gamma);

    for (size_t side = from; side < to; side += tiles) {
        const size_t row = side + tile, start = row * D, end = row < to ? D : 0;
        wide squares = 0.0f, dots = 0.0f;
        KEEP_BASE;
        EACH_VECTOR(s) {
            const wide v = kept_x[SLOT(s)] = get_wide(x, start + COLUMN(s));
            const wide g = kept_dy[SLOT(s)] = get_wide(dy, start + COLUMN(s));
            squares += v * v;
            dots += guarded(g, g * v * PARAMETER(gamma, s));
        }
        const float square = row_sum(sum_wide(squares), (__local float *)scratch);
        const float dot = row_sum(sum_wide(dots), (__local float *)scratch);
        const float r = norm_scale(square, D);
        const float f = dot == 0.0f || sqrt(square) < 1e-12f ? 0.0f : r * r / D * dot;

        EACH_VECTOR(s) {
            const wide v = KEPT(x, s), g = KEPT(dy, s);
            const wide straight = guarded(g, r * g * PARAMETER(gamma, s));
            const wide d = f == 0.0f ? straight : straight - r * f * v;
            if (present(dx)) put_wide(dx, start + COLUMN(s), BASE(s) + d);
            ADD_COLUMN(dgamma, s, side == from, guarded(g, g * v * r));
        }
    }
    WRITE_COLUMNS(dgamma);
}

// y = z · weight + bias, z = (x - m) · r; with g = weight · dy:
// dx = base + r · (g - Σ g / D - z · Σ g z / D), dweight += dy · z, dbias += dy
__kernel void layer_norm_backward(INOUT(x), IN(weight), INOUT(dy), INOUT(base), INOUT(dx),
                                  OUT_F32(dweight), OUT_F32(dbias), ulong rows, ulong D,
                                  ulong rows_each, __local wide *scratch)
{
    TILES;
    const size_t from = get_group_id(0) * rows_each, to = min((ulong)(from + rows_each), rows);
    __local float *floats = (__local float *)scratch;
    wide kept_x[SLOTS], kept_dy[SLOTS], sums_dweight[SLOTS], sums_dbias[SLOTS];
    for (uint s = 0; s < SLOTS; s++) sums_dweight[s] = sums_dbias[s] = 0.0f;
    // The weight is read again for every row: what is kept besides is all that registers have room for.

    for (size_t side = from; side < to; side += tiles) {
        const size_t row = side + tile, start = row * D, end = row < to ? D : 0;
        wide sum = 0.0f, squares = 0.0f, sum_g = 0.0f, sum_gz = 0.0f;
        KEEP_BASE;
        EACH_VECTOR(s) {
            sum += kept_x[SLOT(s)] = get_wide(x, start + COLUMN(s));
            kept_dy[SLOT(s)] = get_wide(dy, start + COLUMN(s));
        }
        const float m = row_sum(sum_wide(sum), floats) / D;
        EACH_VECTOR(s) {
            const wide off = KEPT(x, s) - m, g = KEPT(dy, s) * get_wide(weight, COLUMN(s));
            squares += off * off;
            sum_g += g;
            sum_gz += guarded(g, g * off);
        }
        const float r = 1.0f / sqrt(row_sum(sum_wide(squares), floats) / D + 1e-5f);
        const float mean_g = row_sum(sum_wide(sum_g), floats) / D;
        const float dot = row_sum(sum_wide(sum_gz), floats);
        const float mean_gz = dot == 0.0f ? 0.0f : dot * r / D;

        EACH_VECTOR(s) {
            const wide z = (KEPT(x, s) - m) * r, dyv = KEPT(dy, s);
            const wide g = dyv * get_wide(weight, COLUMN(s)) - mean_g;
            const wide d = guarded(g, r * g) - (mean_gz == 0.0f ? (wide)0.0f : r * z * mean_gz);
            if (present(dx)) put_wide(dx, start + COLUMN(s), BASE(s) + d);
            ADD_COLUMN(dweight, s, side == from, guarded(dyv, dyv * z));
            ADD_COLUMN(dbias, s, side == from, dyv);
        }
    }
    WRITE_COLUMNS(dweight);
    WRITE_COLUMNS(dbias);
}
