// SPDX-License-Identifier: MIT
// Floats as Hopper's matrix unit multiplies them: as tf32; or, PAIRS 1, as pairs of f16, x · scale = high +
// low, of which high · low + low · high + high · high is made.
//
// 32 k of a row are a line of 128 bytes in either form: 32 floats, or 32 high parts and then their low
// parts, of each eight the first beside the fifth and so on (wgmma_slabs.cl says why).
//
// Of each row of op(B)ᵀ, a column of B, pairs have the range: the bits of its largest magnitude, and the
// complement of those of the least among the largest of its runs of 32 k.

// High and low parts of two numbers times scale.
inlined void pair_two(uint *high, uint *low, float a, float b, float scale)
{
    const float a_high = high_of(a * scale), b_high = high_of(b * scale);
    *high = pack_pair_f16(a_high, b_high);
    *low = pack_pair_f16(a * scale - a_high, b * scale - b_high);
}

inlined bool pairs_hold_column(int2 range) { return pairs_hold_range((uint)range.x, ~(uint)range.y); }
