// Kernels that prepare a batch: gather its rows, make one-hot targets, normalise weights.
#include <algorithm>

namespace {

// The addresses of a step's rows. source.py writes them before each replay.
struct Source {
    const void* data;
    const int64_t* order;
    int64_t stride;
    int64_t type;
};

template <typename S, typename T>
void copy_rows(const Source& source, int64_t start, int64_t rows, int64_t columns, T* out) {
    const S* data = static_cast<const S*>(source.data);
    for (int64_t i = 0; i < rows; ++i) {
        const int64_t row = source.order ? source.order[start + i] : start + i;
        const S* from = data + row * columns;
        if constexpr (sizeof(S) == sizeof(T) && S(0.5) == T(0.5))
            std::memcpy(out + i * columns, from, columns * sizeof(T));
        else
            for (int64_t j = 0; j < columns; ++j) out[i * columns + j] = T(from[j]);
    }
}

// Copies rows of COUNT numbers, or of COUNT / 2 and so on, if they lie one after another and fill vectors.
template <typename T, int COUNT> bool copy_dense(const T* rows, int64_t columns, int64_t leading, T* out) {
    if constexpr (COUNT > 1) {
        if (columns != COUNT) return copy_dense<T, COUNT / 2>(rows, columns, leading, out);
        Vector<T> vectors[COUNT];
        for (int k = 0; k < COUNT; ++k) vectors[k] = load(rows + k * WIDTH<T>);
        take_apart<T, COUNT>(vectors);
        for (int k = 0; k < COUNT; ++k) store(out + k * leading, vectors[k]);
        return true;
    }
    return false;
}

// Copies COUNT columns from column j on, then COUNT / 2 and so on, down to two, and returns the next column.
template <typename T, int COUNT>
int64_t copy_few(const T* const* from, int64_t j, int64_t columns, int64_t leading, T* out) {
    if constexpr (COUNT > 1) {
        if (columns - j >= COUNT) {
            T rows[WIDTH<T> * COUNT];
            for (int i = 0; i < WIDTH<T>; ++i) std::memcpy(rows + i * COUNT, from[i] + j, COUNT * sizeof(T));
            copy_dense<T, COUNT>(rows, COUNT, leading, out + j * leading);
            j += COUNT;
        }
        return copy_few<T, COUNT / 2>(from, j, columns, leading, out);
    }
    return j;
}

// The same, column by column. The room behind the last row repeats it.
template <typename S, typename T>
void copy_columns(const Source& source, int64_t start, int64_t rows, int64_t columns, int64_t leading, T* out) {
    constexpr int W = WIDTH<T>;
    constexpr bool SAME = sizeof(S) == sizeof(T) && S(0.5) == T(0.5);
    const S* data = static_cast<const S*>(source.data);
    for (int64_t first = 0; first < rows; first += W, out += W) {
        if constexpr (SAME) {
            const bool dense = !source.order && first + W <= rows;
            const T* next = reinterpret_cast<const T*>(data + (start + first) * columns);
            if (dense && copy_dense<T, W / 2>(next, columns, leading, out)) continue;
        }
        const S* from[W];
        for (int i = 0; i < W; ++i) {
            const int64_t place = start + std::min(first + i, rows - 1);
            from[i] = data + (source.order ? source.order[place] : place) * columns;
        }
        int64_t j = 0;
        if constexpr (SAME) {
            const T* typed[W];
            for (int i = 0; i < W; ++i) typed[i] = reinterpret_cast<const T*>(from[i]);
            for (; j + W <= columns; j += W) {
                Vector<T> square[W];
                for (int i = 0; i < W; ++i) square[i] = load(typed[i] + j);
                transpose<T>(square);
                for (int i = 0; i < W; ++i) store(out + (j + i) * leading, square[i]);
            }
            j = copy_few<T, W / 2>(typed, j, columns, leading, out);
        }
        for (; j < columns; ++j)
#pragma GCC unroll 1
            for (int i = 0; i < W; ++i) out[j * leading + i] = T(from[i][j]);
    }
}

// Calls body with a number of the source's type.
template <typename Body> void of_type(const Source& source, Body body) {
    switch (source.type) {  // in the order of source.py's SOURCE_TYPES
        case 0: return body(float());
        case 1: return body(double());
        case 2: return body(int8_t());
        case 3: return body(uint8_t());
        case 4: return body(int16_t());
        case 5: return body(uint16_t());
        case 6: return body(int32_t());
        case 7: return body(uint32_t());
        case 8: return body(int64_t());
        case 9: return body(uint64_t());
    }
}

}  // namespace

KERNEL(columns_gather) {  // source, counters, first, out, rows, columns, scale, shift, leading
    const Source& source = *array<const Source>(s[0]);
    const int64_t start = array<const int64_t>(s[1])[1] * source.stride + s[2].integer;
    const int64_t rows = s[4].integer, columns = s[5].integer, leading = s[8].integer;
    T* out = array<T>(s[3]);
    of_type(source, [&](auto type) { copy_columns<decltype(type)>(source, start, rows, columns, leading, out); });
    const T scale = T(s[6].real), shift = T(s[7].real);
    if (scale != 1 || shift != 0)
        for (int64_t j = 0; j < columns; ++j, out += leading)
            for (int64_t i = 0; i < padded<T>(rows); ++i) out[i] = scale * out[i] + shift;
}

