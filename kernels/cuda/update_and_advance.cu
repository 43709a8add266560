// The update of update.cu, and with it what else ends a step, so that a step has fewer launches: with ROUNDS
// the new weights, rounded to R, in `rounded`; with ADVANCES the counters, each plus one.
//
// grid and block as in update.cu. With ADVANCES, one thread of each block arrives when all threads of the
// block have read the counters. The last to arrive changes them, also if the step is skipped. A skipped step
// writes no rounded weights, because its weights stay as they were.
extern "C" __launch_bounds__(128, 8) __global__
    void update_and_advance(T* theta, const T* __restrict__ gradient, T* state0, T* state1,
                            const double* __restrict__ rates, long long* counters,
                            const double* __restrict__ squared_norm, long long n, long long n_weights, double l1,
                            double l2, double weight_decay, double clip_norm, double clip_value, int skips,
                            double h0, double h1, double h2, R* rounded, unsigned int* arrivals) {
    const long long start = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    const auto round = [=](const Vector<T>& thetas, long long left) {
        if constexpr (ROUNDS) {
            Vector<R> narrow;
            for (int k = 0; k < VECTOR; ++k) narrow.value[k] = R(thetas.value[k]);
            if (left >= VECTOR && start + VECTOR <= n_weights) {
                store(rounded + start, narrow);
            } else {
                for (int k = 0; k < VECTOR; ++k)
                    if (k < left && start + k < n_weights) rounded[start + k] = narrow.value[k];
            }
        }
    };
    update_elements(start, theta, gradient, state0, state1, rates, counters, squared_norm, n, n_weights, l1, l2,
                    weight_decay, clip_norm, clip_value, skips, h0, h1, h2, round);
    if constexpr (ADVANCES) {
        __syncthreads();
        if (threadIdx.x == 0 && arrive(arrivals) == gridDim.x - 1) {
            *arrivals = 0;
            counters[0] += 1;
            counters[1] += 1;
        }
    }
}
