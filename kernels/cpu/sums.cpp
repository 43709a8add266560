// Sums that lose few digits: a few terms are added in T, and these sums are added in double.
KERNEL(column_sums) {  // values, out, beta, rows, columns, total (double, columns)
    const T* values = array<const T>(s[0]);
    T* out = array<T>(s[1]);
    const T beta = T(s[2].real);
    const int64_t rows = s[3].integer, columns = s[4].integer;
    double* __restrict__ total = array<double>(s[5]);
    for (int64_t j = 0; j < columns; ++j) total[j] = 0;
    // Eight rows are added in T, and their sum is added to the total in double. This is as fast as sums in
    // T and nearly as exact as sums in double.
    int64_t i = 0;
    for (; i + 8 <= rows; i += 8) {
        const T* __restrict__ row = values + i * columns;
        for (int64_t j = 0; j < columns; ++j)
            total[j] += ((row[j] + row[j + columns]) + (row[j + 2 * columns] + row[j + 3 * columns])) +
                        ((row[j + 4 * columns] + row[j + 5 * columns]) +
                         (row[j + 6 * columns] + row[j + 7 * columns]));
    }
    for (; i < rows; ++i)
        for (int64_t j = 0; j < columns; ++j) total[j] += values[i * columns + j];
    for (int64_t j = 0; j < columns; ++j) out[j] = T(total[j] + (beta ? double(beta * out[j]) : 0.0));
}

KERNEL(weighted_sum) {  // values, weights (null: the values), out, slot (null: 0), n, add
    const T* values = array<const T>(s[0]);
    const T* weights = s[1].pointer ? array<const T>(s[1]) : values;
    double total = 0;
    for (int64_t i = 0; i < s[4].integer; ++i) total += double(values[i]) * weights[i];
    double* out = array<double>(s[2]) + (s[3].pointer ? *array<const int64_t>(s[3]) : 0);
    *out = s[5].integer ? *out + total : total;
}
