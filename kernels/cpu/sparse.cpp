// Products of sparse rows. Both kernels take LANES outputs at once. The weights of these outputs are far
// apart, because w is (n_out, n_in). If the batch has many numbers, the kernels go through a panel, (n_in,
// LANES): the weights of one column are then one line of the cache.
#include <algorithm>
#include <new>

namespace {

// The addresses of a step's sparse rows. source.py writes them before each replay.
struct SparseSource {
    const void* values;
    const int64_t* order;
    int64_t stride;
    const int32_t* indices;
    const int64_t* starts;
};

constexpr int LINE = 64;
template <typename T> constexpr int LANES = LINE / sizeof(T);

// A number for each lane, in two registers: compilers keep wider vectors in memory.
template <typename T> struct Lanes {
    typedef T Register __attribute__((vector_size(LINE / 2), may_alias));
    Register parts[2] = {};

    static Lanes read(const T* from, int lanes) {
        T numbers[LANES<T>] = {};
        for (int j = 0; j < lanes; ++j) numbers[j] = from[j];
        Lanes result;
        std::memcpy(result.parts, numbers, LINE);
        return result;
    }
    void write(T* to, int lanes) const {
        T numbers[LANES<T>];
        std::memcpy(numbers, parts, LINE);
        for (int j = 0; j < lanes; ++j) to[j] = numbers[j];
    }
    void add(T factor, const Lanes& other) {
        parts[0] += factor * other.parts[0];
        parts[1] += factor * other.parts[1];
    }
};

template <typename T> struct SparseBlock {
    const SparseSource& source;
    const T* values;
    int64_t start, rows;

    explicit SparseBlock(const Slot* s)
        : source(*array<const SparseSource>(s[0])), values(static_cast<const T*>(source.values)),
          start(array<const int64_t>(s[1])[1] * source.stride + s[2].integer), rows(s[3].integer) {}

    int64_t row(int64_t i) const { return source.order ? source.order[start + i] : start + i; }

    int64_t stored() const {
        int64_t count = 0;
        for (int64_t i = 0; i < rows; ++i) count += source.starts[row(i) + 1] - source.starts[row(i)];
        return count;
    }

    template <typename Body> void each_number(int64_t i, Body body) const {
        const int64_t end = source.starts[row(i) + 1];
        for (int64_t k = source.starts[row(i)]; k < end; ++k) body(values[k], int64_t(source.indices[k]));
    }
};

// The panel of one call: null if the numbers are few, or if there is no room for it. A panel for each captured
// product would take memory for as long as the step is kept.
template <typename T> struct Panel {
    static constexpr std::align_val_t ALIGNMENT{LINE};
    Lanes<T>* const columns;

    Panel(int64_t n_in, bool wanted)
        : columns(!wanted ? nullptr
                          : static_cast<Lanes<T>*>(::operator new(n_in * LINE, ALIGNMENT, std::nothrow))) {}
    Panel(const Panel&) = delete;
    ~Panel() { ::operator delete(columns, ALIGNMENT); }
};

// Calls body(c, j) for each column and lane, in squares: w is read or written by whole lines.
template <typename Body> void in_squares(int64_t columns, int lanes, Body body) {
    constexpr int64_t SIDE = 16;
    for (int64_t c = 0; c < columns; c += SIDE)
        for (int j = 0; j < lanes; ++j)
            for (int64_t k = c; k < std::min(c + SIDE, columns); ++k) body(k, j);
}

}  // namespace

// out = x wᵀ. Without the panel, each number reads LANES distant weights.
KERNEL(sparse_product) {  // source, counters, first, rows, w, n_out, n_in, out, leading
    const SparseBlock<T> block(s);
    const int64_t n_out = s[5].integer, n_in = s[6].integer, leading = s[8].integer;
    const Panel<T> memory(n_in, block.stored() >= n_in / 8);
    Lanes<T>* const panel = memory.columns;
    T* const numbers = reinterpret_cast<T*>(panel);
    for (int64_t first = 0; first < n_out; first += LANES<T>) {
        const int lanes = int(std::min<int64_t>(LANES<T>, n_out - first));
        const T* w = array<const T>(s[4]) + first * n_in;
        T* out = array<T>(s[7]) + first;
        if (panel) {
            if (lanes < LANES<T>) std::memset(numbers, 0, n_in * LINE);
            in_squares(n_in, lanes, [=](int64_t c, int j) { numbers[c * LANES<T> + j] = w[j * n_in + c]; });
        }
        for (int64_t i = 0; i < block.rows; ++i) {
            if (panel) {
                Lanes<T> sums;
                block.each_number(i, [&](T value, int64_t c) { sums.add(value, panel[c]); });
                sums.write(out + i * leading, lanes);
            } else {
                T sums[LANES<T>] = {};
                block.each_number(i, [&](T value, int64_t c) {
                    for (int j = 0; j < lanes; ++j) sums[j] += value * w[j * n_in + c];
                });
                for (int j = 0; j < lanes; ++j) out[i * leading + j] = sums[j];
            }
        }
    }
}

// out = δᵀ x + beta out. Without the panel, each number is added to LANES distant sums.
KERNEL(sparse_gradient) {  // source, counters, first, rows, out, n_out, n_in, delta, leading, beta
    const SparseBlock<T> block(s);
    const int64_t n_out = s[5].integer, n_in = s[6].integer, leading = s[8].integer;
    const T beta = T(s[9].real);
    const Panel<T> memory(n_in, block.stored() >= n_in / 2);
    Lanes<T>* const panel = memory.columns;
    T* const numbers = reinterpret_cast<T*>(panel);
    for (int64_t first = 0; first < n_out; first += LANES<T>) {
        const int lanes = int(std::min<int64_t>(LANES<T>, n_out - first));
        const T* delta = array<const T>(s[7]) + first;
        T* out = array<T>(s[4]) + first * n_in;
        if (panel)
            std::memset(numbers, 0, n_in * LINE);
        else if (beta == 0)
            std::memset(out, 0, lanes * n_in * sizeof(T));
        else if (beta != 1)
            for (int64_t k = 0; k < lanes * n_in; ++k) out[k] *= beta;
        for (int64_t i = 0; i < block.rows; ++i) {
            const T* of_row = delta + i * leading;
            if (panel) {
                const Lanes<T> deltas = Lanes<T>::read(of_row, lanes);
                block.each_number(i, [&](T value, int64_t c) { panel[c].add(value, deltas); });
            } else {
                block.each_number(i, [&](T value, int64_t c) {
                    for (int j = 0; j < lanes; ++j) out[j * n_in + c] += value * of_row[j];
                });
            }
        }
        if (panel)
            in_squares(n_in, lanes, [=](int64_t c, int j) {
                T& sum = out[j * n_in + c];
                sum = beta == 0 ? numbers[c * LANES<T> + j] : numbers[c * LANES<T> + j] + beta * sum;
            });
    }
}
