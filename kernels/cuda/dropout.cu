// out = x scale where the random number of an element is at least `rate`, else 0. counters[0] is the step, `first`
// the position of x's first element, n how many elements there are. `out` may be `x`.
//
// A thread makes the random bits of the eight positions that share a counter: these cost far more than the rest.
// Where `first` is a whole number of counters and the arrays are aligned, an access is of 16 bytes, VECTOR elements,
// and two neighbouring threads take the two halves of a sector of 32 bytes: those of both their counters, one
// sector after the other. For that they exchange half of their bits. (Elements of two bytes need none of this: the
// eight of a thread are 16 bytes.) If each thread moved its own eight, every access would touch half sectors.
// Elsewhere VECTOR is one.
__device__ __forceinline__ T dropped(T value, bool kept, double scale) {
    return kept ? T(compute(value) * decltype(compute(value))(scale)) : T(0);
}

// The VECTOR elements from i on, as far as there are so many; `words` are their random bits.
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
    const long long i = counter * 8 - first;  // of the counter's first position; before x, perhaps
    unsigned long long words[4];
    philox(seed, counters[0], layer, counter, words);
    if (VECTOR == 1) {
        for (int k = 0; k < 8; ++k)
            if (i + k >= 0 && i + k < n)
                out[i + k] = dropped(x[i + k], philox_uniform(words, k) >= rate, scale);
    } else if (VECTOR == 8) {
        drop(x, out, i, n, words, rate, scale);
    } else {
        // A sector takes the bits of 2 SHARE words: of each sector, the even thread has the first SHARE.
        constexpr int SHARE = sizeof(T) == 8 ? 1 : 2;
        const bool odd = threadIdx.x % 2;
        unsigned long long lower[2], upper[2];  // this thread's share of the even thread's words, of the odd one's
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
