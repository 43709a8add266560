// The cost of each row. `cost` is the text of a table entry.
KERNEL(row_costs) {  // z, a, y, out, rows, columns
    const T* z = array<const T>(s[0]);
    const T* a = array<const T>(s[1]);
    const T* y = array<const T>(s[2]);
    const int64_t columns = s[5].integer;
    for (int64_t i = 0; i < s[4].integer; ++i, z += columns, a += columns, y += columns) {
        T total = 0;
        for (int64_t j = 0; j < columns; ++j) total += cost(z[j], a[j], y[j]);
        array<T>(s[3])[i] = total;
    }
}
