// SPDX-License-Identifier: MIT
// The order in which a router takes tokens, larger first, in 33 bits: valid before masked, then
// larger s, NaN last; -0 is 0.
inline ulong routing_order(float s, bool is_valid)
{
    const uint bits = as_uint(s), size = bits & 0x7FFFFFFFu;
    const uint rising = bits >> 31 ? ~bits : bits | 0x80000000u;
    const uint key = size > 0x7F800000u ? 0 : size == 0 ? 0x80000000u : rising;
    return (ulong)is_valid << 32 | key;
}

// That order, then the position, the first first: a key for each token, larger is earlier.
inline ulong routing_key(float s, bool is_valid, uint position)
{
    return routing_order(s, is_valid) << 31 | (0x7FFFFFFFu - position);
}

inline uint key_position(ulong key)
{
    return 0x7FFFFFFFu - (uint)(key & 0x7FFFFFFFu);
}

inline bool key_is_valid(ulong key)
{
    return key >> 63 != 0;
}
