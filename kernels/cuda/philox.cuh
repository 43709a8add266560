// Philox4x64-10 (Salmon et al. 2011), for CUDA and for the CPU.

// Makes four 64-bit words of random bits, for the positions 8 counter to 8 counter + 7.
__device__ __forceinline__ void philox(unsigned long long seed, unsigned long long step,
                                       unsigned long long layer, unsigned long long counter,
                                       unsigned long long* words) {
    unsigned long long c0 = counter + 1, c1 = step, c2 = layer, c3 = 0, k0 = seed, k1 = 0;
    for (int round = 0; round < 10; ++round) {
        const unsigned long long high0 = __umul64hi(0xD2E7470EE14C6C93ull, c0);
        const unsigned long long low0 = 0xD2E7470EE14C6C93ull * c0;
        const unsigned long long high1 = __umul64hi(0xCA5A826395121157ull, c2);
        const unsigned long long low1 = 0xCA5A826395121157ull * c2;
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B97F4A7C15ull;
        k1 += 0xBB67AE8584CAA73Bull;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

// Makes one position's uniform float32 number in [0, 1) from the words of its counter.
__device__ __forceinline__ float philox_uniform(const unsigned long long* words,
                                                unsigned long long position) {
    const unsigned long long bits = words[position / 2 % 4];
    const unsigned int half = (unsigned int)(position % 2 ? bits >> 32 : bits);
    return float(half >> 8) * (1.0f / 16777216.0f);
}
