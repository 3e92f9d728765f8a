// SPDX-License-Identifier: MIT
// Element by element: GELU, sums.
//
// All tensors are storage with as many elements, y may be one of the inputs. A work-item takes WIDTH
// neighbours, once. Bound by memory.

GELU_FUNCTIONS(wide, gelu, gelu_slope)

__kernel void gelu_forward(INOUT(x), INOUT(y), ulong vectors)
{
    const size_t i = get_global_id(0) * WIDTH;
    if (get_global_id(0) >= vectors) return;
    store_wide(y, i, gelu(load_wide(x, i)));
}

__kernel void add(INOUT(a), INOUT(b), INOUT(y), ulong vectors)
{
    const size_t i = get_global_id(0) * WIDTH;
    if (get_global_id(0) >= vectors) return;
    store_wide(y, i, load_wide(a, i) + load_wide(b, i));
}
