// One update of an optimizer: theta and its state, arrays of n elements, from the gradient, in one pass.
//
// The function `apply` is made from the optimizer's table entry (updates.py). update_elements.cuh, which calls
// it, comes before this text. An entry has up to two state arrays and three hyperparameters; those it does not
// have are null or 0.
//
// grid ceil(n / (128 VECTOR)), block 128. A thread updates VECTOR elements, 16 bytes of each array, or one
// element if an array is not aligned to 16 bytes. If n is not a multiple of VECTOR, the last thread updates
// the rest. No element depends on another, so the grid does not change the result.
//
// A thread starts to load the arrays before it reads the numbers of the step, which takes two loads in a
// row. The bound of 8 blocks at once leaves 64 registers, which hold all of a thread's numbers. Without it the
// compiler takes 48 for Adam on single float64 elements, and stack memory besides.
extern "C" __launch_bounds__(128, 8) __global__
    void update(T* theta, const T* __restrict__ gradient, T* state0, T* state1, const double* __restrict__ rates,
                const long long* __restrict__ counters, const double* __restrict__ squared_norm, long long n,
                long long n_weights, double l1, double l2, double weight_decay, double clip_norm,
                double clip_value, int skips, double h0, double h1, double h2) {
    const long long start = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR;
    update_elements(start, theta, gradient, state0, state1, rates, counters, squared_norm, n, n_weights, l1, l2,
                    weight_decay, clip_norm, clip_value, skips, h0, h1, h2, [](const Vector<T>&, long long) {});
}
