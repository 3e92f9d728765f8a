// SPDX-License-Identifier: MIT
// A step of AdamW.
//
// weight storage; gradient, master, m, v float, as many elements; factor [1] float. A work-item
// takes WIDTH neighbours, once. Bound by memory: 20 bytes an element, and the master's and the
// weight's. shrink = 1 - learning_rate · decay, rate = learning_rate / (1 - beta1^t),
// root = 1 / √(1 - beta2^t).

__kernel void adamw(IN_F32(gradient), IN_F32(factor), INOUT(weight), INOUT_F32(master),
                    INOUT_F32(m), INOUT_F32(v), ulong vectors, float beta1, float beta2,
                    float shrink, float rate, float root, float eps)
{
    const size_t i = get_global_id(0) * WIDTH;
    if (get_global_id(0) >= vectors) return;
    const float f = present(factor) ? at(factor, 0) : 1.0f;
    if (f == 0.0f) return;

    const wide g = *(__global const wide *)&at(gradient, i) * f;
    const wide mean = beta1 * at_wide(m, i) + (1.0f - beta1) * g;
    const wide square = beta2 * at_wide(v, i) + (1.0f - beta2) * g * g;
    const wide old = present(master) ? at_wide(master, i) : load_wide(weight, i);
    const wide new = old * shrink - rate * mean / (sqrt(square) * root + eps);
    at_wide(m, i) = mean;
    at_wide(v, i) = square;
    if (present(master)) at_wide(master, i) = new;
    store_wide(weight, i, new);
}
