// Vectors of the processor's width, and the layout of activations column by column.

namespace {

#if defined(__AVX512F__)
constexpr int VECTOR = 64, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int VECTOR = 32, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int VECTOR = 16, REGISTERS = 32;
#else
constexpr int VECTOR = 16, REGISTERS = 16;
#endif

template <typename T> constexpr int64_t WIDTH = VECTOR / sizeof(T);

template <typename T> struct VectorOf {
    typedef T Type __attribute__((vector_size(VECTOR)));
};
template <typename T> using Vector = typename VectorOf<T>::Type;

template <typename T> inline Vector<T> load(const T* from) {
    Vector<T> result;
    std::memcpy(&result, from, VECTOR);
    return result;
}
template <typename T> inline void store(T* to, const Vector<T>& values) { std::memcpy(to, &values, VECTOR); }

template <typename T> inline int64_t padded(int64_t rows) { return (rows + WIDTH<T> - 1) / WIDTH<T> * WIDTH<T>; }

// Exchanges halves of length HALF between two vectors: `a` gets the even halves of both, `b` the odd ones.
template <typename T, int HALF> inline void exchange(Vector<T>& a, Vector<T>& b) {
    constexpr int W = WIDTH<T>;
    const Vector<T> x = a, y = b;
#if defined(__clang__)
    for (int k = 0; k < W; ++k) {
        a[k] = k & HALF ? y[k - HALF] : x[k];
        b[k] = k & HALF ? y[k] : x[k + HALF];
    }
#else
    typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> Integer;
    typedef Integer Places __attribute__((vector_size(VECTOR)));
    Places even, odd;
#pragma GCC unroll 16
    for (int k = 0; k < W; ++k) {
        even[k] = k & HALF ? W + k - HALF : k;
        odd[k] = k & HALF ? W + k : k + HALF;
    }
    a = __builtin_shuffle(x, y, even);
    b = __builtin_shuffle(x, y, odd);
#endif
}

// Transposes a square of numbers, in registers.
template <typename T, int HALF = WIDTH<T> / 2> inline void transpose(Vector<T>* square) {
#pragma GCC unroll 16
    for (int i = 0; i < WIDTH<T>; ++i)
        if (!(i & HALF)) exchange<T, HALF>(square[i], square[i + HALF]);
    if constexpr (HALF > 1) transpose<T, HALF / 2>(square);
}

// Adds the lanes of each vector of a square: lane k of the first vector becomes the sum of vector k.
template <typename T, int HALF = WIDTH<T> / 2> inline void add_lanes(Vector<T>* square) {
#pragma GCC unroll 16
    for (int i = 0; i < HALF; ++i) {
        exchange<T, HALF>(square[i], square[i + HALF]);
        square[i] += square[i + HALF];
    }
    if constexpr (HALF > 1) add_lanes<T, HALF / 2>(square);
}

}  // namespace
