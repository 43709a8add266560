// delta[row][j] = scale[row] dC/da activation'(z). `delta_of` computes it; its text is made from the table
// entries of the cost and the activation (output_head.py). v is the a or z that the activation's derivative
// reads.
//
// grid and block: by rows (launch.py).
extern "C" __global__ void output_delta(const T* __restrict__ a, const T* __restrict__ y,
                                        const T* __restrict__ scale, const T* __restrict__ v, T* delta,
                                        long long rows, int columns) {
    by_rows(rows, columns, [=](long long row, int column) {
        const long long first = row * columns + column;
        const auto outputs = load(a + first), targets = load(y + first), reads = load(v + first);
        Vector<T> deltas;
        for (int k = 0; k < VECTOR; ++k)
            deltas.value[k] = T(delta_of(compute(outputs.value[k]), compute(targets.value[k]),
                                         compute(scale[row]), compute(reads.value[k])));
        store(delta + first, deltas);
    });
}
