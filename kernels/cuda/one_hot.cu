// y[row][j] = high where j is the row's label, else low.
//
// grid and block: by rows (launch.py).
extern "C" __global__ void one_hot(const long long* __restrict__ labels, double low, double high, T* y,
                                   long long rows, int columns) {
    by_rows(rows, columns, [=](long long row, int column) {
        const long long label = labels[row];
        Vector<T> values;
        for (int k = 0; k < VECTOR; ++k) values.value[k] = T(column + k == label ? high : low);
        store(y + row * columns + column, values);
    });
}
