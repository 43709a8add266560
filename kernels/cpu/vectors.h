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

struct ColumnLoops {
    int64_t columns, length;
};

// Columns that lie without gaps are one long column: fewer loops end.
template <typename T> inline ColumnLoops columns_without_gaps(int64_t rows, int64_t columns, int64_t leading) {
    const int64_t length = padded<T>(rows);
    return length == leading ? ColumnLoops{1, columns * length} : ColumnLoops{columns, length};
}

// The numbers of two vectors at the places PLACE(0), PLACE(1) and so on; those of `y` follow those of `x`.
template <typename T, int (*PLACE)(int), int... K>
inline Vector<T> shuffled(const Vector<T>& x, const Vector<T>& y, std::integer_sequence<int, K...>) {
#if defined(__clang__)
    return __builtin_shufflevector(x, y, PLACE(K)...);
#else
    typedef std::conditional_t<sizeof(T) == 4, int32_t, int64_t> Integer;
    typedef Integer Places __attribute__((vector_size(VECTOR)));
    return __builtin_shuffle(x, y, Places{PLACE(K)...});
#endif
}
template <typename T, int (*PLACE)(int)> inline Vector<T> shuffled(const Vector<T>& x, const Vector<T>& y) {
    return shuffled<T, PLACE>(x, y, std::make_integer_sequence<int, WIDTH<T>>());
}

// The numbers of two vectors at the places first, first + 2 and so on.
template <int FIRST> constexpr int every_second_place(int k) { return 2 * k + FIRST; }
template <typename T, int FIRST> inline Vector<T> every_second(const Vector<T>& x, const Vector<T>& y) {
    return shuffled<T, every_second_place<FIRST>>(x, y);
}

// Exchanges halves of length HALF between two vectors: `a` gets the even halves of both, `b` the odd ones.
template <int W, int HALF> constexpr int even_half_place(int k) { return k & HALF ? W + k - HALF : k; }
template <int W, int HALF> constexpr int odd_half_place(int k) { return k & HALF ? W + k : k + HALF; }
template <typename T, int HALF> inline void exchange(Vector<T>& a, Vector<T>& b) {
    constexpr int W = WIDTH<T>;
    const Vector<T> x = a, y = b;
    a = shuffled<T, even_half_place<W, HALF>>(x, y);
    b = shuffled<T, odd_half_place<W, HALF>>(x, y);
}

// Transposes a square of numbers, in registers.
template <typename T, int HALF = WIDTH<T> / 2> inline void transpose(Vector<T>* square) {
#pragma GCC unroll 16
    for (int i = 0; i < WIDTH<T>; ++i)
        if (!(i & HALF)) exchange<T, HALF>(square[i], square[i + HALF]);
    if constexpr (HALF > 1) transpose<T, HALF / 2>(square);
}

// Takes rows of COUNT numbers, which fill as many vectors, apart: vector k gets number k of each row. Each turn
// moves the numbers at even places to the first half.
template <typename T, int COUNT, int TURNS = COUNT> inline void take_apart(Vector<T>* vectors) {
    if constexpr (TURNS > 1) {
        Vector<T> halves[2][COUNT / 2];
#pragma GCC unroll 8
        for (int k = 0; k < COUNT / 2; ++k) {
            halves[0][k] = every_second<T, 0>(vectors[2 * k], vectors[2 * k + 1]);
            halves[1][k] = every_second<T, 1>(vectors[2 * k], vectors[2 * k + 1]);
        }
        std::memcpy(vectors, halves, sizeof(halves));
        take_apart<T, COUNT, TURNS / 2>(vectors);
    }
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
