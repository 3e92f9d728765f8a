// SPDX-License-Identifier: MIT
// Element by element: GELU, sums, scaled columns.
//
// All tensors are storage with as many elements, outputs may be inputs. A work-item takes WIDTH
// neighbours, once. Bound by memory: of 16-bit types where 2^x and 1 / x are an instruction each.

#if WARPS && STORAGE != 0 && WIDTH == 8
inline wide quick_recip8(wide x) { return (wide)(quick_recip4(x.lo), quick_recip4(x.hi)); }
inline wide quick_exp8(wide x) { return (wide)(quick_exp4(x.lo), quick_exp4(x.hi)); }
GELU_FUNCTIONS_BY(wide, gelu, gelu_slope, quick_exp8, quick_recip8)
#else
GELU_FUNCTIONS(wide, gelu, gelu_slope)
#endif

__kernel void gelu_forward(INOUT(x), INOUT(y), ulong vectors)
{
    const size_t i = get_global_id(0) * WIDTH;
    if (get_global_id(0) >= vectors) return;
    put_wide(y, i, gelu(get_wide(x, i)));
}

// y = gelu(x): dx = dy · gelu'(x), and 0 · NaN is 0.
__kernel void gelu_backward(INOUT(x), INOUT(dy), INOUT(dx), ulong vectors)
{
    const size_t i = get_global_id(0) * WIDTH;
    if (get_global_id(0) >= vectors) return;
    const wide g = get_wide(dy, i), slope = gelu_slope(get_wide(x, i));
    put_wide(dx, i, g == 0.0f ? (wide)0.0f : g * slope);
}

// y[r][d] = x[r][d] · scale[d], rows of D.
__kernel void scale_columns(INOUT(x), IN(scale), INOUT(y), ulong vectors, ulong D)
{
    const size_t i = get_global_id(0) * WIDTH;
    if (get_global_id(0) >= vectors) return;
    put_wide(y, i, get_wide(x, i) * get_wide(scale, i % D));
}

__kernel void add(INOUT(a), INOUT(b), INOUT(y), ulong vectors)
{
    const size_t i = get_global_id(0) * WIDTH;
    if (get_global_id(0) >= vectors) return;
    put_wide(y, i, get_wide(a, i) + get_wide(b, i));
}
