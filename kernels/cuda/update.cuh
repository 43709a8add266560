// The part that is the same in every optimizer: it comes before the optimizer's formula. It is compiled for
// CUDA and for the CPU, like the formula. update.py adds the formula after this text, as the function
// `apply`.

// For float, math.h has a faster one, for processors with AVX-512.
template <typename T> __device__ __forceinline__ T quotient(T a, T b) { return a / b; }

// The numbers that are the same for all elements of a step.
template <typename T> struct StepNumbers {
    T learning_rate, factor1, factor2, clip_factor, largest, ridge, lasso, shrinkage;
    bool skips;

    __device__ __forceinline__ StepNumbers(const double* rates, const long long* counters, double squared_norm,
                                           double l1, double l2, double weight_decay, double clip_norm,
                                           double clip_value, bool skips_overflow) {
        const double* row = &rates[4 * counters[1]];
        learning_rate = T(row[0]);
        factor1 = T(row[1]);
        factor2 = T(row[2]);
        clip_factor = squared_norm > clip_norm * clip_norm ? T(clip_norm / sqrt(squared_norm)) : T(1);
        largest = T(clip_value);
        ridge = T(l2 * row[3]);
        lasso = T(l1 * row[3]);
        shrinkage = learning_rate * T(weight_decay);
        skips = skips_overflow && !(squared_norm <= 1.7976931348623157e308);
    }
};

// Returns one element's gradient: clipped by the norm, then by value, plus the derivative of the penalties.
// Also shrinks theta by decoupled decay. Penalties and decay do not change biases.
template <typename T>
__device__ __forceinline__ T prepare(T gradient, T& theta, bool is_weight, const StepNumbers<T>& step) {
    T g = gradient * step.clip_factor;
    g = g > step.largest ? step.largest : g < -step.largest ? -step.largest : g;
    if (is_weight) {
        g += step.ridge * theta + (theta > T(0) ? step.lasso : theta < T(0) ? -step.lasso : T(0));
        theta -= step.shrinkage * theta;
    }
    return g;
}
