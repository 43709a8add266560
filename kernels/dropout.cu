// out = x scale where the random number of an element is at least `rate`, else 0. clock[0] is the step, `first`
// the position of x's first element, n how many elements there are. `out` may be `x`.
//
// A thread does the eight positions that share a counter: the random bits cost far more than the rest.
extern "C" __global__ void dropout(const T* x, const long long* __restrict__ clock, unsigned long long seed,
                                   unsigned long long layer, long long first, long long n, float rate,
                                   double scale, T* out) {
    const long long counter = first / 8 + (long long)blockIdx.x * blockDim.x + threadIdx.x;
    long long i = counter * 8 - first;  // of the counter's first position; before x, perhaps
    if (i >= n) return;
    unsigned long long words[4];
    philox(seed, clock[0], layer, counter, words);
    for (int k = 0; k < 8; ++k, ++i)
        if (i >= 0 && i < n) {
            const bool kept = philox_uniform(words, k) >= rate;
            out[i] = kept ? T(compute(x[i]) * decltype(compute(x[i]))(scale)) : T(0);
        }
}
