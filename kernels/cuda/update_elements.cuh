// The work of one thread of an update: VECTOR elements of theta and of its state, from the element `start` on.
// update.cuh, vector.cuh and the function `apply` come before it. update.cu says how it loads and stores.
//
// `keep(thetas, left)` is called when the elements are stored. `left` counts those from `start` on.
template <typename T, typename Keep>
__device__ __forceinline__ void update_elements(long long start, T* theta, const T* gradient, T* state0, T* state1,
                                                const double* rates, const long long* counters,
                                                const double* squared_norm, long long n, long long n_weights,
                                                double l1, double l2, double weight_decay, double clip_norm,
                                                double clip_value, int skips, double h0, double h1, double h2,
                                                Keep keep) {
    const long long left = n - start;
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
    keep(thetas, left);
}
