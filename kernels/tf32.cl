// SPDX-License-Identifier: MIT
// Floats as NVIDIA's matrix units take them: as tf32, 10 bits behind the point. They cut the rest off.

#define TF32_BITS 0xFFFFE000u

// To nearest, ties away from zero, and bits behind TF32_BITS that the unit cuts off; NaN stays NaN. (The
// instruction for it is slow.)
inlined uint tf32_of(float x)
{
    return isnan(x) ? 0x7FC00000u : as_uint(x) + 0x1000u;
}

// What tf32 holds of a number, and f16 of one in its range, as a float: x less it is exact, and has 12
// bits at most. What is not finite leaves NaN as the rest.
inlined float high_of(float x) { return as_float((as_uint(x) + 0x1000u) & TF32_BITS); }
