// SPDX-License-Identifier: MIT
// The length of all gradients as one vector, in two stages, and what they are multiplied by.
//
// sum_squares: x [count] storage, a work-group a piece, one float of partial a piece; the host calls
// it for each tensor. gradient_norm: one work-group adds the pieces. Orders are fixed. Bound by
// memory.

// partial[first + piece] = Σ x² over piece · [0, 1) elements
__kernel void sum_squares(IN(x), OUT_F32(partial), ulong first, ulong count, ulong piece,
                          __local float *scratch)
{
    const size_t start = get_group_id(0) * piece, end = min((ulong)(start + piece), count);
    wide squares = 0.0f;
    for (size_t i = start + get_local_id(0) * WIDTH; i < end; i += get_local_size(0) * WIDTH) {
        const wide v = load_wide(x, i);
        squares += v * v;
    }
    const float sum = group_sum(sum_wide(squares), scratch);
    if (get_local_id(0) == 0) at(partial, first + get_group_id(0)) = sum;
}

__kernel void gradient_norm(IN_F32(partial), OUT_F32(norm), OUT_F32(factor), ulong pieces,
                            float max_norm, float loss_scale, __local float *scratch)
{
    float sum = 0.0f;
    for (size_t i = get_local_id(0); i < pieces; i += get_local_size(0)) sum += at(partial, i);
    sum = group_sum(sum, scratch);
    if (get_local_id(0) > 0) return;
    const float length = sqrt(sum) / loss_scale;
    const bool clipped = max_norm > 0.0f && length > max_norm;
    at(norm, 0) = length;
    if (present(factor))
        at(factor, 0) =
            isfinite(length) ? (clipped ? max_norm / length : 1.0f) / loss_scale : 0.0f;
}

__kernel void gradient_scale(INOUT(x), IN_F32(factor), ulong vectors)
{
    const size_t i = get_global_id(0) * WIDTH;
    if (get_global_id(0) >= vectors) return;
    const float f = at(factor, 0);
    store_wide(x, i, f == 0.0f ? (wide)0.0f : load_wide(x, i) * f);
}
