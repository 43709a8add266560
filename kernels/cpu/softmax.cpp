// Softmax, and softmax fused with cross-entropy.
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