KERNEL(columns_one_hot) {  // labels, out, rows, columns, low, high, leading
    const int64_t* labels = array<const int64_t>(s[0]);
    T* out = array<T>(s[1]);
    const int64_t rows = s[2].integer, columns = s[3].integer, leading = s[6].integer;
    for (int64_t j = 0; j < columns; ++j)
        for (int64_t i = 0; i < padded<T>(rows); ++i) out[j * leading + i] = T(s[4].real);
    for (int64_t i = 0; i < rows; ++i)
        if (labels[i] >= 0 && labels[i] < columns) out[labels[i] * leading + i] = T(s[5].real);
}

// Writes 0 behind the last row. A gradient that a user has given becomes a δ, which is 0 there.
KERNEL(columns_end_with_zeros) {  // out, rows, columns, leading
    T* out = array<T>(s[0]);
    const int64_t rows = s[1].integer, leading = s[3].integer;
    for (int64_t j = 0; j < s[2].integer; ++j, out += leading)
        for (int64_t i = rows; i < padded<T>(rows); ++i) out[i] = T(0);
}

// Copies columns to rows.
KERNEL(columns_to_rows) {  // values, out, rows, columns, leading
    const T* values = array<const T>(s[0]);
    T* out = array<T>(s[1]);
    const int64_t rows = s[2].integer, columns = s[3].integer, leading = s[4].integer;
    for (int64_t i = 0; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) out[i * columns + j] = values[j * leading + i];
}

KERNEL(gather) {  // source, counters, first, out, rows, columns, scale, shift
    const Source& source = *array<const Source>(s[0]);
    const int64_t start = array<const int64_t>(s[1])[1] * source.stride + s[2].integer;
    const int64_t rows = s[4].integer, columns = s[5].integer;
    T* out = array<T>(s[3]);
    of_type(source, [&](auto type) { copy_rows<decltype(type)>(source, start, rows, columns, out); });
    const T scale = T(s[6].real), shift = T(s[7].real);
    if (scale != 1 || shift != 0)
        for (int64_t i = 0; i < rows * columns; ++i) out[i] = scale * out[i] + shift;
}

// found = 1 if a number in these rows is NaN, infinite or too large for T. Without the sign, the bits of such a
// number are larger than those of every other.
KERNEL(check_rows) {  // source, counters, first, rows, columns, found
    const Source& source = *array<const Source>(s[0]);
    const int64_t start = array<const int64_t>(s[1])[1] * source.stride + s[2].integer;
    const int64_t rows = s[3].integer, columns = s[4].integer;
    of_type(source, [&](auto type) {
        typedef decltype(type) S;
        if constexpr (!std::is_integral_v<S>) {
            const T largest = from_bits<T>(bits_of(INFINITE<T>) - 1);
            const BitsOf<S> limit = sizeof(S) > sizeof(T) ? bits_of(S(largest)) : bits_of(INFINITE<S>) - 1;
            BitsOf<S> most = 0;
            const auto sweep = [&](const S* from, int64_t n) {
                for (int64_t i = 0; i < n; ++i) most = std::max(most, bits_of(magnitude(from[i])));
            };
            const S* data = static_cast<const S*>(source.data);
            if (!source.order) sweep(data + start * columns, rows * columns);
            else
                for (int64_t i = 0; i < rows; ++i) sweep(data + source.order[start + i] * columns, columns);
            if (most > limit) *array<int64_t>(s[5]) = 1;
        }
    });
}

EXPORTED(void, gather_int64)(const Slot* s) {
    const Source& source = *array<const Source>(s[0]);
    const int64_t start = array<const int64_t>(s[1])[1] * source.stride + s[2].integer;
    of_type(source, [&](auto type) {
        copy_rows<decltype(type)>(source, start, s[4].integer, s[5].integer, array<int64_t>(s[3]));
    });
}

KERNEL(one_hot) {  // labels, out, rows, columns, low, high
    const int64_t* labels = array<const int64_t>(s[0]);
    T* out = array<T>(s[1]);
    const int64_t rows = s[2].integer, columns = s[3].integer;
    for (int64_t i = 0; i < rows * columns; ++i) out[i] = T(s[4].real);
    for (int64_t i = 0; i < rows; ++i)
        if (labels[i] >= 0 && labels[i] < columns) out[i * columns + labels[i]] = T(s[5].real);
}

KERNEL(normalize) {  // weights, rows
    T* weights = array<T>(s[0]);
    double total = 0;
    for (int64_t i = 0; i < s[1].integer; ++i) total += weights[i];
    for (int64_t i = 0; i < s[1].integer; ++i) weights[i] = total != 0 ? T(weights[i] / total) : T(0);
}
