// SPDX-License-Identifier: MIT
// Normalised rows: RMSNorm and LayerNorm.
//
// x, y [rows][D] storage, y may be x; gamma, weight, bias [D] storage; mean, scale [rows] float.
// LANES neighbouring work-items take a row, the work-group several rows; x is read once and kept in
// STEPS vectors a work-item. STEPS 0 reads it again from the cache instead: for rows too long for
// registers, and on CPUs, where LANES is 1. Bound by memory: 2·rows·D·sizeof(storage) bytes.

// Where this work-item stands; all of a work-group reach every lanes_sum.
#define ROW_PLACE(rows)                                                                             \
    const size_t row = get_global_id(0) / LANES, start = row * D;                                   \
    const size_t lane = get_local_id(0) % LANES;                                                    \
    const uint steps = STEPS ? STEPS : (uint)((D - 1) / (LANES * WIDTH) + 1);                       \
    const size_t end = row < (rows) ? D : 0;                                                        \
    wide kept[STEPS ? STEPS : 1]

#define COLUMN(s) (((size_t)(s) * LANES + lane) * WIDTH)
#define KEPT(s)   (STEPS ? kept[STEPS ? (s) : 0] : load_wide(x, start + COLUMN(s)))

inline float norm_scale(float squares, ulong D)
{
    const float norm = sqrt(squares);
    return sqrt((float)D) / (norm < 1e-12f ? 1e-12f : norm); // so that NaN stays
}

__kernel void rms_norm_forward(INOUT(x), IN(gamma), INOUT(y), OUT_F32(scale), ulong rows, ulong D,
                               __local float *scratch)
{
    ROW_PLACE(rows);
    wide squares = 0.0f;
    for (uint s = 0; s < steps; s++)
        if (COLUMN(s) < end) {
            const wide v = load_wide(x, start + COLUMN(s));
            if (STEPS) kept[STEPS ? s : 0] = v;
            squares += v * v;
        }
    const float r = norm_scale(lanes_sum(sum_wide(squares), scratch), D);

    if (present(scale) && lane == 0 && end) at(scale, row) = r;
    if (!present(y)) return;
    for (uint s = 0; s < steps; s++)
        if (COLUMN(s) < end)
            store_wide(y, start + COLUMN(s), KEPT(s) * r * load_wide(gamma, COLUMN(s)));
}

__kernel void layer_norm_forward(INOUT(x), IN(weight), IN(bias), INOUT(y), OUT_F32(mean),
                                 OUT_F32(scale), ulong rows, ulong D, __local float *scratch)
{
    ROW_PLACE(rows);
    wide sum = 0.0f, squares = 0.0f;
    for (uint s = 0; s < steps; s++)
        if (COLUMN(s) < end) {
            const wide v = load_wide(x, start + COLUMN(s));
            if (STEPS) kept[STEPS ? s : 0] = v;
            sum += v;
        }
    const float m = lanes_sum(sum_wide(sum), scratch) / D;

    for (uint s = 0; s < steps; s++)
        if (COLUMN(s) < end) {
            const wide off = KEPT(s) - m;
            squares += off * off;
        }
    const float r = 1.0f / sqrt(lanes_sum(sum_wide(squares), scratch) / D + 1e-5f);

    if (present(mean) && lane == 0 && end) at(mean, row) = m;
    if (present(scale) && lane == 0 && end) at(scale, row) = r;
    if (!present(y)) return;
    for (uint s = 0; s < steps; s++)
        if (COLUMN(s) < end)
            store_wide(y, start + COLUMN(s),
                       (KEPT(s) - m) * r * load_wide(weight, COLUMN(s)) + load_wide(bias, COLUMN(s)));
}
