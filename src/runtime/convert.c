/* SPDX-License-Identifier: MIT */
/* Between float32 and the 16-bit storage types, on the host, in portable C. */
#include <colt5/tensor.h>

#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static float float_of(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof(value));
    return value;
}

static float from_f16(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 0x1Fu;
    const uint32_t fraction = half & 0x3FFu;
    if (exponent == 0x1F) return float_of(sign | 0x7F800000u | (fraction << 13));
    if (exponent == 0) { /* zero and subnormals: fraction · 2^-24, exact */
        const float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    return float_of(sign | ((exponent + 112) << 23) | (fraction << 13));
}

static uint16_t to_f16(float value)
{
    const uint32_t bits = bits_of(value), sign = (bits >> 16) & 0x8000u, size = bits & 0x7FFFFFFFu;
    if (size > 0x7F800000u) return (uint16_t)(sign | 0x7E00u | ((size >> 13) & 0x1FFu));
    if (size >= 0x477FF000u) return (uint16_t)(sign | 0x7C00u); /* 65520 and more round to inf */
    if (size < 0x38800000u) { /* below 2^-14: adding 0.5 rounds to a multiple of 2^-24 */
        const uint32_t rounded = bits_of(float_of(size) + 0.5f) - bits_of(0.5f);
        return (uint16_t)(sign | rounded);
    }
    const uint32_t rounded = size + 0xFFFu + ((size >> 13) & 1u);
    return (uint16_t)(sign | ((rounded - (112u << 23)) >> 13));
}

static uint16_t to_bf16(float value)
{
    const uint32_t bits = bits_of(value);
    if ((bits & 0x7FFFFFFFu) > 0x7F800000u) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16);
}

static float load_value(colt5_type type, const void *values, size_t i)
{
    switch (type) {
    case COLT5_F16:
        return from_f16(((const uint16_t *)values)[i]);
    case COLT5_BF16:
        return float_of((uint32_t)((const uint16_t *)values)[i] << 16);
    default:
        return ((const float *)values)[i];
    }
}

static void store_value(colt5_type type, void *values, size_t i, float value)
{
    switch (type) {
    case COLT5_F16:
        ((uint16_t *)values)[i] = to_f16(value);
        break;
    case COLT5_BF16:
        ((uint16_t *)values)[i] = to_bf16(value);
        break;
    default:
        ((float *)values)[i] = value;
    }
}

void colt5_convert(colt5_type from_type, const void *from, colt5_type to_type, void *to,
                   size_t count)
{
    if (from_type == to_type) {
        memmove(to, from, count * colt5_type_size(from_type));
        return;
    }
    for (size_t i = 0; i < count; i++) store_value(to_type, to, i, load_value(from_type, from, i));
}
