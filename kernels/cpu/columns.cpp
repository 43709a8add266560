// Products of activations that lie column by column: the values of one unit, for all rows, are neighbours.
// Vectors go over rows, so a layer of any width fills them. A weight is a factor of whole vectors, and
// nothing is packed. columns.py describes the layout. A kernel reads and writes whole vectors: `rows` is
// rounded up, and the numbers behind the last row are finite.
#include <algorithm>

namespace {

// out[u, :] = start[u] + Σ_k factors[u, k] vectors[k, :] + beta out[u, :]. A step of 1 is the distance of
// neighbours; `start` may be null. Of the last vectors, only `width` numbers are written.
template <typename T> struct Product {
    const T* factors;
    int64_t unit_step, inner_step;
    const T* vectors;
    int64_t vector_step;
    T* out;
    int64_t out_step, inner, width;
    const T* start;
    T beta;
};

// Writes what is left of the width, from a tile whose vectors have `step` numbers for a unit.
template <typename T>
[[gnu::noinline]] void write_part(const Product<T>& p, const T* numbers, int64_t step, int64_t unit,
                                  int64_t end, int64_t first) {
    for (; unit < end; ++unit, numbers += step) {
        T* out = p.out + unit * p.out_step;
        for (int64_t k = first; k < p.width; ++k) out[k] = numbers[k - first] + (p.beta ? p.beta * out[k] : 0);
    }
}

// A tile of UNITS units and VECTORS vectors keeps all its sums in registers.
template <typename T, int UNITS, int VECTORS> void tile(const Product<T>& p, int64_t unit, int64_t first) {
    constexpr int64_t W = WIDTH<T>;
    const T* __restrict__ factors = p.factors + unit * p.unit_step;
    const T* __restrict__ vectors = p.vectors + first;
    const int64_t unit_step = p.unit_step, inner_step = p.inner_step, vector_step = p.vector_step;
    Vector<T> sums[UNITS][VECTORS];
#pragma GCC unroll 16
    for (int u = 0; u < UNITS; ++u)
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) sums[u][v] = Vector<T>{} + (p.start ? p.start[unit + u] : T(0));
    for (int64_t k = p.inner; k > 0; --k, factors += inner_step, vectors += vector_step) {
        Vector<T> x[VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < VECTORS; ++v) x[v] = load(vectors + v * W);
#pragma GCC unroll 16
        for (int u = 0; u < UNITS; ++u) {
            const T factor = factors[u * unit_step];
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; ++v) sums[u][v] += factor * x[v];
        }
    }
    if (p.width - first >= VECTORS * W) {
        T* out = p.out + unit * p.out_step + first;
        const int64_t out_step = p.out_step;
        const T beta = p.beta;
        if (beta)
#pragma GCC unroll 16
            for (int u = 0; u < UNITS; ++u)
#pragma GCC unroll 4
                for (int v = 0; v < VECTORS; ++v) sums[u][v] += beta * load(out + u * out_step + v * W);
#pragma GCC unroll 16
        for (int u = 0; u < UNITS; ++u)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; ++v) store(out + u * out_step + v * W, sums[u][v]);
    } else {
        T numbers[UNITS * VECTORS * W];
#pragma GCC unroll 16
        for (int u = 0; u < UNITS; ++u)
#pragma GCC unroll 4
            for (int v = 0; v < VECTORS; ++v) store(numbers + (u * VECTORS + v) * W, sums[u][v]);
        write_part(p, numbers, VECTORS * W, unit, unit + UNITS, first);
    }
}

// Tiles of VECTORS vectors over all units: most of UNITS units, which use the registers best, then fewer.
template <typename T, int VECTORS, int UNITS>
void tiles(const Product<T>& p, int64_t unit, int64_t units, int64_t first) {
    for (; unit + UNITS <= units; unit += UNITS) tile<T, UNITS, VECTORS>(p, unit, first);
    if constexpr (UNITS > 1) {
        constexpr int FEWER = UNITS > 8 ? 8 : UNITS > 4 ? 4 : UNITS / 2;
        if (unit < units) tiles<T, VECTORS, FEWER>(p, unit, units, first);
    }
}

template <typename T> void multiply(const Product<T>& p, int64_t units) {
    constexpr int64_t W = WIDTH<T>;
    constexpr bool MANY = REGISTERS == 32;
    int64_t first = 0;
    if constexpr (MANY)
        for (; first + 3 * W < p.width; first += 4 * W) tiles<T, 4, 6>(p, 0, units, first);
    for (; first + W < p.width; first += 2 * W) tiles<T, 2, MANY ? 12 : 6>(p, 0, units, first);
    if (first < p.width) tiles<T, 1, MANY ? 16 : 12>(p, 0, units, first);
}

