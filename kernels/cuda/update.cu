// One step of an optimizer: theta and its state, arrays of n elements, from the gradient, in one pass.
//
// `apply` is made of the optimizer's table entry (updates.py); update.cuh comes before it. A thread has VECTOR
// elements, 16 bytes of each array, or one where an array does not begin at a multiple of 16 bytes; the last thread
// of odd lengths reads and writes what is left. No element depends on another, so any cut gives the same numbers.
// An entry has up to two arrays of state and three hyperparameters; what it does not have is null or 0.
//
// The arrays are on their way before a thread asks what step this is: to know that takes two loads in a row.
extern "C" __launch_bounds__(128) __global__
    void update(T* theta, const T* __restrict__ gradient, T* state0, T* state1, const double* __restrict__ rates,
                const long long* __restrict__ counters, const double* __restrict__ squared_norm, long long n,
                long long n_weights, double l1, double l2, double weight_decay, double clip_norm,
                double clip_value, int skips, double h0, double h1, double h2) {
    const long long start = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * VECTOR, left = n - start;
    if (left <= 0) return;
    T* const states[2] = {state0, state1};
    const double hyperparameters[3] = {h0, h1, h2};
    Vector<T> thetas = {}, gradients = {}, state[2] = {};
    if (left >= VECTOR) {
        thetas = load(theta + start);
        gradients = load(gradient + start);
        for (int j = 0; j < STATES; ++j) state[j] = load(states[j] + start);
    } else {
        for (int k = 0; k < VECTOR - 1; ++k)
            if (k < left) {
                thetas.value[k] = theta[start + k];
                gradients.value[k] = gradient[start + k];
                for (int j = 0; j < STATES; ++j) state[j].value[k] = states[j][start + k];
            }
    }
    const StepNumbers<T> step(rates, counters, *squared_norm, l1, l2, weight_decay, clip_norm, clip_value, skips);
    if (step.skips) return;
    for (int k = 0; k < VECTOR; ++k) {
        const T g = prepare(gradients.value[k], thetas.value[k], start + k < n_weights, step);
        apply(thetas.value[k], g, state[0].value[k], state[1].value[k], step, hyperparameters);
    }
    if (left >= VECTOR) {
        store(theta + start, thetas);
        for (int j = 0; j < STATES; ++j) store(states[j] + start, state[j]);
    } else {
        for (int k = 0; k < VECTOR - 1; ++k)
            if (k < left) {
                theta[start + k] = thetas.value[k];
                for (int j = 0; j < STATES; ++j) states[j][start + k] = state[j].value[k];
            }
    }
}
