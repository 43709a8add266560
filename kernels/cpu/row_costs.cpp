// The cost of each row. `cost` is the text of a table entry.
KERNEL(row_costs) {  // z, a, y, out, rows, columns, parameters
    const T* z = array<const T>(s[0]);
    const T* a = array<const T>(s[1]);
    const T* y = array<const T>(s[2]);
    const int64_t columns = s[5].integer;
    const Parameters<T> parameters(s[6]);
    for (int64_t i = 0; i < s[4].integer; ++i, z += columns, a += columns, y += columns) {
        T total = 0;
        for (int64_t j = 0; j < columns; ++j) total += cost(z[j], a[j], y[j], parameters);
        array<T>(s[3])[i] = total;
    }
}

KERNEL(columns_row_costs) {  // z, a, y, out, rows, columns, leading, parameters
    const T* __restrict__ z = array<const T>(s[0]);
    const T* __restrict__ a = array<const T>(s[1]);
    const T* __restrict__ y = array<const T>(s[2]);
    T* __restrict__ out = array<T>(s[3]);
    const int64_t rows = s[4].integer, leading = s[6].integer;
    const Parameters<T> parameters(s[7]);
    for (int64_t i = 0; i < rows; ++i) out[i] = 0;
    for (int64_t j = 0; j < s[5].integer; ++j, z += leading, a += leading, y += leading)
        for (int64_t i = 0; i < rows; ++i) out[i] += cost(z[i], a[i], y[i], parameters);
}
