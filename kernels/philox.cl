// SPDX-License-Identifier: MIT
// Random numbers, as SPEC has them: Philox4x32-10 (Salmon et al., 2011), a pure function of key and
// counter. src/ops/philox.c is its twin on the host, bit for bit.
inline uint4 philox(uint4 counter, uint2 key)
{
    for (int round = 0; round < 10; round++) {
        const uint low_x = 0xD2511F53u * counter.x, high_x = mul_hi(0xD2511F53u, counter.x);
        const uint low_z = 0xCD9E8D57u * counter.z, high_z = mul_hi(0xCD9E8D57u, counter.z);
        counter = (uint4)(high_z ^ counter.y ^ key.x, low_z, high_x ^ counter.w ^ key.y, low_x);
        key += (uint2)(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}

// A number inside (0, 1), exact in float: 2^-24 … 1 - 2^-24. Token, slot, row and stream as SPEC.
inline float philox_uniform(ulong seed, uint token, uint slot, uint row, uint stream)
{
    const uint2 key = (uint2)((uint)seed, (uint)(seed >> 32));
    const uint word = philox((uint4)(token, slot, row, stream), key).x;
    return ((float)(word >> 9) + 0.5f) * 0x1p-23f;
}
