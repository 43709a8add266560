// Softmax, and softmax fused with cross-entropy.
#include <algorithm>

KERNEL(softmax) {  // z, a, rows, columns; a may be z
    const T* z = array<const T>(s[0]);
    T* a = array<T>(s[1]);
    const int64_t columns = s[3].integer;
    for (int64_t i = 0; i < s[2].integer; ++i, z += columns, a += columns) {
        T largest = z[0], sum = 0;
        for (int64_t j = 1; j < columns; ++j) largest = z[j] > largest ? z[j] : largest;
        for (int64_t j = 0; j < columns; ++j) a[j] = exp(z[j] - largest);
        for (int64_t j = 0; j < columns; ++j) sum += a[j];
        const T factor = 1 / sum;
        for (int64_t j = 0; j < columns; ++j) a[j] *= factor;
    }
}

KERNEL(softmax_cross_entropy) {  // z, y, scale, delta, costs, rows, columns; delta or costs may be null
    const T* z = array<const T>(s[0]);
    const T* y = array<const T>(s[1]);
    const T* scale = array<const T>(s[2]);
    T* delta = array<T>(s[3]);
    T* costs = array<T>(s[4]);
    const int64_t columns = s[6].integer;
    for (int64_t i = 0; i < s[5].integer; ++i, z += columns, y += columns) {
        T largest = z[0], sum = 0, total = 0;
        for (int64_t j = 1; j < columns; ++j) largest = z[j] > largest ? z[j] : largest;
        if (delta) {
            T* __restrict__ row = delta + i * columns;
            for (int64_t j = 0; j < columns; ++j) row[j] = exp(z[j] - largest);
            for (int64_t j = 0; j < columns; ++j) sum += row[j];
            const T factor = 1 / sum;
            for (int64_t j = 0; j < columns; ++j) row[j] = (row[j] * factor - y[j]) * scale[i];
        } else {
            for (int64_t j = 0; j < columns; ++j) sum += exp(z[j] - largest);
        }
        if (!costs) continue;
        const T log_sum = log(sum);
        for (int64_t j = 0; j < columns; ++j) total += y[j] * (log_sum - (z[j] - largest));
        costs[i] = total;
    }
}

// The same column by column, in vectors over STRIP rows.
constexpr int64_t STRIP = 64;

// The largest z of each row, and the sum of exp(z - largest); `kept` (null, or z itself) gets the exponentials.
template <typename T>
static void exponential_sums(const T* z, int64_t rows, int64_t columns, int64_t leading,
                             T* __restrict__ largest, T* __restrict__ sums, T* kept) {
    for (int64_t i = 0; i < rows; ++i) largest[i] = z[i], sums[i] = 0;
    for (int64_t j = 1; j < columns; ++j)
        for (int64_t i = 0; i < rows; ++i) {
            const T other = z[j * leading + i];
            largest[i] = other > largest[i] ? other : largest[i];
        }
    for (int64_t j = 0; j < columns; ++j)
        if (kept)
            for (int64_t i = 0; i < rows; ++i)
                sums[i] += kept[j * leading + i] = exp(z[j * leading + i] - largest[i]);
        else
            for (int64_t i = 0; i < rows; ++i) sums[i] += exp(z[j * leading + i] - largest[i]);
}

KERNEL(columns_softmax) {  // z, a, rows, columns, leading; a may be z
    const int64_t rows = padded<T>(s[2].integer), columns = s[3].integer, leading = s[4].integer;
    T largest[STRIP], sums[STRIP];
    for (int64_t first = 0; first < rows; first += STRIP) {
        const T* z = array<T>(s[0]) + first;
        T* a = array<T>(s[1]) + first;
        const int64_t count = std::min(STRIP, rows - first);
        exponential_sums(z, count, columns, leading, largest, sums, a);
        for (int64_t j = 0; j < columns; ++j)
            for (int64_t i = 0; i < count; ++i) a[j * leading + i] /= sums[i];
    }
}

KERNEL(columns_softmax_cross_entropy) {  // z, y, scale, delta, costs, rows, columns, leading; null: delta, costs
    const int64_t rows = s[5].integer, columns = s[6].integer, leading = s[7].integer;
    T largest[STRIP], sums[STRIP], factors[STRIP], totals[STRIP];
    for (int64_t first = 0; first < rows; first += STRIP) {
        const T* __restrict__ z = array<const T>(s[0]) + first;
        const T* __restrict__ y = array<const T>(s[1]) + first;
        const T* scale = array<const T>(s[2]) + first;
        const int64_t count = std::min(STRIP, rows - first);
        T* __restrict__ delta = s[3].pointer ? array<T>(s[3]) + first : nullptr;
        exponential_sums(z, count, columns, leading, largest, sums, delta);
        if (delta) {
            for (int64_t i = 0; i < count; ++i) factors[i] = 1 / sums[i];
            for (int64_t j = 0; j < columns; ++j)
                for (int64_t i = 0; i < count; ++i)
                    delta[j * leading + i] = (delta[j * leading + i] * factors[i] - y[j * leading + i]) * scale[i];
            if (first + count == rows)
                for (int64_t j = 0; j < columns; ++j)
                    for (int64_t i = count; i < padded<T>(count); ++i) delta[j * leading + i] = 0;
        }
        if (!s[4].pointer) continue;
        for (int64_t i = 0; i < count; ++i) factors[i] = log(sums[i]), totals[i] = 0;
        for (int64_t j = 0; j < columns; ++j)
            for (int64_t i = 0; i < count; ++i)
                totals[i] += y[j * leading + i] * (factors[i] - (z[j * leading + i] - largest[i]));
        std::memcpy(array<T>(s[4]) + first, totals, count * sizeof(T));
    }
}

// δ ← a ⊙ (δ - Σ δ a), where δ comes in as scale ∂C/∂a.
KERNEL(columns_softmax_jacobian) {  // a, delta, rows, columns, leading
    const int64_t rows = padded<T>(s[2].integer), columns = s[3].integer, leading = s[4].integer;
    T sums[STRIP];
    for (int64_t first = 0; first < rows; first += STRIP) {
        const T* __restrict__ a = array<const T>(s[0]) + first;
        T* __restrict__ delta = array<T>(s[1]) + first;
        const int64_t count = std::min(STRIP, rows - first);
        for (int64_t i = 0; i < count; ++i) sums[i] = 0;
        for (int64_t j = 0; j < columns; ++j)
            for (int64_t i = 0; i < count; ++i) sums[i] += delta[j * leading + i] * a[j * leading + i];
        for (int64_t j = 0; j < columns; ++j)
            for (int64_t i = 0; i < count; ++i)
                delta[j * leading + i] = a[j * leading + i] * (delta[j * leading + i] - sums[i]);
    }
}