// δᵀ a has two ways. In `by_panels`, panels of a are transposed, and vectors go over units, as in a layer's
// product. In `by_dots`, vectors go over rows, and the lanes of each sum are added at the end. The first has
// to transpose, the second to add lanes: few rows and wide layers are faster by panels, narrow layers by dots.
template <typename T> struct Gradient {
    const T *delta, *a;
    T *out, *biases;  // no biases: null
    T beta;
    int64_t rows, n_out, n_in, leading_delta, leading_a;
};

constexpr int64_t PANEL_ROWS = 128;

template <typename T> void by_panels(const Gradient<T>& g) {
    constexpr int64_t W = WIDTH<T>, COLUMNS = 4 * W;
    alignas(64) T panel[PANEL_ROWS * COLUMNS];
    for (int64_t row = 0; row < g.rows; row += PANEL_ROWS) {
        const int64_t count = std::min(PANEL_ROWS, g.rows - row);
        for (int64_t unit = 0; unit < g.n_in; unit += COLUMNS) {
            const int64_t width = std::min(COLUMNS, g.n_in - unit);
            for (int64_t k = 0; k < width; k += W)
                for (int64_t r = 0; r < count; r += W) {
                    Vector<T> square[W];
                    const T* from = g.a + (unit + k) * g.leading_a + row + r;
                    if (width - k >= W)
                        for (int i = 0; i < W; ++i) square[i] = load(from + i * g.leading_a);
                    else
                        for (int i = 0; i < W; ++i)
                            square[i] = i < width - k ? load(from + i * g.leading_a) : Vector<T>{};
                    transpose<T>(square);
                    for (int i = 0; i < W; ++i) store(panel + (r + i) * COLUMNS + k, square[i]);
                }
            Product<T> p;
            p.factors = g.delta + row, p.unit_step = g.leading_delta, p.inner_step = 1;
            p.vectors = panel, p.vector_step = COLUMNS;
            p.out = g.out + unit, p.out_step = g.n_in;
            p.inner = count, p.width = width;
            p.start = nullptr, p.beta = row ? T(1) : g.beta;
            multiply(p, g.n_out);
        }
    }
}

// A tile has as many sums as a vector has lanes. After `add_lanes`, lane k of the first is the whole sum k.
template <typename T> constexpr int TILE_IN = std::min<int>(4, WIDTH<T>);
template <typename T> constexpr int TILE_OUT = WIDTH<T> / TILE_IN<T>;

// out = numbers + beta out, for COUNT numbers.
template <typename T, int COUNT> inline void add_to(T* out, const T* __restrict__ numbers, T beta) {
    T sums[COUNT];
    for (int j = 0; j < COUNT; ++j) sums[j] = numbers[j] + (beta ? beta * out[j] : 0);
    std::memcpy(out, sums, sizeof(sums));
}

// A tile of weights and, with BIASES, the sums of its units' δ.
template <typename T, bool BIASES> void dots(const Gradient<T>& g, int64_t unit, int64_t k) {
    constexpr int W = WIDTH<T>, IN = TILE_IN<T>, OUT = TILE_OUT<T>;
    const T *delta[OUT], *a[IN];
#pragma GCC unroll 16
    for (int i = 0; i < OUT; ++i) delta[i] = g.delta + std::min(unit + i, g.n_out - 1) * g.leading_delta;
#pragma GCC unroll 4
    for (int j = 0; j < IN; ++j) a[j] = g.a + std::min(k + j, g.n_in - 1) * g.leading_a;
    Vector<T> sums[W] = {}, totals[W] = {};
    for (int64_t r = 0; r < g.rows; r += W) {
        Vector<T> x[IN];
#pragma GCC unroll 4
        for (int j = 0; j < IN; ++j) x[j] = load(a[j] + r);
#pragma GCC unroll 16
        for (int i = 0; i < OUT; ++i) {
            const Vector<T> d = load(delta[i] + r);
            if constexpr (BIASES) totals[i] += d;
#pragma GCC unroll 4
            for (int j = 0; j < IN; ++j) sums[i * IN + j] += d * x[j];
        }
    }
    add_lanes<T>(sums);
    T numbers[W];
    store(numbers, sums[0]);
    T* out = g.out + unit * g.n_in + k;
    const int64_t units = std::min<int64_t>(OUT, g.n_out - unit), width = std::min<int64_t>(IN, g.n_in - k);
    for (int64_t i = 0; i < units; ++i, out += g.n_in)
        if (width == IN)
            add_to<T, IN>(out, numbers + i * IN, g.beta);
        else
            for (int64_t j = 0; j < width; ++j) add_to<T, 1>(out + j, numbers + i * IN + j, g.beta);
    if constexpr (BIASES) {
        add_lanes<T>(totals);
        store(numbers, totals[0]);
        for (int64_t i = 0; i < units; ++i) add_to<T, 1>(g.biases + unit + i, numbers + i, g.beta);
    }
}

