// out = x scale where the random number of an element is at least `rate`, else 0. clock[0] is the step, `first`
// the position of x's first element, n how many elements there are. `out` may be `x`.
//
// A thread makes the random bits of the eight positions that share a counter: these cost far more than the rest.
// Where `first` is a whole number of counters and the arrays are aligned (WHOLE), an access is of 16 bytes, and
// those of a warp cover whole sectors of 32: of elements of four bytes, a thread's eight fill a sector, and two
// threads share each, after they have exchanged the bits of four elements. Accesses of 16 bytes that each thread
// makes to its own eight would touch every sector twice.
constexpr int PACK = sizeof(T) == 2 ? 8 : 4;
struct alignas(16) Pack { T value[PACK]; };

__device__ __forceinline__ T dropped(T value, bool kept, double scale) {
    return kept ? T(compute(value) * decltype(compute(value))(scale)) : T(0);
}

// PACK neighbouring elements from i on, as far as there are any; `words` hold the bits of the first and the others.
__device__ __forceinline__ void drop(const T* x, T* out, long long i, long long n, const unsigned long long* words,
                                     float rate, double scale) {
    if (i + PACK <= n) {
        Pack pack = *reinterpret_cast<const Pack*>(x + i);
        for (int k = 0; k < PACK; ++k)
            pack.value[k] = dropped(pack.value[k], philox_uniform(words, k) >= rate, scale);
        *reinterpret_cast<Pack*>(out + i) = pack;
    } else {
        for (int k = 0; k < PACK; ++k)
            if (i + k < n) out[i + k] = dropped(x[i + k], philox_uniform(words, k) >= rate, scale);
    }
}

extern "C" __global__ void dropout(const T* x, const long long* __restrict__ clock, unsigned long long seed,
                                   unsigned long long layer, long long first, long long n, float rate,
                                   double scale, T* out) {
    const long long counter = first / 8 + (long long)blockIdx.x * blockDim.x + threadIdx.x;
    const long long i = counter * 8 - first;  // of the counter's first position; before x, perhaps
    unsigned long long words[4];
    philox(seed, clock[0], layer, counter, words);
    if (!WHOLE) {
        for (int k = 0; k < 8; ++k)
            if (i + k >= 0 && i + k < n)
                out[i + k] = dropped(x[i + k], philox_uniform(words, k) >= rate, scale);
    } else if (PACK == 8) {
        drop(x, out, i, n, words, rate, scale);
    } else {
        // The even thread of two takes the first four of both counters, the odd one the last four.
        const bool odd = threadIdx.x % 2;
        unsigned long long lower[2], upper[2];
        for (int k = 0; k < 2; ++k) {
            const unsigned long long own = odd ? words[k + 2] : words[k], sent = odd ? words[k] : words[k + 2];
            const unsigned long long others = __shfl_xor_sync(0xffffffff, sent, 1);
            lower[k] = odd ? others : own;
            upper[k] = odd ? own : others;
        }
        const long long at = odd ? i - 4 : i;
        drop(x, out, at, n, lower, rate, scale);
        drop(x, out, at + 8, n, upper, rate, scale);
    }
}
