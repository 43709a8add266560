// Products of sparse rows. Both kernels take LANES outputs at once, in one vector. The weights of these
// outputs are far apart: w is (n_out, n_in). If the batch has many numbers, the kernels go through a panel,
// (n_in, LANES), in which the weights of one column are neighbours. It fits a second-level cache for some
// ten thousand columns.
#include <algorithm>

namespace {

// The addresses of a step's sparse rows. source.py writes them before each replay.
struct SparseSource {
    const void* values;
    const int64_t* order;
    int64_t stride;
    const int32_t* indices;
    const int64_t* starts;
};

template <typename T> constexpr int LANES = 32 / sizeof(T);

// A vector in memory has the alignment of a number, because NumPy promises no more.
template <typename T> struct Of { typedef T Lanes __attribute__((vector_size(32), aligned(sizeof(T)))); };
template <typename T> using Lanes = typename Of<T>::Lanes;

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

// Calls body(c, j) for each column and lane, in squares: w is read or written by whole cache lines.
template <typename Body> void in_squares(int64_t columns, int lanes, Body body) {
    constexpr int64_t SIDE = 16;
    for (int64_t c = 0; c < columns; c += SIDE)
        for (int j = 0; j < lanes; ++j)
            for (int64_t k = c; k < std::min(c + SIDE, columns); ++k) body(k, j);
}

}  // namespace

// out = x wᵀ. Without the panel, each number reads LANES distant weights.
KERNEL(sparse_product) {  // source, counters, first, rows, w, n_out, n_in, out, leading, panel
    const SparseBlock<T> block(s);
    const int64_t n_out = s[5].integer, n_in = s[6].integer, leading = s[8].integer;
    T* panel = array<T>(s[9]);
    const Lanes<T>* columns = reinterpret_cast<const Lanes<T>*>(panel);
    const bool through_panel = block.stored() >= n_in / 8;
    for (int64_t first = 0; first < n_out; first += LANES<T>) {
        const int lanes = int(std::min<int64_t>(LANES<T>, n_out - first));
        const T* w = array<const T>(s[4]) + first * n_in;
        T* out = array<T>(s[7]) + first;
        if (through_panel) {
            if (lanes < LANES<T>) std::memset(panel, 0, n_in * sizeof(Lanes<T>));
            in_squares(n_in, lanes, [=](int64_t c, int j) { panel[c * LANES<T> + j] = w[j * n_in + c]; });
        }
        for (int64_t i = 0; i < block.rows; ++i) {
            Lanes<T> sums = {};
            if (through_panel)
                block.each_number(i, [&](T value, int64_t c) { sums += value * columns[c]; });
            else
                block.each_number(i, [&](T value, int64_t c) {
                    for (int j = 0; j < lanes; ++j) sums[j] += value * w[j * n_in + c];
                });
            for (int j = 0; j < lanes; ++j) out[i * leading + j] = sums[j];
        }
    }
}

// out = δᵀ x + beta out. Without the panel, each number is added to LANES distant sums.
KERNEL(sparse_gradient) {  // source, counters, first, rows, out, n_out, n_in, delta, leading, panel, beta
    const SparseBlock<T> block(s);
    const int64_t n_out = s[5].integer, n_in = s[6].integer, leading = s[8].integer;
    T* panel = array<T>(s[9]);
    Lanes<T>* columns = reinterpret_cast<Lanes<T>*>(panel);
    const T beta = T(s[10].real);
    const bool through_panel = block.stored() >= n_in;
    for (int64_t first = 0; first < n_out; first += LANES<T>) {
        const int lanes = int(std::min<int64_t>(LANES<T>, n_out - first));
        const T* delta = array<const T>(s[7]) + first;
        T* out = array<T>(s[4]) + first * n_in;
        if (through_panel)
            std::memset(panel, 0, n_in * sizeof(Lanes<T>));
        else if (beta == 0)
            std::memset(out, 0, lanes * n_in * sizeof(T));
        else if (beta != 1)
            for (int64_t k = 0; k < lanes * n_in; ++k) out[k] *= beta;
        for (int64_t i = 0; i < block.rows; ++i) {
            Lanes<T> of_row = {};
            for (int j = 0; j < lanes; ++j) of_row[j] = delta[i * leading + j];
            if (through_panel)
                block.each_number(i, [&](T value, int64_t c) { columns[c] += value * of_row; });
            else
                block.each_number(i, [&](T value, int64_t c) {
                    for (int j = 0; j < lanes; ++j) out[j * n_in + c] += value * of_row[j];
                });
        }
        if (through_panel)
            in_squares(n_in, lanes, [=](int64_t c, int j) {
                T& sum = out[j * n_in + c];
                sum = beta == 0 ? panel[c * LANES<T> + j] : panel[c * LANES<T> + j] + beta * sum;
            });
    }
}