template <typename T> void by_dots(const Gradient<T>& g) {
    for (int64_t unit = 0; unit < g.n_out; unit += TILE_OUT<T>) {
        if (g.biases) dots<T, true>(g, unit, 0);
        else dots<T, false>(g, unit, 0);
        for (int64_t k = TILE_IN<T>; k < g.n_in; k += TILE_IN<T>) dots<T, false>(g, unit, k);
    }
}

// The column sums of δ, for as many units at a time as a vector has lanes.
template <typename T> void add_rows(const Gradient<T>& g) {
    constexpr int W = WIDTH<T>;
    for (int64_t unit = 0; unit < g.n_out; unit += W) {
        const int64_t units = std::min<int64_t>(W, g.n_out - unit);
        Vector<T> sums[W] = {};
        for (int64_t i = 0; i < units; ++i) {
            const T* delta = g.delta + (unit + i) * g.leading_delta;
            for (int64_t r = 0; r < g.rows; r += W) sums[i] += load(delta + r);
        }
        add_lanes<T>(sums);
        T numbers[W];
        store(numbers, sums[0]);
        for (int64_t i = 0; i < units; ++i) add_to<T, 1>(g.biases + unit + i, numbers + i, g.beta);
    }
}

// Estimates the cycles of both ways; transposing a vector takes about 6 cycles, and the end of a tile 50.
template <typename T> bool faster_by_dots(const Gradient<T>& g) {
    const int64_t W = WIDTH<T>, vectors = (g.n_in + W - 1) / W;
    const int64_t tiles = (g.n_out + TILE_OUT<T> - 1) / TILE_OUT<T> * ((g.n_in + TILE_IN<T> - 1) / TILE_IN<T>);
    return tiles * (g.rows / 2 + 50) < g.rows * vectors * (std::max<int64_t>(4, g.n_out / 2) + 6);
}

}  // namespace

// out = x wᵀ + b or, if transposed, out = δ w: w is (n_out, n_in), or (n_in, n_out) if transposed.
KERNEL(columns_product) {  // w, biases (or null), in, out, rows, n_out, n_in, leading in, out, w, transposed
    const int64_t n_out = s[5].integer, n_in = s[6].integer, leading = s[9].integer;
    const bool transposed = s[10].integer;
    Product<T> p;
    p.factors = array<const T>(s[0]);
    p.unit_step = transposed ? 1 : leading, p.inner_step = transposed ? leading : 1;
    p.vectors = array<const T>(s[2]), p.vector_step = s[7].integer;
    p.out = array<T>(s[3]), p.out_step = s[8].integer;
    p.inner = n_in, p.width = padded<T>(s[4].integer);
    p.start = array<const T>(s[1]), p.beta = 0;
    multiply(p, n_out);
}

// weights = δᵀ a + beta weights, biases = column sums of δ + beta biases.
KERNEL(columns_gradients) {  // delta, a, weights, biases (or null), beta, rows, n_out, n_in, leading delta, a
    Gradient<T> g;
    g.delta = array<const T>(s[0]), g.a = array<const T>(s[1]), g.out = array<T>(s[2]), g.biases = array<T>(s[3]);
    g.beta = T(s[4].real);
    g.rows = padded<T>(s[5].integer), g.n_out = s[6].integer, g.n_in = s[7].integer;
    g.leading_delta = s[8].integer, g.leading_a = s[9].integer;
    if (faster_by_dots(g)) {
        by_dots(g);
    } else {
        by_panels(g);
        if (g.biases) add_rows(g);
    }
}

// The bytes of a vector: the room behind the last row that kernels read and write ends with a vector.
EXPORTED(int, vector_bytes)() { return VECTOR; }
