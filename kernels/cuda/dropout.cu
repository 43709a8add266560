// out = x scale where an element's random number is at least `rate`, else 0. counters[0] is the step,
// `first` is the position of x's first element, and n is the number of elements. `out` may be `x`.
//
// grid and block: one thread for each counter. A thread makes the random bits of the eight positions that
// share a counter, because these bits cost far more than the rest. If `first` is a multiple of eight and
// the arrays are aligned, a load or store moves 16 bytes, VECTOR elements. Two neighbouring threads then
// share the sectors of their two counters, 32 bytes each: each thread moves one half of every sector. For
// that they exchange half of their bits. If each thread moved only its own eight elements, every access
// would touch half sectors. (Eight elements of two bytes are 16 bytes: then a thread moves its eight at
// once.) In all other cases VECTOR is one.
__device__ __forceinline__ T dropped(T value, bool kept, double scale) {
    return kept ? T(compute(value) * decltype(compute(value))(scale)) : T(0);
}

// Drops the VECTOR elements from i on that lie before n; `words` are their random bits.
__device__ __forceinline__ void drop(const T* x, T* out, long long i, long long n, const unsigned long long* words,
                                     float rate, double scale) {
    if (i + VECTOR <= n) {
        Vector<T> values = load(x + i);
        for (int k = 0; k < VECTOR; ++k)
            values.value[k] = dropped(values.value[k], philox_uniform(words, k) >= rate, scale);
        store(out + i, values);
    } else {
        for (int k = 0; k < VECTOR; ++k)
            if (i + k < n) out[i + k] = dropped(x[i + k], philox_uniform(words, k) >= rate, scale);
    }
}

extern "C" __global__ void dropout(const T* x, const long long* __restrict__ counters, unsigned long long seed,
                                   unsigned long long layer, long long first, long long n, float rate,
                                   double scale, T* out) {
    const long long counter = first / 8 + (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long i = counter * 8 - first;  // of the counter's first position; may be negative
    unsigned long long words[4];
    philox(seed, counters[0], layer, counter, words);
    if (VECTOR == 1) {
        for (int k = 0; k < 8; ++k)
            if (i + k >= 0 && i + k < n)
                out[i + k] = dropped(x[i + k], philox_uniform(words, k) >= rate, scale);
    } else if (VECTOR == 8) {
        drop(x, out, i, n, words, rate, scale);
    } else {
        // A sector needs the bits of 2 SHARE words. The even thread moves the half with the first SHARE
        // words.
        constexpr int SHARE = sizeof(T) == 8 ? 1 : 2;
        const bool odd = threadIdx.x % 2;
        unsigned long long lower[2], upper[2];  // words used here: the even thread's, the odd one's
        for (int k = 0; k < 2; ++k) {
            const int word = k / SHARE * 2 * SHARE + k % SHARE;
            const unsigned long long for_even = words[word], for_odd = words[word + SHARE];
            const unsigned long long others = __shfl_xor_sync(0xffffffff, odd ? for_even : for_odd, 1);
            lower[k] = odd ? others : for_even;
            upper[k] = odd ? for_odd : others;
        }
        const long long at = odd ? i - 8 + VECTOR : i;
        for (int k = 0; k < 2; k += SHARE) {
            drop(x, out, at + 4 * k, n, lower + k, rate, scale);
            drop(x, out, at + 8 + 4 * k, n, upper + k, rate, scale);
        }
    }
}
