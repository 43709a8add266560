// How many elements ahead parameters are prefetched. In a step with several threads, the caches of their cores
// share the parameters. To write a line takes it away from the others. Without the prefetch the update waited
// for one line after another, and took four times as long.
constexpr int64_t AHEAD = 64;

// One update of an optimizer. `apply` is the text of a table entry; update.cuh comes before it. With PLAIN,
// nothing is clipped, penalised or decayed.
KERNEL(update) {  // theta, gradient, rates, counters, squared norm, n, n_weights, scalars, state...
    T* __restrict__ thetas = array<T>(s[0]);
    const T* __restrict__ gradients = array<const T>(s[1]);
    const double* scalars = array<const double>(s[7]);
    const double hyperparameters[3] = {scalars[6], scalars[7], scalars[8]};
    T* __restrict__ states0 = array<T>(s[8]);
    T* __restrict__ states1 = array<T>(s[9]);
    const StepNumbers<T> step(array<const double>(s[2]), array<const long long>(s[3]),
                              *array<const double>(s[4]), scalars[0], scalars[1], scalars[2], scalars[3],
                              scalars[4], scalars[5] != 0);
    if (!PLAIN && step.skips) return;
    const auto sweep = [&](int64_t first, int64_t end, bool are_weights) {
        T unused0, unused1;
        for (int64_t begin = first; begin < end; begin += AHEAD) {
            const int64_t stop = end - begin < AHEAD ? end : begin + AHEAD;
            const int64_t last = end - stop < AHEAD ? end : stop + AHEAD;
            for (int64_t i = stop; i < last; i += 64 / sizeof(T)) __builtin_prefetch(thetas + i, 1);
            for (int64_t i = begin; i < stop; ++i) {
                T& theta = thetas[i];
                const T g = PLAIN ? gradients[i] : prepare(gradients[i], theta, are_weights, step);
                apply(theta, g, STATES > 0 ? states0[i] : unused0, STATES > 1 ? states1[i] : unused1, step,
                      hyperparameters);
            }
        }
    };
    const int64_t n = s[5].integer;
    const int64_t weights = s[6].integer < 0 ? 0 : s[6].integer < n ? s[6].integer : n;
    sweep(0, weights, true);
    sweep(weights, n, false);
}
