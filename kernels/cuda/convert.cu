// out = values, in another type: rounded to the nearest, ties to even, or widened.
//
// grid and block: by rows (launch.py).
extern "C" __global__ void convert(const S* __restrict__ values, T* out, long long rows, int columns) {
    by_rows(rows, columns, [=](long long row, int column) {
        const long long first = row * columns + column;
        const auto given = load(values + first);
        Vector<T> converted;
        for (int k = 0; k < VECTOR; ++k) converted.value[k] = T(compute(given.value[k]));
        store(out + first, converted);
    });
}
